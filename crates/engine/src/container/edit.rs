//! Requests that change a container's run or its record: start, stop, kill, pause, rename, update.

use std::sync::Arc;
use std::time::Duration;

use api::container::{Resources, UpdateRequest, UpdateResponse};

use super::commands::Command;
use super::create::name_taken;
use super::owner::Owner;
use super::record::{NAMES, Record};
use super::state::State;
use super::{Handle, life, validate};
use crate::Engine;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::spec;

/// Beyond the stop timeout, how long a stop waits for the exit: SIGKILL, the kernel's clean-up, a slow disk.
const GRACE: Duration = Duration::from_secs(30);

/// What a rename says before the reason that a name cannot be had.
const NOT_ALLOCATED: &str = "Error when allocating new name";

impl Engine {
    pub async fn container_start(&self, wanted: &str) -> Result<()> {
        let container = self.container(wanted)?;
        // The shim tells a client of an end before we give its ports back: who holds one may have ended.
        for holder in self.shared().networks.holders(&container.record()) {
            if let Ok(holder) = self.container(&holder) {
                holder.settled().await;
            }
        }
        container.ask(|reply| Command::Start { reply }).await
    }

    /// Asks the container to end and waits until it has. `timeout` in seconds, negative for ever.
    pub async fn container_stop(
        &self,
        wanted: &str,
        signal: Option<&str>,
        timeout: Option<i64>,
    ) -> Result<()> {
        let container = self.container(wanted)?;
        // Where there is nothing to stop, nobody looks at what with.
        let signal = signal
            .filter(|text| !text.is_empty() && container.record().state.is_running())
            .map(wished_signal)
            .transpose()
            // Docker calls this a failure of its own.
            .map_err(|error| Error::system(format!("cannot stop container: {wanted}: {error}")))?;
        self.stop(&container, signal, timeout, false).await
    }

    /// `keep`: the first half of a restart, which `--rm` survives.
    async fn stop(
        &self,
        container: &Handle,
        signal: Option<i32>,
        timeout: Option<i64>,
        keep: bool,
    ) -> Result<()> {
        container.ask(|reply| Command::Stop { signal, timeout, keep, reply }).await?;
        let record = container.record();
        let seconds = timeout.or(record.config.stop_timeout).unwrap_or(self.config().container.stop_timeout);
        let stopped = container.until(|record| !record.state.is_running());
        let Ok(seconds) = u64::try_from(seconds) else {
            stopped.await;
            container.settled().await;
            return Ok(());
        };
        // None when it was removed meanwhile: that is stopped, too.
        tokio::time::timeout(Duration::from_secs(seconds).saturating_add(GRACE), stopped)
            .await
            .map(drop)
            .map_err(|_| {
                Error::system(format!(
                    "cannot stop container: {}: tried to kill container, but did not receive an exit event",
                    record.id
                ))
            })?;
        // Its ports and addresses are free when we answer.
        container.settled().await;
        Ok(())
    }

    pub async fn container_restart(
        &self,
        wanted: &str,
        signal: Option<&str>,
        timeout: Option<i64>,
    ) -> Result<()> {
        let container = self.container(wanted)?;
        // Docker calls all of them failures of its own.
        let refused = |error: Error| Error::system(format!("Cannot restart container {wanted}: {error}"));
        if container.record().state.is_running() {
            let signal =
                signal.filter(|text| !text.is_empty()).map(wished_signal).transpose().map_err(refused)?;
            match self.stop(&container, signal, timeout, true).await {
                Err(error) if error.kind() != api::error::ErrorKind::NotModified => {
                    return Err(refused(error));
                }
                _ => {}
            }
        }
        match container.ask(|reply| Command::Start { reply }).await {
            // Somebody else has started it meanwhile.
            Err(error) if error.kind() == api::error::ErrorKind::NotModified => {}
            started => started.map_err(refused)?,
        }
        self.container_event(&container.record(), "restart", &[]);
        Ok(())
    }

