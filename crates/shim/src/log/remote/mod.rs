//! Sends records to a collector: journald, syslog, Graylog or Fluentd.
//!
//! ```text
//!   append ─▶ queue ─▶ encode ─▶ frames ─▶ socket         at most 64 KiB encoded ahead
//!
//!   Down ──its time──▶ Connecting ──▶ Up ──error, end──▶ Down        (back-off as the driver has it)
//! ```
//!
//! Nothing here waits: the owner watches [`Remote::interest`] and [`Remote::wake_after`], and asks
//! [`Remote::is_full`] whether the container has to. A record leaves the queue when all of it was given to the kernel
//! (with Fluentd's acknowledgements: when it was acknowledged), so that a broken connection loses what the kernel had
//! and nothing else. What happens when more comes than goes, by [`Terms`]:
//!
//! - *blocking* (the default): a full queue makes the container wait while the collector is merely slow, and while it
//!   is gone for as many attempts to connect as Docker's driver makes (one for syslog and journald,
//!   `gelf-tcp-max-reconnect`, `fluentd-max-retries`). After those, the queue keeps what it has, what does not fit is
//!   dropped and counted, and attempts go on. Docker drops everything then.
//! - *lossy* (`mode=non-blocking`, `fluentd-async`): the container never waits; what does not fit into the queue is
//!   dropped and counted.
//!
//! *Limits*: addresses are those of the launch; a name is not looked up again.

mod fluentd;
mod gelf;
mod journald;
mod link;
mod speaker;
mod syslog;

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use linux::Errno;
use linux::poll::Interest;
use linux::process::Pid;

use crate::clock;
use crate::log::loss::{Loss, Losses};
use crate::log::splitter::Part;
use crate::log::{Piece, Stream};
use crate::protocol::{self, Collector};
use link::{Connected, Link};

/// What may wait in blocking mode. Docker has a pipe's 64 KiB; a restart of a collector should cost nobody anything.
const BLOCKING_QUEUE: usize = 1 << 20;
/// Whatever `fluentd-buffer-limit` says in records.
const ASYNC_QUEUE: usize = 16 << 20;
/// Encoded ahead, for few system calls.
const AHEAD: usize = 64 << 10;
/// Encoded and sent in one go before the loop sees to others.
const ROUNDS: usize = 32;
/// Docker waits no longer than that for Fluentd.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// A collector, and what waits for it.
pub struct Remote {
    encoder: Encoder,
    terms: Terms,
    link: Link,
    queue: VecDeque<Waiting>,
    /// What the queue costs.
    held: usize,
    frames: Frames,
    /// Sent, and not acknowledged yet.
    awaiting: bool,
    /// Attempts that failed since something was last sent.
    failures: u32,
    losses: Losses,
}

/// A record that was not sent yet.
pub(super) struct Waiting {
    text: Box<[u8]>,
    time: i64,
    stream: Stream,
    part: Option<Box<Part>>,
}

/// Encoded messages, one behind the other.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    /// For each record encoded: how many frames there were behind it.
    behind: VecDeque<usize>,
    /// Frames that were sent whole, and bytes.
    done: usize,
    sent: usize,
}

/// What happens when more comes than goes.
struct Terms {
    lossy: bool,
    limit: usize,
    max_records: usize,
    /// Attempts to connect that a full queue waits for.
    patience: u32,
    delay: Duration,
    /// Each delay is half as long again as the last.
    grows: bool,
    /// How long a connection may take nothing.
    write_timeout: Option<Duration>,
    /// How long a connection is used.
    lifetime: Option<Duration>,
}

enum Encoder {
    Journald(journald::Encoder),
    Syslog(syslog::Encoder),
    Gelf(gelf::Encoder),
    Fluentd(fluentd::Encoder),
}

