//! Who the program is and what it may do: the last thing that changes before it is executed.
//!
//! The order matters. Groups before the user, since afterwards one may not; the bounding set first, since
//! dropping from it needs a capability; a filter before capabilities go unless no_new_privs allows it after.

use linux::credentials::{self, Set};
use linux::procfs::Procfs;
use oci::runtime::{IoPriorityClass, Process, SchedulerFlag, SchedulerPolicy, User};

use crate::{Error, Result, error::Step};

#[derive(Debug, Default)]
pub(crate) struct Identity {
    pub(crate) user: u32,
    group: u32,
    groups: Vec<u32>,
    umask: Option<u32>,
    capabilities: credentials::Capabilities,
    pub(crate) no_new_privileges: bool,
    apparmor: String,
    selinux: String,
    io_priority: Option<(u32, u32)>,
    scheduling: Option<linux::process::Scheduling>,
}

impl Identity {
    /// Whether it is the ids of root that the process gets, of which the kernel asks both.
    pub(crate) fn is_root(&self) -> bool {
        (self.user, self.group) == (0, 0)
    }

    pub(crate) fn new(process: &Process) -> Result<Identity> {
        check_labels(process)?;
        check_ids(&process.user)?;
        let io_priority = process.io_priority.map(|priority| {
            let class = match priority.class {
                IoPriorityClass::Realtime => 1,
                IoPriorityClass::BestEffort => 2,
                IoPriorityClass::Idle => 3,
            };
            match u32::try_from(priority.priority) {
                Ok(level) if level < 8 => Ok((class, level)),
                _ => Err(Error::invalid(format_args!(
                    "ioPriority.priority {} is not 0 to 7",
                    priority.priority
                ))),
            }
        });
        Ok(Identity {
            user: process.user.uid,
            group: process.user.gid,
            groups: process.user.additional_gids.clone(),
            umask: process.user.umask,
            capabilities: process.capabilities.as_ref().map(capabilities).unwrap_or_default(),
            no_new_privileges: process.no_new_privileges,
            apparmor: process.apparmor_profile.clone(),
            selinux: process.selinux_label.clone(),
            io_priority: io_priority.transpose()?,
            scheduling: process.scheduler.as_ref().map(scheduling).transpose()?,
        })
    }

    /// What needs privilege and does not change who we are.
    pub(crate) fn prepare(&self) -> Result<()> {
        if let Some(scheduling) = &self.scheduling {
            linux::process::set_scheduler(scheduling).map_err(|error| {
                let hint = if error.is(linux::Errno::PERM) && scheduling.policy == DEADLINE {
                    "process scheduler can't be used together with AllowedCPUs: "
                } else {
                    ""
                };
                Error::other(format_args!("error setting scheduler: {hint}{error}"))
            })?;
        }
        if let Some((class, level)) = self.io_priority {
            linux::process::set_io_priority(class, level).step(|| "error setting I/O priority")?;
        }
        Ok(())
    }

    /// Labels that the kernel's security modules apply at the next execution. Written to a procfs of our own: the
    /// container's may be anything.
    pub(crate) fn apply_labels(&self) -> Result<()> {
        if !self.apparmor.is_empty() {
            let text = format!("exec {}", self.apparmor);
            let procfs = procfs()?;
            let written = match procfs.write_own("attr/apparmor/exec", &text) {
                // Before Linux 5.8 the modules share one file.
                Err(error) if error.is(linux::Errno::NOENT) => procfs.write_own("attr/exec", &text),
                other => other,
            };
            written.step(|| format!("unable to apply apparmor profile {:?}", self.apparmor))?;
        }
        if !self.selinux.is_empty() {
            procfs()?
                .write_own("attr/exec", &self.selinux)
                .step(|| format!("unable to set selinux label {:?}", self.selinux))?;
        }
        Ok(())
    }

    /// Keys made from here on (the session keyring) belong to the label, so that the program may use them.
    pub(crate) fn label_keys(&self) -> Result<()> {
        if self.selinux.is_empty() {
            return Ok(());
        }
        procfs()?.write_own("attr/keycreate", &self.selinux).step(|| "unable to label the session keyring")
    }

