//! Project quotas: how much a directory tree may hold, where the file system counts that (xfs, ext4, f2fs).
//!
//! A tree belongs to a project by a number that each of its inodes carries and that new ones inherit. Limits are set per
//! number, by quotactl_fd(2) (Linux 5.14) and the calls that xfs has had first (`Q_X…`, quotactl(2)) and that the kernel
//! translates for others. What exceeds a hard limit gets ENOSPC from xfs and EDQUOT from ext4.

use std::os::fd::{AsFd, AsRawFd};

use crate::error::check;
use crate::{Errno, Result};

/// `struct fsxattr`.
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

const FS_IOC_FSGETXATTR: libc::Ioctl = 0x801c_581f;
const FS_IOC_FSSETXATTR: libc::Ioctl = 0x401c_5820;
const FS_XFLAG_PROJINHERIT: u32 = 0x200;

/// `struct fs_disk_quota`: limits and use of one id. Blocks are of 512 bytes.
#[repr(C)]
#[derive(Default)]
struct DiskQuota {
    version: i8,
    flags: i8,
    fields: u16,
    id: u32,
    blocks_hard: u64,
    blocks_soft: u64,
    inodes_hard: u64,
    inodes_soft: u64,
    blocks: u64,
    inodes: u64,
    timers: [i32; 2],
    warnings: [u16; 2],
    times_high: [i8; 4],
    realtime_hard: u64,
    realtime_soft: u64,
    realtime_blocks: u64,
    realtime_timer: i32,
    realtime_warnings: u16,
    padding: [u8; 10],
}

const FS_DQUOT_VERSION: i8 = 1;
const FS_PROJ_QUOTA: i8 = 2;
const FS_DQ_BSOFT: u16 = 1 << 2;
const FS_DQ_BHARD: u16 = 1 << 3;
const BLOCK: u64 = 512;

/// `struct fs_quota_statv`.
#[repr(C)]
#[derive(Default)]
struct State {
    version: i8,
    padding: u8,
    flags: u16,
    open_dquots: u32,
    files: [[u64; 3]; 3],
    times: [i32; 3],
    warnings: [u16; 4],
    more: [u64; 7],
}

const FS_QSTATV_VERSION: i8 = 1;
const FS_QUOTA_PDQ_ACCT: u16 = 1 << 4;
const FS_QUOTA_PDQ_ENFD: u16 = 1 << 5;

const PRJQUOTA: u32 = 2;
const Q_XGETQUOTA: u32 = command(3);
const Q_XSETQLIM: u32 = command(4);
const Q_XGETQSTATV: u32 = command(8);

const fn command(number: u32) -> u32 {
    ((b'X' as u32) << 8 | number) << 8 | PRJQUOTA
}

/// A project's limit and use, in bytes; no limit is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Project {
    pub limit: u64,
    pub used: u64,
    pub inodes: u64,
}

/// Whether the file system of `handle` counts by project and holds to the limits.
pub fn is_enforced(handle: impl AsFd) -> Result<bool> {
    let mut state = State { version: FS_QSTATV_VERSION, ..State::default() };
    // SAFETY: Q_XGETQSTATV fills a struct of this layout and version.
    match unsafe { quotactl(handle, Q_XGETQSTATV, 0, (&raw mut state).cast()) } {
        Ok(()) => {
            Ok(state.flags & (FS_QUOTA_PDQ_ACCT | FS_QUOTA_PDQ_ENFD) == FS_QUOTA_PDQ_ACCT | FS_QUOTA_PDQ_ENFD)
        }
        Err(error) if is_unknown(error.errno()) => Ok(false),
        Err(error) => Err(error),
    }
}

/// No quotas in this kernel, on this file system, or for us.
fn is_unknown(errno: Errno) -> bool {
    [Errno::NOSYS, Errno::NOTTY, Errno::OPNOTSUPP, Errno::INVAL, Errno::SRCH, Errno::PERM].contains(&errno)
}

