//! Reading a file while somebody else still writes it.
//!
//! A layer is unpacked while it downloads, but at another speed, and the download may be cut and resumed in between.
//! So the two share no pipe, they share the file: the writer says how far it is, the reader follows and waits at the
//! edge. Memory stays at one buffer, a slow reader never holds up the network, and what an earlier pull left behind is
//! read like everything else.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Told how far the reader has come.
pub(super) type Position = Box<dyn Fn(u64) + Send>;

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    written: u64,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Complete,
    Abandoned,
}

/// The writer's side; dropping it before [`Writer::complete`] makes the reader fail.
pub(super) struct Writer(Arc<Shared>);

pub(super) struct Reader {
    file: File,
    at: u64,
    shared: Arc<Shared>,
    position: Position,
}

pub(super) fn tail(file: File, written: u64, position: Position) -> (Writer, Reader) {
    let state = Mutex::new(State { written, end: End::Open });
    let shared = Arc::new(Shared { state, changed: Condvar::new() });
    (Writer(shared.clone()), Reader { file, at: 0, shared, position })
}

impl Writer {
    pub(super) fn witness(&self) -> Witness {
        Witness(self.0.clone())
    }

    /// So many bytes from the beginning of the file are there.
    pub(super) fn advance(&self, written: u64) {
        self.0.lock().written = written;
        self.0.changed.notify_all();
    }

    /// Nothing more comes, and all of it is right.
    pub(super) fn complete(self) {
        self.end(End::Complete);
    }

    fn end(&self, end: End) {
        let mut state = self.0.lock();
        if state.end == End::Open {
            state.end = end;
        }
        drop(state);
        self.0.changed.notify_all();
    }
}

/// Sees how the writer ended.
pub(super) struct Witness(Arc<Shared>);

impl Witness {
    /// Then what the reader says is a consequence, and the writer has the reason.
    pub(super) fn abandoned(&self) -> bool {
        self.0.lock().end == End::Abandoned
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end(End::Abandoned);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something behind `at`. 0 is the end.
    fn available(&self, at: u64) -> io::Result<u64> {
        let mut state = self.lock();
        loop {
            if state.end == End::Abandoned {
                return Err(io::Error::other("the download was given up"));
            }
            if state.written > at {
                return Ok(state.written - at);
            }
            if state.end == End::Complete {
                return Ok(0);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.shared.available(self.at)?;
        let length = usize::try_from(available).unwrap_or(usize::MAX).min(buffer.len());
        if length == 0 {
            return Ok(0);
        }
        let read = self.file.read_at(&mut buffer[..length], self.at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        (self.position)(self.at);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn scratch() -> (File, File) {
        let mut random = [0; 8];
        getrandom::fill(&mut random).unwrap();
        let path = std::env::temp_dir().join(format!("wharf-tail-{}", hex::encode(random)));
        let writer = File::create(&path).unwrap();
        let reader = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        (writer, reader)
    }

    #[test]
    fn the_reader_waits_at_the_edge_and_sees_everything() {
        let (mut file, read) = scratch();
        let (writer, mut reader) = tail(read, 0, Box::new(|_| ()));
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        let content: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
        let mut written = 0;
        for piece in content.chunks(37_123) {
            file.write_all(piece).unwrap();
            written += piece.len() as u64;
            writer.advance(written);
        }
        writer.complete();
        assert_eq!(reading.join().unwrap().unwrap(), content);
    }

    #[test]
    fn an_abandoned_download_ends_the_reader() {
        let (mut file, read) = scratch();
        let (writer, mut reader) = tail(read, 0, Box::new(|_| ()));
        file.write_all(b"half").unwrap();
        writer.advance(4);
        let mut buffer = [0; 4];
        reader.read_exact(&mut buffer).unwrap();
        let witness = writer.witness();
        assert!(!witness.abandoned());
        drop(writer);
        assert!(witness.abandoned());
        assert!(reader.read(&mut buffer).is_err());
    }
}