impl Remote {
    /// Connects. An error is in the words that Docker has for it.
    pub fn open(told: &protocol::Remote) -> Result<Remote, String> {
        let terms = Terms::of(told);
        let background = matches!(&told.collector, Collector::Fluentd(told) if told.asynchronous);
        let link = match background {
            true => Link::new(&told.endpoints, told.tls.as_ref()),
            false => Link::connect(&told.endpoints, told.tls.as_ref())
                .map_err(|error| refusal(&told.collector, error))?,
        };
        Ok(Remote {
            encoder: Encoder::new(told),
            terms,
            link,
            queue: VecDeque::new(),
            held: 0,
            frames: Frames::default(),
            awaiting: false,
            failures: 0,
            losses: Losses::default(),
        })
    }

    /// Takes a record in, or drops it: see the head of this file.
    pub fn append(&mut self, stream: Stream, piece: &Piece<'_>) {
        let cost = piece.text.len() + size_of::<Waiting>();
        if self.has_no_room(cost) {
            // The collector may have taken some meanwhile.
            self.pump();
        }
        if self.has_no_room(cost) {
            self.lose(piece.text.len());
            return;
        }
        self.held += cost;
        self.queue.push_back(Waiting {
            text: piece.text.into(),
            time: piece.time,
            stream,
            part: piece.part.map(Box::new),
        });
    }

    fn has_no_room(&self, cost: usize) -> bool {
        let may_drop = self.terms.lossy || self.failures > self.terms.patience;
        let full = self.held + cost > self.terms.limit || self.queue.len() >= self.terms.max_records;
        may_drop && full && !self.queue.is_empty()
    }

    /// The container's output has to wait.
    pub fn is_full(&self) -> bool {
        !self.terms.lossy && self.held >= self.terms.limit && self.failures <= self.terms.patience
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether that process works for this log.
    pub fn has_child(&self, pid: Pid) -> bool {
        self.link.has_child(pid)
    }

    /// Nobody waits for what is left any longer.
    pub fn give_up(&mut self) {
        self.queue.clear();
        self.frames = Frames::default();
    }

    /// Everything that was lost so far.
    pub fn loss(&self) -> &Loss {
        self.losses.total()
    }

    /// The loss, if it has grown since this was last asked.
    pub fn take_loss(&mut self) -> Option<Loss> {
        self.losses.take()
    }

    /// The connection to watch and what for; its number changes with every new one.
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, u64, Interest)> {
        let has_more = !self.queue.is_empty() && !self.awaiting;
        self.link.interest(has_more)
    }

