//! How a stream is packed, told from its first bytes.
//!
//! Media types lie and archives have none, so the magic decides. Layers of registries are packed with gzip or zstd, or not at all;
//! bzip2 and xz are for archives that come from elsewhere (`import`, `load`), where Docker reads them, too.

mod bzip2;

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

use crate::Error;
use bzip2::Bzip2;

/// Compressed bytes per read: gzip gains visibly from large buffers.
const BUFFER: usize = 1 << 20;

/// Window of a zstd frame that we are willing to hold: 128 MiB is what `--long=27` needs, and the format's own advice.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Memory that an xz stream may ask for: `xz -9` wants 65 MiB, and what `-9e` adds is the packer's.
const XZ_MEMORY_KIB: u32 = 128 << 10;

const MAGIC: usize = 6;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

/// A stream with its compression taken off.
pub struct Decoder<R: Read> {
    inner: Inner<R>,
    compression: Compression,
}

/// A stream whose first bytes were looked at, from its beginning.
pub(crate) type Whole<R> = Chain<Cursor<Vec<u8>>, R>;
type Source<R> = BufReader<Whole<R>>;

enum Inner<R: Read> {
    Plain(Source<R>),
    Gzip(Box<MultiGzDecoder<Source<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Source<R>>>),
    Bzip2(Box<Bzip2<Source<R>>>),
    Xz(Box<XzReader<Source<R>>>),
}

impl Compression {
    /// Judges by the first bytes of a stream.
    pub fn detect(start: &[u8]) -> Self {
        let known = |magic: &[u8]| start.starts_with(magic);
        if known(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if known(&[0x28, 0xb5, 0x2f, 0xfd]) || is_skippable_zstd_frame(start) {
            Self::Zstd
        } else if known(b"BZh") {
            Self::Bzip2
        } else if known(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
            Self::Xz
        } else {
            Self::None
        }
    }
}

/// How a stream is packed, and the stream.
pub(crate) fn peek<R: Read>(mut source: R) -> io::Result<(Compression, Whole<R>)> {
    let mut start = Vec::with_capacity(MAGIC);
    source.by_ref().take(MAGIC as u64).read_to_end(&mut start)?;
    Ok((Compression::detect(&start), Cursor::new(start).chain(source)))
}

fn is_skippable_zstd_frame(start: &[u8]) -> bool {
    start.len() >= 4 && start[0] & 0xf0 == 0x50 && start[1..4] == [0x2a, 0x4d, 0x18]
}

impl<R: Read> Decoder<R> {
    /// Looks at the first bytes and sets the right decoder up.
    pub fn new(source: R) -> Result<Self, Error> {
        let (compression, source) = peek(source)?;
        let source = BufReader::with_capacity(BUFFER, source);
        let inner = match compression {
            Compression::None => Inner::Plain(source),
            Compression::Gzip => Inner::Gzip(Box::new(MultiGzDecoder::new(source))),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Inner::Zstd(Box::new(decoder))
            }
            Compression::Bzip2 => Inner::Bzip2(Box::new(Bzip2::new(source))),
            Compression::Xz => Inner::Xz(Box::new(XzReader::new_mem_limit(source, true, XZ_MEMORY_KIB))),
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
            Inner::Bzip2(decoder) => decoder.into_inner(),
            Inner::Xz(decoder) => decoder.into_inner(),
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
            Inner::Bzip2(decoder) => decoder.read(buffer),
            Inner::Xz(decoder) => decoder.read(buffer),
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
    fn archives_of_other_tools() {
        // `printf 'archives packed with xz are read, too' | xz`
        let xz = "fd377a585a000004e6d6b4460200210116000000742fe5a30100246172636869766573207061636b6564207769746820787a20617265\
                  20726561642c20746f6f0000000075a5842a07b38f0d00013d25d2296a011fb6f37d010000000004595a";
        let xz = hex::decode(xz).unwrap();
        assert_eq!(unpack(&xz), (Compression::Xz, b"archives packed with xz are read, too".to_vec()));
        assert!(Decoder::new(&xz[..50]).unwrap().read_to_end(&mut Vec::new()).is_err());
        // `printf 'abcabcabcabcabc' | bzip2`
        let bzip2 = "425a6839314159265359783187ca00000201003800200030cc089a49924e2ee48a70a120f0630f94";
        assert_eq!(unpack(&hex::decode(bzip2).unwrap()), (Compression::Bzip2, b"abcabcabcabcabc".to_vec()));
    }

    #[test]
    fn an_xz_stream_does_not_choose_how_much_memory_it_takes() {
        // The same stream with a dictionary of 4 GiB (40 instead of 22), and the header's checksum put right.
        let xz = "fd377a585a000004e6d6b4460200210128000000e6a011b3010024617263";
        let mut decoder = Decoder::new(std::io::Cursor::new(hex::decode(xz).unwrap())).unwrap();
        let error = decoder.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory, "{error}");
    }
}
