//! File systems as a whole: room, syncing, limits per directory tree.

use std::os::fd::{AsFd, AsRawFd};

use crate::Result;
use crate::error::{Context, check};

/// Room on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub total: u64,
    /// For unprivileged users.
    pub available: u64,
}

pub fn room(handle: impl AsFd) -> Result<Room> {
    let stat = rustix::fs::fstatvfs(handle).context("fstatvfs", || "")?;
    Ok(Room {
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
        available: stat.f_bavail.saturating_mul(stat.f_frsize),
    })
}

/// The magic number of the file system's type (statfs(2)).
pub fn magic(handle: impl AsFd) -> Result<i64> {
    Ok(rustix::fs::fstatfs(handle).context("fstatfs", || "")?.f_type)
}

/// Everything written to the file system that holds `file` is on the disk afterwards.
pub fn sync_file_system(file: impl AsFd) -> Result<()> {
    rustix::fs::syncfs(file).context("syncfs", || "")
}

/// A project id for a directory, inherited by what is made below it: what quotas count by (ext4, xfs).
pub fn set_project(directory: impl AsFd, project: u32) -> Result<()> {
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        flags: u32,
        extent_size: u32,
        extents: u32,
        project: u32,
        cow_extent_size: u32,
        padding: [u8; 8],
    }
    const GET: libc::Ioctl = 0x801c_581f;
    const SET: libc::Ioctl = 0x401c_5820;
    const INHERIT: u32 = 0x200;
    let raw = directory.as_fd().as_raw_fd();
    let mut attributes = Attributes::default();
    // SAFETY: FS_IOC_FSGETXATTR fills a struct of this layout.
    check(i64::from(unsafe { libc::ioctl(raw, GET, &raw mut attributes) }), "ioctl", || "FS_IOC_FSGETXATTR")?;
    attributes.project = project;
    attributes.flags |= INHERIT;
    // SAFETY: FS_IOC_FSSETXATTR reads a struct of this layout.
    let result = unsafe { libc::ioctl(raw, SET, &raw const attributes) };
    check(i64::from(result), "ioctl", || format!("FS_IOC_FSSETXATTR, project {project}")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_somewhere() {
        let root = std::fs::File::open("/").unwrap();
        let room = room(&root).unwrap();
        assert!(room.total > 0 && room.available <= room.total);
        assert_ne!(magic(&root).unwrap(), 0);
    }
}
