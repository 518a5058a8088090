//! What the running kernel can do, where that differs among those that we run on.
//!
//! Version numbers tell little: distributions carry newer calls into older kernels. So what nothing works without is
//! called once, when the engine starts ([`check`]), and whatever has a fallback is tried where it is used.
//!
//! A debug build can be told to find an older kernel: where `WHARF_KERNEL=6.1` is set, a [`Feature`] of a later version
//! fails as it does there. Calls that are missing as a whole are not among them: a test takes those away by a filter
//! (seccomp(2)) that it starts the engine under. A release build looks at nothing.

use crate::{Errno, Error, Result};

/// The oldest kernel that all is meant to work on.
pub const OLDEST: &str = "5.15";

/// Calls without which there is no container, the version that brought them, and arguments that come to nothing.
const NEEDED: [(&str, libc::c_long, &str, [u32; 3]); 8] = [
    ("fsopen", libc::SYS_fsopen, "5.2", [0, 0, 0]),
    ("open_tree", libc::SYS_open_tree, "5.2", [u32::MAX, 0, 0]),
    ("move_mount", libc::SYS_move_mount, "5.2", [u32::MAX, 0, u32::MAX]),
    ("pidfd_open", libc::SYS_pidfd_open, "5.3", [0, 0, 0]),
    ("clone3", libc::SYS_clone3, "5.3", [0, 0, 0]),
    ("openat2", libc::SYS_openat2, "5.6", [u32::MAX, 0, 0]),
    ("close_range", libc::SYS_close_range, "5.9", [1, 0, 0]),
    ("mount_setattr", libc::SYS_mount_setattr, "5.12", [u32::MAX, 0, 0]),
];

/// What newer kernels do better. Each has a fallback, or an error that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Overlay takes id-mapped mounts as layers.
    MappedLayers,
    /// Overlay takes its layers one by one (`lowerdir+`).
    LayerByLayer,
    /// open_tree(2) copies detached mounts, and overlay takes them as layers.
    DetachedSources,
    /// `cgroup.kill`. Older than [`OLDEST`] upstream, but not in each kernel with that name.
    CgroupKill,
}

impl Feature {
    #[cfg(debug_assertions)]
    fn since(self) -> (u32, u32) {
        match self {
            Feature::CgroupKill => (5, 14),
            Feature::MappedLayers => (5, 19),
            Feature::LayerByLayer => (6, 5),
            Feature::DetachedSources => (6, 15),
        }
    }

    /// Whether a test wants it to be missing.
    #[inline]
    pub fn is_missing(self) -> bool {
        #[cfg(debug_assertions)]
        return pretended::version().is_some_and(|version| version < self.since());
        #[cfg(not(debug_assertions))]
        false
    }

    /// Fails as the call does on a kernel without it.
    #[inline]
    pub(crate) fn need(self, call: &'static str, args: &'static str) -> Result<()> {
        if self.is_missing() { Err(Error::new(call, args, Errno::INVAL)) } else { Ok(()) }
    }
}

/// The first call that is needed and missing, told in one sentence.
pub fn check() -> std::result::Result<(), String> {
    for (name, number, since, arguments) in NEEDED {
        let [a, b, c] = arguments;
        // SAFETY: no pointer but null, no descriptor that is open, no length but 0: each call refuses its arguments.
        let result = unsafe { libc::syscall(number, a, b, c, 0, 0, 0) };
        if result < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) {
            let release = rustix::system::uname().release().to_string_lossy().into_owned();
            return Err(format!(
                "this kernel ({release}) has no {name}(2), or a filter keeps it from us: Linux has it since {since}, \
                 and Wharf needs Linux {OLDEST} or newer"
            ));
        }
    }
    Ok(())
}

#[cfg(debug_assertions)]
mod pretended {
    use std::sync::OnceLock;

    pub(super) fn version() -> Option<(u32, u32)> {
        static VERSION: OnceLock<Option<(u32, u32)>> = OnceLock::new();
        *VERSION.get_or_init(|| parse(&std::env::var("WHARF_KERNEL").ok()?))
    }

    pub(super) fn parse(text: &str) -> Option<(u32, u32)> {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_has_what_is_needed() {
        assert_eq!(check(), Ok(()));
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(pretended::parse("5.9") < pretended::parse("5.14"));
        assert_eq!(pretended::parse("6"), None);
    }
}
