//! What happened, for whoever listens, and the newest of it for whoever asks later.
//!
//! An event goes to three places: the history in memory, a line in `events.jsonl` (so that `events --since` reaches
//! back over a restart of the engine), and every listener. Publishing never waits: a listener that is too slow loses
//! events, as with Docker.
//!
//! A full disk loses no history: what could not be written is still in memory, and the file is written anew from there
//! with the first event for which there is room.
//!
//! An event that a shim reported carries the shim's incarnation and sequence number into its line. An engine that
//! comes back reads from the lines how far it had come with each shim, and publishes nothing twice.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::event::{Actor, Message};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::clock;
use crate::error::{Error, Result};

mod query;

pub use query::{EventQuery, EventStream, Events};

/// Events kept for `--since`: four times Docker's, since ours must also bridge a restart.
const HISTORY: usize = 1024;

/// The file is rewritten when it holds this many times the history; at about 500 bytes a line it stays below 2 MiB.
const SURPLUS: usize = 4;

/// Nanoseconds between two events that come in the wrong order, beyond which the clock was set back in between. Far longer
/// than any event is on its way, but for those of a shim whose engine was away, which are told in their own order.
const SET_BACK: i64 = 60 * 1_000_000_000;

/// How far a listener may fall behind before it loses events.
const BACKLOG: usize = 1024;

/// Where an event came from, if a shim reported it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub incarnation: String,
    pub sequence: u64,
}

#[derive(Serialize, Deserialize)]
struct Line {
    /// Absent in lines that only say how far a shim had come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<Message>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shim: Option<Origin>,
}

/// The bus. One per engine.
pub(crate) struct Bus {
    inner: Mutex<Inner>,
    live: broadcast::Sender<Arc<Message>>,
}

struct Inner {
    history: VecDeque<Arc<Message>>,
    /// The newest sequence number published for each incarnation.
    reached: HashMap<String, u64>,
    path: PathBuf,
    file: File,
    lines: usize,
    /// Something could not be written: the file lacks lines, or ends within one.
    behind: bool,
    /// Time of the newest event: two in one moment keep their order.
    newest: i64,
}

impl Bus {
    /// Reads the history back. Lines that a crash cut short are dropped.
    pub(crate) fn open(path: &Path) -> Result<Bus> {
        let failed =
            |error| Error::failed(format!("cannot open the event history {}", path.display()), error);
        let mut history = VecDeque::new();
        let mut reached = HashMap::new();
        if let Ok(file) = File::open(path) {
            for line in BufReader::new(file).split(b'\n') {
                let Ok(line) = serde_json::from_slice::<Line>(&line.map_err(failed)?) else { continue };
                if let Some(origin) = line.shim {
                    reached.insert(origin.incarnation, origin.sequence);
                }
                let Some(message) = line.message else { continue };
                if history.len() == HISTORY {
                    history.pop_front();
                }
                history.push_back(Arc::new(message));
            }
        }
        let newest = history.back().map_or(0, |message| message.time_nano);
        let mut inner = Inner {
            history,
            reached,
            path: path.to_owned(),
            file: append(path).map_err(failed)?,
            lines: 0,
            behind: false,
            newest,
        };
        // The old file has all there is, only more of it than is needed, and perhaps half a line at its end.
        if let Err(error) = inner.rewrite() {
            inner.behind = true;
            tracing::warn!(%error, path = %path.display(), "cannot write the event history");
        }
        Ok(Bus { inner: Mutex::new(inner), live: broadcast::channel(BACKLOG).0 })
    }

    /// Something happened just now.
    pub(crate) fn publish(&self, kind: &str, action: &str, id: &str, attributes: BTreeMap<String, String>) {
        self.publish_at(kind, action, id, attributes, &clock::now(), None);
    }

    /// Whether this is new from its shim. An event that is told in several parts is told whole or not at all.
    pub(crate) fn is_news(&self, origin: &Origin) -> bool {
        self.lock().reached.get(&origin.incarnation).is_none_or(|reached| origin.sequence > *reached)
    }

