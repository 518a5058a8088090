//! What must be true whenever the engine has come to rest, whatever has happened before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use api::container::{Inspect, Status};
use api::event::Message;
use engine::{Engine, EventQuery, ListOptions};
use shim::life::Stage;

use crate::clients::{COMMITTED, Exists, Known, Promises};
use crate::shim::SimulatedShim;
use crate::steps::NAMES;
use crate::world::World;

/// Longer histories forget their beginning.
const HISTORY: usize = 1000;

type Checked = Result<(), String>;

/// Everything. What is only known now of what was asked is taken in.
pub(crate) async fn all(world: &World, engine: &Engine, promises: &mut Promises, failed: bool) -> Checked {
    if let Some(broken) = world.host().broken.pop() {
        return Err(broken);
    }
    let shown = listed(engine).await?;
    promised(&shown, promises)?;
    for one in &shown {
        as_its_shim_says(world, one)?;
    }
    let exactly = !world.fate().failed_since_open;
    nothing_is_left(world, &shown, exactly)?;
    network(world, &shown, exactly)?;
    networks(engine, promises).await?;
    volumes(engine, &shown, promises, exactly).await?;
    images(engine, promises).await?;
    if failed {
        promises.untold.extend(shown.iter().map(|one| one.id.clone()));
    }
    let standing: Vec<String> = shown.iter().map(|one| one.id.clone()).collect();
    world.check_waits(&standing, failed || !exactly)?;
    told(world, engine, &shown, &promises.untold)
}

async fn listed(engine: &Engine) -> Result<Vec<Inspect>, String> {
    let options = ListOptions { all: true, ..ListOptions::default() };
    let listed = engine.container_list(options).await.map_err(|error| error.to_string())?;
    let mut shown = Vec::new();
    for one in &listed {
        let inspected = engine.container_inspect(&one.id, false).await;
        shown.push(inspected.map_err(|error| format!("{} is listed, but: {error}", one.id))?);
    }
    Ok(shown)
}

/// What was acknowledged is so. Names belong to one container each.
fn promised(shown: &[Inspect], promises: &mut Promises) -> Checked {
    let mut by_name = BTreeMap::new();
    for one in shown {
        let name = one.name.trim_start_matches('/');
        if by_name.insert(name, one).is_some() {
            return Err(format!("two containers are called {name}"));
        }
    }
    for name in NAMES {
        let known = promises.of(name);
        match (known.exists, by_name.get(name)) {
            (Exists::Yes, None) => return Err(format!("{name} was created, and is not there")),
            (Exists::No, Some(one)) => {
                return Err(format!("{name} was removed, and is there: {:?}", one.state));
            }
            (Exists::Unknown, Some(one)) if !one.host_config.auto_remove => {
                let known = Known { exists: Exists::Yes, ..known.clone() };
                promises.containers.insert(name, known);
            }
            (Exists::Unknown, None) => {
                promises.containers.remove(name);
            }
            _ => {}
        }
        if let Some(one) = by_name.get(name)
            && let Some(policy) = known.policy
            && one.host_config.restart_policy.name != policy
        {
            return Err(format!(
                "{name} was given the policy {policy}: {:?}",
                one.host_config.restart_policy
            ));
        }
        if let Some(one) = by_name.get(name) {
            as_changed(name, one, &known)?;
        }
    }
    Ok(())
}

/// Its limit and its networks are as they were last asked for.
fn as_changed(name: &str, one: &Inspect, known: &Known) -> Checked {
    let limit = one.host_config.resources.pids_limit;
    if known.limit.is_some() && known.limit != limit {
        return Err(format!("{name} was given the limit {:?}: {limit:?}", known.limit));
    }
    let networks = &one.network_settings.networks;
    match known.networks.iter().find(|(network, on)| networks.contains_key(**network) != **on) {
        None => Ok(()),
        Some((network, on)) => {
            let networks: Vec<_> = networks.keys().collect();
            Err(format!("{name} is on {network}: {on}; but its networks are {networks:?}"))
        }
    }
}

/// Who was asked to run, and has a policy for it, does.
pub(crate) async fn runs(engine: &Engine, promises: &Promises) -> Checked {
    let all = listed(engine).await?;
    for one in &all {
        let known = promises.of(one.name.trim_start_matches('/'));
        let again = matches!(known.policy, Some("always" | "unless-stopped"));
        if !known.should_run || !again || one.state.running {
            continue;
        }
        // One whose command is not found any more stays down; so does one whose port somebody has taken while it was.
        let taken = one.state.error.ends_with("port is already allocated")
            && all.iter().any(|other| {
                other.state.running && other.host_config.port_bindings == one.host_config.port_bindings
            });
        let missing = one.state.error.contains("executable file not found");
        if !missing && !taken {
            return Err(format!("{} should run again and again: {:?}", one.name, one.state));
        }
    }
    Ok(())
}

