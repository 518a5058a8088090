//! What happened to a container, kept until somebody who was away has read it.
//!
//! ```text
//! journal = ( Event as one line of JSON, LF )*       <runtime dir>/journal, on tmpfs
//! ```
//!
//! The shim appends before it tells anyone; an engine that comes back reads the file (the shim may be dead) or
//! subscribes with the last sequence number that it has recorded. It lies on tmpfs, so it survives every
//! process and no reboot, after which there is nothing to tell.
//!
//! *Limits*: at [`MAX_SIZE`] the file is rewritten without its oldest entries: health probes first (the last
//! five stay, as Docker keeps), then whatever is oldest, down to half. When an append fails (tmpfs is full)
//! the line waits in memory, at most [`MAX_PENDING`] bytes, and goes out before the next one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::protocol::{Event, Happening};
use crate::{clock, paths};

/// Weeks of restarts at the slowest pace, or days of probes; small enough for a tmpfs with many containers.
const MAX_SIZE: u64 = 1 << 20;
const MAX_PENDING: usize = 64 << 10;
const PROBES_KEPT: usize = 5;

/// The file that events are appended to before anybody hears of them.
pub struct Journal {
    path: PathBuf,
    file: File,
    size: u64,
    pending: Vec<u8>,
    retired: bool,
    incarnation: String,
    sequence: u64,
}

impl Journal {
    /// Starts the journal of one run; an older run's is replaced.
    pub fn create(runtime_dir: &Path, incarnation: &str) -> io::Result<Journal> {
        let path = paths::journal(runtime_dir);
        let _ = std::fs::remove_file(&path);
        linux::fault::io("journal: create")?;
        let file = open(&path)?;
        Ok(Journal {
            path,
            file,
            size: 0,
            pending: Vec::new(),
            retired: false,
            incarnation: incarnation.to_owned(),
            sequence: 0,
        })
    }

    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The file is somebody else's from now on: nothing more is written.
    pub fn retire(&mut self) {
        self.retired = true;
    }

    /// Records it and returns the event for those who listen.
    pub fn record(&mut self, what: Happening) -> Event {
        self.sequence += 1;
        let incarnation = self.incarnation.clone();
        let event = Event { incarnation, sequence: self.sequence, time: clock::format(clock::now()), what };
        if !self.retired
            && let Ok(mut line) = serde_json::to_vec(&event)
        {
            line.push(b'\n');
            self.append(&line);
        }
        event
    }

    fn append(&mut self, line: &[u8]) {
        if self.size + line.len() as u64 > MAX_SIZE {
            // Without the rewrite the file only gets larger than it should be.
            let _ = self.compact();
        }
        if self.pending.len() + line.len() <= MAX_PENDING {
            self.pending.extend_from_slice(line);
        }
        match linux::fault::io("journal: append").and_then(|()| self.file.write(&self.pending)) {
            Ok(written) => {
                self.size += written as u64;
                self.pending.drain(..written);
            }
            Err(_) => return,
        }
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
    }

    fn compact(&mut self) -> io::Result<()> {
        let events = trim(read_file(&self.path)?, MAX_SIZE as usize / 2);
        linux::fault::io("journal: compact")?;
        let replacement = paths::with_suffix(&self.path, ".new");
        let _ = std::fs::remove_file(&replacement);
        let mut file = open(&replacement)?;
        let mut bytes = Vec::new();
        for event in &events {
            serde_json::to_writer(&mut bytes, event)?;
            bytes.push(b'\n');
        }
        file.write_all(&bytes)?;
        std::fs::rename(&replacement, &self.path)?;
        (self.file, self.size) = (file, bytes.len() as u64);
        Ok(())
    }

