//! One pass over a compressed layer on two threads: one decompresses and hashes, one writes files.
//!
//! ```text
//!  source ──read──▶ decoder ──▶ hash ──chunks, at most QUEUE──▶ consumer (tar, files)
//!          thread of ours                                       calling thread
//! ```
//!
//! The producer reads the source to its end even behind the last member, because its digest covers that too. Errors of the source
//! travel through the queue and come out of the consumer's reads, so a cut download is reported as such and not as a bad archive.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use oci::digest::{Digest, Hasher};

use crate::compression::{Compression, Decoder};
use crate::{Error, Kind};

/// Bytes per chunk.
const CHUNK: usize = 512 << 10;

/// Chunks on the way: 4 MiB per layer being unpacked.
const QUEUE: usize = 8;

/// What went through.
pub(super) struct Stream {
    /// Digest of the uncompressed bytes: the diff ID.
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// The consumer's end of the queue.
pub(super) struct Plain {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    at: usize,
}

/// Feeds the uncompressed bytes of `source` to `consume`, which returns its result and the reader, whose rest is read too.
pub(super) fn run<T>(
    source: impl Read + Send,
    consume: impl FnOnce(Plain) -> Result<(T, Plain), Error>,
) -> Result<(T, Stream), Error> {
    std::thread::scope(|scope| {
        let (sender, chunks) = sync_channel(QUEUE);
        let producer = scope.spawn(move || produce(source, &sender));
        let consumed = consume(Plain { chunks, chunk: Vec::new(), at: 0 }).and_then(|(value, mut plain)| {
            io::copy(&mut plain, &mut io::sink())?;
            Ok(value)
        });
        // The consumer's end is closed by now: a producer that still sends is told so and stops.
        let produced = producer.join().map_err(|_| Error::new(Kind::Other, "decompression failed inside"))?;
        let value = consumed?;
        Ok((value, produced?))
    })
}

fn produce(source: impl Read, sender: &SyncSender<io::Result<Vec<u8>>>) -> Result<Stream, Error> {
    let decoded = decode(source, sender);
    if let Err(error) = &decoded {
        // The receiver is gone when the consumer failed first; then nobody waits for this.
        let copy = Error::new(error.kind(), error.to_string());
        let _ = sender.send(Err(copy.into()));
    }
    decoded
}

fn decode(source: impl Read, sender: &SyncSender<io::Result<Vec<u8>>>) -> Result<Stream, Error> {
    let mut decoder = Decoder::new(source)?;
    let mut hasher = Hasher::sha256();
    let mut size = 0;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let compression = decoder.compression();
        decoder.by_ref().take(CHUNK as u64).read_to_end(&mut chunk).map_err(|e| explain(e, compression))?;
        if chunk.is_empty() {
            break;
        }
        hasher.update(&chunk);
        size += chunk.len() as u64;
        if sender.send(Ok(chunk)).is_err() {
            return Err(Error::new(Kind::Other, "unpacking stopped"));
        }
    }
    decoder.drain()?;
    Ok(Stream { digest: hasher.finish(), size })
}

/// Tells a bad layer from a source that failed: decoders complain of the data, and zstd's of anything as "other".
fn explain(error: io::Error, compression: Compression) -> Error {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) if error.kind() == UnexpectedEof => {
            Error::new(Kind::Hostile, "unexpected EOF: compressed layer is cut off")
        }
        Err(error) => match (error.kind(), compression) {
            (InvalidData | InvalidInput, _) | (Other, Compression::Zstd) => {
                Error::caused(Kind::Hostile, "cannot decompress layer", error)
            }
            _ => Error::caused(Kind::Other, "cannot read layer", error),
        },
    }
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            match self.chunks.recv() {
                Ok(chunk) => (self.chunk, self.at) = (chunk?, 0),
                Err(_) => return Ok(0),
            }
        }
        let n = buffer.len().min(self.chunk.len() - self.at);
        buffer[..n].copy_from_slice(&self.chunk[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
