//! A place on the disk for one test, gone when the test is over, however it ended; a look at what one leaves behind; and a
//! word of what one leaves out.
//!
//! Tests run beside each other in one process, and processes beside each other: a place's name has the process's id and a
//! number of its own. The topic is there for whoever finds one that a killed process left.

mod cgroups;
mod skip;

use std::ffi::OsStr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

pub use cgroups::cgroups;
pub use skip::skip;

/// An empty directory; behaves like its path.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// # Panics
    /// Without a directory there is no test.
    pub fn new(topic: &str) -> Directory {
        Directory::within(&std::env::temp_dir(), topic)
    }

    /// In a place that is not the usual one: on a certain disk.
    ///
    /// # Panics
    /// As [`Directory::new`].
    pub fn within(parent: &Path, topic: &str) -> Directory {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("wharf-{topic}-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap_or_else(|error| panic!("mkdir {}: {error}", path.display()));
        Directory(path)
    }

    /// A file in it, and its path.
    ///
    /// # Panics
    /// Without its file there is no test.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        path
    }
}

impl Deref for Directory {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for Directory {
    fn as_ref(&self) -> &Path {
        self
    }
}

/// As an argument of a command.
impl AsRef<OsStr> for Directory {
    fn as_ref(&self) -> &OsStr {
        self.0.as_os_str()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // The test may have failed for a reason that shows here, too; that reason is told already.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_one_tests_own_and_goes_with_it() {
        let (one, other) = (Directory::new("own"), Directory::new("own"));
        assert_ne!(*one, *other);
        let file = one.file("name", "content");
        assert_eq!(std::fs::read(&file).unwrap(), b"content");
        drop(one);
        assert!(!file.exists() && other.is_dir());
    }
}
