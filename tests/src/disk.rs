//! A small disk of a test's own, that can be filled to its last block.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// An ext4 file system of 64 MB on a file, unmounted at the end.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    pub fn mount() -> SmallDisk {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let disk =
            SmallDisk(std::env::temp_dir().join(format!("wharf-small-{}-{number}", std::process::id())));
        std::fs::create_dir_all(disk.path()).expect("the temporary directory is writable");
        let (image, path) = (disk.image().display().to_string(), disk.path().display().to_string());
        // Without blocks that only root may take: we are root.
        sh(&format!("truncate -s 64M {image} && mkfs.ext4 -q -m 0 {image} && mount -o loop {image} {path}"));
        // ext4 keeps some blocks for its own use, by which a full disk still takes directories.
        sh(&format!("echo 0 > /sys/fs/ext4/$(basename $(findmnt -no SOURCE {path}))/reserved_clusters"));
        disk
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    fn image(&self) -> PathBuf {
        self.0.with_extension("img")
    }

    /// Until no block is left: in large pieces first, then in single blocks.
    pub fn fill(&self) {
        let path = self.path().display();
        for _ in 0..10 {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            sh(&format!("! cat /dev/zero > {path}/filler-{number}-1 2> /dev/null; sync -f {path}"));
            sh(&format!("! dd if=/dev/zero of={path}/filler-{number}-2 bs=1k conv=fsync 2> /dev/null"));
            if self.free_blocks() == 0 {
                return;
            }
        }
        panic!("{path} does not fill: {} blocks are free", self.free_blocks());
    }

    pub fn empty(&self) {
        sh(&format!("rm {}/filler-*", self.path().display()));
    }

    pub fn free_blocks(&self) -> u64 {
        let blocks = sh(&format!("stat -f -c %f {}", self.path().display()));
        blocks.trim().parse().expect("stat prints a number")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let (image, path) = (self.image().display().to_string(), self.path().display().to_string());
        sh(&format!("umount {path} || umount -l {path}; rmdir {path}; rm {image}"));
    }
}

/// A file system on a file that counts by project, unmounted at the end.
#[derive(Debug)]
pub struct CountedDisk(PathBuf);

impl CountedDisk {
    /// None, and a word about it, where the kernel or the machine has no such thing. `kind`: `xfs` or `ext4`.
    pub fn mount(kind: &str) -> Option<CountedDisk> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let disk =
            CountedDisk(std::env::temp_dir().join(format!("wharf-counted-{}-{number}", std::process::id())));
        std::fs::create_dir_all(disk.path()).expect("the temporary directory is writable");
        let (image, path) = (disk.image().display().to_string(), disk.path().display().to_string());
        let make = match kind {
            "xfs" => "mkfs.xfs -q",
            _ => "mkfs.ext4 -q -O quota,project -E quotatype=usrquota:grpquota:prjquota",
        };
        let script =
            format!("truncate -s 400M {image} && {make} {image} && mount -o loop,prjquota {image} {path}");
        let output = Command::new("sh").args(["-ec", &script]).output().expect("sh runs");
        if output.status.success() {
            return Some(disk);
        }
        let _ = (std::fs::remove_dir(disk.path()), std::fs::remove_file(disk.image()));
        std::mem::forget(disk);
        let why = String::from_utf8_lossy(&output.stderr);
        scratch::skip(&format!("no {kind} with project quotas: {}", why.trim()));
        None
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    fn image(&self) -> PathBuf {
        self.0.with_extension("img")
    }
}

impl Drop for CountedDisk {
    fn drop(&mut self) {
        let (image, path) = (self.image().display().to_string(), self.path().display().to_string());
        sh(&format!("umount {path} || umount -l {path}; rmdir {path}; rm {image}"));
    }
}

/// Runs a script; the test fails when it does. Gives what it prints.
#[track_caller]
pub fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().expect("sh runs");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
