//! CRIU, which takes processes apart and puts them together again.
//!
//! ```text
//!   runtime                                       criu swrk 3
//!     │ ── request ─────────────────────────────────▶│
//!     │ ◀───────── NOTIFY (how far, maybe a descriptor)│  as often as it likes
//!     │ ── NOTIFY, go on ───────────────────────────▶│
//!     │ ◀───────────────────────────────── the answer │
//! ```
//!
//! It is a program of its own, from `PATH`, one for each request, and talks over a `SOCK_SEQPACKET` pair: a packet, a
//! message. It reaches descriptors named in a request through procfs, in our process.
//!
//! *Limits*: CRIU needs root in the machine's own user namespace, and knows what it knows: what it refuses is told in
//! its log, of which the lines with errors are quoted.

pub(crate) mod message;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::fd;
use linux::process::{Child, Exit, Program, Spawn};

use crate::{Error, Result, error::Step};
use message::{Features, Kind, Notify, Response};

/// The first that knows all that is asked of it here: other labels on a restore came last.
const OLDEST: u32 = 31600;

/// CRIU's answers are short; the longest have a sentence in them.
const MAX_PACKET: usize = 40 << 10;

/// Of a log, its end is looked at for errors, and that many are quoted.
const LOG_TAIL: u64 = 64 << 10;
const QUOTED_LINES: usize = 5;

/// One CRIU at work.
#[derive(Debug)]
pub(crate) struct Session {
    process: Child,
    socket: OwnedFd,
}

impl Session {
    /// With these streams, and descriptors from 4 up.
    pub(crate) fn start(streams: [BorrowedFd<'_>; 3], extra: &[OwnedFd]) -> Result<Session> {
        let path = program()?;
        let (ours, theirs) = linux::socket::packet_pair().step(|| "criu")?;
        let mut spawn = Spawn::new(Program::Path(&path), &["criu", "swrk", "3"])
            .and_then(Spawn::inherit_env)
            .step(|| "criu")?;
        for (stream, target) in streams.into_iter().zip(0..) {
            spawn = spawn.descriptor(stream, target);
        }
        spawn = spawn.descriptor(theirs.as_fd(), 3);
        for (descriptor, target) in extra.iter().zip(4..) {
            spawn = spawn.descriptor(descriptor.as_fd(), target);
        }
        let process = spawn.start().step(|| "criu")?;
        Ok(Session { process, socket: ours })
    }

    pub(crate) fn pid(&self) -> linux::process::Pid {
        self.process.pid
    }

    /// Sends a request, and has every notification answered until the answer is there.
    pub(crate) fn ask(
        &self,
        request: &[u8],
        notified: &mut dyn FnMut(&Notify, Vec<OwnedFd>) -> Result<()>,
    ) -> Result<Response> {
        fd::send(&self.socket, request, &[]).step(|| "criu")?;
        let mut packet = vec![0; MAX_PACKET];
        loop {
            let mut descriptors = Vec::new();
            let length = match fd::receive(&self.socket, &mut packet, &mut descriptors) {
                Err(error) if error.is(linux::Errno::CONNRESET) => 0,
                other => other.step(|| "criu")?,
            };
            if length == 0 {
                return Err(Error::other("criu failed: it ended without an answer"));
            }
            let response = Response::parse(&packet[..length])
                .ok_or_else(|| Error::other("criu failed: an answer that makes no sense"))?;
            if !response.success {
                let why = if response.message.is_empty() {
                    String::new()
                } else {
                    format!(": {}", response.message.trim())
                };
                let (kind, errno) = (response.kind.name(), response.errno);
                return Err(Error::other(format_args!("criu failed: type {kind} errno {errno}{why}")));
            }
            if response.kind != Kind::Notify {
                return Ok(response);
            }
            notified(&response.notify, descriptors)?;
            fd::send(&self.socket, &message::go_on(), &[]).step(|| "criu")?;
        }
    }

    /// Waits for its end.
    pub(crate) fn finish(self) -> Result<Exit> {
        drop(self.socket);
        self.process.wait().step(|| "criu")
    }
}

/// The first of its name on `PATH`.
fn program() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|directory| directory.join("criu")).find(|path| path.is_file());
    found.ok_or_else(|| {
        Error::other("CRIU version check failed: exec: \"criu\": executable file not found in $PATH")
    })
}

/// A request of a session of its own, without notifications.
fn simply(request: &[u8]) -> Result<Response> {
    let null = null()?;
    let session = Session::start([null.as_fd(); 3], &[])?;
    let answer = session.ask(request, &mut |_, _| Ok(()));
    session.finish()?;
    answer
}

pub(crate) fn null() -> Result<File> {
    let null = File::options().read(true).write(true).open("/dev/null");
    null.step(|| "/dev/null")
}

/// Whether the installed one can be used at all.
pub(crate) fn check_version() -> Result<()> {
    let found = simply(&message::bare(Kind::Version)).map_err(|error| match error.message() {
        said if said.starts_with("CRIU version") => error,
        said => Error::other(format_args!("CRIU version check failed: {said}")),
    })?;
    if found.version < OLDEST {
        let version = found.version;
        return Err(Error::other(format_args!("CRIU version {version} must be {OLDEST} or higher")));
    }
    Ok(())
}

/// Whether it and the kernel can do what is wanted.
pub(crate) fn check_features(wanted: Features) -> Result<()> {
    let found = simply(&message::feature_check(wanted))
        .map_err(|error| Error::other(format_args!("CRIU feature check failed: {}", error.message())))?
        .features;
    let missing: Vec<&str> = [
        ("MemTrack", wanted.memory_tracking && !found.memory_tracking),
        ("LazyPages", wanted.lazy_pages && !found.lazy_pages),
    ]
    .into_iter()
    .filter_map(|(name, missing)| missing.then_some(name))
    .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::other(format_args!("criu is missing features: [{}]", missing.join(" "))))
}

/// Adds to an error what CRIU's log says of it.
pub(crate) fn with_log(error: Error, log: &Path) -> Error {
    match errors_in(log) {
        Ok(lines) if !lines.is_empty() => {
            let quoted = lines.join("; ");
            Error::other(format_args!("{}: {quoted} ({})", error.message(), log.display()))
        }
        _ => error,
    }
}

/// The last lines that CRIU itself takes for errors.
fn errors_in(log: &Path) -> std::io::Result<Vec<String>> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
    let mut text = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<String> =
        text.lines().filter(|line| line.contains("Error")).map(|line| line.trim().to_owned()).collect();
    let first = lines.len().saturating_sub(QUOTED_LINES);
    Ok(lines[first..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_quoted_from_the_end_of_a_log() {
        let path = std::env::temp_dir().join(format!("wharf-criu-{}.log", std::process::id()));
        let noise = "(00.1) a line of no concern\n".repeat(10_000);
        let errors: String =
            (0..8).map(|number| format!("(00.2) Error (criu/x.c:{number}): why\n")).collect();
        std::fs::write(&path, format!("(00.0) Error (criu/early.c:1): long ago\n{noise}{errors}")).unwrap();
        let message = with_log(Error::other("criu failed"), &path).to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(message.starts_with("criu failed: (00.2) Error (criu/x.c:3): why; "), "{message}");
        assert!(message.ends_with(&format!("x.c:7): why ({})", path.display())), "{message}");
        assert_eq!(with_log(Error::other("alone"), &path).to_string(), "alone");
    }
}
