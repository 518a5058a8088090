//! What clients have been promised: a container whose creation was acknowledged exists, one whose removal was is gone, one
//! that was asked to run and has a reason to is running.
//!
//! An answer that was lost with the engine promises nothing, and neither does an error of a disk that failed: then both is
//! right, all of it or nothing, and the next look tells which.

use std::collections::{BTreeMap, BTreeSet};

use api::container::{CreateRequest, PortBinding, Resources, UpdateRequest};
use api::network::{ConnectRequest, DisconnectRequest};
use engine::{CommitOptions, CreateOptions, Engine, Error, ErrorKind, RemoveOptions};

use crate::steps::{What, Wish};
use crate::world::World;

pub(crate) const IMAGE: &str = "localhost/nothing:latest";
pub(crate) const COMMITTED: &str = "localhost/committed";

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Yes,
    Refused(Error),
    /// The engine was cut off before it answered.
    Lost,
}

/// Whether something exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exists {
    Yes,
    No,
    Unknown,
}

/// What is known of a container by its name.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) exists: Exists,
    pub(crate) policy: Option<&'static str>,
    /// Asked to run by an answer of yes, and by nobody to end since.
    pub(crate) should_run: bool,
    pub(crate) limit: Option<i64>,
    /// Networks that it was put on, or taken off, since it was made.
    pub(crate) networks: BTreeMap<&'static str, bool>,
}

#[derive(Debug, Default)]
pub(crate) struct Promises {
    pub(crate) containers: BTreeMap<&'static str, Known>,
    pub(crate) networks: BTreeMap<&'static str, Exists>,
    /// A commit was acknowledged, all of which have one name.
    pub(crate) committed: bool,
    /// A prune has taken containers away, and not their volumes.
    pub(crate) pruned: bool,
    pub(crate) kept_volumes: BTreeSet<String>,
    /// Containers of whom not everything has been told: something failed while they stood.
    pub(crate) untold: BTreeSet<String>,
}

const NOTHING: Known =
    Known { exists: Exists::No, policy: None, should_run: false, limit: None, networks: BTreeMap::new() };

impl Promises {
    pub(crate) fn of(&self, name: &str) -> Known {
        self.containers.get(name).cloned().unwrap_or(NOTHING)
    }

    /// Everything could have changed: the request may have been done in part.
    fn doubt(&mut self, what: &What) {
        let mut doubted: Vec<&'static str> = Vec::new();
        match what {
            What::Create(name, _) | What::Remove(name, _) => doubted.push(name),
            What::Rename(one, other) => doubted.extend([one, other]),
            What::Prune => {
                self.pruned = true;
                doubted.extend(crate::steps::NAMES);
            }
            What::CreateNetwork(name) | What::RemoveNetwork(name) => {
                self.networks.insert(name, Exists::Unknown);
            }
            // A start of one that goes with its run may have been its end.
            What::Start(name) | What::Stop(name, _) | What::Restart(name, _) | What::Kill(name, _) => {
                let known = self.of(name);
                self.containers.insert(name, Known { should_run: false, ..known });
                return;
            }
            What::Update(name, _) => {
                let known = self.of(name);
                self.containers.insert(name, Known { policy: None, should_run: false, ..known });
            }
            What::Limit(name, _) => {
                let known = self.of(name);
                self.containers.insert(name, Known { limit: None, ..known });
            }
            What::Connect(network, name) | What::Disconnect(network, name) => {
                let mut known = self.of(name);
                known.networks.remove(network);
                self.containers.insert(name, known);
            }
            _ => {}
        }
        for name in doubted {
            self.containers.insert(name, Known { exists: Exists::Unknown, ..NOTHING });
        }
    }

    /// Takes an answer in. `excused`: something has failed meanwhile.
    pub(crate) fn learn(&mut self, what: &What, answer: &Answer, excused: bool) -> Result<(), String> {
        match answer {
            Answer::Lost => self.doubt(what),
            Answer::Refused(error)
                if error.kind() == ErrorKind::System && !excused && !is_expected(error) =>
            {
                return Err(format!("{what:?} failed without a reason: {error}"));
            }
            Answer::Refused(error) if excused && error.kind() == ErrorKind::System => self.doubt(what),
            // Who is told that nothing changed is right to think so.
            Answer::Refused(_) => {}
            Answer::Yes => self.keep(what),
        }
        Ok(())
    }

    fn keep(&mut self, what: &What) {
        match what {
            What::Create(name, wish) => {
                let known = Known { exists: Exists::Yes, policy: Some(wish.policy.0), ..NOTHING };
                // One that goes with its run is promised to nobody.
                let known = if wish.auto_remove { Known { exists: Exists::Unknown, ..known } } else { known };
                self.containers.insert(name, known);
            }
            What::Start(name) | What::Restart(name, _) => {
                let known = self.of(name);
                self.containers.insert(name, Known { should_run: true, ..known });
            }
            What::Stop(name, _) | What::Kill(name, _) => {
                let known = self.of(name);
                self.containers.insert(name, Known { should_run: false, ..known });
            }
            What::Rename(one, other) => {
                let known = self.containers.insert(one, NOTHING).unwrap_or(NOTHING);
                self.containers.insert(other, known);
            }
            What::Update(name, (policy, _)) => {
                let known = self.of(name);
                self.containers.insert(name, Known { policy: Some(policy), should_run: false, ..known });
            }
            What::Limit(name, limit) => {
                let known = self.of(name);
                self.containers.insert(name, Known { limit: Some(*limit), ..known });
            }
            What::Connect(network, name) | What::Disconnect(network, name) => {
                let mut known = self.of(name);
                known.networks.insert(network, matches!(what, What::Connect(..)));
                self.containers.insert(name, known);
            }
            What::Commit(_) => self.committed = true,
            What::Remove(name, _) => {
                self.containers.insert(name, NOTHING);
            }
            What::Prune => self.doubt(what),
            What::CreateNetwork(name) => {
                self.networks.insert(name, Exists::Yes);
            }
            What::RemoveNetwork(name) => {
                self.networks.insert(name, Exists::No);
            }
            _ => {}
        }
    }
}