/// The record and the shim agree, and an end is told as it was.
fn as_its_shim_says(world: &World, one: &Inspect) -> Checked {
    let host = world.host();
    let said = |what: String| Err(format!("{} is shown as {:?}, but {what}", one.name, one.state));
    let mut shims = host.shims.values().filter(|shim| shim.container == one.id);
    let shim = shims.next();
    if let Some(other) = shims.next() {
        return said(format!("a second shim has it: {}", other.incarnation));
    }
    match (one.state.status, shim.map(|shim| &shim.life.stage)) {
        (Status::Running | Status::Paused, Some(Stage::Running(process))) => {
            let paused = one.state.status == Status::Paused;
            if i64::from(process.pid) != one.state.pid || process.paused != paused {
                return said(format!("its process is {}, paused: {}", process.pid, process.paused));
            }
        }
        (Status::Restarting, Some(Stage::Restarting { .. })) => {}
        (Status::Created | Status::Exited, None) => {}
        (_, None) => return said("there is no shim".into()),
        (_, Some(Stage::Running(process))) => return said(format!("its process {} runs", process.pid)),
        (_, Some(stage)) => return said(format!("its shim says {stage:?}", stage = name_of(stage))),
    }
    let limit = one.host_config.resources.pids_limit;
    if let Some(shim) = shim.filter(|_| one.state.status == Status::Running)
        && shim.limit != limit
    {
        return said(format!("{limit:?} is its limit, and its shim was told {:?}", shim.limit));
    }
    if let Some(shim) = shim
        && i64::from(shim.life.restarts.count) != one.restart_count
    {
        return said(format!(
            "{} restarts are shown and {} were",
            one.restart_count, shim.life.restarts.count
        ));
    }
    let beside = one.exec_ids.iter().flatten();
    if let Some(exec) = beside.clone().find(|id| !shim.is_some_and(|shim| shim.execs.contains_key(*id))) {
        return said(format!("its exec {exec} does not run"));
    }
    let last = shim.and_then(|shim| shim.exits.last());
    let last = last.or_else(|| host.history.get(&one.id)?.1.last()).copied();
    let ended = one.state.status == Status::Exited || one.state.status == Status::Restarting;
    if let Some(last) = last.filter(|_| ended)
        && one.state.exit_code != i64::from(last)
        // Killed with its shim, lost with the host, or never started.
        && !matches!(one.state.exit_code, 137 | 255 | 126..=128)
    {
        return said(format!("it ended with {last}"));
    }
    Ok(())
}

fn name_of<R>(stage: &Stage<R>) -> &'static str {
    match stage {
        Stage::Running(_) => "running",
        Stage::Restarting { .. } => "restarting",
        Stage::Exited { .. } => "exited",
    }
}

/// Each directory, cgroup, mount and shim is some container's. Not `exactly`: what could not be removed may wait for the
/// next engine, but nothing may be missing.
fn nothing_is_left(world: &World, shown: &[Inspect], exactly: bool) -> Checked {
    let every: BTreeSet<&str> = shown.iter().map(|one| one.id.as_str()).collect();
    let running: BTreeSet<&str> =
        shown.iter().filter(|one| one.state.running).map(|one| one.id.as_str()).collect();
    let same = |what: &str, found: &BTreeSet<String>, expected: &BTreeSet<&str>| -> Checked {
        let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        match found == *expected || !exactly && found.is_superset(expected) {
            true => Ok(()),
            false => Err(format!("{what}: there are {found:?}, there should be {expected:?}")),
        }
    };
    same("container directories", &ids(world.directory().join("data/containers")), &every)?;
    same("root file systems", &ids(world.directory().join("data/snapshots")), &every)?;
    same("runtime directories", &ids(world.directory().join("exec/containers")), &running)?;
    let host = world.host();
    let shims: BTreeSet<String> = host.shims.values().map(|shim| shim.container.clone()).collect();
    same("shims", &shims, &running)?;
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let cgroups: BTreeSet<String> = host.cgroups.iter().map(name).collect();
    same("cgroups", &cgroups, &running)?;
    let mounts = shown.iter().filter(|one| one.state.running && one.host_config.ipc_mode == "shareable");
    let mounted: BTreeSet<&str> = mounts.map(|one| one.id.as_str()).collect();
    same("mounts", &host.mounts.iter().map(name).collect(), &mounted)
}

/// Names in a directory that are ids.
fn ids(directory: PathBuf) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.len() == 64).collect()
}

