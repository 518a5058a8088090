//! One layer from the registry to the disk: download, verify, unpack, the last while the first goes on.
//!
//! ```text
//!  registry ──chunks──▶ queue of 8 ───▶ writer thread: hash, append ──▶ ingest file ──▶ unpacking thread
//!     ▲                                      │ how far                      (follows, waits at the edge)
//!     └── Range: bytes=<how far>-  after a cut, a stall, a restart of the engine
//! ```
//!
//! Disk and hash work happens on blocking threads; the queue between is the only buffer. The blob is published when
//! its digest is right; the layer checks its own (the diff ID), so neither depends on the other's honesty.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oci::digest::Digest;
use oci::image::Descriptor;
use store::blobs::Ingest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};

use super::flight::{Announce, Phase, announce};
use super::tail::{Position, Reader, Writer, tail};
use crate::registry::{Error, Kind, Session};
use crate::retry::{Failures, Retry};
use crate::{Images, STRIDE, Unpacked};

/// Chunks between network and disk. The HTTP library reads up to 400 KiB at once on a fast line, so this is at most
/// 3 MiB.
const QUEUE: usize = 8;
/// How long another writer of the same blob is waited for: one that was cancelled needs a moment to let go.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Fetch {
    pub(super) images: Images,
    pub(super) session: Arc<Session>,
    pub(super) descriptor: Descriptor,
    pub(super) diff_id: Digest,
    pub(super) downloads: Arc<Semaphore>,
    pub(super) unpacks: Arc<Semaphore>,
    pub(super) retry: Retry,
}

/// What one download needs until its end.
struct Incoming {
    ingest: Ingest,
    tail: Writer,
}

impl Fetch {
    pub(super) async fn run(self, news: Announce) -> Result<Option<Unpacked>, Error> {
        let mut permit = self.downloads.clone().try_acquire_owned().ok();
        if permit.is_none() {
            announce(&news, Phase::Waiting);
            permit = Some(acquire(&self.downloads).await?);
        }
        match self.attempt(&news, &mut permit).await {
            // Bytes from an earlier, interrupted download may have been the wrong ones; from the start, once.
            Err((error, true)) if error.kind() == Kind::Mismatch => {
                if permit.is_none() {
                    permit = Some(acquire(&self.downloads).await?);
                }
                self.attempt(&news, &mut permit).await.map_err(|(error, _)| error)
            }
            other => other.map_err(|(error, _)| error),
        }
    }

    /// Downloads and unpacks. An error tells whether bytes of an earlier attempt took part.
    async fn attempt(
        &self,
        news: &Announce,
        permit: &mut Option<OwnedSemaphorePermit>,
    ) -> Result<Option<Unpacked>, (Error, bool)> {
        let (file, incoming) = self.open().await.map_err(|error| (error, false))?;
        let resumed = incoming.as_ref().is_some_and(|ingest| ingest.offset() > 0);
        let (present, size) = match &incoming {
            Some(ingest) => (ingest.offset(), self.descriptor.size),
            None => (self.descriptor.size, self.descriptor.size),
        };
        tracing::debug!(digest = %self.descriptor.digest, present, size, "fetching a layer");
        let (writer, reader) = tail(file, present, self.position(news));
        let witness = writer.witness();
        let mut unpacking = self.start_unpacking(reader);
        let mut download = std::pin::pin!(self.download(incoming, writer, news));

        let unpacked = tokio::select! {
            biased;
            done = &mut download => {
                done.map_err(|error| (error, resumed))?;
                None
            }
            // Before the end of the download, this is almost always an error. Whether the registry sent other bytes
            // than it should or the image itself is bad, only the whole blob can tell.
            unpacked = &mut unpacking => {
                let unpacked = flatten(unpacked);
                if let Err(error) = &unpacked
                    && matches!(error.kind(), Kind::Full | Kind::Other)
                    && !witness.abandoned()
                {
                    return Err((error.clone(), resumed));
                }
                download.await.map_err(|error| (error, resumed))?;
                Some(unpacked.map_err(|error| (error, resumed))?)
            }
        };
        *permit = None;
        match unpacked {
            Some(unpacked) => Ok(unpacked),
            None => flatten(unpacking.await).map_err(|error| (error, resumed)),
        }
    }

    /// The file to read from, and the ingest to go on with unless the blob is complete.
    async fn open(&self) -> Result<(File, Option<Ingest>), Error> {
        for _ in 0..BUSY_TRIES {
            let (blobs, descriptor) = (self.images.blobs().clone(), self.descriptor.clone());
            let opened = spawn_blocking(move || -> Result<_, store::Error> {
                if blobs.size(&descriptor.digest) == Some(descriptor.size) {
                    return Ok((blobs.reader(&descriptor.digest)?, None));
                }
                let ingest = blobs.ingest(&descriptor.digest, descriptor.size)?;
                Ok((ingest.reader()?, Some(ingest)))
            });
            match opened.await.map_err(died)? {
                Err(error) if error.kind() == store::Kind::Busy => tokio::time::sleep(BUSY_PAUSE).await,
                other => return other.map_err(Error::from),
            }
        }
        let message = format!("blob {} is already being fetched", self.descriptor.digest);
        Err(Error::new(Kind::Other, message))
    }