/// What may be said of a request though nothing is broken: a command that does not exist, a network that is not there.
fn is_expected(error: &Error) -> bool {
    let text = error.to_string();
    [
        "executable file not found",
        "not found",
        "port is already allocated",
        "not paused",
        "is not connected to",
    ]
    .iter()
    .any(|words| text.contains(words))
}

pub(crate) async fn ask(engine: Engine, world: World, what: What) -> Result<(), Error> {
    match what {
        What::Wait(name, condition) => crate::waits::ask(&engine, &world, name, condition).await,
        What::Create(name, wish) => {
            let options = CreateOptions { name: Some(name.into()), ..CreateOptions::default() };
            engine.container_create(options, request(&wish)).await.map(drop)
        }
        What::Start(name) => engine.container_start(name).await,
        What::Stop(name, timeout) => engine.container_stop(name, None, Some(timeout)).await,
        What::Restart(name, timeout) => engine.container_restart(name, None, Some(timeout)).await,
        What::Kill(name, signal) => engine.container_kill(name, signal).await,
        What::Pause(name) => engine.container_pause(name).await,
        What::Unpause(name) => engine.container_unpause(name).await,
        What::Rename(name, new) => engine.container_rename(name, new).await,
        What::Update(name, policy) => {
            let request = UpdateRequest { restart_policy: policy_of(policy), ..UpdateRequest::default() };
            engine.container_update(name, request).await.map(drop)
        }
        What::Limit(name, limit) => {
            let resources = Resources { pids_limit: Some(limit), ..Resources::default() };
            let request = UpdateRequest { resources, ..UpdateRequest::default() };
            engine.container_update(name, request).await.map(drop)
        }
        What::Commit(name) => {
            let options = CommitOptions { repository: COMMITTED.into(), pause: true, ..Default::default() };
            engine.container_commit(name, options).await.map(drop)
        }
        What::Connect(network, container) => {
            let request = ConnectRequest { container: container.into(), endpoint_config: None };
            engine.network_connect(network, request).await
        }
        What::Disconnect(network, container) => {
            let request = DisconnectRequest { container: container.into(), force: false };
            engine.network_disconnect(network, request).await
        }
        What::Exec(name) => {
            let command = Some(vec!["beside".to_owned()]);
            let request = api::exec::CreateRequest { cmd: command, ..Default::default() };
            let id = engine.exec_create(name, request).await?;
            let options = engine::ExecStartOptions { detach: true, ..Default::default() };
            engine.exec_start(id.as_str(), options).await.map(drop)
        }
        What::Remove(name, force) => {
            engine.container_remove(name, RemoveOptions { force, volumes: true, link: false }).await
        }
        What::Prune => engine.container_prune(api::filters::Filters::default()).await.map(drop),
        What::CreateNetwork(name) => {
            let request = api::network::CreateRequest { name: name.into(), ..Default::default() };
            engine.network_create(request).await.map(drop)
        }
        What::RemoveNetwork(name) => engine.network_remove(name).await,
        _ => Ok(()),
    }
}

fn policy_of((name, maximum_retry_count): (&str, i64)) -> api::container::RestartPolicy {
    api::container::RestartPolicy { name: name.into(), maximum_retry_count }
}

fn request(wish: &Wish) -> CreateRequest {
    let mut request = CreateRequest::default();
    request.config.image = IMAGE.into();
    request.config.cmd = Some(vec!["it".into()]);
    request.host_config.network_mode = wish.network.into();
    request.host_config.restart_policy = policy_of(wish.policy);
    request.host_config.auto_remove = wish.auto_remove;
    if let Some(port) = wish.port {
        let binding = PortBinding {
            host_ip: String::new(),
            host_port: if port == 0 { String::new() } else { port.to_string() },
        };
        request.config.exposed_ports.insert("80/tcp".into(), Default::default());
        request.host_config.port_bindings = Some([("80/tcp".to_owned(), Some(vec![binding]))].into());
    }
    if wish.volume {
        request.config.volumes = Some([("/data".to_owned(), Default::default())].into());
    }
    if wish.shared_memory {
        request.host_config.ipc_mode = "shareable".into();
    }
    if wish.checked {
        request.config.healthcheck = Some(api::container::HealthConfig {
            test: vec!["CMD".into(), "true".into()],
            interval: 1_000_000_000,
            timeout: 1_000_000_000,
            retries: 2,
            ..Default::default()
        });
    }
    request
}
