//! System call filters: from rules by name to a loaded program (seccomp(2)).
//!
//! A [`Filter`] says in the kernel's own terms what to do with which call under which conditions on its
//! arguments. [`Filter::compile`] turns it into a classic BPF program per architecture: a binary search over
//! ranges of call numbers instead of a chain through all of them, so the default profile of a container takes a
//! few hundred instructions and about eight comparisons per call.
//!
//! Where rules disagree on one call, an unconditional one wins over conditional ones, and the earlier one over
//! the later: what libseccomp does, which the profiles in circulation were written for.

mod architecture;
mod compile;

use std::os::fd::{FromRawFd, OwnedFd};

pub use architecture::Architecture;

use crate::error::check;
use crate::{Errno, Error, Result};

/// What happens to a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    KillProcess,
    KillThread,
    Trap,
    /// Not executed; the caller sees this errno.
    Errno(u16),
    /// A tracer is asked, and told this number.
    Trace(u16),
    Log,
    Allow,
    /// The holder of the listener decides.
    Notify,
}

impl Action {
    fn code(self) -> u32 {
        match self {
            Action::KillProcess => 0x8000_0000,
            Action::KillThread => 0,
            Action::Trap => 0x0003_0000,
            Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Action::Trace(message) => 0x7ff0_0000 | u32::from(message),
            Action::Log => 0x7ffc_0000,
            Action::Allow => 0x7fff_0000,
            Action::Notify => 0x7fc0_0000,
        }
    }

    /// Whether a call that nobody thought of gets through, or to somebody who can decide.
    fn lets_through(self) -> bool {
        matches!(self, Action::Allow | Action::Log | Action::Trace(_))
    }
}

/// How an argument compares. Arguments are 64 bits, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compare {
    Equal(u64),
    NotEqual(u64),
    Less(u64),
    LessOrEqual(u64),
    Greater(u64),
    GreaterOrEqual(u64),
    /// `argument & mask == value`
    Masked {
        mask: u64,
        value: u64,
    },
}

/// Something that an argument of a call has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Condition {
    /// 0 to 5.
    pub argument: u8,
    pub compare: Compare,
}

/// What is done about some calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule<'a> {
    /// Names that an architecture does not have are skipped there.
    pub calls: Vec<&'a str>,
    pub action: Action,
    /// All must hold.
    pub conditions: Vec<Condition>,
}

/// A whole policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter<'a> {
    /// For calls that no rule matches.
    pub default: Action,
    /// Besides the machine's own. A call made in another one kills the thread.
    pub architectures: Vec<Architecture>,
    pub rules: Vec<Rule<'a>>,
}

impl Filter<'_> {
    /// Calls with a number above all that the rules mention answer `ENOSYS` where the default refuses them: a
    /// program then falls back to an older call instead of giving up.
    pub fn compile(&self) -> Result<Program> {
        compile::program(self)
    }
}

/// One instruction, as the kernel takes it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u16,
    jump_true: u8,
    jump_false: u8,
    value: u32,
}

/// The kernel's limit (`BPF_MAXINSNS`).
const MAX_INSTRUCTIONS: usize = 4096;

/// A filter for classic BPF, ready to be loaded (seccomp(2)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    instructions: Vec<Instruction>,
}

/// How a program is loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// Every thread of the process, not only the calling one.
    pub all_threads: bool,
    /// Refused calls are logged.
    pub log: bool,
    /// Leave speculative store bypass as it is.
    pub allow_speculation: bool,
    /// A listener is made for [`Action::Notify`].
    pub listener: bool,
    /// While a listener handles a call, only fatal signals interrupt it.
    pub wait_killable: bool,
}

impl Program {
    /// How many instructions it takes.
    pub fn length(&self) -> usize {
        self.instructions.len()
    }

