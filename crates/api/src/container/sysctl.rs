//! Kernel parameters that a container may set: those that a namespace has for itself.

/// The namespace that has a kernel parameter of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SysctlOwner {
    Ipc,
    Network,
}

impl SysctlOwner {
    /// [`None`]: the parameter is the host's. Docker's list, of dotted names.
    pub fn of(key: &str) -> Option<SysctlOwner> {
        match key {
            "kernel.msgmax"
            | "kernel.msgmnb"
            | "kernel.msgmni"
            | "kernel.sem"
            | "kernel.shmall"
            | "kernel.shmmax"
            | "kernel.shmmni"
            | "kernel.shm_rmid_forced" => Some(SysctlOwner::Ipc),
            _ if key.starts_with("fs.mqueue.") => Some(SysctlOwner::Ipc),
            _ if key.starts_with("net.") => Some(SysctlOwner::Network),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_no_namespace_is_the_hosts() {
        assert_eq!(SysctlOwner::of("kernel.sem"), Some(SysctlOwner::Ipc));
        assert_eq!(SysctlOwner::of("fs.mqueue.msg_max"), Some(SysctlOwner::Ipc));
        assert_eq!(SysctlOwner::of("net.ipv4.ip_forward"), Some(SysctlOwner::Network));
        for key in ["kernel.sem_next_id", "fs.file-max", "vm.swappiness", "network", ""] {
            assert_eq!(SysctlOwner::of(key), None, "{key}");
        }
    }
}
