//! Which device nodes the processes of a cgroup may use.
//!
//! Rules apply in order, later ones override. v1 has files for that (`devices.allow`, `devices.deny`); v2 asks an
//! eBPF program at each access (`BPF_PROG_TYPE_CGROUP_DEVICE`), which is written here: the rules from the last to
//! the first, the first that covers the access decides, and what none covers is denied.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::fs::OFlags;

use super::{Cgroup, open};
use crate::error::{Context, check};
use crate::{Errno, Error, Result};

/// Which devices a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    All,
    Block,
    Character,
}

/// What may be done with a device: `make` is mknod(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceAccess {
    pub read: bool,
    pub write: bool,
    pub make: bool,
}

impl DeviceAccess {
    pub const ALL: DeviceAccess = DeviceAccess { read: true, write: true, make: true };

    /// From letters of `rwm`. An `a`, which is a word for any kind of device, may be among them and means nothing here.
    pub fn parse(letters: &str) -> Option<DeviceAccess> {
        let known = letters.chars().all(|letter| "rwma".contains(letter));
        let has = |letter| letters.contains(letter);
        known.then(|| DeviceAccess { read: has('r'), write: has('w'), make: has('m') })
    }

    /// In the order `rwm`.
    pub fn letters(self) -> String {
        [(self.read, 'r'), (self.write, 'w'), (self.make, 'm')]
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, c)| c)
            .collect()
    }

    /// `BPF_DEVCG_ACC_…`
    fn bits(self) -> i32 {
        i32::from(self.make) | i32::from(self.read) << 1 | i32::from(self.write) << 2
    }
}

/// A rule as the specification has them; of several that fit a device the last one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    pub allow: bool,
    pub kind: DeviceKind,
    /// `None` is any.
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: DeviceAccess,
}

impl DeviceRule {
    fn line(&self) -> String {
        let kind = match self.kind {
            // With `a` the kernel looks at nothing else.
            DeviceKind::All => return "a".to_owned(),
            DeviceKind::Block => 'b',
            DeviceKind::Character => 'c',
        };
        let any = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        format!("{kind} {}:{} {}", any(self.major), any(self.minor), self.access.letters())
    }

    fn covers_everything(&self) -> bool {
        self.kind == DeviceKind::All
            && self.major.is_none()
            && self.minor.is_none()
            && self.access == DeviceAccess::ALL
    }
}

impl Cgroup {
    /// Applies the rules. On v2 they replace a program attached here before, without a moment in between.
    pub fn set_devices(&self, rules: &[DeviceRule]) -> Result<()> {
        if let Some(directory) = self.legacy("devices") {
            for rules in rules.chunk_by(|one, next| one.allow == next.allow) {
                let file = if rules[0].allow { "devices.allow" } else { "devices.deny" };
                let path = directory.join(file);
                let opened = open(&path, OFlags::WRONLY)?;
                // The kernel takes one rule per write.
                for line in rules.iter().map(DeviceRule::line) {
                    rustix::io::retry_on_intr(|| rustix::io::write(&opened, line.as_bytes()))
                        .context("write", || format!("{path:?}, {line:?}"))?;
                }
            }
            return Ok(());
        }
        match self.unified() {
            Some(directory) => {
                let directory = open(directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
                let old = attached(&directory)?;
                let program = load(&program(rules))?;
                attach(&directory, &program, old.as_ref())
            }
            None => Err(Error::new("bpf", "no tree has device control", Errno::NODEV)),
        }
    }
}

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    value: i32,
}

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb7;
const MOVE_32: u8 = 0xbc;
const AND_32: u8 = 0x54;
const RIGHT_32: u8 = 0x74;
const IF_NOT_EQUAL: u8 = 0x55;
const IF_OTHER: u8 = 0x5d;
const EXIT: u8 = 0x95;

fn op(code: u8, target: u8, source: u8, offset: i16, value: i32) -> Instruction {
    Instruction { code, registers: target | source << 4, offset, value }
}

