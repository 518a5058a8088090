//! What a process may use and when it runs: resource limits, scheduling, I/O priority, CPUs, personality.

use std::sync::OnceLock;

use super::Pid;
use crate::error::check;
use crate::{Errno, Error, Result};

/// A limit of setrlimit(2). `u64::MAX` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub soft: u64,
    pub hard: u64,
}

/// What setrlimit(2) limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource(u32);

#[rustfmt::skip]
const RESOURCES: &[(&str, u32)] = &[
    ("AS", libc::RLIMIT_AS), ("CORE", libc::RLIMIT_CORE), ("CPU", libc::RLIMIT_CPU), ("DATA", libc::RLIMIT_DATA),
    ("FSIZE", libc::RLIMIT_FSIZE), ("LOCKS", libc::RLIMIT_LOCKS), ("MEMLOCK", libc::RLIMIT_MEMLOCK),
    ("MSGQUEUE", libc::RLIMIT_MSGQUEUE), ("NICE", libc::RLIMIT_NICE), ("NOFILE", libc::RLIMIT_NOFILE),
    ("NPROC", libc::RLIMIT_NPROC), ("RSS", libc::RLIMIT_RSS), ("RTPRIO", libc::RLIMIT_RTPRIO),
    ("RTTIME", libc::RLIMIT_RTTIME), ("SIGPENDING", libc::RLIMIT_SIGPENDING), ("STACK", libc::RLIMIT_STACK),
];

impl Resource {
    pub const OPEN_FILES: Resource = Resource(libc::RLIMIT_NOFILE);

    /// By the kernel's name, `RLIMIT_NOFILE`.
    pub fn parse(name: &str) -> Option<Resource> {
        let short = name.strip_prefix("RLIMIT_")?;
        RESOURCES.iter().find(|(known, _)| *known == short).map(|(_, number)| Resource(*number))
    }

    fn name(self) -> &'static str {
        RESOURCES.iter().find(|(_, number)| *number == self.0).map_or("?", |(name, _)| name)
    }
}

/// Sets a limit of this process. Raising the hard one takes `CAP_SYS_RESOURCE`.
pub fn set_limit(resource: Resource, limit: Limit) -> Result<()> {
    set_limit_of(0, resource, limit)
}

/// Sets a limit of another process (0: this one), with our rights.
pub fn set_limit_of(pid: Pid, resource: Resource, limit: Limit) -> Result<()> {
    let value = libc::rlimit64 { rlim_cur: limit.soft, rlim_max: limit.hard };
    // SAFETY: a valid struct to read, no old value asked for.
    let result = unsafe { libc::prlimit64(pid, resource.0, &value, std::ptr::null_mut()) };
    check(i64::from(result), "prlimit64", || {
        format!("RLIMIT_{}, {}:{}", resource.name(), limit.soft, limit.hard)
    })
    .map(drop)
}

pub fn limit(resource: Resource) -> Result<Limit> {
    let mut value = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid struct to fill, no new value given.
    let result = unsafe { libc::prlimit64(0, resource.0, std::ptr::null(), &mut value) };
    check(i64::from(result), "prlimit64", || format!("RLIMIT_{}", resource.name()))?;
    Ok(Limit { soft: value.rlim_cur, hard: value.rlim_max })
}

/// The limit of open files that this process began with, once it has raised its own.
static BEGAN_WITH: OnceLock<Limit> = OnceLock::new();

/// Raises the soft limit of open files to the hard one, for this process alone: programs that it starts by
/// [`super::Spawn`] begin with the old one, since select(2) breaks in those that meet numbers beyond 1023.
pub fn raise_open_files() -> Result<()> {
    let before = limit(Resource::OPEN_FILES)?;
    set_limit(Resource::OPEN_FILES, Limit { soft: before.hard, ..before })?;
    // Whoever was first has seen the limit that the process began with.
    let _ = BEGAN_WITH.set(before);
    Ok(())
}

/// What a started program gets instead of our own limit.
pub(super) fn open_files_of_children() -> Option<libc::rlimit64> {
    BEGAN_WITH.get().map(|limit| libc::rlimit64 { rlim_cur: limit.soft, rlim_max: limit.hard })
}

