//! The engine's own log, on standard error. Its level changes with a reload.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

use crate::settings::Log;

/// Changes the level of a running log.
#[derive(Clone)]
pub(crate) struct Level(reload::Handle<LevelFilter, Registry>);

pub(crate) fn start(log: &Log) -> Level {
    let (filter, handle) = reload::Layer::new(log.level);
    let registry = tracing_subscriber::registry().with(filter);
    let colour = !log.raw && std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    match log.json {
        true => registry.with(lines.json().flatten_event(true)).init(),
        false => registry.with(lines.with_ansi(colour)).init(),
    }
    Level(handle)
}

impl Level {
    pub(crate) fn set(&self, level: LevelFilter) {
        if let Err(error) = self.0.modify(|filter| *filter = level) {
            tracing::warn!(%error, "cannot change the log level");
        }
    }
}
