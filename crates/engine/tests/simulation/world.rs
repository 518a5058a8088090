//! The host that a simulated engine works on, and what outlives the engine in it: shims, their containers, the network,
//! cgroups and mounts. Files and records are real ones, in memory.
//!
//! Descriptors are real, too: a namespace or the socket of a port is one end of a pipe, and is gone when the last
//! descriptor of it is closed, whoever held it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use engine::{Effects, HostNetwork, Launched, Said, Shim, Unborn};
use linux::Errno;
use linux::ambient::Simulated;
use shim::protocol::{FailureKind, Launch, Reply, Request};

use crate::fate::Fate;
use crate::network::{SimulatedNetwork, Wires};
use crate::random::Random;
use crate::shim::{SimulatedShim, Turn, failure};
use crate::waits::Wait;

/// A mistake that is made on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// `on-failure:N` restarts once more.
    OneRestartTooMany,
    /// The firewall keeps what was unpublished.
    PortsStayPublished,
    /// Nobody removes the cgroup of a container whose shim was killed.
    CgroupsStay,
    /// A shim that lives is not found by the next engine.
    ShimsAreLost,
    /// A start is told once more by the next engine …
    StartsAreToldTwice,
    /// … or no more.
    StartsAreForgotten,
    /// An exec is said to have ended with another code.
    ExecCodesAreWrong,
}

#[derive(Clone)]
pub(crate) struct World(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) directory: PathBuf,
    pub(crate) mistake: Option<Mistake>,
    fate: Mutex<Fate>,
    host: Mutex<Host>,
}

pub(crate) struct Host {
    random: Random,
    next_pid: i32,
    /// By incarnation; dead ones until their directories are gone.
    pub(crate) shims: BTreeMap<String, SimulatedShim>,
    pub(crate) dead: BTreeMap<String, SimulatedShim>,
    /// Starts and exits of containers whose shims are gone, by container.
    pub(crate) history: BTreeMap<String, (u32, Vec<i32>)>,
    /// How execs ended, by their ids: with which code, and in which container.
    pub(crate) execs: BTreeMap<String, (i32, String)>,
    pub(crate) waits: BTreeMap<u64, Wait>,
    pub(crate) waits_so_far: u64,
    pub(crate) cgroups: BTreeSet<PathBuf>,
    pub(crate) mounts: BTreeSet<PathBuf>,
    pub(crate) wires: Wires,
    /// Rules that were found broken.
    pub(crate) broken: Vec<String>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl World {
    pub(crate) fn new(directory: PathBuf, seed: u64, mistake: Option<Mistake>) -> World {
        let host = Host {
            random: Random::new(seed ^ 1),
            next_pid: 1000,
            shims: BTreeMap::new(),
            dead: BTreeMap::new(),
            history: BTreeMap::new(),
            execs: BTreeMap::new(),
            waits: BTreeMap::new(),
            waits_so_far: 0,
            cgroups: BTreeSet::new(),
            mounts: BTreeSet::new(),
            wires: Wires::default(),
            broken: Vec::new(),
        };
        let data = directory.join("data");
        World(Arc::new(Shared {
            directory,
            mistake,
            fate: Mutex::new(Fate::new(Random::new(seed), data)),
            host: Mutex::new(host),
        }))
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.0.directory
    }

    pub(crate) fn fate(&self) -> MutexGuard<'_, Fate> {
        self.0.fate.lock().unwrap()
    }