/// Interfaces, translated ports and bound sockets are those of what runs, and no two share an address or a port.
fn network(world: &World, shown: &[Inspect], exactly: bool) -> Checked {
    let mut addresses = BTreeSet::new();
    let mut ports = BTreeSet::new();
    for one in shown.iter().filter(|one| one.state.restarting) {
        let (kept, bound) = kept(world, &one.id);
        if kept.iter().any(|address| !addresses.insert(*address)) {
            return Err(format!("an address of {} belongs to two containers", one.name));
        }
        if bound.iter().any(|host| !ports.insert(*host)) {
            return Err(format!("a port of {} is published twice", one.name));
        }
    }
    for one in shown {
        for (network, endpoint) in &one.network_settings.networks {
            let address = endpoint.ip_address.as_str();
            if address.is_empty() {
                continue;
            }
            if !one.state.running {
                return Err(format!("{} does not run and has the address {address}", one.name));
            }
            if !addresses.insert(address.parse::<IpAddr>().unwrap()) {
                return Err(format!("{address} of {network} belongs to two containers"));
            }
        }
        for binding in one.network_settings.ports.iter().flat_map(BTreeMap::values).flatten().flatten() {
            let host: SocketAddr = SocketAddr::new(
                binding.host_ip.parse().unwrap_or(IpAddr::from([0, 0, 0, 0])),
                binding.host_port.parse().unwrap(),
            );
            if !one.state.running || !ports.insert(host) {
                return Err(format!("{host} of {} is published twice, or for nobody", one.name));
            }
        }
    }
    let mut host = world.host();
    host.wires.sweep();
    let attached: BTreeSet<IpAddr> =
        host.wires.interfaces.values().flat_map(|(nets, _)| nets.iter().map(|net| net.addr())).collect();
    if attached != addresses && (exactly || !attached.is_superset(&addresses)) {
        return Err(format!("interfaces have {attached:?}, containers {addresses:?}"));
    }
    let bound = host.wires.bound();
    if bound != ports && (exactly || !bound.is_superset(&ports)) {
        return Err(format!("sockets hold {bound:?}, containers publish {ports:?}"));
    }
    let published = host.wires.published.keys().map(|(_, host)| host.parse::<SocketAddr>().unwrap());
    let published: BTreeSet<SocketAddr> = published.collect();
    // IPv6 goes to the relay, where the container has none.
    let translated: BTreeSet<SocketAddr> = ports.into_iter().filter(SocketAddr::is_ipv4).collect();
    for one in shown.iter().filter(|one| exactly && one.state.running) {
        let own = kept(world, &one.id).0;
        let shim = host.shims.values().find(|shim| shim.container == one.id);
        if let Some(address) =
            shim.into_iter().flat_map(|shim| shim.relayed_to()).find(|one| !own.contains(one))
        {
            return Err(format!("relays of {} lead to {address}, and it has {own:?}", one.name));
        }
    }
    match published == translated || !exactly && published.is_superset(&translated) {
        true => Ok(()),
        false => Err(format!("the firewall leads {published:?}, containers publish {translated:?}")),
    }
}

/// The addresses and ports that a container keeps between two runs, of which inspect says nothing.
fn kept(world: &World, id: &str) -> (Vec<IpAddr>, Vec<SocketAddr>) {
    let path = world.directory().join("exec/containers").join(id).join("network.json");
    let text = std::fs::read(path).unwrap_or_default();
    let run: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let endpoints = list(&run["endpoints"]);
    let nets = endpoints.iter().flat_map(|endpoint| list(&endpoint["interface"]["addresses"]));
    let address = |net: serde_json::Value| net.as_str()?.split('/').next()?.parse().ok();
    let host = |port: serde_json::Value| port["host"].as_str()?.parse().ok();
    (nets.filter_map(address).collect(), list(&run["ports"]).into_iter().filter_map(host).collect())
}

async fn networks(engine: &Engine, promises: &mut Promises) -> Checked {
    let listed = engine.network_list(api::filters::Filters::default()).await.map_err(|e| e.to_string())?;
    let names: BTreeSet<&str> = listed.iter().map(|network| network.name.as_str()).collect();
    if names.len() != listed.len() {
        return Err(format!("networks of one name: {names:?}"));
    }
    for (name, exists) in &mut promises.networks {
        match (*exists, names.contains(name)) {
            (Exists::Yes, false) => return Err(format!("the network {name} was created, and is not there")),
            (Exists::No, true) => return Err(format!("the network {name} was removed, and is there")),
            (_, true) => *exists = Exists::Yes,
            (_, false) => *exists = Exists::No,
        }
    }
    Ok(())
}