    /// Filters the calling thread from here on, for good. Needs `CAP_SYS_ADMIN` or no_new_privs. Returns the
    /// listener if one was asked for.
    pub fn load(&self, flags: Flags) -> Result<Option<OwnedFd>> {
        #[repr(C)]
        struct Fprog {
            length: u16,
            filter: *const Instruction,
        }
        let Ok(length) = u16::try_from(self.instructions.len()) else {
            return Err(Error::new("seccomp", format_args!("{} instructions", self.length()), Errno::INVAL));
        };
        const SET_MODE_FILTER: u32 = 1;
        let bits = flags.bits();
        let program = Fprog { length, filter: self.instructions.as_ptr() };
        // SAFETY: the program points at `length` instructions that live through the call; the kernel checks them.
        let result = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, bits, &raw const program) };
        check(result, "seccomp", || format!("SECCOMP_SET_MODE_FILTER, {bits:#x}, {length} instructions"))?;
        // SAFETY: with the listener flag a success is a new descriptor.
        Ok(flags.listener.then(|| unsafe { OwnedFd::from_raw_fd(result as i32) }))
    }

    /// What the program answers to a call: a model of the kernel's interpreter, to test programs against.
    #[cfg(test)]
    fn evaluate(&self, architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = vec![number, architecture, 0, 0];
        data.extend(arguments.iter().flat_map(|argument| [*argument as u32, (argument >> 32) as u32]));
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let Instruction { code, jump_true, jump_false, value } = self.instructions[at];
            let branch = |taken: bool| usize::from(if taken { jump_true } else { jump_false });
            at += 1;
            match code {
                compile::LOAD => accumulator = data[value as usize / 4],
                compile::AND => accumulator &= value,
                compile::JUMP => at += value as usize,
                compile::IF_EQUAL => at += branch(accumulator == value),
                compile::IF_GREATER => at += branch(accumulator > value),
                compile::IF_AT_LEAST => at += branch(accumulator >= value),
                compile::RETURN => return value,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }
}

impl Flags {
    /// `SECCOMP_FILTER_FLAG_…`
    pub fn bits(self) -> u32 {
        let pairs = [
            // With a listener the call's result is taken, so failing threads must be told another way.
            (self.all_threads, 1),
            (self.log, 2),
            (self.allow_speculation, 4),
            (self.listener, 8),
            (self.all_threads && self.listener, 16),
            (self.wait_killable, 32),
        ];
        pairs.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum()
    }
}

/// Whether the kernel knows these flags. Asked with a program it cannot read, so nothing is loaded.
pub fn supports(flags: Flags) -> bool {
    // SAFETY: a null program is refused with EFAULT after the flags were looked at.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, 1, flags.bits(), std::ptr::null::<u8>()) };
    result < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loaded_filter_answers() {
        let filter = Filter {
            default: Action::Allow,
            architectures: vec![],
            rules: vec![
                Rule {
                    calls: vec!["getppid"],
                    action: Action::Errno(libc::EXDEV as u16),
                    conditions: vec![],
                },
                Rule {
                    calls: vec!["getpgid"],
                    action: Action::Errno(libc::EXFULL as u16),
                    conditions: vec![Condition { argument: 0, compare: Compare::Equal(0) }],
                },
            ],
        };
        std::thread::spawn(move || {
            crate::credentials::set_no_new_privs().unwrap();
            filter.compile().unwrap().load(Flags::default()).unwrap();
            // SAFETY: calls without arguments that point anywhere.
            let (parent, group) = unsafe { (libc::syscall(libc::SYS_getppid), *libc::__errno_location()) };
            assert_eq!((parent, group), (-1, libc::EXDEV));
            // SAFETY: as above.
            let (zero, errno) = unsafe { (libc::getpgid(0), *libc::__errno_location()) };
            assert_eq!((zero, errno), (-1, libc::EXFULL));
            // SAFETY: as above.
            assert!(unsafe { libc::getpgid(1) } >= 0);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn the_kernel_is_asked_for_its_flags() {
        assert!(supports(Flags { log: true, ..Default::default() }));
    }
}