    /// The connection, whether there is something to wait for or not.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.link.connected().map(AsFd::as_fd)
    }

    /// When to pump again, whatever the connection says.
    pub fn wake_after(&self) -> Option<Duration> {
        let has_more = !self.queue.is_empty();
        let stalled = self.link.connected().and_then(|connected| {
            let timeout = self.terms.write_timeout.filter(|_| has_more)?;
            Some(timeout.saturating_sub(connected.moved.elapsed()))
        });
        self.link.wake_after(has_more).into_iter().chain(stalled).min()
    }

    /// The connection has something to say.
    pub fn ready(&mut self, readable: bool) {
        if readable {
            self.receive();
        }
        self.pump();
    }

    /// Sends what goes without waiting.
    pub fn pump(&mut self) {
        self.link.reap();
        for _ in 0..ROUNDS {
            if self.queue.is_empty() {
                return;
            }
            let more = match self.link.advance() {
                Ok(true) => self.transmit(),
                Ok(false) => false,
                Err(error) => {
                    self.fail(error);
                    false
                }
            };
            if !more {
                return;
            }
        }
    }

    /// Sends some; whether there is more that may go.
    fn transmit(&mut self) -> bool {
        if self.awaiting {
            return self.check_stall();
        }
        if self.frames.is_empty() {
            if let (Some(lifetime), Some(connected)) = (self.terms.lifetime, self.link.connected())
                && connected.since.elapsed() >= lifetime
            {
                self.link.renew();
                return true;
            }
            self.encode();
        }
        let Some(connected) = self.link.connected_mut() else { return false };
        let large = matches!(self.encoder, Encoder::Journald(_));
        match connected.send(&mut self.frames, large) {
            Ok(true) => {
                self.forget_sent();
                true
            }
            Ok(false) => {
                self.forget_sent();
                self.check_stall()
            }
            Err(error) => {
                let why = connected.complaint();
                self.fail(why.unwrap_or_else(|| words(&error)));
                self.failures == 1
            }
        }
    }

    fn encode(&mut self) {
        self.frames.clear();
        let one_by_one = self.link.is_datagram() || self.encoder.wants_answers();
        let now = clock::now();
        for record in &self.queue {
            match &mut self.encoder {
                Encoder::Journald(encoder) => encoder.encode(record, &mut self.frames),
                Encoder::Syslog(encoder) => encoder.encode(record, now, &mut self.frames),
                Encoder::Gelf(encoder) => encoder.encode(record, &mut self.frames),
                Encoder::Fluentd(encoder) => encoder.encode(record, &mut self.frames),
            }
            self.frames.behind.push_back(self.frames.ends.len());
            if one_by_one || self.frames.bytes.len() >= AHEAD {
                break;
            }
        }
    }

    /// Drops the records whose frames have gone.
    fn forget_sent(&mut self) {
        if self.frames.done > 0 {
            self.failures = 0;
        }
        if self.encoder.wants_answers() {
            self.awaiting = self.frames.is_empty() && !self.frames.behind.is_empty();
            return;
        }
        while self.frames.behind.front().is_some_and(|behind| *behind <= self.frames.done) {
            self.frames.behind.pop_front();
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(record) = self.queue.pop_front() {
            self.held -= record.text.len() + size_of::<Waiting>();
        }
    }

    /// A connection that has taken nothing for too long has failed. False: there is nothing to do but wait.
    fn check_stall(&mut self) -> bool {
        let stalled = self.terms.write_timeout.zip(self.link.connected());
        if stalled.is_some_and(|(timeout, connected)| connected.moved.elapsed() >= timeout) {
            self.fail("i/o timeout".into());
        }
        false
    }

    fn receive(&mut self) {
        let Some(connected) = self.link.connected_mut() else { return };
        let mut bytes = [0; 1024];
        match connected.receive(&mut bytes) {
            Ok(None) => {}
            Ok(Some(0)) => {
                let why = connected.complaint();
                self.fail(why.unwrap_or_else(|| "the collector has closed the connection".into()));
            }
            Ok(Some(count)) => {
                let Encoder::Fluentd(encoder) = &mut self.encoder else { return };
                match encoder.answered(&bytes[..count]).filter(|_| self.awaiting) {
                    Some(true) => {
                        self.awaiting = false;
                        self.frames.clear();
                        self.forget_first();
                    }
                    Some(false) => self.fail("the collector acknowledged something else".into()),
                    None => {}
                }
            }
            Err(error) => {
                let why = connected.complaint();
                self.fail(why.unwrap_or_else(|| words(&error)));
            }
        }
    }

    /// The connection is lost, or could not be made. What was not sent whole is sent again.
    fn fail(&mut self, error: String) {
        self.failures = self.failures.saturating_add(1);
        self.awaiting = false;
        self.frames = Frames::default();
        self.losses.blame(error);
        // A connection that broke is made anew at once; one that cannot be made, or breaks before it took anything, waits.
        let delay = match self.link.connected().is_some() && self.failures == 1 {
            true => Duration::ZERO,
            false => self.terms.delay_after(self.failures),
        };
        self.link.down(delay);
    }

    fn lose(&mut self, bytes: usize) {
        self.losses.add(1, bytes);
        if self.failures == 0 {
            let limit = self.terms.limit;
            self.losses.blame(format!("the collector is too slow for a buffer of {limit} bytes"));
        }
    }
}

