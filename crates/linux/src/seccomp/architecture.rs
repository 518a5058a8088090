//! Which number a system call has on which architecture.

/// An architecture whose calls can be told apart. Others are refused by name where a policy is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Architecture {
    X86_64,
    X86,
    /// 32-bit pointers on x86-64: its calls carry [`X32_BIT`] and are otherwise those of x86-64.
    X32,
    Aarch64,
    Arm,
}

/// Set in the number of every x32 call.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// x32 has its own numbers for calls whose arguments hold pointers or longs.
#[rustfmt::skip]
const X32_OWN: &[(&str, u32)] = &[
    ("rt_sigaction", 512), ("rt_sigreturn", 513), ("ioctl", 514), ("readv", 515), ("writev", 516),
    ("recvfrom", 517), ("sendmsg", 518), ("recvmsg", 519), ("execve", 520), ("ptrace", 521),
    ("rt_sigpending", 522), ("rt_sigtimedwait", 523), ("rt_sigqueueinfo", 524), ("sigaltstack", 525),
    ("timer_create", 526), ("mq_notify", 527), ("kexec_load", 528), ("waitid", 529), ("set_robust_list", 530),
    ("get_robust_list", 531), ("vmsplice", 532), ("move_pages", 533), ("preadv", 534), ("pwritev", 535),
    ("rt_tgsigqueueinfo", 536), ("recvmmsg", 537), ("sendmmsg", 538), ("process_vm_readv", 539),
    ("process_vm_writev", 540), ("setsockopt", 541), ("getsockopt", 542), ("io_setup", 543), ("io_submit", 544),
    ("execveat", 545), ("preadv2", 546), ("pwritev2", 547),
];

/// The numbers that these calls have on x86-64 itself, ascending.
#[rustfmt::skip]
const X32_INSTEAD_OF: &[u32] = &[
    13, 15, 16, 19, 20, 45, 46, 47, 54, 55, 59, 101, 127, 128, 129, 131, 206, 209, 222, 244, 246, 247, 273, 274, 278,
    279, 295, 296, 297, 299, 307, 310, 311, 322, 327, 328,
];

impl Architecture {
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Architecture = Architecture::X86_64;
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Architecture = Architecture::Aarch64;

    /// By the name that seccomp policies use, `SCMP_ARCH_X86_64`.
    pub fn parse(name: &str) -> Option<Architecture> {
        Some(match name.strip_prefix("SCMP_ARCH_")? {
            "X86_64" => Architecture::X86_64,
            "X86" => Architecture::X86,
            "X32" => Architecture::X32,
            "AARCH64" => Architecture::Aarch64,
            "ARM" => Architecture::Arm,
            _ => return None,
        })
    }

    pub fn all() -> [Architecture; 5] {
        use Architecture::*;
        [X86_64, X86, X32, Aarch64, Arm]
    }

    /// Whether this machine's kernel can be called in this architecture at all.
    pub(super) fn runs_here(self) -> bool {
        use Architecture::*;
        let family: &[Architecture] = match Architecture::NATIVE {
            X86_64 | X86 | X32 => &[X86_64, X86, X32],
            Aarch64 | Arm => &[Aarch64, Arm],
        };
        family.contains(&self)
    }

    pub fn name(self) -> &'static str {
        match self {
            Architecture::X86_64 => "SCMP_ARCH_X86_64",
            Architecture::X86 => "SCMP_ARCH_X86",
            Architecture::X32 => "SCMP_ARCH_X32",
            Architecture::Aarch64 => "SCMP_ARCH_AARCH64",
            Architecture::Arm => "SCMP_ARCH_ARM",
        }
    }

    /// `AUDIT_ARCH_…`, which the kernel hands to filters. x32 shares that of x86-64.
    pub(super) fn audit(self) -> u32 {
        match self {
            Architecture::X86_64 | Architecture::X32 => 0xc000_003e,
            Architecture::X86 => 0x4000_0003,
            Architecture::Aarch64 => 0xc000_00b7,
            Architecture::Arm => 0x4000_0028,
        }
    }
}

/// Every call of an architecture by name, numbers ascending.
pub(super) fn calls(architecture: Architecture) -> Vec<(&'static str, u32)> {
    macro_rules! calls {
        ($module:ident) => {{
            let last = syscalls::$module::Sysno::last().id() as usize;
            let known = (0..=last).filter_map(syscalls::$module::Sysno::new);
            known.map(|call| (call.name(), call.id() as u32)).collect::<Vec<_>>()
        }};
    }
    match architecture {
        Architecture::X86_64 => calls!(x86_64),
        Architecture::X32 => x32(calls!(x86_64)),
        Architecture::X86 => calls!(x86),
        Architecture::Aarch64 => calls!(aarch64),
        Architecture::Arm => calls!(arm),
    }
}

/// Its own numbers lie above all that it shares.
fn x32(mut calls: Vec<(&'static str, u32)>) -> Vec<(&'static str, u32)> {
    calls.retain(|(_, number)| X32_INSTEAD_OF.binary_search(number).is_err());
    calls.extend_from_slice(X32_OWN);
    calls.iter_mut().for_each(|(_, number)| *number |= X32_BIT);
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_by_architecture() {
        let number = |architecture, name| {
            let found = calls(architecture).into_iter().find(|(known, _)| *known == name);
            found.map(|(_, number)| number)
        };
        assert_eq!(number(Architecture::X86_64, "execve"), Some(59));
        assert_eq!(number(Architecture::X86, "execve"), Some(11));
        assert_eq!(number(Architecture::X32, "execve"), Some(X32_BIT | 520));
        assert_eq!(number(Architecture::X32, "read"), Some(X32_BIT));
        assert_eq!(number(Architecture::Aarch64, "execve"), Some(221));
        assert_eq!(number(Architecture::X86_64, "socketcall"), None);
        assert_eq!(number(Architecture::X86, "socketcall"), Some(102));
    }

    #[test]
    fn x32_has_each_call_once() {
        let mut own: Vec<&str> = X32_OWN.iter().map(|(name, _)| *name).collect();
        let replaced =
            calls(Architecture::X86_64).into_iter().filter(|(_, number)| X32_INSTEAD_OF.contains(number));
        let mut instead_of: Vec<&str> = replaced.map(|(name, _)| name).collect();
        own.sort_unstable();
        instead_of.sort_unstable();
        assert_eq!(own, instead_of);
    }

    #[test]
    fn numbers_ascend() {
        for architecture in Architecture::all() {
            assert!(calls(architecture).is_sorted_by(|one, other| one.1 < other.1), "{architecture:?}");
        }
    }
}
