//! The head of a client's HTTP response, which goes ahead of everything else and alone.
//!
//! An SDK that takes a connection over from its HTTP library loses what the library has read beyond the head. Docker
//! takes long enough between the two that nobody notices; we do not, and a whole `exec` may have ended before the
//! client reads at all. So nothing follows the head until the kernel says that it was read. Clients without a head, and
//! those that have read theirs, are never held up.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::outbox::Outbox;
use crate::protocol::{Attachment, Failure};

/// A client that sends all its input before it reads must not wait for us while we wait for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How soon to look again, when something is there to be sent.
pub(super) const AGAIN: Duration = Duration::from_millis(1);

/// A client that has been greeted and may not have heard it yet.
pub(super) struct Greeted {
    pub(super) socket: File,
    pub(super) attachment: Attachment,
    /// What did not go at once.
    pub(super) outbox: Outbox,
    /// Until when the client may take its time.
    pub(super) until: Option<Instant>,
}

/// Sends a client the head of its response.
pub(super) fn greet(socket: OwnedFd, mut attachment: Attachment) -> Result<Greeted, Failure> {
    linux::fd::set_nonblocking(&socket, true).map_err(|error| super::other(&error))?;
    let socket = File::from(socket);
    let mut outbox = Outbox::default();
    outbox.push(&std::mem::take(&mut attachment.preface));
    let until = (!outbox.is_empty()).then(|| Instant::now() + PATIENCE);
    // A client that is gone is found out when it is served.
    let _ = outbox.flush(&socket);
    Ok(Greeted { socket, attachment, outbox, until })
}

/// Whether the client has taken its head, or has had time enough. A socket that cannot tell has.
pub(super) fn is_over(until: Instant, socket: &File) -> bool {
    linux::socket::untaken(socket).map_or(true, |bytes| bytes == 0) || Instant::now() >= until
}
