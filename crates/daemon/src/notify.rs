//! Telling systemd how far we are ([sd_notify(3)]): a datagram to the socket named by `NOTIFY_SOCKET`.
//!
//! [sd_notify(3)]: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How often systemd is told that a start goes on, and for how much longer it should wait each time: an engine that
/// takes over thousands of containers, or replays records on a slow disk, is late but not stuck.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
const EXTENSION: Duration = Duration::from_secs(30);

/// Runs a start, and asks for more time while it lasts.
pub(crate) async fn while_starting<F: Future>(start: F) -> F::Output {
    let mut start = std::pin::pin!(start);
    loop {
        match tokio::time::timeout(SIGN_OF_LIFE, &mut start).await {
            Ok(output) => return output,
            Err(_) => send(&format!("EXTEND_TIMEOUT_USEC={}", EXTENSION.as_micros())),
        }
    }
}

pub(crate) fn ready() {
    send("READY=1");
}

/// Reload began; [`ready`] ends it. systemd wants to know when that was.
pub(crate) fn reloading() {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds: f64 = uptime.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default();
    send(&format!("RELOADING=1\nMONOTONIC_USEC={}", (seconds * 1e6) as u64));
}

pub(crate) fn stopping() {
    send("STOPPING=1");
}

/// Nobody may be listening; then there is nobody to tell.
fn send(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = tell(&path.to_string_lossy(), state) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}

fn tell(path: &str, state: &str) -> std::io::Result<()> {
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_sockets() {
        let name = format!("wharfd-notify-{}", std::process::id());
        let directory = scratch::Directory::new("notify");
        let path = directory.join("socket");
        let on_disk = UnixDatagram::bind(&path).unwrap();
        let hidden = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (socket, address) in [(on_disk, path.display().to_string()), (hidden, format!("@{name}"))] {
            tell(&address, "READY=1").unwrap();
            let mut buffer = [0; 16];
            let count = socket.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..count], b"READY=1");
        }
    }
}
