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

/// The calls of one architecture, sorted by name.
pub(super) struct Table(Vec<(&'static str, u32)>);

impl Table {
    pub(super) fn of(architecture: Architecture) -> Table {
        macro_rules! entries {
            ($module:ident) => {{
                let last = syscalls::$module::Sysno::last().id() as usize;
                let known = (0..=last).filter_map(syscalls::$module::Sysno::new);
                known.map(|call| (call.name(), call.id() as u32)).collect::<Vec<_>>()
            }};
        }
        let mut entries = match architecture {
            Architecture::X86_64 => entries!(x86_64),
            Architecture::X32 => x32(entries!(x86_64)),
            Architecture::X86 => entries!(x86),
            Architecture::Aarch64 => entries!(aarch64),
            Architecture::Arm => entries!(arm),
        };
        entries.sort_unstable();
        Table(entries)
    }

    pub(super) fn number(&self, name: &str) -> Option<u32> {
        let found = self.0.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
        Some(self.0[found].1)
    }
}

fn x32(x86_64: Vec<(&'static str, u32)>) -> Vec<(&'static str, u32)> {
    let shared = x86_64.into_iter().filter(|(name, _)| !X32_OWN.iter().any(|(own, _)| own == name));
    shared.chain(X32_OWN.iter().copied()).map(|(name, number)| (name, number | X32_BIT)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_by_architecture() {
        let number = |architecture, name| Table::of(architecture).number(name);
        assert_eq!(number(Architecture::X86_64, "execve"), Some(59));
        assert_eq!(number(Architecture::X86, "execve"), Some(11));
        assert_eq!(number(Architecture::X32, "execve"), Some(X32_BIT | 520));
        assert_eq!(number(Architecture::X32, "read"), Some(X32_BIT));
        assert_eq!(number(Architecture::Aarch64, "execve"), Some(221));
        assert_eq!(number(Architecture::X86_64, "socketcall"), None);
        assert_eq!(number(Architecture::X86, "socketcall"), Some(102));
    }
}
