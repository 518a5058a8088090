//! Health probes that start no process: a connection into the container's network, and for HTTP a question.
//!
//! ```text
//!   connect ─▶ (tcp) accepted: well
//!           └▶ (http) GET ─▶ first line of the answer decides
//! ```
//!
//! The socket is made inside the network namespace that the container's process is in, so the probe reaches what
//! listens on its loopback and needs no published port. Nothing blocks: the loop hears when there is something to do,
//! and the probe's timeout ends what takes too long.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use linux::inet::{self, Transport};
use linux::poll::Interest;

use super::Supervisor;
use super::reactor::{Alarm, Source, Watch};
use crate::protocol::Ask;
use crate::{clock, health};

/// A question that waits for its answer.
pub(super) struct Asking {
    socket: File,
    watch: Watch,
    ask: Ask,
    /// Still to be sent; none of it before the connection stands.
    request: Vec<u8>,
    answer: Vec<u8>,
    connected: bool,
    started_at: i64,
    /// Since the start of the container's process.
    running: Duration,
}

impl Supervisor {
    /// Begins to ask; what fails at once is the probe's result.
    pub(super) fn begin_asking(&mut self, ask: Ask, running: Duration, timeout: Duration) {
        let started_at = clock::now();
        let begun = self.connect_inside(&ask).and_then(|socket| {
            let mut watch = Watch::new(Source::Asking);
            watch.set(&self.poll, &socket, Some(Interest::WRITE))?;
            Ok((File::from(socket), watch))
        });
        match begun {
            Ok((socket, watch)) => {
                let request = ask.http.as_ref().map(health::http_request).unwrap_or_default();
                let (answer, connected) = (Vec::new(), false);
                let asking = Asking { socket, watch, ask, request, answer, connected, started_at, running };
                self.asking = Some(asking);
                self.alarms.set(Alarm::ProbeTimeout, timeout);
            }
            Err(error) => self.conclude(1, None, running, started_at, error.to_string()),
        }
    }

    fn connect_inside(&self, ask: &Ask) -> linux::Result<OwnedFd> {
        let address = ask.address;
        let connect = move || {
            let socket = inet::open(Transport::Tcp, address)?;
            inet::start_connect(&socket, address)?;
            Ok(socket)
        };
        let main = self.main_pid().ok_or_else(|| {
            linux::Error::new("open", "the network namespace of a process", linux::Errno::SRCH)
        })?;
        let namespace = linux::namespace::open(std::path::Path::new(&format!("/proc/{main}/ns/net")))?;
        network::namespace::within(namespace, connect)
    }

    pub(super) fn asking_ready(&mut self) {
        let Some(asking) = &mut self.asking else { return };
        let verdict = asking.go_on();
        let interest =
            if asking.connected && asking.request.is_empty() { Interest::READ } else { Interest::WRITE };
        let watched = asking.watch.set(&self.poll, &asking.socket, Some(interest));
        let verdict = verdict.or_else(|| watched.err().map(|error| (1, error.to_string())));
        if let Some((code, output)) = verdict {
            self.answered(code, output);
        }
    }

    /// The time is over; true if there was something to end.
    pub(super) fn asking_timed_out(&mut self) -> bool {
        let Some(asking) = &self.asking else { return false };
        let timeout = self.monitor.as_ref().map(|monitor| monitor.timeout()).unwrap_or_default();
        let mut output = health::Output::default();
        output.push(&asking.answer);
        let text = health::timeout_text(timeout, &output);
        self.answered(-1, text);
        true
    }

    fn answered(&mut self, code: i32, output: String) {
        let Some(asking) = self.stop_asking() else { return };
        self.alarms.cancel(Alarm::ProbeTimeout);
        if self.running_for().is_some() {
            self.conclude(code, None, asking.running, asking.started_at, output);
        }
    }

    /// Takes the question out of the loop, answered or not.
    pub(super) fn stop_asking(&mut self) -> Option<Asking> {
        let mut asking = self.asking.take()?;
        // Closing takes it out of the loop anyway.
        let _ = asking.watch.set(&self.poll, &asking.socket, None);
        Some(asking)
    }
}

impl Asking {
    /// Does what can be done without waiting; the result as soon as it is known.
    fn go_on(&mut self) -> Option<(i32, String)> {
        if !self.connected {
            if let Err(error) = inet::connect_outcome(&self.socket) {
                let errno = error.errno();
                return Some((1, linux::Error::new("connect", self.ask.address, errno).to_string()));
            }
            self.connected = true;
            if self.ask.http.is_none() {
                return Some((0, String::new()));
            }
        }
        while !self.request.is_empty() {
            match self.socket.write(&self.request) {
                Ok(sent) => drop(self.request.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => return Some((1, error.to_string())),
            }
        }
        let mut chunk = [0; 1024];
        loop {
            match self.socket.read(&mut chunk) {
                Ok(0) => return health::http_verdict(&self.answer, true),
                Ok(count) => self.answer.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => return Some((1, error.to_string())),
            }
            if let Some(verdict) = health::http_verdict(&self.answer, false) {
                return Some(verdict);
            }
        }
    }
}