/// `class` 1 is real-time, 2 best effort, 3 idle; `level` 0 (first) to 7 (ioprio_set(2)).
pub fn set_io_priority(class: u32, level: u32) -> Result<()> {
    const WHO_PROCESS: i32 = 1;
    let value = (class << 13) | level;
    // SAFETY: plain numbers; process 0 is the caller.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, value) };
    check(result, "ioprio_set", || format!("class {class}, level {level}")).map(drop)
}

/// As sched_setattr(2) takes it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scheduling {
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

pub fn set_scheduler(scheduling: &Scheduling) -> Result<()> {
    #[repr(C)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: scheduling.policy,
        flags: scheduling.flags,
        nice: scheduling.nice,
        priority: scheduling.priority,
        runtime: scheduling.runtime,
        deadline: scheduling.deadline,
        period: scheduling.period,
    };
    // SAFETY: the struct is valid and says its own size; process 0 is the caller.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    check(result, "sched_setattr", || format!("{scheduling:?}")).map(drop)
}

/// The CPUs of a list like `0-3,7`. At most 1024 (the kernel's fixed set); `None` if it is no such list.
pub fn cpu_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<usize>().ok()?, last.trim().parse::<usize>().ok()?);
        if first > last || last >= libc::CPU_SETSIZE as usize {
            return None;
        }
        cpus.extend(first..=last);
    }
    (!cpus.is_empty()).then_some(cpus)
}

/// Which CPUs the calling thread may run on.
pub fn set_affinity(cpus: &[usize]) -> Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    for cpu in cpus {
        if *cpu >= rustix::thread::CpuSet::MAX_CPU {
            return Err(Error::new("sched_setaffinity", format_args!("cpu {cpu}"), Errno::INVAL));
        }
        set.set(*cpu);
    }
    rustix::thread::sched_setaffinity(None, &set)
        .map_err(|errno| Error::new("sched_setaffinity", format_args!("{cpus:?}"), errno))
}

/// Gives the calling thread back every CPU that its cgroup has.
pub fn reset_affinity() {
    let mask = [u8::MAX; 128];
    // SAFETY: a buffer to read of the size that is passed; the kernel takes from it what the machine has.
    let _bound_for_good = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, mask.len(), mask.as_ptr()) };
}

/// Where the memory of a process comes from (set_mempolicy(2)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// `MPOL_…`, with flags.
    pub mode: i32,
    pub nodes: Vec<usize>,
}

/// For the calling thread and what it executes.
pub fn set_memory_policy(policy: &MemoryPolicy) -> Result<()> {
    const WORD: usize = u64::BITS as usize;
    let mut mask = [0u64; 1024 / WORD];
    for node in &policy.nodes {
        let word = mask
            .get_mut(node / WORD)
            .ok_or_else(|| Error::new("set_mempolicy", format_args!("node {node}"), Errno::INVAL))?;
        *word |= 1 << (node % WORD);
    }
    let (mask, bits) = match policy.nodes.is_empty() {
        true => (std::ptr::null(), 0),
        false => (mask.as_ptr(), mask.len() * WORD),
    };
    // SAFETY: no buffer, or one to read that holds the number of bits that is passed.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, policy.mode, mask, bits) };
    check(result, "set_mempolicy", || format!("{policy:?}")).map(drop)
}

/// Execution domain (personality(2)).
pub fn set_personality(persona: u64) -> Result<()> {
    // SAFETY: a plain number.
    check(i64::from(unsafe { libc::personality(persona) }), "personality", || format!("{persona:#x}"))
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_by_the_kernels_names() {
        let resource = Resource::parse("RLIMIT_CORE").unwrap();
        let before = limit(resource).unwrap();
        set_limit(resource, Limit { soft: 0, hard: before.hard }).unwrap();
        assert_eq!(limit(resource).unwrap().soft, 0);
        assert_eq!(Resource::parse("NOFILE"), None);
    }

    #[test]
    fn lists_of_cpus() {
        assert_eq!(cpu_list("0-2,5").unwrap(), [0, 1, 2, 5]);
        for bad in ["", "3-1", "x", "0-99999"] {
            assert_eq!(cpu_list(bad), None, "{bad}");
        }
    }
}
