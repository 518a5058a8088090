//! The file with the engine's process id.
//!
//! Its owner holds a lock on it for as long as it lives, which the kernel lets go when it dies: a file that was left
//! behind is stale however its number may be in use again.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A process that an engine was just starting when it was killed shares its locks and sockets until it executes its own
/// program: whoever finds them taken looks again for this long.
pub(crate) const INHERITANCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    _locked: File,
}

impl PidFile {
    pub(crate) fn create(path: &Path) -> Result<PidFile, String> {
        let failed =
            |error: std::io::Error| format!("failed to start daemon: pid file {}: {error}", path.display());
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let deadline = Instant::now() + INHERITANCE;
        let locked = loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                other => break other,
            }
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // Only for the message.
                let _ = file.read_to_string(&mut owner);
                return Err(format!(
                    "failed to start daemon, ensure wharfd is not running or delete {}: process with PID {} is still running",
                    path.display(),
                    owner.trim()
                ));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        write!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(PidFile { path: path.to_owned(), _locked: file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // While the lock is held nobody else can have made it theirs.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_and_no_stale_file() {
        let directory = scratch::Directory::new("pidfile");
        let path = directory.file("pid", "1");
        let first = PidFile::create(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        let error = PidFile::create(&path).unwrap_err();
        assert!(
            error.contains(&format!("process with PID {} is still running", std::process::id())),
            "{error}"
        );
        drop(first);
        assert!(!path.exists());
    }
}
