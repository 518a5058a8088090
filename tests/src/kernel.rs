//! Older kernels than the one that the tests run on, as far as a process can tell.
//!
//! System calls that came later answer `ENOSYS`: since Linux 5.1 new calls have the same, ascending numbers on all
//! architectures, so a filter (seccomp(2)) of four instructions does it. It is put on the engine before it starts, and
//! what it starts inherits it: shims, containers, whatever is executed in them. What came as a new meaning of an old
//! call is left to debug builds, which read `WHARF_KERNEL`.

/// A kernel by what it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    version: &'static str,
    /// The number of the first call that it does not know.
    first_unknown: u32,
}

impl Kernel {
    /// Debian 12's: all up to set_mempolicy_home_node(2).
    pub const LINUX_6_1: Kernel = Kernel { version: "6.1", first_unknown: 451 };
    /// The oldest that is meant to work: all up to process_mrelease(2).
    pub const LINUX_5_15: Kernel = Kernel { version: "5.15", first_unknown: 449 };
    /// Too old: all up to process_madvise(2).
    pub const LINUX_5_10: Kernel = Kernel { version: "5.10", first_unknown: 441 };

    pub fn version(self) -> &'static str {
        self.version
    }

    /// A command line that runs what follows it on this kernel. The variable `WHARF_KERNEL` belongs to it.
    pub fn launcher(self) -> [String; 4] {
        ["python3", "-c", LAUNCHER, &self.first_unknown.to_string()].map(str::to_owned)
    }
}

/// `if number >= first { ENOSYS } else { allow }`, then the program.
const LAUNCHER: &str = r#"
import ctypes, os, struct, sys
first, program = int(sys.argv[1]), sys.argv[2:]
LOAD, AT_LEAST, RETURN = 0x20, 0x35, 0x06
code = [(LOAD, 0, 0, 0), (AT_LEAST, 0, 1, first), (RETURN, 0, 0, 0x50000 | 38), (RETURN, 0, 0, 0x7fff0000)]
filter = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in code))
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, struct.pack("@HP", len(code), ctypes.addressof(filter))):
    sys.exit("prctl: " + os.strerror(ctypes.get_errno()))
os.execv(program[0], program)
"#;