    pub(crate) fn host(&self) -> MutexGuard<'_, Host> {
        self.0.host.lock().unwrap()
    }

    pub(crate) fn makes(&self, mistake: Mistake) -> bool {
        self.0.mistake == Some(mistake)
    }

    /// Chance begins anew: what follows does not depend on what came before.
    pub(crate) fn reseed(&self, seed: u64) {
        self.fate().random = Random::new(seed);
        self.host().random = Random::new(seed ^ 1);
    }

    /// Something that a shim, its container or the kernel does; the engine has no part in it.
    pub(crate) fn elsewhere<T>(&self, act: impl FnOnce(&mut Host, Duration, i64) -> T) -> T {
        let (now, wall) = {
            let mut fate = self.fate();
            fate.shims_turn(true);
            (fate.elapsed, fate.wall_clock())
        };
        let value = act(&mut self.host(), now, wall);
        self.fate().shims_turn(false);
        value
    }

    /// Lets the shims do what has come due.
    pub(crate) fn tick(&self) {
        let mistake = self.0.mistake;
        self.elsewhere(|host, now, wall| {
            let names: Vec<String> = host.shims.keys().cloned().collect();
            for name in names {
                host.turn(&name, now, wall, mistake, |shim, turn| shim.act(turn));
            }
            host.bury();
        });
    }

    /// When something happens next without anybody's doing.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.host().shims.values().filter_map(SimulatedShim::next).min()
    }

    /// Changes when a shim tells of something.
    pub(crate) fn told(&self) -> (usize, u64) {
        let host = self.host();
        (host.shims.len(), host.shims.values().map(SimulatedShim::told).sum())
    }

    /// Lets that much time pass for the shims.
    pub(crate) fn pass(&self, time: Duration) {
        self.fate().elapsed += time;
        self.tick();
    }

    /// The container's process ends by itself.
    pub(crate) fn process_ends(&self, container: &str, code: i32) {
        let mistake = self.0.mistake;
        self.elsewhere(|host, now, wall| {
            if let Some(name) = host.shim_of(container) {
                host.turn(&name, now, wall, mistake, |shim, turn| shim.process_ends(code, turn));
            }
            host.bury();
        });
    }

    /// Somebody kills the shim; its container dies with it.
    pub(crate) fn shim_dies(&self, container: &str) -> bool {
        let Some(name) = self.host().shim_of(container) else { return false };
        let is_over = |shim: &SimulatedShim| shim.life.final_code().is_some();
        if !self.host().shims.get(&name).is_some_and(is_over) {
            self.shim_is_killed(container);
        }
        self.elsewhere(|host, _, _| host.kill(&name));
        true
    }

    /// The power is cut: only what lies on the disk is left.
    pub(crate) fn goes_dark(&self) {
        self.waits_are_lost();
        self.elsewhere(|host, _, _| {
            for (_, mut shim) in std::mem::take(&mut host.shims) {
                shim.own_names.clear();
                host.remember(&shim);
            }
            host.dead.clear();
            host.cgroups.clear();
            host.mounts.clear();
            host.wires = Wires::default();
        });
    }

    /// What the history of events says to the next engine is not what the last one wrote.
    pub(crate) fn history_is_falsified(&self) {
        let times = match self.0.mistake {
            Some(Mistake::StartsAreToldTwice) => 2,
            Some(Mistake::StartsAreForgotten) => 0,
            _ => return,
        };
        let path = self.directory().join("data/events.jsonl");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let told = |line: &str| if line.contains("\"Action\":\"start\"") { times } else { 1 };
        let falsified: String = text.lines().map(|line| format!("{line}\n").repeat(told(line))).collect();
        std::fs::write(path, falsified).unwrap();
    }

    fn effect(&self, name: &str) -> io::Result<()> {
        match self.fate().reach(name) {
            Some(errno) => Err(io::Error::from_raw_os_error(errno.raw_os_error())),
            None => Ok(()),
        }
    }

    fn act(&self, name: &str) -> io::Result<()> {
        self.fate().act(name)
    }

    /// An effect has happened: the engine may be cut off behind it.
    fn done(&self, name: &str) {
        let _ = self.act(name);
    }
}

impl Host {
    fn turn<T>(
        &mut self,
        name: &str,
        now: Duration,
        wall: i64,
        mistake: Option<Mistake>,
        act: impl FnOnce(&mut SimulatedShim, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let shim = self.shims.get_mut(name)?;
        let mut turn = Turn {
            now,
            wall,
            random: &mut self.random,
            next_pid: &mut self.next_pid,
            broken: &mut self.broken,
            wires: &mut self.wires,
            mistake,
        };
        Some(act(shim, &mut turn))
    }

    /// The living shim of a container that has not ended for good, or else any.
    pub(crate) fn shim_of(&self, container: &str) -> Option<String> {
        let of = || self.shims.values().filter(|shim| shim.container == container);
        let best = of().find(|shim| shim.life.final_code().is_none()).or_else(|| of().next());
        best.map(|shim| shim.incarnation.clone())
    }

    /// How its runs ended, so far.
    pub(crate) fn exits(&self, container: &str) -> Vec<i32> {
        let mut exits = self.history.get(container).map(|(_, exits)| exits.clone()).unwrap_or_default();
        let shims = self.shims.values().filter(|shim| shim.container == container);
        exits.extend(shims.flat_map(|shim| &shim.exits));
        exits
    }

    fn remember(&mut self, shim: &SimulatedShim) {
        let (starts, exits) = self.history.entry(shim.container.clone()).or_default();
        *starts += shim.starts;
        exits.extend(&shim.exits);
        self.execs.extend(shim.ended_execs());
    }

    /// The kernel ends a shim and everything that dies with it. Its cgroup and its names stay.
    fn kill(&mut self, name: &str) {
        let Some(mut shim) = self.shims.remove(name) else { return };
        shim.die();
        self.remember(&shim);
        self.dead.insert(name.to_owned(), shim);
    }

    /// A shim has been released, or nobody will ever find it.
    fn leave(&mut self, name: &str) {
        let Some(mut shim) = self.shims.remove(name) else { return };
        shim.let_go();
        self.cgroups.remove(&shim.cgroup);
        self.remember(&shim);
    }

    /// Shims whose containers have ended, and whose directories somebody has removed, go by themselves.
    fn bury(&mut self) {
        let over = self.shims.values().filter(|shim| shim.life.final_code().is_some());
        let (ended, abandoned): (Vec<_>, Vec<_>) =
            over.map(|shim| (shim.incarnation.clone(), shim.is_lost())).unzip();
        for (name, lost) in ended.into_iter().zip(abandoned) {
            if lost {
                self.leave(&name);
            } else if let Some(shim) = self.shims.get(&name) {
                self.cgroups.remove(&shim.cgroup);
            }
        }
        self.dead.retain(|_, shim| !shim.is_lost());
    }

    fn in_directory(&self, runtime: &Path) -> Option<String> {
        std::fs::read_to_string(runtime.join("state.json")).ok()
    }
}

impl Simulated for World {
    fn wall_clock(&self) -> i64 {
        self.fate().wall_clock()
    }

