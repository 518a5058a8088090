//! An import of what lies at an address: fetched by the engine, and unpacked while it comes.

use std::io::{self, Read};

use api::progress::Message;
use bytes::{Buf, Bytes};
use image::registry::Download;
use image::{Progress, STRIDE, Sink, Step};
use tokio::sync::mpsc;

use super::ImportRequest;
use super::transfer::import;
use crate::Engine;
use crate::error::Result;
use crate::pulls::telling;

/// Pieces between the network and the disk: one is unpacked while the next comes.
const UNDER_WAY: usize = 4;

/// The pieces of a file; an empty one is its end, without which some of it is missing.
type Pieces = mpsc::Sender<io::Result<Bytes>>;

impl Engine {
    /// `POST /images/create?fromSrc=URL`
    pub async fn image_import_from(
        &self,
        request: ImportRequest,
        lines: mpsc::Sender<Message>,
    ) -> Result<()> {
        let address = match request.source.contains("://") {
            true => request.source.clone(),
            false => format!("http://{}", request.source),
        };
        let import = import(request)?;
        let download = self.pulls()?.registries().fetch(&address).await.map_err(image::Error::from)?;
        telling(lines, |sink| async move {
            sink(Progress::status(format!("Downloading from {address}")));
            let (sender, pieces) = mpsc::channel(UNDER_WAY);
            let made = self.blocking(move |engine| {
                let id = engine
                    .images()
                    .import(Archive { pieces: Some(pieces), current: Bytes::new() }, import)?;
                engine.told("import", &id, id.as_str());
                Ok(id)
            });
            tokio::pin!(made);
            // What is not wanted any more need not come.
            let made = tokio::select! {
                made = &mut made => made?,
                () = bring(download, sender, &*sink) => made.await?,
            };
            sink(Progress::Made(made));
            Ok(())
        })
        .await
    }
}

/// Passes on what comes.
async fn bring(mut download: Download, pieces: Pieces, sink: &dyn Sink) {
    let total = download.length().unwrap_or(0);
    let (mut current, mut told) = (0, 0);
    let position =
        |current| sink(Progress::Layer { id: String::new(), step: Step::Importing { current, total } });
    loop {
        let next = download.next().await.map(Option::unwrap_or_default).map_err(io::Error::other);
        let last = next.as_ref().map_or(true, Bytes::is_empty);
        current += next.as_ref().map_or(0, |piece| piece.len() as u64);
        if current >= told + STRIDE || last && next.is_ok() {
            position(current);
            told = current;
        }
        if pieces.send(next).await.is_err() || last {
            return;
        }
    }
}

/// The same for code that blocks.
struct Archive {
    /// None behind the end.
    pieces: Option<mpsc::Receiver<io::Result<Bytes>>>,
    current: Bytes,
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(pieces) = self.pieces.as_mut().filter(|_| self.current.is_empty()) {
            self.current = pieces.blocking_recv().ok_or(io::ErrorKind::ConnectionAborted)??;
            if self.current.is_empty() {
                self.pieces = None;
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
