//! What a process writes: to the log first, then to whoever is attached.
//!
//! Docker's order of things at the end: when a process has ended, its output is read until every holder of the
//! other end is gone, or for two seconds, since a child that went to the background may hold it for ever. Only
//! then is the end announced, so that who waits for the exit has seen all output.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use super::Supervisor;
use super::collector::Collector;
use super::process::{Ending, Process, Role};
use super::reactor::{Alarm, Id};
use crate::clock;
use crate::log::{Piece, Splitter, Stream, Writer};
use crate::protocol::Happening;

/// How long output may linger behind the end of its process.
const DRAIN: Duration = Duration::from_secs(2);

impl Supervisor {
    pub(super) fn output_ready(&mut self, id: Id, stream: Stream) {
        let Some(tap) = self.processes.get_mut(&id).and_then(|process| process.tap(stream).as_mut()) else {
            return;
        };
        match tap.file.read(&mut self.chunk) {
            Ok(0) => self.output_ended(id, stream),
            Ok(length) => self.output_arrived(id, stream, length),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // EIO is how a terminal says that nobody has it open any more.
            Err(_) => self.output_ended(id, stream),
        }
    }

    fn output_arrived(&mut self, id: Id, stream: Stream, length: usize) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        if let Ending::Draining { allowance, .. } = &mut process.ending {
            *allowance = allowance.saturating_sub(length);
        }
        match &mut process.role {
            Role::Main => self.log_output(id, stream, length),
            Role::Probe(probing) => probing.output.push(&self.chunk[..length]),
            Role::Exec { .. } | Role::Stray => {}
        }
        self.spread(id, stream, length);
        self.listen(id);
    }

    fn log_output(&mut self, id: Id, stream: Stream, length: usize) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        let Some(tap) = process.tap(stream) else { return };
        let (mut log, mut collector) = (self.log.as_mut(), self.collector.as_mut());
        if log.is_none() && collector.is_none() {
            return;
        }
        tap.splitter.push(&self.chunk[..length], clock::now(), |piece| {
            record(&mut log, &mut collector, stream, &piece);
        });
        self.flush_log();
    }

    /// Writes the log, tells followers, and says so when something could not be written.
    fn flush_log(&mut self) {
        self.pump_collector();
        let Some(log) = self.log.as_mut() else { return };
        log.flush();
        if let Some(loss) = log.take_loss() {
            // Once per outage and not once per line: while nothing gets in, only the count in the state grows.
            if !std::mem::replace(&mut self.losing, true) {
                self.record(Happening::LogLost {
                    records: loss.records,
                    bytes: loss.bytes,
                    error: loss.error,
                });
            }
        } else if std::mem::take(&mut self.losing) {
            let loss = log.loss().clone();
            self.record(Happening::LogLost { records: loss.records, bytes: loss.bytes, error: loss.error });
        }
        self.wake_viewers();
    }

    fn output_ended(&mut self, id: Id, stream: Stream) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        let is_main = process.is_main();
        let Some(mut tap) = process.close_output(&self.poll, stream) else { return };
        if is_main {
            self.finish_line(&mut tap.splitter);
        }
        self.finish_if_drained(id);
    }

    fn finish_line(&mut self, splitter: &mut Splitter) {
        let (mut log, mut collector) = (self.log.as_mut(), self.collector.as_mut());
        let stream = splitter.stream;
        splitter.finish(clock::now(), |piece| record(&mut log, &mut collector, stream, &piece));
        self.flush_log();
    }

    /// The process behind a pidfd has ended.
    pub(super) fn process_ended(&mut self, id: Id) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        if process.code().is_some() {
            return;
        }
        let code = match linux::process::try_wait(process.pid) {
            Ok(None) => return,
            Ok(Some(exit)) => exit.code(),
            // Reaped by somebody else, which nobody may: the code is lost, the end is not.
            Err(_) => 255,
        };
        let _ = self.poll.remove(&process.pidfd);
        process.ending = Ending::Draining { code, allowance: super::process::DRAIN_ALLOWANCE };
        process.close_input(&self.poll);
        if process.is_main() {
            self.main_ended();
        }
        self.alarms.set(Alarm::Drain(id), DRAIN);
        self.listen(id);
        self.finish_if_drained(id);
    }

    /// Two seconds have passed: what is still open is cut off.
    pub(super) fn drain_over(&mut self, id: Id) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.output_ended(id, stream);
        }
    }

    fn finish_if_drained(&mut self, id: Id) {
        if !self.processes.get(&id).is_some_and(|process| process.is_finished()) {
            return;
        }
        self.alarms.cancel(Alarm::Drain(id));
        // The engine learns of the end before the client: whoever saw the streams close asks for the exit code next.
        if let Some(Process { role: Role::Exec { name }, ending: Ending::Draining { code, .. }, .. }) =
            self.processes.get(&id)
        {
            let (exec, code) = (name.clone(), *code);
            self.record(Happening::ExecExited { exec, code });
        }
        let code = self.processes.get(&id).and_then(Process::code).unwrap_or(255);
        self.close_clients(id, code);
        let Some(process) = self.processes.remove(&id) else { return };
        match process.role {
            Role::Main => self.main_finished(code),
            Role::Exec { .. } | Role::Stray => {}
            Role::Probe(probing) => self.probe_finished(id, code, &probing),
        }
    }

    /// Listens to a process's output, or not while one of its clients lags behind.
    pub(super) fn listen(&mut self, id: Id) {
        let (clients, collector) = (self.is_blocked(id), self.collector_is_full());
        if let Some(process) = self.processes.get_mut(&id) {
            let blocked = clients || (collector && process.is_main());
            process.listen(&self.poll, blocked);
        }
    }
}

/// To the file first: what a collector is told can be read here, too.
fn record(
    log: &mut Option<&mut Writer>,
    collector: &mut Option<&mut Collector>,
    stream: Stream,
    piece: &Piece<'_>,
) {
    if let Some(log) = log {
        log.append(stream, piece);
    }
    if let Some(collector) = collector {
        collector.remote.append(stream, piece);
    }
}