    fn position(&self, news: &Announce) -> Position {
        let news = news.clone();
        Box::new(move |current| {
            news.send_if_modified(|news| {
                let extracting = matches!(news.phase, Phase::Downloaded | Phase::Extracting { .. });
                if extracting {
                    news.phase = Phase::Extracting { current };
                }
                extracting
            });
        })
    }

    fn start_unpacking(&self, reader: Reader) -> JoinHandle<Result<Option<Unpacked>, Error>> {
        let (unpacks, layers) = (self.unpacks.clone(), self.images.layers().clone());
        let diff_id = self.diff_id.clone();
        tokio::spawn(async move {
            if layers.contains(&diff_id) {
                return Ok(None);
            }
            let _permit = acquire(&unpacks).await?;
            let unpack = spawn_blocking(move || layers.unpack(Some(&diff_id), reader));
            unpack.await.map_err(died)?.map(Some).map_err(Error::from)
        })
    }

    /// Brings the blob to its end, however often it is cut, and publishes it.
    async fn download(&self, ingest: Option<Ingest>, tail: Writer, news: &Announce) -> Result<(), Error> {
        if let Some(ingest) = ingest {
            let mut incoming = Incoming { ingest, tail };
            let mut failures = Failures::new(self.retry);
            while incoming.ingest.offset() < self.descriptor.size {
                let (returned, result) = self.transfer(incoming, news).await?;
                incoming = returned;
                if let Err(error) = result {
                    tracing::debug!(digest = %self.descriptor.digest, %error, "a download was cut");
                    let pause = failures.again(error, incoming.ingest.offset())?;
                    self.wait(pause, news).await;
                }
            }
            announce(news, Phase::Verifying);
            let ingest = incoming.ingest;
            spawn_blocking(move || ingest.commit()).await.map_err(died)?.map_err(|error| {
                match error.kind() {
                    store::Kind::Mismatch => crate::registry::mismatch(&self.descriptor),
                    _ => Error::from(error),
                }
            })?;
            incoming.tail.complete();
        } else {
            tail.complete();
        }
        announce(news, Phase::Downloaded);
        Ok(())
    }

    /// One connection's worth of bytes. The outer error is of this machine, the inner one of the connection.
    async fn transfer(
        &self,
        incoming: Incoming,
        news: &Announce,
    ) -> Result<(Incoming, Result<(), Error>), Error> {
        let offset = incoming.ingest.offset();
        announce(news, Phase::Downloading { current: offset });
        let mut download = match self.session.blob(&self.descriptor, offset).await {
            Ok(download) => download,
            Err(error) => return Ok((incoming, Err(error))),
        };
        let (queue, chunks) = mpsc::channel(QUEUE);
        let writer = {
            let news = news.clone();
            spawn_blocking(move || write(incoming, chunks, &news))
        };
        let mut left = self.descriptor.size - offset;
        let result = loop {
            match download.next().await {
                Ok(Some(chunk)) if chunk.len() as u64 > left => {
                    break Err(crate::registry::mismatch(&self.descriptor));
                }
                Ok(Some(chunk)) => {
                    left -= chunk.len() as u64;
                    if queue.send(chunk).await.is_err() {
                        // The writer has stopped and says why.
                        break Ok(());
                    }
                }
                Ok(None) if left > 0 => break Err(Error::new(Kind::Unavailable, "unexpected EOF")),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        drop(queue);
        Ok((writer.await.map_err(died)??, result))
    }

    async fn wait(&self, pause: Duration, news: &Announce) {
        let mut left = pause;
        while !left.is_zero() {
            announce(news, Phase::Retrying { seconds: left.as_secs().max(1) });
            let step = left.min(Duration::from_secs(1));
            tokio::time::sleep(step).await;
            left -= step;
        }
    }
}

fn write(
    mut incoming: Incoming,
    mut chunks: mpsc::Receiver<Bytes>,
    news: &Announce,
) -> Result<Incoming, Error> {
    let mut told = incoming.ingest.offset();
    while let Some(chunk) = chunks.blocking_recv() {
        incoming.ingest.write(&chunk)?;
        let current = incoming.ingest.offset();
        incoming.tail.advance(current);
        // Everybody who waits wakes up for this.
        if current - told >= STRIDE {
            told = current;
            announce(news, Phase::Downloading { current });
        }
    }
    Ok(incoming)
}

async fn acquire(semaphore: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
    let closed = |_| Error::new(Kind::Other, "the engine is shutting down");
    semaphore.clone().acquire_owned().await.map_err(closed)
}

fn flatten<T>(result: Result<Result<T, Error>, tokio::task::JoinError>) -> Result<T, Error> {
    result.map_err(died)?
}

pub(super) fn died(error: tokio::task::JoinError) -> Error {
    Error::new(Kind::Other, format!("a worker thread has ended: {error}"))
}