    fn pause(&self, time: Duration) {
        self.pass(time);
    }

    fn random(&self, bytes: &mut [u8]) {
        self.fate().random.fill(bytes);
    }

    fn reach(&self, point: &'static str) -> Option<Errno> {
        self.fate().reach(point)
    }
}

fn kernel(error: &io::Error, call: &'static str) -> linux::Error {
    linux::Error::from_io(call, "simulated", error)
}

impl Effects for World {
    /// At once: everything happens in one thread, in one order.
    fn work(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }

    fn together(&self, one: &mut (dyn FnMut() + Send), other: &mut dyn FnMut()) {
        let first = self.fate().random.chance(50);
        if first {
            one();
            other();
        } else {
            other();
            one();
        }
    }

    /// There is no program here.
    fn program(&self, _: &str, _: &[&str]) -> io::Result<Said> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn spawn_shim(&self, _: &Path, _: &str, _: &Path) -> io::Result<Box<dyn Unborn>> {
        self.effect("spawn a shim")?;
        Ok(Box::new(SimulatedUnborn(self.clone())))
    }

    fn connect_shim(&self, runtime: &Path) -> io::Result<Arc<dyn Shim>> {
        self.act("connect to a shim")?;
        let host = self.host();
        let name = host.in_directory(runtime).ok_or(io::ErrorKind::NotFound)?;
        if !host.shims.contains_key(&name) || self.makes(Mistake::ShimsAreLost) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        drop(host);
        Ok(Arc::new(Connection { world: self.clone(), shim: name }))
    }

    fn clean_up_shim(&self, runtime: &Path) -> io::Result<shim::Cleaned> {
        self.effect("clean up after a shim")?;
        let host = self.host();
        let name = host.in_directory(runtime).ok_or(io::ErrorKind::NotFound)?;
        if host.shims.contains_key(&name) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let dead = host.dead.get(&name).ok_or(io::ErrorKind::NotFound)?;
        let (phase, cgroup, names) = (dead.phase(), dead.cgroup.clone(), dead.own_names.clone());
        drop(host);
        if !self.makes(Mistake::CgroupsStay) {
            self.host().cgroups.remove(&cgroup);
        }
        for path in names {
            network::names::withdraw(&path).map_err(io::Error::from)?;
        }
        self.done("a dead shim's container is gone");
        shim::conclude(runtime, &phase)
    }

    fn kill_shim(&self, pid: i32) -> linux::Result<()> {
        self.act("kill a shim").map_err(|error| kernel(&error, "kill"))?;
        self.elsewhere(|host, _, _| {
            let name = host.shims.values().find(|shim| shim.pid == pid).map(|shim| shim.incarnation.clone());
            name.inspect(|name| host.kill(name));
        });
        Ok(())
    }

    fn network(
        &self,
        names: network::HostNames,
        _: network::Options,
    ) -> network::Result<Box<dyn HostNetwork>> {
        Ok(Box::new(SimulatedNetwork::new(self.clone(), names)))
    }

    fn clear_cgroup(&self, path: &Path) -> linux::Result<()> {
        self.act("clear a cgroup").map_err(|error| kernel(&error, "rmdir"))?;
        self.elsewhere(|host, _, _| {
            let shims = host.shims.values().filter(|shim| shim.cgroup == path && shim.life.is_running());
            let names: Vec<String> = shims.map(|shim| shim.incarnation.clone()).collect();
            for name in names {
                host.kill(&name);
            }
            if !self.makes(Mistake::CgroupsStay) {
                host.cgroups.remove(path);
            }
        });
        Ok(())
    }

