//! What the kernel alone takes: the bare system calls of a row's path, made here, in the same run.
//!
//! No image is looked up, nothing is recorded, no stream is carried. The measured copy of this program lives in namespaces
//! of its own where it needs them.

mod bytes;
mod start;

use std::process::Command;
use std::time::Duration;

use crate::report::median;
use start::Site;

/// Of what takes milliseconds, and of what takes tenths of a second.
const ROUNDS: usize = 21;
const FEW: usize = 3;

/// Kinds of work that have a floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// A process is executed and ends.
    Client,
    /// A container with this network.
    Start(&'static str),
    /// A process beside a container's own, after that of a client.
    Exec,
    /// Twenty containers at once, on a bridge.
    Crowd,
    /// The same, which are killed.
    Kill,
    /// Bytes of a pipe go to a file.
    Log,
    /// A tree of small files is written.
    Files,
    /// Bytes of a socket go to a file.
    File,
}

const KINDS: [(&str, Work); 10] = [
    ("client", Work::Client),
    ("bridge", Work::Start("bridge")),
    ("none", Work::Start("none")),
    ("host", Work::Start("host")),
    ("exec", Work::Exec),
    ("crowd", Work::Crowd),
    ("kill", Work::Kill),
    ("log", Work::Log),
    ("files", Work::Files),
    ("file", Work::File),
];

impl Work {
    fn name(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    pub(crate) fn by_name(name: &str) -> Option<Work> {
        KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }

    /// Milliseconds (of a log: MB/s); none where it cannot be measured.
    pub(crate) fn floor(self) -> Option<f64> {
        let own = std::env::current_exe().ok()?;
        let output = Command::new(own).args(["--floor", self.name()]).output().ok()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            eprintln!("bench: no floor for {}: {}", self.name(), why.trim_end());
            return None;
        }
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    }

    /// In the measured copy: the median.
    pub(crate) fn measure(self) -> linux::Result<f64> {
        match self {
            Work::Client => samples(ROUNDS, |_| start::client()),
            Work::Start(network) => {
                let site = Site::make(network)?;
                samples(ROUNDS, |round| site.one(round))
            }
            Work::Exec => {
                let site = Site::make("none")?;
                let standing = site.start(0, "sleep")?;
                let measured = samples(ROUNDS, |_| site.beside(&standing));
                standing.end()?;
                measured
            }
            Work::Crowd | Work::Kill => {
                let site = Site::make("bridge")?;
                let program = if self == Work::Crowd { "true" } else { "sleep" };
                samples(FEW, |round| site.crowd(round, program))
            }
            Work::Log => bytes::log(),
            Work::Files => samples(FEW, bytes::files),
            Work::File => samples(FEW, |_| bytes::file()),
        }
    }
}

fn samples(rounds: usize, mut one: impl FnMut(usize) -> linux::Result<Duration>) -> linux::Result<f64> {
    let mut samples = (0..rounds).map(&mut one).collect::<linux::Result<Vec<_>>>()?;
    Ok(median(&mut samples))
}