/// Registers: 2 kind, 3 access, 4 major, 5 minor; 0 the answer, 1 scratch.
fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
    // The context is `{ u32 access_type; u32 major; u32 minor; }`: kind in the lower half, access in the upper.
    let mut code = vec![
        op(LOAD_WORD, 2, 1, 0, 0),
        op(MOVE_32, 3, 2, 0, 0),
        op(AND_32, 2, 0, 0, 0xffff),
        op(RIGHT_32, 3, 0, 0, 16),
        op(LOAD_WORD, 4, 1, 4, 0),
        op(LOAD_WORD, 5, 1, 8, 0),
    ];
    let rules = effective(rules);
    for rule in rules.iter().rev() {
        code.extend(block(rule));
    }
    // Behind a rule about everything nothing is reached, and the kernel refuses what cannot be.
    if !rules.first().is_some_and(DeviceRule::covers_everything) {
        code.extend([op(MOVE, 0, 0, 0, 0), op(EXIT, 0, 0, 0, 0)]);
    }
    code
}

/// What comes before a rule about everything does not matter.
fn effective(rules: &[DeviceRule]) -> &[DeviceRule] {
    let start = rules.iter().rposition(DeviceRule::covers_everything).unwrap_or(0);
    &rules[start..]
}

fn block(rule: &DeviceRule) -> Vec<Instruction> {
    let mut tests = Vec::new();
    match rule.kind {
        DeviceKind::All => {}
        DeviceKind::Block => tests.push(op(IF_NOT_EQUAL, 2, 0, 0, 1)),
        DeviceKind::Character => tests.push(op(IF_NOT_EQUAL, 2, 0, 0, 2)),
    }
    if rule.access != DeviceAccess::ALL {
        // An access that asks for more than the rule speaks of is not covered by it.
        tests.push(op(MOVE_32, 1, 3, 0, 0));
        tests.push(op(AND_32, 1, 0, 0, rule.access.bits()));
        tests.push(op(IF_OTHER, 1, 3, 0, 0));
    }
    if let Some(major) = rule.major {
        tests.push(op(IF_NOT_EQUAL, 4, 0, 0, major as i32));
    }
    if let Some(minor) = rule.minor {
        tests.push(op(IF_NOT_EQUAL, 5, 0, 0, minor as i32));
    }
    let mut code = tests;
    code.extend([op(MOVE, 0, 0, 0, i32::from(rule.allow)), op(EXIT, 0, 0, 0, 0)]);
    let length = code.len();
    for (index, instruction) in code.iter_mut().enumerate() {
        if [IF_NOT_EQUAL, IF_OTHER].contains(&instruction.code) {
            instruction.offset = (length - index - 1) as i16;
        }
    }
    code
}

const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const PROG_GET_FD_BY_ID: i32 = 13;
const PROG_QUERY: i32 = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;
const REPLACE: u32 = 4;

fn bpf<T>(command: i32, attributes: &mut T, name: &'static str) -> Result<i64> {
    // SAFETY: the struct is the one that the command takes, its pointers are valid, and its size is passed.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    check(result, "bpf", || name)
}

fn load(instructions: &[Instruction]) -> Result<OwnedFd> {
    #[repr(C)]
    #[derive(Default)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
    }
    let mut attributes = Load {
        kind: TYPE_CGROUP_DEVICE,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..Default::default()
    };
    let raw = bpf(PROG_LOAD, &mut attributes, "BPF_PROG_LOAD, BPF_PROG_TYPE_CGROUP_DEVICE")?;
    // SAFETY: a new descriptor, close-on-exec by the kernel's default.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as i32) })
}

/// The program that was attached to exactly this cgroup, if there is one.
fn attached(directory: &OwnedFd) -> Result<Option<OwnedFd>> {
    #[repr(C)]
    #[derive(Default)]
    struct Query {
        target: u32,
        kind: u32,
        query_flags: u32,
        attach_flags: u32,
        ids: u64,
        count: u32,
        padding: u32,
        program_attach_flags: u64,
    }
    let mut ids = [0u32; 8];
    let mut query = Query {
        target: directory.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        ids: ids.as_mut_ptr() as u64,
        count: ids.len() as u32,
        ..Default::default()
    };
    bpf(PROG_QUERY, &mut query, "BPF_PROG_QUERY, BPF_CGROUP_DEVICE")?;
    if query.count != 1 {
        return Ok(None);
    }
    let mut get: [u32; 3] = [ids[0], 0, 0];
    let raw = bpf(PROG_GET_FD_BY_ID, &mut get, "BPF_PROG_GET_FD_BY_ID")?;
    // SAFETY: a new descriptor.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(raw as i32) }))
}

