//! What this crate's unit tests share: places of their own, torn down with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::protocol::{Log, LogDriver};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A directory that is gone when the value is.
pub(crate) struct Scratch(PathBuf);

pub(crate) fn scratch(topic: &str) -> Scratch {
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("wharf-shim-{topic}-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    Scratch(path)
}

impl std::ops::Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A file system that is soon full.
pub(crate) struct SmallDisk(Scratch);

impl SmallDisk {
    pub(crate) fn mount(topic: &str, bytes: u64) -> SmallDisk {
        let disk = SmallDisk(scratch(topic));
        disk.run("mount", &["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]);
        disk
    }

    pub(crate) fn grow(&self, bytes: u64) {
        self.run("mount", &["-o", &format!("remount,size={bytes}")]);
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn run(&self, program: &str, args: &[&str]) {
        let status = std::process::Command::new(program).args(args).arg(self.path()).status().unwrap();
        assert!(status.success(), "{program} {args:?}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.run("umount", &["-l"]);
    }
}

/// A json-file log named `log` in `dir`, never rotated.
pub(crate) fn log_options(dir: &Path) -> Log {
    Log {
        driver: LogDriver::JsonFile,
        path: dir.join("log"),
        max_size: None,
        max_files: 1,
        compress: false,
        attributes: BTreeMap::new(),
        remote: None,
    }
}
