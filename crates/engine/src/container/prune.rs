//! Removing every container that does not run.

use std::sync::atomic::Ordering;

use api::container::PruneReport;
use api::filters::Filters;

use super::commands::Command;
use super::state::State;
use super::{leftovers, list, rootfs};
use crate::Engine;
use crate::error::{Error, ErrorKind, Result};

impl Engine {
    pub async fn container_prune(&self, filters: Filters) -> Result<PruneReport> {
        filters.check(&["label", "label!", "until"])?;
        let until = until(&filters)?;
        let _turn = self.prune_turn()?;
        self.settle_running().await;
        let mut deleted = Vec::new();
        let mut reclaimed = 0;
        for handle in self.shared().containers.handles() {
            let record = handle.record();
            let labels = record.config.labels.clone().unwrap_or_default();
            let stopped =
                matches!(record.state, State::Created { .. } | State::Exited(_) | State::Dead { .. });
            if !stopped || !list::prunable(&filters, &labels, &record.created, until) {
                continue;
            }
            let id = record.id.clone();
            let size = self.blocking(move |engine| rootfs::written(engine, id.as_str())).await.unwrap_or(0);
            let wanted = record.name.clone();
            match handle.ask(|reply| Command::Remove { wanted, force: false, volumes: false, reply }).await {
                Ok(()) => {
                    deleted.push(record.id.to_string());
                    reclaimed += size;
                }
                // It was started or removed while we looked at others.
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        self.blocking(|engine| {
            leftovers::sweep_all(engine);
            Ok(())
        })
        .await?;
        let attributes = [("reclaimed".to_owned(), reclaimed.to_string())].into();
        self.events_bus().publish(api::event::kind::CONTAINER, "prune", "", attributes);
        Ok(PruneReport {
            containers_deleted: Some(deleted).filter(|ids| !ids.is_empty()),
            space_reclaimed: reclaimed,
        })
    }

    fn prune_turn(&self) -> Result<Turn<'_>> {
        if self.shared().pruning.swap(true, Ordering::AcqRel) {
            return Err(Error::conflict("a prune operation is already running"));
        }
        Ok(Turn(self))
    }
}

/// One prune of containers at a time.
struct Turn<'a>(&'a Engine);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.shared().pruning.store(false, Ordering::Release);
    }
}

/// The `until` filter of prunes in nanoseconds: a time, a Unix time, or how long ago.
pub(crate) fn until(filters: &Filters) -> Result<Option<i64>> {
    let values: Vec<&str> = filters.values("until").collect();
    let text = match values[..] {
        [] if filters.contains("until") => return Err(Error::invalid("invalid filter 'until'")),
        [] => return Ok(None),
        [text] => text,
        _ => return Err(Error::invalid("more than one until filter specified")),
    };
    let now = jiff::Zoned::now();
    let nanoseconds = i64::try_from(now.timestamp().as_nanosecond()).unwrap_or(i64::MAX);
    let point = moment::point::parse(text, nanoseconds, i64::from(now.offset().seconds()));
    point.map(|point| Some(point.nanoseconds())).map_err(Error::invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_is_one_point_in_time() {
        let parsed = |values: &[&str]| {
            let mut filters = Filters::default();
            values.iter().for_each(|value| filters.add("until", *value));
            until(&filters)
        };
        assert_eq!(parsed(&[]).unwrap(), None);
        assert_eq!(parsed(&["5.5"]).unwrap(), Some(5_500_000_000));
        assert_eq!(parsed(&["1970-01-01T00:00:01Z"]).unwrap(), Some(1_000_000_000));
        assert!(parsed(&["-10m"]).unwrap() > parsed(&["10m"]).unwrap());
        assert!(parsed(&["soon"]).is_err() && parsed(&["1h", "2h"]).is_err());
        // Given without a value, it must not mean everything.
        assert!(until(&Filters::parse(r#"{"until":[]}"#).unwrap()).is_err());
    }
}