    /// Sends a signal; SIGKILL waits for the end.
    pub async fn container_kill(&self, wanted: &str, signal: &str) -> Result<()> {
        let refused = |error: Error| error.within(format!("cannot kill container: {wanted}"));
        let signal = match signal {
            "" => linux::signal::SIGKILL,
            signal => parse_signal(signal).map_err(refused)?,
        };
        let container = self.container(wanted).map_err(refused)?;
        container.ask(|reply| Command::Kill { signal, reply }).await?;
        if signal == linux::signal::SIGKILL {
            let ended = container.until(|record| !record.state.is_running());
            tokio::time::timeout(GRACE, ended).await.map_err(|_| {
                Error::system(format!("cannot kill container: {wanted}: did not receive an exit event"))
            })?;
            container.settled().await;
        }
        Ok(())
    }

    pub async fn container_pause(&self, wanted: &str) -> Result<()> {
        self.container(wanted)?.ask(|reply| Command::Pause { reply }).await
    }

    pub async fn container_unpause(&self, wanted: &str) -> Result<()> {
        self.container(wanted)?.ask(|reply| Command::Unpause { reply }).await
    }

    pub async fn container_rename(&self, wanted: &str, name: &str) -> Result<()> {
        if wanted.is_empty() || name.is_empty() {
            return Err(Error::invalid("Neither old nor new names may be empty"));
        }
        let container = self.container(wanted)?;
        let slashed = if name.starts_with('/') { name.to_owned() } else { format!("/{name}") };
        let name = validate::name(&slashed).map_err(|error| error.within(NOT_ALLOCATED))?.to_owned();
        container.ask(|reply| Command::Rename { name, reply }).await
    }

    /// Changes limits and the restart policy: what is zero stays as it is.
    pub async fn container_update(&self, wanted: &str, request: UpdateRequest) -> Result<UpdateResponse> {
        let engine = self.clone();
        let UpdateRequest { mut resources, restart_policy } = request;
        // Without a name there is no policy to change to.
        if !restart_policy.name.is_empty() {
            validate::restart_policy(&restart_policy)?;
        }
        let warnings = validate::resources(&mut resources, &engine.shared().host, true)?;
        let container = self.container(wanted)?;
        let request = UpdateRequest { resources, restart_policy };
        let refused = |error: Error| error.within(format!("Cannot update container {}", container.id));
        let before = container.record().host.clone();
        let (resources, restart) = container
            .edit(move |record, _| {
                let mut changed = record.clone();
                let plan = update(&mut changed, request, &engine.shared().host)?;
                changed.update_unconfirmed = true;
                *record = changed;
                Ok(plan)
            })
            .await
            .map_err(refused)?;
        let resources = Some(Box::new(resources));
        if let Err(error) = container.ask(|reply| Command::Update { resources, restart, reply }).await {
            // What the kernel refuses is not remembered either.
            container
                .edit(move |record, _| {
                    record.host.resources = before.resources;
                    record.host.restart_policy = before.restart_policy;
                    record.update_unconfirmed = false;
                    Ok(())
                })
                .await?;
            return Err(refused(error));
        }
        self.container_event(&container.record(), "update", &[]);
        Ok(UpdateResponse { warnings: Some(warnings).filter(|warnings| !warnings.is_empty()) })
    }
}

pub(super) fn parse_signal(text: &str) -> Result<i32> {
    linux::signal::parse(text).ok_or_else(|| match text.parse::<i32>() {
        Ok(number) if number != 0 => {
            Error::invalid(format!("the linux daemon does not support signal {number}"))
        }
        _ => Error::invalid(format!("invalid signal: {text}")),
    })
}

/// A stop's signal. One that cannot be sent makes a short stop.
fn wished_signal(text: &str) -> Result<i32> {
    linux::signal::parse_wish(text).ok_or_else(|| Error::invalid(format!("invalid signal: {text}")))
}

type Plan = (oci::runtime::Resources, Option<shim::protocol::RestartPolicy>);

