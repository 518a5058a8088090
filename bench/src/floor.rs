//! What the kernel alone takes: the bare system calls of a path, made here.

/// Milliseconds for a start with this network; none where it cannot be measured.
pub(crate) fn start(_network: &str) -> Option<f64> {
    None
}

/// Milliseconds for a process in existing namespaces.
pub(crate) fn exec() -> Option<f64> {
    None
}