/// What the file system of `handle` knows of a project; nothing, if it never heard of it.
pub fn project(handle: impl AsFd, id: u32) -> Result<Project> {
    let mut quota = DiskQuota { version: FS_DQUOT_VERSION, ..DiskQuota::default() };
    // SAFETY: Q_XGETQUOTA fills a struct of this layout.
    match unsafe { quotactl(handle, Q_XGETQUOTA, id, (&raw mut quota).cast()) } {
        Ok(()) => Ok(Project {
            limit: quota.blocks_hard.saturating_mul(BLOCK),
            used: quota.blocks.saturating_mul(BLOCK),
            inodes: quota.inodes,
        }),
        Err(error) if error.is(Errno::NOENT) => Ok(Project::default()),
        Err(error) => Err(error),
    }
}

/// Limits what all trees of a project hold together; 0 takes the limit away.
pub fn set_limit(handle: impl AsFd, id: u32, bytes: u64) -> Result<()> {
    let blocks = bytes / BLOCK;
    let mut quota = DiskQuota {
        version: FS_DQUOT_VERSION,
        flags: FS_PROJ_QUOTA,
        fields: FS_DQ_BHARD | FS_DQ_BSOFT,
        id,
        blocks_hard: blocks,
        blocks_soft: blocks,
        ..DiskQuota::default()
    };
    // SAFETY: Q_XSETQLIM reads a struct of this layout.
    unsafe { quotactl(handle, Q_XSETQLIM, id, (&raw mut quota).cast()) }
}

/// The project that a directory or file belongs to; 0 is none.
pub fn project_of(handle: impl AsFd) -> Result<u32> {
    match attributes(handle) {
        Ok(attributes) => Ok(attributes.project),
        // A file system that has no such thing.
        Err(error) if is_unknown(error.errno()) => Ok(0),
        Err(error) => Err(error),
    }
}

/// A directory belongs to a project from now on, and so does what is made in it.
pub fn set_project(directory: impl AsFd, project: u32) -> Result<()> {
    let mut attributes = attributes(&directory)?;
    attributes.project = project;
    attributes.flags |= FS_XFLAG_PROJINHERIT;
    let raw = directory.as_fd().as_raw_fd();
    // SAFETY: FS_IOC_FSSETXATTR reads a struct of this layout.
    let result = unsafe { libc::ioctl(raw, FS_IOC_FSSETXATTR, &raw const attributes) };
    check(i64::from(result), "ioctl", || format!("FS_IOC_FSSETXATTR, project {project}")).map(drop)
}

fn attributes(handle: impl AsFd) -> Result<Attributes> {
    let mut attributes = Attributes::default();
    let raw = handle.as_fd().as_raw_fd();
    // SAFETY: FS_IOC_FSGETXATTR fills a struct of this layout.
    let result = unsafe { libc::ioctl(raw, FS_IOC_FSGETXATTR, &raw mut attributes) };
    check(i64::from(result), "ioctl", || "FS_IOC_FSGETXATTR").map(|_| attributes)
}

/// # Safety
/// `address` is what the command reads or fills.
unsafe fn quotactl(handle: impl AsFd, command: u32, id: u32, address: *mut libc::c_void) -> Result<()> {
    let raw = handle.as_fd().as_raw_fd();
    // SAFETY: by the contract above; the descriptor is open.
    let result = unsafe { libc::syscall(libc::SYS_quotactl_fd, raw, command, id, address) };
    check(result, "quotactl_fd", || format!("{command:#x}, project {id}")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_structs_have_their_sizes() {
        assert_eq!(size_of::<Attributes>(), 28);
        assert_eq!(size_of::<DiskQuota>(), 112);
        assert_eq!(size_of::<State>(), 160);
        assert_eq!(Q_XSETQLIM, 0x58_0402);
    }

    #[test]
    fn a_file_system_without_quotas_says_so() {
        let proc = std::fs::File::open("/proc/self").unwrap();
        assert_eq!(is_enforced(&proc), Ok(false));
        assert_eq!(project_of(&proc), Ok(0));
        assert!(set_project(&proc, 1).is_err());
    }
}
