//! Work that several pulls wait for together.
//!
//! A layer is fetched and unpacked by one task, however many pulls want it. They look at its newest [`News`] and turn
//! that into messages of their own. When the last of them goes away (its client hung up, its pull failed elsewhere),
//! the task ends; the bytes it has stay where they are for the next one.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::Step;
use crate::registry::{Error, Kind};

/// Positions are told at most this often: faster than an eye, slower than a network.
const INTERVAL: Duration = Duration::from_millis(100);

/// Where a layer is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Begun,
    /// Others download.
    Waiting,
    Downloading {
        current: u64,
    },
    Retrying {
        seconds: u64,
    },
    Verifying,
    Downloaded,
    Extracting {
        current: u64,
    },
    Done,
}

#[derive(Debug, Clone)]
pub(super) struct News {
    pub(super) phase: Phase,
    outcome: Option<Result<(), Error>>,
}

pub(super) type Announce = watch::Sender<News>;

/// Tells all who wait.
pub(super) fn announce(news: &Announce, phase: Phase) {
    news.send_modify(|news| news.phase = phase);
}

/// Tasks under way, by what they are asked for; each brings one `T`.
pub(super) struct Flights<K, T> {
    table: Mutex<HashMap<K, Weak<Flight<T>>>>,
}

/// One task; it ends with its last handle.
pub(super) struct Flight<T> {
    news: watch::Receiver<News>,
    task: AbortHandle,
    cargo: Arc<Mutex<Option<T>>>,
}

impl<T> Drop for Flight<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<K: Eq + Hash + Clone, T: Send + 'static> Flights<K, T> {
    pub(super) fn new() -> Self {
        Self { table: Mutex::new(HashMap::new()) }
    }

    /// The task that brings `key`, started if there is none, or if the last one failed.
    pub(super) fn join<F>(&self, key: &K, start: impl FnOnce(Announce) -> F) -> Arc<Flight<T>>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|_, flight| flight.strong_count() > 0);
        if let Some(flight) = table.get(key).and_then(Weak::upgrade)
            && !matches!(flight.news.borrow().outcome, Some(Err(_)))
        {
            return flight;
        }
        let (sender, news) = watch::channel(News { phase: Phase::Begun, outcome: None });
        let work = start(sender.clone());
        let cargo = Arc::new(Mutex::new(None));
        let hold = cargo.clone();
        let task = tokio::spawn(async move {
            let outcome = work.await.map(|brought| {
                hold.lock().unwrap_or_else(PoisonError::into_inner).replace(brought);
            });
            sender.send_modify(|news| {
                if outcome.is_ok() {
                    news.phase = Phase::Done;
                }
                news.outcome = Some(outcome);
            });
        });
        let flight = Arc::new(Flight { news, task: task.abort_handle(), cargo });
        table.insert(key.clone(), Arc::downgrade(&flight));
        flight
    }
}

impl<T> Flight<T> {
    /// What the task brought, for the first who asks.
    pub(super) fn take(&self) -> Option<T> {
        self.cargo.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits for the end and reports the steps until then. Steps that went by unseen are reported all the same, so
    /// that every layer tells a whole story.
    pub(super) async fn follow(&self, size: u64, report: impl Fn(Step)) -> Result<(), Error> {
        let mut news = self.news.clone();
        let mut story = Story { told: 0, size, last: None };
        loop {
            let now = news.borrow_and_update().clone();
            if !matches!(now.outcome, Some(Err(_))) {
                story.tell(now.phase, &report);
            }
            if let Some(outcome) = now.outcome {
                return outcome;
            }
            if news.changed().await.is_err() {
                return Err(Error::new(Kind::Other, "the task that fetched the layer has ended"));
            }
        }
    }
}

struct Story {
    /// Rank of the last phase told.
    told: u8,
    size: u64,
    last: Option<Instant>,
}

impl Story {
    fn tell(&mut self, phase: Phase, report: &impl Fn(Step)) {
        let rank = rank(phase);
        for missed in self.told + 1..rank {
            match missed {
                3 => report(Step::VerifyingChecksum),
                4 => report(Step::DownloadComplete),
                5 => report(Step::Extracting { current: self.size, total: self.size }),
                _ => {}
            }
        }
        let first = rank > self.told;
        self.told = self.told.max(rank);
        let moving = matches!(phase, Phase::Downloading { .. } | Phase::Extracting { .. });
        if !first && moving && self.last.is_some_and(|last| last.elapsed() < INTERVAL) {
            return;
        }
        if !first && !moving && !matches!(phase, Phase::Retrying { .. }) {
            return;
        }
        self.last = Some(Instant::now());
        report(match phase {
            Phase::Begun => return,
            Phase::Waiting => Step::Waiting,
            Phase::Downloading { current } => Step::Downloading { current, total: self.size },
            Phase::Retrying { seconds } => Step::Retrying { seconds },
            Phase::Verifying => Step::VerifyingChecksum,
            Phase::Downloaded => Step::DownloadComplete,
            Phase::Extracting { current } => Step::Extracting { current, total: self.size },
            Phase::Done => Step::PullComplete,
        });
    }
}

fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Begun => 0,
        Phase::Waiting => 1,
        Phase::Downloading { .. } | Phase::Retrying { .. } => 2,
        Phase::Verifying => 3,
        Phase::Downloaded => 4,
        Phase::Extracting { .. } => 5,
        Phase::Done => 6,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_layer_tells_a_whole_story() {
        let told = RefCell::new(Vec::new());
        let mut story = Story { told: 0, size: 9, last: None };
        for phase in [
            Phase::Waiting,
            Phase::Downloading { current: 1 },
            Phase::Downloading { current: 2 },
            Phase::Done,
        ] {
            story.tell(phase, &|step: Step| told.borrow_mut().push(step.text()));
        }
        assert_eq!(
            told.into_inner(),
            [
                "Waiting",
                "Downloading",
                "Verifying Checksum",
                "Download complete",
                "Extracting",
                "Pull complete"
            ]
        );
    }

    #[tokio::test]
    async fn the_same_work_is_done_once_and_failures_are_not_inherited() {
        let flights = Flights::new();
        let started = Arc::new(AtomicU32::new(0));
        let start = |fail: bool| {
            let started = started.clone();
            move |_| async move {
                started.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                if fail { Err(Error::new(Kind::Other, "no")) } else { Ok(()) }
            }
        };
        let (one, two) = (flights.join(&1, start(true)), flights.join(&1, start(true)));
        let (first, second) = tokio::join!(one.follow(0, |_| ()), two.follow(0, |_| ()));
        assert!(first.is_err() && second.is_err());
        assert_eq!(started.load(Ordering::Relaxed), 1);
        let again = flights.join(&1, start(false));
        again.follow(0, |_| ()).await.unwrap();
        assert_eq!(started.load(Ordering::Relaxed), 2);
        assert!(again.take().is_some() && again.take().is_none());
    }

    #[tokio::test]
    async fn nobody_waits_nobody_works() {
        struct Ended(Option<tokio::sync::oneshot::Sender<()>>);
        impl Drop for Ended {
            fn drop(&mut self) {
                let _ = self.0.take().unwrap().send(());
            }
        }
        let (sender, ended) = tokio::sync::oneshot::channel();
        let guard = Ended(Some(sender));
        let flights = Flights::new();
        let flight: Arc<Flight<()>> = flights.join(&1, |_| async move {
            let _guard = guard;
            std::future::pending().await
        });
        drop(flight);
        ended.await.unwrap();
    }
}