    /// Becomes the user. It has the capabilities that the configuration names, and no other.
    pub(crate) fn assume(&self) -> Result<()> {
        let capabilities = &self.capabilities;
        credentials::limit_bounding(capabilities.bounding).step(|| "unable to apply bounding set")?;
        credentials::keep_capabilities(true).step(|| "unable to keep capabilities")?;
        self.set_groups()?;
        credentials::set_group(self.group).step(|| "unable to set gid")?;
        credentials::set_user(self.user).step(|| "unable to set uid")?;
        if let Some(mask) = self.umask {
            linux::process::set_umask(mask);
        }
        credentials::keep_capabilities(false).step(|| "unable to keep capabilities")?;
        let (effective, permitted) = (capabilities.effective, capabilities.permitted);
        credentials::set(effective, permitted, capabilities.inheritable).step(|| "unable to apply caps")?;
        if capabilities.ambient != Set::default() {
            credentials::set_ambient(capabilities.ambient).step(|| "unable to set ambient capabilities")?;
        }
        Ok(())
    }

    fn set_groups(&self) -> Result<()> {
        match credentials::set_groups(&self.groups) {
            // In a user namespace where `setgroups` is denied nothing can be gained by it, so having asked for
            // none is no error.
            Err(error) if error.is(linux::Errno::PERM) && self.groups.is_empty() => Ok(()),
            other => other.step(|| "unable to setgroups"),
        }
    }
}

fn procfs() -> Result<Procfs> {
    Procfs::of_processes().step(|| "procfs of our own")
}

/// Labels are for kernels that have the module. Looked for on the host, before anything of the container is in sight.
fn check_labels(process: &Process) -> Result<()> {
    let apparmor = || {
        std::fs::read_to_string("/sys/module/apparmor/parameters/enabled")
            .is_ok_and(|text| text.starts_with('Y'))
    };
    if !process.apparmor_profile.is_empty() && !apparmor() {
        return Err(Error::invalid("apparmor: config provided but apparmor not supported"));
    }
    if !process.selinux_label.is_empty() && !has_selinux() {
        return Err(Error::invalid(
            "selinux label is specified in config, but selinux is disabled or not supported",
        ));
    }
    Ok(())
}

/// One number is no id: the kernel takes it for "unchanged", which would be whoever we are.
fn check_ids(user: &User) -> Result<()> {
    let groups = user.additional_gids.iter().map(|group| ("additionalGids", *group));
    let mut ids = [("uid", user.uid), ("gid", user.gid)].into_iter().chain(groups);
    match ids.find(|(_, id)| *id == u32::MAX) {
        Some((field, id)) => Err(Error::invalid(format_args!("process.user.{field}: {id} is no id"))),
        None => Ok(()),
    }
}

/// Looked for on the host.
pub(crate) fn has_selinux() -> bool {
    std::path::Path::new("/sys/fs/selinux/enforce").exists()
}

/// Names that the kernel does not know, each once.
pub fn unknown_capabilities(named: &oci::runtime::Capabilities) -> Vec<&str> {
    let sets = [&named.bounding, &named.effective, &named.permitted, &named.inheritable, &named.ambient];
    let mut unknown: Vec<&str> = Vec::new();
    for name in sets.into_iter().flatten() {
        if known(name).is_none() && !unknown.contains(&name.as_str()) {
            unknown.push(name);
        }
    }
    unknown
}

/// Ambient capabilities that no process could have: the kernel wants them permitted and inheritable as well.
pub fn unreachable_ambient(named: &oci::runtime::Capabilities) -> Vec<&str> {
    let has = |set: &[String], name: &String| set.contains(name);
    let reachable = |name: &&String| has(&named.permitted, name) && has(&named.inheritable, name);
    let unreachable = |name: &&String| known(name).is_some() && !reachable(name);
    named.ambient.iter().filter(unreachable).map(String::as_str).collect()
}

fn known(name: &str) -> Option<u32> {
    credentials::capability(name).filter(|number| *number <= credentials::last_capability())
}

