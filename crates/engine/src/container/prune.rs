//! Removing every container that does not run.

use std::sync::atomic::Ordering;

use api::container::PruneReport;
use api::filters::Filters;

use super::owner::Command;
use super::state::State;
use super::{list, rootfs};
use crate::error::{Error, ErrorKind, Result};
use crate::{Engine, clock, duration};

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
    let mut values = filters.values("until");
    let Some(text) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::invalid("more than one until filter specified"));
    }
    let invalid = || Error::invalid(format!("failed to parse value as time or duration: {text:?}"));
    if let Some((seconds, fraction)) = unix(text) {
        return Ok(Some(seconds.saturating_mul(1_000_000_000).saturating_add(fraction)));
    }
    if let Some(length) = duration::nanoseconds(text) {
        return Ok(Some(clock::nanoseconds(&clock::now()).saturating_sub(length)));
    }
    let time = clock::parse(text)
        .or_else(|| {
            text.parse::<jiff::civil::DateTime>()
                .ok()?
                .to_zoned(jiff::tz::TimeZone::UTC)
                .ok()
                .map(|zoned| zoned.timestamp())
        })
        .or_else(|| {
            text.parse::<jiff::civil::Date>()
                .ok()?
                .to_zoned(jiff::tz::TimeZone::UTC)
                .ok()
                .map(|zoned| zoned.timestamp())
        })
        .ok_or_else(invalid)?;
    i64::try_from(time.as_nanosecond()).map(Some).map_err(|_| invalid())
}

/// `seconds[.nanoseconds]`
fn unix(text: &str) -> Option<(i64, i64)> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
    Some((seconds.parse().ok()?, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_has_many_forms() {
        let parsed = |text: &str| {
            let mut filters = Filters::default();
            filters.add("until", text);
            until(&filters)
        };
        assert_eq!(parsed("5.5").unwrap(), Some(5_500_000_000));
        assert_eq!(parsed("1970-01-01T00:00:01Z").unwrap(), Some(1_000_000_000));
        assert_eq!(parsed("1970-01-02").unwrap(), Some(86_400_000_000_000));
        assert!(parsed("10m").unwrap().unwrap() > 0);
        assert!(parsed("soon").is_err());
    }
}
