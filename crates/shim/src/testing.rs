//! What this crate's unit tests share: places of their own, torn down with them.

use std::collections::BTreeMap;
use std::path::Path;

use scratch::Directory;

use crate::protocol::{Log, LogDriver};

/// A file system that is soon full.
pub(crate) struct SmallDisk(Directory);

impl SmallDisk {
    pub(crate) fn mount(topic: &str, bytes: u64) -> SmallDisk {
        let disk = SmallDisk(Directory::new(topic));
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