impl Terms {
    fn of(told: &protocol::Remote) -> Terms {
        let terms = Terms {
            lossy: told.buffer.is_some(),
            limit: told.buffer.map_or(BLOCKING_QUEUE, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            max_records: usize::MAX,
            patience: 1,
            delay: Duration::from_secs(1),
            grows: false,
            write_timeout: None,
            lifetime: None,
        };
        match &told.collector {
            Collector::Journald { .. } | Collector::Syslog(_) => terms,
            Collector::Gelf(told) => Terms {
                patience: told.max_reconnect,
                delay: Duration::from_secs(told.reconnect_delay.into()),
                ..terms
            },
            Collector::Fluentd(told) => {
                // 0 is none.
                let some = |millis: u64| (millis > 0).then(|| Duration::from_millis(millis));
                let terms = Terms {
                    patience: told.max_retries,
                    delay: Duration::from_millis(told.retry_wait),
                    grows: true,
                    write_timeout: some(told.write_timeout),
                    ..terms
                };
                if !told.asynchronous {
                    return terms;
                }
                Terms {
                    lossy: true,
                    limit: if terms.lossy { terms.limit } else { ASYNC_QUEUE },
                    max_records: usize::try_from(told.buffer_limit).unwrap_or(usize::MAX).max(1),
                    lifetime: some(told.reconnect_interval),
                    ..terms
                }
            }
        }
    }

    fn delay_after(&self, failures: u32) -> Duration {
        if !self.grows {
            return self.delay;
        }
        let factor = 1.5f64.powi(i32::try_from(failures.saturating_sub(1).min(40)).unwrap_or(40));
        self.delay.mul_f64(factor).min(MAX_DELAY)
    }
}

impl Encoder {
    fn new(told: &protocol::Remote) -> Encoder {
        match &told.collector {
            Collector::Journald { fields } => Encoder::Journald(journald::Encoder::new(fields)),
            Collector::Syslog(told) => Encoder::Syslog(syslog::Encoder::new(told)),
            Collector::Gelf(gelf) => {
                let datagrams = told.endpoints.iter().any(protocol::Endpoint::is_datagram);
                Encoder::Gelf(gelf::Encoder::new(gelf, datagrams))
            }
            Collector::Fluentd(told) => Encoder::Fluentd(fluentd::Encoder::new(told)),
        }
    }

    fn wants_answers(&self) -> bool {
        matches!(self, Encoder::Fluentd(encoder) if encoder.wants_answers())
    }
}

impl Frames {
    fn end_frame(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// Everything encoded has been sent.
    fn is_empty(&self) -> bool {
        self.done == self.ends.len()
    }

    /// Keeps the memory of a usual batch.
    fn clear(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        bytes.shrink_to(2 * AHEAD);
        *self = Frames { bytes, ..Frames::default() };
    }

    /// So many bytes more were sent.
    fn advance(&mut self, bytes: usize) {
        self.sent += bytes;
        while self.ends.get(self.done).is_some_and(|end| *end <= self.sent) {
            self.done += 1;
        }
    }
}

/// Why a driver cannot begin, as Docker says it.
fn refusal(collector: &Collector, failed: link::Failed) -> String {
    match collector {
        Collector::Journald { .. } => "journald is not enabled on this host".into(),
        Collector::Syslog(_) if failed.of > 1 && failed.endpoint.path().is_some() => {
            "Unix syslog delivery error".into()
        }
        Collector::Gelf(_) => {
            format!("gelf: cannot connect to GELF endpoint: {} {}", failed.endpoint, failed.dialled())
        }
        Collector::Syslog(_) | Collector::Fluentd(_) => failed.dialled(),
    }
}

/// A sentence without a capital, as Go has it.
fn words(error: &linux::Error) -> String {
    match error.errno() {
        Errno::TIMEDOUT => "i/o timeout".into(),
        _ => {
            let sentence = error.sentence();
            let mut letters = sentence.chars();
            letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
        }
    }
}

impl AsFd for Connected {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests;
