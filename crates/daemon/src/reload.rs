//! Reading the configuration again (SIGHUP): all or nothing.
//!
//! ```text
//!   SIGHUP ─▶ file and flags ─▶ settings ─▶ engine.reload ─▶ log level ─▶ event, READY=1
//!                  └── wrong ────┴── refused ──┴──▶ logged; everything stays as it was
//! ```
//!
//! More takes effect than in dockerd, since most settings are asked for when they are needed. What is built into
//! sockets, cgroups, networks and roots waits for a restart, and the log says so by name.

use engine::Engine;

use crate::flags::{OPTIONS, Values};
use crate::log::Level;
use crate::notify;
use crate::settings::{self, Settings};

/// Settings that are looked at when the engine starts, and never again.
#[rustfmt::skip]
const AT_START: &[&str] = &[
    "allow-direct-routing", "bip", "bip6", "bridge", "cgroup-parent", "data-root", "default-address-pools",
    "default-gateway", "default-gateway-v6", "default-network-opts", "docker-socket", "exec-opts", "exec-root",
    "fixed-cidr", "fixed-cidr-v6", "group", "hosts", "icc", "ip", "ip-forward", "ip-forward-no-drop",
    "ip-masq", "ip6tables", "iptables", "ipv6", "log-format", "mtu", "pidfile", "raw-logs", "tls", "tlscacert",
    "tlscert", "tlskey", "tlsverify", "userland-proxy", "userns-remap",
];

pub(crate) struct Reload<'a> {
    flags: &'a Values,
    /// What was said when the engine started.
    started: Values,
    engine: &'a Engine,
    level: &'a Level,
}

impl<'a> Reload<'a> {
    pub(crate) fn new(flags: &'a Values, settings: &Settings, engine: &'a Engine, level: &'a Level) -> Self {
        Reload { flags, started: settings.said.clone(), engine, level }
    }

    pub(crate) fn run(&self) {
        notify::reloading();
        match self.apply() {
            Ok(()) => tracing::info!("Reloaded configuration"),
            Err(error) => tracing::error!(%error, "Error reloading configuration: it stays as it was"),
        }
        notify::ready();
    }

    fn apply(&self) -> Result<(), String> {
        let settings = settings::load(self.flags)?;
        let waiting = waiting(&self.started, &settings.said);
        let level = settings.log.level;
        self.engine.reload(settings.engine).map_err(|error| error.to_string())?;
        self.level.set(level);
        if !waiting.is_empty() {
            tracing::warn!("these settings take effect when the engine starts again: {}", waiting.join(", "));
        }
        Ok(())
    }
}

/// The settings that differ and are looked at only at the start.
fn waiting(started: &Values, said: &Values) -> Vec<&'static str> {
    let ids = OPTIONS.iter().map(|option| option.id());
    ids.filter(|id| AT_START.contains(id) && started.get(id) != said.get(id)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_waits_for_a_restart_is_named() {
        let started = Values::from([("mtu", json!(1500)), ("labels", json!(["a=b"]))]);
        let said = Values::from([("bip", json!("10.0.0.1/8")), ("labels", json!(["a=c"]))]);
        assert_eq!(waiting(&started, &said), ["bip", "mtu"]);
        assert!(waiting(&started, &started).is_empty());
    }

    #[test]
    fn they_are_options() {
        let known = |id: &&&str| OPTIONS.iter().any(|option| option.id() == **id);
        assert_eq!(AT_START.iter().filter(known).count(), AT_START.len());
    }
}
