//! Removing images that nobody uses: nameless ones, or (`dangling=false`) all.

use std::sync::atomic::{AtomicBool, Ordering};

use api::event::kind;
use api::filters::Filters;
use api::image::PruneReport;
use image::images::created;

use crate::Engine;
use crate::container::until;
use crate::error::{Error, ErrorKind, Result};

impl Engine {
    /// `POST /images/prune`
    pub async fn image_prune(&self, filters: Filters) -> Result<PruneReport> {
        filters.check(&["dangling", "label", "label!", "until"])?;
        let nameless = filters.flag("dangling")?.unwrap_or(true);
        // Docker blames itself here.
        let until = until(&filters).map_err(|error| Error::system(error.message()))?;
        self.blocking(move |engine| {
            let _turn = Turn::take(&engine.shared().images.pruning)?;
            engine.prune_images(&filters, nameless, until)
        })
        .await
    }

    fn prune_images(&self, filters: &Filters, nameless: bool, until: Option<i64>) -> Result<PruneReport> {
        let before = self.layer_bytes();
        let mut deleted = Vec::new();
        for (image, names) in self.images().list() {
            let labels = &image.config.config.labels;
            let unwanted = filters.values("label!").any(|wanted| match wanted.split_once('=') {
                Some((name, value)) => labels.get(name).is_some_and(|have| have == value),
                None => labels.contains_key(wanted),
            });
            let late = until.is_some_and(|until| created(&image).saturating_mul(1_000_000_000) >= until);
            let inner = names.is_empty() && !self.images().children(&image.id).is_empty();
            if late
                || unwanted
                || inner
                || !filters.pairs("label", labels)
                || (nameless && !names.tags.is_empty())
            {
                continue;
            }
            let mut targets: Vec<String> = names.all().map(ToString::to_string).collect();
            if targets.is_empty() {
                targets.push(image.id.to_string());
            }
            for target in targets {
                match self.remove_image(&target, false, true) {
                    Ok(removed) => deleted.extend(removed),
                    // In use, or gone with the name before.
                    Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.images().expire()?;
        let space_reclaimed = before.saturating_sub(self.layer_bytes());
        let attributes = [("reclaimed".to_owned(), space_reclaimed.to_string())].into();
        self.events_bus().publish(kind::IMAGE, "prune", "", attributes);
        Ok(PruneReport { images_deleted: Some(deleted).filter(|list| !list.is_empty()), space_reclaimed })
    }

    fn layer_bytes(&self) -> u64 {
        self.images().layers().list().iter().map(|(_, layer)| layer.size).sum()
    }
}

/// One prune of a kind at a time.
pub(crate) struct Turn<'a>(&'a AtomicBool);

impl<'a> Turn<'a> {
    pub(crate) fn take(busy: &'a AtomicBool) -> Result<Turn<'a>> {
        if busy.swap(true, Ordering::AcqRel) {
            return Err(Error::conflict("a prune operation is already running"));
        }
        Ok(Turn(busy))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
