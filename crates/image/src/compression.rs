//! How a stream is packed, told from its first bytes.
//!
//! Media types lie and archives have none, so the magic decides. bzip2 and xz, which Docker reads too, are refused by name: both are
//! rare for images and would each bring a C library.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use crate::{Error, Kind};

/// Compressed bytes per read: gzip gains visibly from large buffers.
const BUFFER: usize = 1 << 20;

/// Window of a zstd frame that we are willing to hold: 128 MiB is what `--long=27` needs, and the format's own advice.
const ZSTD_WINDOW_LOG: u32 = 27;

const MAGIC: usize = 6;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// A stream with its compression taken off.
pub struct Decoder<R: Read> {
    inner: Inner<R>,
    compression: Compression,
}

type Source<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

enum Inner<R: Read> {
    Plain(Source<R>),
    Gzip(Box<MultiGzDecoder<Source<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Source<R>>>),
}

impl Compression {
    /// Judges by the first bytes of a stream.
    pub fn detect(start: &[u8]) -> Result<Self, Error> {
        let known = |magic: &[u8]| start.starts_with(magic);
        if known(&[0x1f, 0x8b]) {
            Ok(Self::Gzip)
        } else if known(&[0x28, 0xb5, 0x2f, 0xfd]) || is_skippable_zstd_frame(start) {
            Ok(Self::Zstd)
        } else if known(b"BZh") {
            Err(Error::new(
                Kind::Invalid,
                "archive is compressed with bzip2, which is not supported: use gzip, zstd or none",
            ))
        } else if known(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
            Err(Error::new(
                Kind::Invalid,
                "archive is compressed with xz, which is not supported: use gzip, zstd or none",
            ))
        } else {
            Ok(Self::None)
        }
    }
}

fn is_skippable_zstd_frame(start: &[u8]) -> bool {
    start.len() >= 4 && start[0] & 0xf0 == 0x50 && start[1..4] == [0x2a, 0x4d, 0x18]
}

impl<R: Read> Decoder<R> {
    /// Looks at the first bytes and sets the right decoder up.
    pub fn new(mut source: R) -> Result<Self, Error> {
        let mut start = Vec::with_capacity(MAGIC);
        source.by_ref().take(MAGIC as u64).read_to_end(&mut start)?;
        let compression = Compression::detect(&start)?;
        let source = BufReader::with_capacity(BUFFER, Cursor::new(start).chain(source));
        let inner = match compression {
            Compression::None => Inner::Plain(source),
            Compression::Gzip => Inner::Gzip(Box::new(MultiGzDecoder::new(source))),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Inner::Zstd(Box::new(decoder))
            }
        };
        Ok(Self { inner, compression })
    }

    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Reads whatever follows the compressed data, so that a hash beneath sees every byte. Trailing garbage is harmless here: it
    /// counts for the digest of the blob, and for nothing else.
    pub fn drain(self) -> io::Result<()> {
        let mut source = match self.inner {
            Inner::Plain(source) => source,
            Inner::Gzip(decoder) => decoder.into_inner(),
            Inner::Zstd(decoder) => decoder.finish(),
        };
        loop {
            match source.fill_buf()?.len() {
                0 => return Ok(()),
                n => source.consume(n),
            }
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.inner {
            Inner::Plain(source) => source.read(buffer),
            Inner::Gzip(decoder) => decoder.read(buffer),
            Inner::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn unpack(packed: &[u8]) -> (Compression, Vec<u8>) {
        let mut decoder = Decoder::new(packed).unwrap();
        let mut out = Vec::new();
        decoder.read_to_end(&mut out).unwrap();
        (decoder.compression(), out)
    }

    #[test]
    fn each_kind_is_recognised() {
        let text = b"some text that is long enough to be packed".repeat(100);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        assert_eq!(unpack(&gzip.finish().unwrap()), (Compression::Gzip, text.clone()));
        assert_eq!(unpack(&zstd::encode_all(&text[..], 1).unwrap()), (Compression::Zstd, text.clone()));
        assert_eq!(unpack(&text), (Compression::None, text));
        assert_eq!(unpack(b""), (Compression::None, Vec::new()));
        assert_eq!(unpack(b"ab"), (Compression::None, b"ab".to_vec()));
    }

    #[test]
    fn several_gzip_members_are_one_stream() {
        let member = |text: &[u8]| {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(text).unwrap();
            gzip.finish().unwrap()
        };
        assert_eq!(unpack(&[member(b"one "), member(b"two")].concat()).1, b"one two");
    }

    #[test]
    fn what_we_do_not_read_is_named() {
        for (start, name) in [(&b"BZh91AY"[..], "bzip2"), (&[0xfd, b'7', b'z', b'X', b'Z', 0, 0][..], "xz")] {
            let error = Decoder::new(start).err().unwrap();
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