async fn images(engine: &Engine, promises: &Promises) -> Checked {
    let filters = api::filters::Filters::default();
    let listed = engine.image_list(false, false, filters).await.map_err(|error| error.to_string())?;
    let mut tags = listed.iter().flat_map(|image| image.repo_tags.iter().flatten());
    match !promises.committed || tags.any(|tag| tag.starts_with(COMMITTED)) {
        true => Ok(()),
        false => Err(format!("an image was committed, and there are {listed:?}")),
    }
}

/// Anonymous volumes go with their containers, unless those were pruned.
async fn volumes(engine: &Engine, shown: &[Inspect], promises: &mut Promises, exactly: bool) -> Checked {
    let listed = engine.volume_list(api::filters::Filters::default()).await.map_err(|e| e.to_string())?;
    let listed: BTreeSet<String> = listed.volumes.into_iter().map(|volume| volume.name).collect();
    let used: BTreeSet<String> =
        shown.iter().flat_map(|one| one.mounts.iter().map(|mount| mount.name.clone())).collect();
    if std::mem::take(&mut promises.pruned) {
        promises.kept_volumes = listed.difference(&used).cloned().collect();
    }
    let listed: BTreeSet<String> = listed.difference(&promises.kept_volumes).cloned().collect();
    match listed == used || !exactly && listed.is_superset(&used) {
        true => Ok(()),
        false => Err(format!("there are the volumes {listed:?}, containers have {used:?}")),
    }
}

/// Each start and each exit of a container that stands, and of each exec in it, is told once and as it was.
fn told(world: &World, engine: &Engine, shown: &[Inspect], untold: &BTreeSet<String>) -> Checked {
    let query = EventQuery { since: Some(0), ..EventQuery::default() };
    let events = engine.events(query).map_err(|error| error.to_string())?;
    if events.past.len() >= HISTORY {
        return Ok(());
    }
    let host = world.host();
    for one in shown.iter().filter(|one| !untold.contains(&one.id)) {
        let of = |action: &str| {
            let is = |event: &&std::sync::Arc<Message>| event.actor.id == one.id && event.action == action;
            events.past.iter().filter(is).cloned().collect::<Vec<_>>()
        };
        let (mut starts, mut exits) = host.history.get(&one.id).cloned().unwrap_or_default();
        let shims = || host.shims.values().filter(|shim: &&SimulatedShim| shim.container == one.id);
        starts += shims().map(|shim| shim.starts).sum::<u32>();
        exits.extend(shims().flat_map(|shim| &shim.exits));
        let told = of("start").len();
        if told != starts as usize {
            return Err(format!("{} was started {starts} times, events tell of {told}", one.name));
        }
        if of("create").len() > 1 || !of("destroy").is_empty() {
            return Err(format!("{} stands, and events tell of another beginning or an end", one.name));
        }
        ends_told(one, &exits, &of("die"))?;
        let before = host.execs.iter().filter(|(_, (_, container))| *container == one.id);
        let mut execs: BTreeMap<String, i32> = before.map(|(id, (code, _))| (id.clone(), *code)).collect();
        execs.extend(shims().flat_map(SimulatedShim::ended_execs).map(|(id, (code, _))| (id, code)));
        let told: Vec<(String, i32)> = of("exec_die")
            .iter()
            .map(|event| (event.actor.attributes["execID"].clone(), exit_code(event)))
            .filter(|(id, _)| execs.contains_key(id))
            .collect();
        let mut told_in_order = told.clone();
        told_in_order.sort();
        if told_in_order != execs.clone().into_iter().collect::<Vec<_>>() {
            return Err(format!("execs of {} ended with {execs:?}, events tell of {told:?}", one.name));
        }
    }
    Ok(())
}

fn exit_code(event: &Message) -> i32 {
    event.actor.attributes["exitCode"].parse().unwrap()
}

/// The ends of a container stand in the events in their order. Between them may be those that the engine has found: of a
/// shim that was killed, of a start that came to nothing.
fn ends_told(one: &Inspect, exits: &[i32], told: &[std::sync::Arc<Message>]) -> Checked {
    let mut left = exits.iter().copied().peekable();
    let told: Vec<i32> = told.iter().map(|event| exit_code(event)).collect();
    let found_by_engine = |code: &i32| matches!(code, 126..=128 | 137 | 255);
    let others: Vec<i32> = told.iter().copied().filter(|code| left.next_if_eq(code).is_none()).collect();
    match left.peek().is_none() && others.iter().all(found_by_engine) {
        true => Ok(()),
        false => Err(format!("{} ended with {exits:?}, events tell of {told:?}", one.name)),
    }
}
