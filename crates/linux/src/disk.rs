//! File systems as a whole: room, syncing, placing.

use std::os::fd::AsFd;

use rustix::fs::IFlags;

use crate::error::Context;
use crate::{Errno, Result};

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

/// Has the kernel begin to read so much of a file into memory, and does not wait (posix_fadvise(2)).
pub fn read_ahead(file: impl AsFd, bytes: u64) -> Result<()> {
    let length = std::num::NonZeroU64::new(bytes);
    rustix::fs::fadvise(file, 0, length, rustix::fs::Advice::WillNeed)
        .context("posix_fadvise", || format!("POSIX_FADV_WILLNEED, {bytes} bytes"))
}

/// Everything written to the file system that holds `file` is on the disk afterwards.
pub fn sync_file_system(file: impl AsFd) -> Result<()> {
    rustix::fs::syncfs(file).context("syncfs", || "")
}

/// Asks the file system to place what is made in this directory apart from each other, as trees that have nothing in common
/// (`FS_TOPDIR_FL`, ext2 to ext4; chattr(1) `+T`). Others know no such thing, and that is no error.
pub fn place_apart(directory: impl AsFd) -> Result<()> {
    let flags = match rustix::fs::ioctl_getflags(&directory) {
        Ok(flags) if flags.contains(IFlags::TOPDIR) => return Ok(()),
        Ok(flags) => flags,
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL) => return Ok(()),
        Err(error) => return Err(error).context("ioctl", || "FS_IOC_GETFLAGS"),
    };
    match rustix::fs::ioctl_setflags(&directory, flags | IFlags::TOPDIR) {
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL) => Ok(()),
        done => done.context("ioctl", || "FS_IOC_SETFLAGS, FS_TOPDIR_FL"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_placed_apart_where_the_file_system_can() {
        let path = scratch::Directory::new("apart");
        let directory = std::fs::File::open(&path).unwrap();
        // Once more changes nothing.
        place_apart(&directory).unwrap();
        place_apart(&directory).unwrap();
        const EXT4: i64 = 0xef53;
        if magic(&directory).unwrap() == EXT4 {
            assert!(rustix::fs::ioctl_getflags(&directory).unwrap().contains(IFlags::TOPDIR));
        }
        // procfs has no such flags.
        place_apart(std::fs::File::open("/proc/self").unwrap()).unwrap();
    }

    #[test]
    fn there_is_room_somewhere() {
        let root = std::fs::File::open("/").unwrap();
        let room = room(&root).unwrap();
        assert!(room.total > 0 && room.available <= room.total);
        assert_ne!(magic(&root).unwrap(), 0);
    }
}