fn attach(directory: &OwnedFd, program: &OwnedFd, old: Option<&OwnedFd>) -> Result<()> {
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
        replace: u32,
    }
    let mut attributes = Attach {
        target: directory.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI | if old.is_some() { REPLACE } else { 0 },
        replace: old.map_or(0, |old| old.as_raw_fd() as u32),
    };
    bpf(PROG_ATTACH, &mut attributes, "BPF_PROG_ATTACH, BPF_CGROUP_DEVICE").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(allow: bool, kind: DeviceKind, numbers: (Option<u32>, Option<u32>), access: &str) -> DeviceRule {
        let access = DeviceAccess::parse(access).unwrap();
        DeviceRule { allow, kind, major: numbers.0, minor: numbers.1, access }
    }

    /// Runs the program as the kernel would.
    fn evaluate(code: &[Instruction], access: i32, kind: i32, major: i32, minor: i32) -> bool {
        let mut registers = [0i32; 6];
        let mut at = 0;
        loop {
            let i = code[at];
            let (target, source) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            at += 1;
            match i.code {
                LOAD_WORD => registers[target] = [access << 16 | kind, major, minor][i.offset as usize / 4],
                MOVE => registers[target] = i.value,
                MOVE_32 => registers[target] = registers[source],
                AND_32 => registers[target] &= i.value,
                RIGHT_32 => registers[target] >>= i.value,
                IF_NOT_EQUAL if registers[target] != i.value => at += i.offset as usize,
                IF_OTHER if registers[target] != registers[source] => at += i.offset as usize,
                IF_NOT_EQUAL | IF_OTHER => {}
                EXIT => return registers[0] != 0,
                other => panic!("{other:#x}"),
            }
        }
    }

    fn usual() -> Vec<DeviceRule> {
        vec![
            rule(true, DeviceKind::Block, (Some(9), None), "rwm"),
            rule(false, DeviceKind::All, (None, None), "rwm"),
            rule(true, DeviceKind::Character, (Some(1), Some(3)), "rw"),
            rule(true, DeviceKind::Character, (Some(5), None), "rwm"),
            rule(false, DeviceKind::Character, (Some(5), Some(2)), "w"),
        ]
    }

    #[test]
    fn later_rules_decide() {
        const MAKE: i32 = 1;
        const READ: i32 = 2;
        const WRITE: i32 = 4;
        let code = program(&usual());
        let on = |access, kind, major, minor| evaluate(&code, access, kind, major, minor);
        assert!(on(READ | WRITE, 2, 1, 3));
        assert!(!on(MAKE, 2, 1, 3), "making the node was not allowed");
        assert!(!on(READ, 1, 1, 3), "a block device of that number is another one");
        assert!(!on(READ, 1, 9, 0), "before the rule about everything");
        assert!(on(READ | WRITE | MAKE, 2, 5, 7));
        assert!(!on(WRITE, 2, 5, 2));
        assert!(on(READ, 2, 5, 2));
    }

    #[test]
    fn the_kernel_takes_the_program_and_its_replacement() {
        let layout = super::super::Layout::detect().unwrap();
        let Some(unified) = layout.unified else { return };
        let directory = unified.join(format!("wharf-test-{}-devices", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let cgroup = Cgroup::from_paths([("", directory.as_path())]);
        cgroup.set_devices(&usual()).unwrap();
        cgroup.set_devices(&usual()[1..]).unwrap();
        let handle = open(&directory, OFlags::RDONLY | OFlags::DIRECTORY).unwrap();
        assert!(attached(&handle).unwrap().is_some());
        cgroup.remove().unwrap();
    }

    #[test]
    fn lines_for_v1() {
        assert_eq!(usual()[1].line(), "a");
        assert_eq!(usual()[0].line(), "b 9:* rwm");
        assert_eq!(DeviceAccess::parse("rx"), None);
    }
}
