//! Compresses a rotated log file in small steps, so that a single-threaded shim stays responsive.
//!
//! The result appears under its name only when it is whole; until then the plain file is the log. A shim that
//! dies half-way leaves `<log>.gz.partial`, which the next compression overwrites.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::Compression as Level;
use flate2::write::GzEncoder;

use crate::paths;

/// Input per step: about a millisecond of work.
const STEP: usize = 32 << 10;

/// A rotated file on its way to become `.gz`, a piece at a time.
pub struct Compression {
    log: PathBuf,
    input: File,
    output: GzEncoder<File>,
}

impl Compression {
    /// Begins with `<log>.1`.
    pub fn start(log: &Path) -> io::Result<Compression> {
        let input = File::open(paths::log_segment(log, 1))?;
        let mut options = OpenOptions::new();
        let output =
            options.create(true).write(true).truncate(true).mode(0o640).open(paths::log_compressing(log))?;
        Ok(Compression { log: log.to_owned(), input, output: GzEncoder::new(output, Level::default()) })
    }

    /// True while there is more to do. After `false` or an error it is over.
    pub fn step(&mut self) -> io::Result<bool> {
        let mut chunk = [0; STEP];
        let result = self.advance(&mut chunk);
        if result.is_err() {
            let _ = std::fs::remove_file(paths::log_compressing(&self.log));
        }
        result
    }

    fn advance(&mut self, chunk: &mut [u8]) -> io::Result<bool> {
        let count = self.input.read(chunk)?;
        if count > 0 {
            linux::fault::io("log: compress")?;
            self.output.write_all(&chunk[..count])?;
            return Ok(true);
        }
        self.output.try_finish()?;
        linux::fault::io("log: place what is compressed")?;
        std::fs::rename(paths::log_compressing(&self.log), paths::log_compressed(&self.log, 1))?;
        std::fs::remove_file(paths::log_segment(&self.log, 1))?;
        let _ = std::fs::remove_file(paths::log_index(&self.log, 1));
        Ok(false)
    }
}