    fn cgroups_below(&self, parent: &Path) -> linux::Result<Vec<String>> {
        let host = self.host();
        let below = host.cgroups.iter().filter(|path| path.parent() == Some(parent));
        Ok(below.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn remove_cgroup_parent(&self, _: &Path) -> bool {
        true
    }

    fn mount_shm(&self, path: &Path, _: i64, _: (u32, u32)) -> linux::Result<()> {
        self.effect("mount shared memory").map_err(|error| kernel(&error, "mount"))?;
        self.host().mounts.insert(path.to_owned());
        self.done("shared memory is mounted");
        Ok(())
    }

    fn unmount_shm(&self, path: &Path) -> linux::Result<()> {
        self.act("unmount shared memory").map_err(|error| kernel(&error, "umount2"))?;
        match self.host().mounts.remove(path) {
            true => Ok(()),
            false => Err(linux::Error::new("umount2", path.display(), Errno::INVAL)),
        }
    }

    /// There is nothing in it: no users but by their numbers.
    fn root_of(&self, pid: i32) -> linux::Result<OwnedFd> {
        self.effect("look into a container").map_err(|error| kernel(&error, "open"))?;
        let empty = self.directory().join("empty");
        let opened = std::fs::create_dir_all(&empty).and_then(|()| std::fs::File::open(&empty));
        opened
            .map(OwnedFd::from)
            .map_err(|error| linux::Error::from_io("open", format_args!("{pid}"), &error))
    }
}

struct SimulatedUnborn(World);

impl Unborn for SimulatedUnborn {
    fn launch(
        self: Box<Self>,
        launch: &Launch,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Launched, shim::LaunchError> {
        let SimulatedUnborn(world) = *self;
        world.effect("launch a container")?;
        let cgroup = cgroup_of(launch);
        let born = world.elsewhere(|host, now, wall| {
            if host.random.chance(4) {
                let why = failure(FailureKind::NotFound, "exec: \"it\": executable file not found in $PATH");
                return Err(shim::LaunchError::Refused(why));
            }
            let mut turn = Turn {
                now,
                wall,
                random: &mut host.random,
                next_pid: &mut host.next_pid,
                broken: &mut host.broken,
                wires: &mut host.wires,
                mistake: world.0.mistake,
            };
            let shim = SimulatedShim::launch(launch, descriptors, cgroup.clone(), &mut turn)?;
            let (name, pid) = (shim.incarnation.clone(), shim.pid);
            let shim::protocol::Phase::Running { pid: process, started_at, .. } = shim.phase() else {
                return Err(io::Error::other("a container that was launched does not run").into());
            };
            if host.cgroups.contains(&cgroup) {
                host.broken.push(format!("{} starts in a cgroup that is still there", launch.container));
            }
            host.cgroups.insert(cgroup);
            host.shims.insert(name.clone(), shim);
            Ok((name, pid, process, started_at))
        });
        let (name, shim_pid, pid, started_at) = born?;
        world.done("a container is launched");
        if !world.fate().engine_lives {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        }
        Ok(Launched { shim: Arc::new(Connection { world, shim: name }), pid, started_at, shim_pid })
    }
}

fn cgroup_of(launch: &Launch) -> PathBuf {
    let linux = launch.spec.linux.as_ref();
    PathBuf::from(linux.map(|linux| linux.cgroups_path.clone()).unwrap_or_default())
}

/// A way to one shim.
struct Connection {
    world: World,
    shim: String,
}

impl Shim for Connection {
    fn request(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<(Reply, Vec<OwnedFd>)> {
        self.world.act("ask a shim")?;
        let mistake = self.world.0.mistake;
        let reply: io::Result<(Reply, Vec<OwnedFd>)> = self.world.elsewhere(|host, now, wall| {
            let answered = host.turn(&self.shim, now, wall, mistake, |shim, turn| match request {
                Request::Wait(waiter) => (shim.wait(waiter, descriptors), Vec::new()),
                Request::Ports(ports) => (shim.hold(ports, descriptors, turn), Vec::new()),
                Request::Release { removed, .. } if shim.life.final_code().is_some() => {
                    shim.waiters_at_release(*removed)
                }
                _ => (shim.handle(request, turn), Vec::new()),
            });
            let (reply, handed_over) = answered.ok_or(io::ErrorKind::ConnectionRefused)?;
            if matches!(reply, Reply::Released { .. }) {
                host.leave(&self.shim);
            }
            Ok((reply, handed_over))
        });
        self.world.done("a shim has answered");
        if !self.world.fate().engine_lives {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        reply
    }

    fn subscribe(&self, after: u64) -> io::Result<UnixStream> {
        self.world.act("listen to a shim")?;
        let mistake = self.world.0.mistake;
        self.world.elsewhere(|host, now, wall| {
            let subscribed = host.turn(&self.shim, now, wall, mistake, |shim, _| shim.subscribe(after));
            subscribed.unwrap_or(Err(io::ErrorKind::ConnectionRefused.into()))
        })
    }
}
