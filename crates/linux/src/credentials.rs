//! Who a process is and what it may do: ids, capabilities, keyrings, no_new_privs (credentials(7)).

use rustix::process::{Gid, Uid};

use crate::error::{Context, check};
use crate::{Errno, Error, Result};

/// A set of capabilities, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Set(pub u64);

#[rustfmt::skip]
const NAMES: [&str; 41] = [
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
];

/// The number of a capability, by its whole name: `CAP_CHOWN`.
pub fn capability(name: &str) -> Option<u32> {
    let short = name.strip_prefix("CAP_")?;
    NAMES.iter().position(|known| *known == short).map(|index| index as u32)
}

/// `CAP_CHOWN` for 0, and so on.
pub fn capability_name(number: u32) -> Option<String> {
    NAMES.get(number as usize).map(|name| format!("CAP_{name}"))
}

/// The names of all capabilities we know, `CAP_CHOWN` first.
pub fn capability_names() -> impl Iterator<Item = String> {
    NAMES.iter().map(|name| format!("CAP_{name}"))
}

impl Set {
    pub fn has(self, capability: u32) -> bool {
        self.0 & (1 << capability) != 0
    }

    pub fn with(self, capability: u32) -> Set {
        Set(self.0 | (1 << capability))
    }

    pub fn and(self, other: Set) -> Set {
        Set(self.0 & other.0)
    }
}

/// The five sets of a thread (capabilities(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    pub bounding: Set,
    pub effective: Set,
    pub permitted: Set,
    pub inheritable: Set,
    pub ambient: Set,
}

/// Highest capability of the running kernel.
pub fn last_capability() -> u32 {
    static LAST: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *LAST.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap_or_default();
        text.trim().parse().unwrap_or(NAMES.len() as u32 - 1).min(63)
    })
}

/// What the calling thread holds.
pub fn held() -> Result<Capabilities> {
    let (effective, permitted, inheritable) = capget()?;
    let mut capabilities = Capabilities { effective, permitted, inheritable, ..Default::default() };
    for capability in 0..=last_capability() {
        if prctl(libc::PR_CAPBSET_READ, capability.into(), 0)? == 1 {
            capabilities.bounding = capabilities.bounding.with(capability);
        }
        if prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_IS_SET as u64, capability.into())? == 1 {
            capabilities.ambient = capabilities.ambient.with(capability);
        }
    }
    Ok(capabilities)
}

/// Drops from the bounding set all that is not in `keep`. Needs `CAP_SETPCAP`: before the other sets shrink.
pub fn limit_bounding(keep: Set) -> Result<()> {
    for capability in 0..=last_capability() {
        if keep.has(capability) {
            continue;
        }
        match prctl(libc::PR_CAPBSET_DROP, capability.into(), 0) {
            // Not to be dropped by everybody; what is not there needs no dropping.
            Err(error)
                if error.is(Errno::PERM) && prctl(libc::PR_CAPBSET_READ, capability.into(), 0)? == 0 => {}
            dropped => drop(dropped?),
        }
    }
    Ok(())
}

/// Sets the three classic sets of the calling thread.
pub fn set(effective: Set, permitted: Set, inheritable: Set) -> Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    let half = |shift: u32| Data {
        effective: (effective.0 >> shift) as u32,
        permitted: (permitted.0 >> shift) as u32,
        inheritable: (inheritable.0 >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: header and two data structs as version 3 of the call wants them.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    check(result, "capset", || format!("effective {:#x}, permitted {:#x}", effective.0, permitted.0))
        .map(drop)
}

/// The ambient set becomes exactly this. Each must be permitted and inheritable.
pub fn set_ambient(ambient: Set) -> Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0)?;
    for capability in (0..64).filter(|capability| ambient.has(*capability)) {
        prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, capability.into())?;
    }
    Ok(())
}

/// Whether capabilities survive a change away from uid 0. Cleared by exec.
pub fn keep_capabilities(keep: bool) -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, keep.into(), 0).map(drop)
}

/// From here on no execution grants privileges, and it cannot be undone.
pub fn set_no_new_privs() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

/// The effective user id.
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The effective group id.
pub fn group() -> u32 {
    rustix::process::getegid().as_raw()
}

/// All three user ids of the calling thread.
pub fn set_user(uid: u32) -> Result<()> {
    let id = Uid::from_raw(valid(uid, "setresuid")?);
    rustix::thread::set_thread_res_uid(id, id, id).context("setresuid", || uid)
}

/// All three group ids of the calling thread.
pub fn set_group(gid: u32) -> Result<()> {
    let id = Gid::from_raw(valid(gid, "setresgid")?);
    rustix::thread::set_thread_res_gid(id, id, id).context("setresgid", || gid)
}

/// The supplementary groups of the calling thread.
pub fn set_groups(groups: &[u32]) -> Result<()> {
    for group in groups {
        valid(*group, "setgroups")?;
    }
    let ids: Vec<Gid> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
    rustix::thread::set_thread_groups(&ids).context("setgroups", || format!("{groups:?}"))
}

