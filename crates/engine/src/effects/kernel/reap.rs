//! Shims are children of the engine that launched them. Somebody has to collect each when it has exited, or it stays
//! in the process table for as long as the engine lives.

use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Collects a child when it has exited. Must be called within the async runtime.
pub(super) fn when_dead(pid: i32, pidfd: OwnedFd) {
    tokio::spawn(async move {
        // The newer form is unsafe because of types that lie about their descriptor; an owned one does not.
        #[allow(deprecated)]
        let watched = match AsyncFd::with_interest(pidfd, Interest::READABLE) {
            Ok(watched) => watched,
            Err(error) => {
                tracing::warn!(%error, "cannot watch a shim");
                return;
            }
        };
        if watched.readable().await.is_ok() {
            // Somebody else may have collected it already.
            let _ = linux::process::try_wait(pid);
        }
    });
}