    /// Events above `after`, oldest first.
    pub fn since(&self, after: u64) -> io::Result<Vec<Event>> {
        let mut events = read_file(&self.path)?;
        let pending =
            self.pending.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
        events.extend(pending);
        events.retain(|event| event.sequence > after);
        Ok(events)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// All events of the container's last run; empty when it never had one. Lines that make no sense (torn by a
/// kill, or of a newer shim's kind) are skipped.
pub fn read(runtime_dir: &Path) -> io::Result<Vec<Event>> {
    match read_file(&paths::journal(runtime_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// Adds an event behind a dead shim's last one.
pub(crate) fn append_for_the_dead(runtime_dir: &Path, what: Happening) -> io::Result<Event> {
    let events = read(runtime_dir)?;
    let last = events.last();
    let event = Event {
        incarnation: last.map(|event| event.incarnation.clone()).unwrap_or_default(),
        sequence: last.map_or(0, |event| event.sequence) + 1,
        time: clock::format(clock::now()),
        what,
    };
    // A torn line may be there: a line feed first keeps it from swallowing ours.
    let mut line = vec![b'\n'];
    serde_json::to_writer(&mut line, &event)?;
    line.push(b'\n');
    linux::fault::io("journal: append for a dead shim")?;
    open(&paths::journal(runtime_dir))?.write_all(&line)?;
    Ok(event)
}

fn read_file(path: &Path) -> io::Result<Vec<Event>> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

/// Drops probes but the last few, then the oldest until the rest is at most `target` bytes long.
fn trim(events: Vec<Event>, target: usize) -> Vec<Event> {
    let is_probe = |event: &Event| {
        matches!(event.what, Happening::HealthProbed { .. } | Happening::HealthStarted { .. })
    };
    let probes = events.iter().filter(|event| is_probe(event)).count();
    let mut surplus = probes.saturating_sub(2 * PROBES_KEPT);
    let mut kept: Vec<Event> = events
        .into_iter()
        .filter(|event| {
            let drop = is_probe(event) && surplus > 0;
            surplus -= usize::from(drop);
            !drop
        })
        .collect();
    let sizes: Vec<usize> =
        kept.iter().map(|event| serde_json::to_vec(event).map_or(0, |line| line.len() + 1)).collect();
    let mut total: usize = sizes.iter().sum();
    let mut first = 0;
    while total > target && first < sizes.len() {
        total -= sizes[first];
        first += 1;
    }
    kept.drain(..first);
    kept
}

#[cfg(test)]
mod tests {
    use scratch::Directory;

    use super::*;
    use crate::protocol::{HealthStatus, Probe};
    use crate::testing::SmallDisk;

    fn sequences(events: &[Event]) -> Vec<u64> {
        events.iter().map(|event| event.sequence).collect()
    }

    fn probe() -> Happening {
        let probe =
            Probe { start: String::new(), end: String::new(), exit_code: 0, output: "x".repeat(4096) };
        Happening::HealthProbed { status: HealthStatus::Healthy, failing_streak: 0, probe, code: Some(0) }
    }

    #[test]
    fn replays_from_where_one_left() {
        let dir = Directory::new("journal");
        let mut journal = Journal::create(&dir, "a").unwrap();
        journal.record(Happening::Started { pid: 1, restart_count: 0 });
        journal.record(Happening::Paused);
        journal.record(Happening::Resumed);
        assert_eq!(sequences(&journal.since(1).unwrap()), [2, 3]);
        assert_eq!(sequences(&read(&dir).unwrap()), [1, 2, 3]);
    }

    #[test]
    fn a_dead_shims_torn_line_hides_nothing() {
        let dir = Directory::new("journal");
        let mut journal = Journal::create(&dir, "a").unwrap();
        journal.record(Happening::Paused);
        journal.file.write_all(b"{\"incarnation\":\"a\",\"seq").unwrap();
        drop(journal);
        append_for_the_dead(&dir, Happening::OutOfMemory).unwrap();
        let events = read(&dir).unwrap();
        assert_eq!(sequences(&events), [1, 2]);
        assert_eq!(events[1].incarnation, "a");
    }

    #[test]
    fn grows_to_its_bound_and_keeps_what_matters() {
        let dir = Directory::new("journal");
        let mut journal = Journal::create(&dir, "a").unwrap();
        journal.record(Happening::Started { pid: 1, restart_count: 0 });
        for _ in 0..1000 {
            journal.record(probe());
        }
        assert!(std::fs::metadata(paths::journal(&dir)).unwrap().len() <= MAX_SIZE);
        let events = journal.since(0).unwrap();
        assert_eq!(events[0].sequence, 1);
        assert_eq!(events.last().unwrap().sequence, 1001);
    }

    #[test]
    fn waits_in_memory_for_a_full_disk() {
        let disk = SmallDisk::mount("journal", 8 << 10);
        let mut journal = Journal::create(disk.path(), "a").unwrap();
        for _ in 0..5 {
            journal.record(probe());
        }
        assert_eq!(sequences(&journal.since(0).unwrap()).last(), Some(&5));
        disk.grow(1 << 20);
        journal.record(Happening::Paused);
        assert_eq!(sequences(&read(disk.path()).unwrap()), [1, 2, 3, 4, 5, 6]);
    }
}
