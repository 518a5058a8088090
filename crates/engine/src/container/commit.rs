//! What a container has changed, and an image made of it.

use api::container::{Change, CommitResponse, Config};

use super::owner::Command;
use crate::Engine;
use crate::error::Result;

/// What a commit is told.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    pub repository: String,
    pub tag: String,
    pub comment: String,
    pub author: String,
    /// Pause the container meanwhile.
    pub pause: bool,
    /// Dockerfile lines (`CMD …`, `ENV …`).
    pub changes: Vec<String>,
    /// Replaces the container's configuration where it says something.
    pub config: Option<Config>,
}

impl Engine {
    /// Changes of the container against its image; none when there are none.
    pub async fn container_changes(&self, wanted: &str) -> Result<Option<Vec<Change>>> {
        let record = self.container(wanted)?.record();
        self.blocking(move |engine| {
            let changes = engine.snapshot_changes(&record)?;
            Ok(Some(changes).filter(|changes| !changes.is_empty()))
        })
        .await
    }

    pub async fn container_commit(&self, wanted: &str, options: CommitOptions) -> Result<CommitResponse> {
        let container = self.container(wanted)?;
        let record = container.record();
        let pause = options.pause && record.state.is_running() && !record.state.is_paused() && !record.state.is_restarting();
        if pause {
            container.ask(|reply| Command::Pause { reply }).await?;
        }
        let (comment, name) = (options.comment.clone(), options.repository.clone());
        let (source, kept) = (record.clone(), options);
        let committed = self.blocking(move |engine| engine.snapshot_commit(&source, kept)).await;
        if pause {
            // A container that ended while it was paused needs no thaw.
            let thawed = container.ask(|reply| Command::Unpause { reply }).await;
            if let Err(error) = thawed {
                tracing::warn!(container = %record.id, %error, "cannot unpause a container after a commit");
            }
        }
        let id = committed?;
        let extra = [("comment", comment), ("imageID", id.clone()), ("imageRef", name)];
        self.container_event(&record, "commit", &extra);
        Ok(CommitResponse { id, ..CommitResponse::default() })
    }
}