/// Works on files as this user and group, with the capabilities that the calling thread has now. What a file system
/// keeps of its maker (overlayfs does) and the owner of new files are then theirs.
pub fn as_owner<T>(uid: u32, gid: u32, work: impl FnOnce() -> T) -> Result<T> {
    let (effective, permitted, inheritable) = capget()?;
    let own = FileIds { user: user(), group: group(), capabilities: (effective, permitted, inheritable) };
    set_file_ids(valid(uid, "setfsuid")?, valid(gid, "setfsgid")?)?;
    // Leaving uid 0 has taken those away that are about files.
    set(effective, permitted, inheritable)?;
    let done = work();
    drop(own);
    Ok(done)
}

/// Puts back what [`as_owner`] has changed, also after a panic.
struct FileIds {
    user: u32,
    group: u32,
    capabilities: (Set, Set, Set),
}

impl Drop for FileIds {
    fn drop(&mut self) {
        let (effective, permitted, inheritable) = self.capabilities;
        set_file_ids(self.user, self.group)
            .and_then(|()| set(effective, permitted, inheritable))
            .expect("a thread may always go back to the ids and capabilities that it has");
    }
}

/// The two calls report no errors, but what was before.
fn set_file_ids(uid: u32, gid: u32) -> Result<()> {
    // SAFETY: plain numbers, of the calling thread alone; -1 is no id and changes nothing.
    let is = unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
        (libc::setfsuid(u32::MAX) as u32, libc::setfsgid(u32::MAX) as u32)
    };
    if is == (uid, gid) {
        Ok(())
    } else {
        Err(Error::new("setfsuid", format_args!("{uid}, {gid}"), Errno::PERM))
    }
}

/// 2³²-1 means "leave as it is" to the kernel: whoever asks for that user would stay root.
fn valid(id: u32, call: &'static str) -> Result<u32> {
    if id == u32::MAX { Err(Error::new(call, id, Errno::INVAL)) } else { Ok(id) }
}

/// A session keyring of this name for the calling process, so that it does not share its parent's.
pub fn new_session_keyring(name: &str) -> Result<i32> {
    const JOIN_SESSION_KEYRING: i32 = 1;
    let text = std::ffi::CString::new(name)
        .map_err(|_| Error::new("keyctl", format_args!("{name:?}"), Errno::INVAL))?;
    // SAFETY: a C string that lives through the call.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, text.as_ptr(), 0, 0, 0) };
    check(result, "keyctl", || format!("KEYCTL_JOIN_SESSION_KEYRING, {name:?}")).map(|id| id as i32)
}

const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn capget() -> Result<(Set, Set, Set)> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: header and room for two data structs as version 3 of the call wants them.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) }, "capget", || "")?;
    let join = |low: u32, high: u32| Set(u64::from(low) | u64::from(high) << 32);
    Ok((
        join(data[0].effective, data[1].effective),
        join(data[0].permitted, data[1].permitted),
        join(data[0].inheritable, data[1].inheritable),
    ))
}

fn prctl(option: i32, second: u64, third: u64) -> Result<i64> {
    // SAFETY: these options take plain numbers; unused ones are zero.
    let result = unsafe { libc::prctl(option, second, third, 0 as libc::c_ulong, 0 as libc::c_ulong) };
    check(i64::from(result), "prctl", || format!("{option}, {second}, {third}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_they_are_spelled() {
        assert_eq!(capability("CAP_SYS_ADMIN"), Some(21));
        for name in ["CAP_ROOT", "SYS_ADMIN", "cap_sys_admin"] {
            assert_eq!(capability(name), None, "{name}");
        }
        assert_eq!(capability_name(40).as_deref(), Some("CAP_CHECKPOINT_RESTORE"));
    }

    #[test]
    fn a_thread_sheds_what_it_holds() {
        std::thread::spawn(|| {
            let chown = Set(1);
            limit_bounding(chown).unwrap();
            set(chown, chown, chown).unwrap();
            set_ambient(chown).unwrap();
            let now = held().unwrap();
            assert_eq!(
                [now.bounding, now.effective, now.permitted, now.inheritable, now.ambient],
                [chown; 5]
            );
        })
        .join()
        .unwrap();
    }

    #[test]
    fn files_are_made_for_somebody_else_for_a_while() {
        use std::os::unix::fs::MetadataExt;
        let path = std::env::temp_dir().join(format!("wharf-owner-{}", std::process::id()));
        let before = held().unwrap();
        let made = as_owner(70_000, 70_001, || {
            assert_eq!(held().unwrap(), before);
            std::fs::write(&path, "")
        });
        made.unwrap().unwrap();
        let found = std::fs::metadata(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((found.uid(), found.gid()), (70_000, 70_001));
        assert_eq!(held().unwrap(), before);
    }

    #[test]
    fn the_id_that_means_unchanged_is_refused() {
        assert!(set_user(u32::MAX).unwrap_err().is(Errno::INVAL));
        assert!(set_groups(&[1, u32::MAX]).unwrap_err().is(Errno::INVAL));
    }
}