/// Takes an update into the record and says what the shim has to change.
fn update(record: &mut Record, request: UpdateRequest, host: &Host) -> Result<Plan> {
    if matches!(record.state, State::Removing { .. } | State::Dead { .. }) {
        return Err(Error::conflict("container is marked for removal and cannot be \"update\""));
    }
    let UpdateRequest { resources: wanted, restart_policy } = request;
    merge(&mut record.host.resources, &wanted)?;
    let restart = if restart_policy.name.is_empty() {
        None
    } else {
        if record.host.auto_remove && restart_policy.name != "no" {
            return Err(Error::invalid(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        record.host.restart_policy = restart_policy;
        Some(life::restart_policy(&record.host.restart_policy))
    };
    Ok((spec::resources(&wanted, host)?, restart))
}

/// Each field that was said replaces the recorded one, if the whole still makes sense.
fn merge(have: &mut Resources, wanted: &Resources) -> Result<()> {
    let set = |field: &mut i64, value: i64| {
        if value != 0 {
            *field = value;
        }
    };
    let conflict = |what: &str| Err(Error::conflict(format!("Conflicting options: {what}")));
    for (new, old, what) in [
        (wanted.nano_cpus, have.cpu_period, "Nano CPUs cannot be updated as CPU Period has already been set"),
        (wanted.nano_cpus, have.cpu_quota, "Nano CPUs cannot be updated as CPU Quota has already been set"),
        (wanted.cpu_period, have.nano_cpus, "CPU Period cannot be updated as NanoCPUs has already been set"),
        (wanted.cpu_quota, have.nano_cpus, "CPU Quota cannot be updated as NanoCPUs has already been set"),
    ] {
        if new > 0 && old > 0 {
            return conflict(what);
        }
    }
    // Docker asks for the swap limit even where none has been set, or it has been set to none.
    if wanted.memory > 0 && wanted.memory_swap == 0 && wanted.memory > have.memory_swap {
        return Err(Error::conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ));
    }
    set(&mut have.memory, wanted.memory);
    set(&mut have.memory_swap, wanted.memory_swap);
    set(&mut have.memory_reservation, wanted.memory_reservation);
    set(&mut have.nano_cpus, wanted.nano_cpus);
    set(&mut have.cpu_shares, wanted.cpu_shares);
    set(&mut have.cpu_period, wanted.cpu_period);
    set(&mut have.cpu_quota, wanted.cpu_quota);
    set(&mut have.cpu_realtime_period, wanted.cpu_realtime_period);
    set(&mut have.cpu_realtime_runtime, wanted.cpu_realtime_runtime);
    if wanted.blkio_weight != 0 {
        have.blkio_weight = wanted.blkio_weight;
    }
    if !wanted.cpuset_cpus.is_empty() {
        have.cpuset_cpus.clone_from(&wanted.cpuset_cpus);
    }
    if !wanted.cpuset_mems.is_empty() {
        have.cpuset_mems.clone_from(&wanted.cpuset_mems);
    }
    if wanted.pids_limit.is_some() {
        have.pids_limit = wanted.pids_limit;
    }
    merge_further(have, wanted);
    Ok(())
}

/// What Docker's command line has no flags for, but newer versions of its API.
fn merge_further(have: &mut Resources, wanted: &Resources) {
    for (field, value) in [
        (&mut have.blkio_device_read_bps, &wanted.blkio_device_read_bps),
        (&mut have.blkio_device_write_bps, &wanted.blkio_device_write_bps),
        (&mut have.blkio_device_read_iops, &wanted.blkio_device_read_iops),
        (&mut have.blkio_device_write_iops, &wanted.blkio_device_write_iops),
    ] {
        if value.as_ref().is_some_and(|all| !all.is_empty()) {
            field.clone_from(value);
        }
    }
    if wanted.blkio_weight_device.as_ref().is_some_and(|all| !all.is_empty()) {
        have.blkio_weight_device.clone_from(&wanted.blkio_weight_device);
    }
    have.memory_swappiness = wanted.memory_swappiness.or(have.memory_swappiness);
    have.oom_kill_disable = wanted.oom_kill_disable.or(have.oom_kill_disable);
}

impl Owner {
    /// The new name is reserved, the old one given back, in one transaction.
    pub(super) async fn rename(&mut self, name: String) -> Result<()> {
        let old = self.record.name.clone();
        if name == old {
            return Err(Error::invalid("Renaming a container with the same name as its current name"));
        }
        let former = old.clone();
        let mut record = Record::clone(&self.record);
        record.name.clone_from(&name);
        let renamed = self
            .engine
            .blocking(move |engine| {
                let id = record.id.as_str();
                let taken = engine.records().write(|transaction| {
                    let reserved = transaction.reserve(NAMES, &record.name, id)?;
                    if reserved.is_ok() {
                        transaction.release(NAMES, &old)?;
                        transaction.put(id, &record)?;
                    }
                    Ok::<_, store::Error>(reserved)
                })?;
                taken.map_err(|taken| name_taken(&record.name, &taken.holder).within(NOT_ALLOCATED))?;
                engine.shared().containers.rename(&record.id, &old, &record.name);
                // Its neighbours know it by its old name until this is done; that is no reason to have no new one.
                if let Err(error) = engine.shared().networks.renamed(&mut record) {
                    tracing::warn!(container = %record.id, %error, "cannot publish a container's new name");
                }
                Ok(record)
            })
            .await?;
        self.record = Arc::new(renamed);
        self.publish();
        self.engine.container_event(&self.record, "rename", &[("oldName", format!("/{former}"))]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::record::tests::record;

    fn updated(have: Resources, wanted: Resources) -> Result<Record> {
        let mut record = record("web");
        record.host.resources = have;
        let host = Host::observe().unwrap();
        update(&mut record, UpdateRequest { resources: wanted, ..UpdateRequest::default() }, &host)?;
        Ok(record)
    }

    #[test]
    fn what_is_not_said_stays() {
        let have = Resources { cpu_shares: 7, pids_limit: Some(9), ..Resources::default() };
        let wanted = Resources { cpu_shares: 8, ..Resources::default() };
        let record = updated(have, wanted).unwrap();
        assert_eq!((record.host.resources.cpu_shares, record.host.resources.pids_limit), (8, Some(9)));
    }

    #[test]
    fn cpus_and_quota_do_not_mix() {
        let have = Resources { cpu_quota: 5000, ..Resources::default() };
        let wanted = Resources { nano_cpus: 1_000_000_000, ..Resources::default() };
        let error = updated(have, wanted).unwrap_err();
        assert!(error.message().contains("Nano CPUs cannot be updated"));
        assert_eq!(error.kind(), api::error::ErrorKind::Conflict);
    }

    #[test]
    fn more_memory_than_the_swap_limit_allows_needs_a_new_one() {
        let have = Resources { memory: 32 << 20, memory_swap: 64 << 20, ..Resources::default() };
        let wanted = Resources { memory: 128 << 20, ..Resources::default() };
        let error = updated(have.clone(), wanted.clone()).unwrap_err();
        assert!(error.message().ends_with("update the memoryswap at the same time"));
        let both = Resources { memory_swap: 256 << 20, ..wanted };
        assert_eq!(updated(have, both).unwrap().host.resources.memory, 128 << 20);
    }

    #[test]
    fn a_policy_and_auto_remove_exclude_each_other() {
        let mut record = record("web");
        record.host.auto_remove = true;
        let restart_policy = api::container::RestartPolicy { name: "always".into(), maximum_retry_count: 0 };
        let request = UpdateRequest { restart_policy, ..UpdateRequest::default() };
        let error = update(&mut record, request, &Host::observe().unwrap()).unwrap_err();
        assert!(error.message().contains("AutoRemove is enabled"));
    }
}