/// Names that the kernel (or this runtime) does not know are skipped, as the specification asks.
fn capabilities(named: &oci::runtime::Capabilities) -> credentials::Capabilities {
    let set = |names: &[String]| names.iter().filter_map(|name| known(name)).fold(Set::default(), Set::with);
    let (permitted, inheritable) = (set(&named.permitted), set(&named.inheritable));
    credentials::Capabilities {
        bounding: set(&named.bounding),
        effective: set(&named.effective),
        permitted,
        inheritable,
        ambient: set(&named.ambient).and(permitted).and(inheritable),
    }
}

/// The policy that needs all CPUs: the kernel refuses it to a process that is bound to some.
const DEADLINE: u32 = 6;

fn scheduling(scheduler: &oci::runtime::Scheduler) -> Result<linux::process::Scheduling> {
    let policy = match scheduler.policy {
        SchedulerPolicy::Other => 0,
        SchedulerPolicy::Fifo => 1,
        SchedulerPolicy::RoundRobin => 2,
        SchedulerPolicy::Batch => 3,
        SchedulerPolicy::Iso => 4,
        SchedulerPolicy::Idle => 5,
        SchedulerPolicy::Deadline => DEADLINE,
    };
    let flags = scheduler.flags.iter().fold(0, |flags, flag| {
        flags
            | match flag {
                SchedulerFlag::ResetOnFork => 0x01,
                SchedulerFlag::Reclaim => 0x02,
                SchedulerFlag::DeadlineOverrun => 0x04,
                SchedulerFlag::KeepPolicy => 0x08,
                SchedulerFlag::KeepParameters => 0x10,
                SchedulerFlag::UtilisationMinimum => 0x20,
                SchedulerFlag::UtilisationMaximum => 0x40,
            }
    });
    let budget = [scheduler.runtime, scheduler.deadline, scheduler.period];
    if policy != DEADLINE && budget.iter().any(|part| part.is_some_and(|time| time != 0)) {
        return Err(Error::invalid(
            "scheduler runtime/deadline/period can only be specified for SCHED_DEADLINE policy",
        ));
    }
    let priority = scheduler.priority.unwrap_or(0);
    Ok(linux::process::Scheduling {
        policy,
        flags,
        nice: scheduler.nice.unwrap_or(0),
        priority: u32::try_from(priority)
            .map_err(|_| Error::invalid(format_args!("scheduler.priority {priority} is negative")))?,
        runtime: scheduler.runtime.unwrap_or(0),
        deadline: scheduler.deadline.unwrap_or(0),
        period: scheduler.period.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_capabilities_are_skipped() {
        let named = oci::runtime::Capabilities {
            bounding: ["CAP_CHOWN", "CAP_WISHFUL", "cap_kill", "KILL"].map(str::to_owned).to_vec(),
            ambient: vec!["CAP_CHOWN".into(), "CAP_WISHFUL".into()],
            ..Default::default()
        };
        assert_eq!(capabilities(&named).bounding, Set(1));
        assert_eq!(unknown_capabilities(&named), ["CAP_WISHFUL", "cap_kill", "KILL"]);
        assert_eq!(unreachable_ambient(&named), ["CAP_CHOWN"]);
    }

    #[test]
    fn a_budget_is_for_those_with_deadlines() {
        let with = |policy: &str, field: &str| {
            let json = format!(r#"{{"cwd":"/","scheduler":{{"policy":"{policy}","{field}":5}}}}"#);
            Identity::new(&serde_json::from_str(&json).unwrap())
        };
        for field in ["runtime", "deadline", "period"] {
            let error = with("SCHED_OTHER", field).unwrap_err().to_string();
            assert!(error.contains("can only be specified for SCHED_DEADLINE"), "{error}");
            with("SCHED_DEADLINE", field).unwrap();
        }
    }

    #[test]
    fn io_priorities_out_of_range_are_refused() {
        let process: Process =
            serde_json::from_str(r#"{"cwd":"/","ioPriority":{"class":"IOPRIO_CLASS_BE","priority":8}}"#)
                .unwrap();
        assert!(Identity::new(&process).unwrap_err().to_string().contains("0 to 7"));
    }
}