    /// Something happened at `time`; what a shim has reported before is not published again.
    pub(crate) fn publish_at(
        &self,
        kind: &str,
        action: &str,
        id: &str,
        attributes: BTreeMap<String, String>,
        time: &str,
        origin: Option<Origin>,
    ) {
        let mut inner = self.lock();
        if let Some(origin) = &origin {
            let reached = inner.reached.entry(origin.incarnation.clone()).or_insert(0);
            if origin.sequence <= *reached {
                return;
            }
            *reached = origin.sequence;
        }
        let time = match clock::nanoseconds(time) {
            0 => clock::nanoseconds(&clock::now()),
            time => time,
        };
        inner.newest = in_order(time, inner.newest);
        let actor = Actor { id: id.to_owned(), attributes };
        let message = Arc::new(Message::new(kind, action, actor, inner.newest));
        inner.remember(&message, origin);
        // Nobody listening is no failure.
        let _ = self.live.send(message);
    }

    /// Nothing more will come from this shim: its numbers need not be remembered.
    pub(crate) fn forget(&self, incarnation: &str) {
        self.lock().reached.remove(incarnation);
    }

    /// The past that a query asks for and the way to what follows, without a gap between them.
    fn listen(&self) -> (Vec<Arc<Message>>, broadcast::Receiver<Arc<Message>>) {
        let inner = self.lock();
        (inner.history.iter().cloned().collect(), self.live.subscribe())
    }

    /// How many listen now.
    pub(crate) fn listeners(&self) -> usize {
        self.live.receiver_count()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while publishing leaves at worst one event out.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remember(&mut self, message: &Arc<Message>, shim: Option<Origin>) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(message.clone());
        let line = Line { message: Some((**message).clone()), shim };
        let written = match self.behind || self.lines > HISTORY * SURPLUS {
            true => self.rewrite(),
            false => self.write(&line),
        };
        // The history is a convenience: a full disk must not stop containers from being stopped.
        if let Err(error) = &written
            && !self.behind
        {
            tracing::warn!(%error, path = %self.path.display(), "cannot write the event history");
        }
        self.behind = written.is_err();
    }

    fn write(&mut self, line: &Line) -> std::io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        linux::fault::io("write an event")?;
        self.file.write_all(&bytes)?;
        self.lines += 1;
        Ok(())
    }

    /// Replaces the file by what memory holds.
    fn rewrite(&mut self) -> std::io::Result<()> {
        let next = self.path.with_extension("jsonl.next");
        let mut bytes = Vec::new();
        let messages =
            self.history.iter().map(|message| Line { message: Some((**message).clone()), shim: None });
        // Running shims must be known although the lines of their events are gone.
        let shims = self.reached.iter().map(|(incarnation, sequence)| Line {
            message: None,
            shim: Some(Origin { incarnation: incarnation.clone(), sequence: *sequence }),
        });
        for line in messages.chain(shims) {
            serde_json::to_writer(&mut bytes, &line)?;
            bytes.push(b'\n');
        }
        let replaced = linux::fault::io("write the events anew")
            .and_then(|()| std::fs::write(&next, &bytes))
            .and_then(|()| std::fs::rename(&next, &self.path));
        if replaced.is_err() {
            // Half of it would keep room from others.
            let _ = std::fs::remove_file(&next);
        }
        replaced?;
        self.file = append(&self.path)?;
        self.lines = self.history.len();
        Ok(())
    }
}

/// The time of an event that follows one of the time `newest`. Shims and the engine look at the clock before they speak, so
/// one may come late; then its time is moved. A clock that has been set back is followed: nobody who asks for the last
/// five minutes would find events that go on in the future that it came from.
fn in_order(time: i64, newest: i64) -> i64 {
    if newest.saturating_sub(time) > SET_BACK { time } else { time.max(newest.saturating_add(1)) }
}

fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
