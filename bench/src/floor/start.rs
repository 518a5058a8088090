//! A container's start, and a process beside it.
//!
//! An overlay of one layer, the namespaces, the usual mounts, a cgroup in each hierarchy, a veth where there is a bridge,
//! `busybox true`, and its end. A process beside joins all that, and one before it is executed outside: the client.

use std::ffi::CString;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use linux::mount::{self, Overlay, Propagation};
use linux::netlink::{Family, Socket, address, link, route};
use linux::process::{self, Clone, Cloned};
use linux::{fd, namespace, signal};

/// Containers that are started at once.
const CROWD: usize = 20;

/// Where samples are taken: in namespaces of its own, for this process and all after.
pub(super) struct Site {
    place: Place,
    network: &'static str,
    bridge: Option<Bridge>,
}

impl Site {
    pub(super) fn make(network: &'static str) -> linux::Result<Self> {
        namespace::unshare(namespace::NETWORK | namespace::MOUNT)?;
        mount::set_propagation(Path::new("/"), Propagation::Private, true)?;
        let place = Place::make().expect("the temporary directory is writable");
        let bridge = if network == "bridge" { Some(Bridge::make()?) } else { None };
        Ok(Site { place, network, bridge })
    }

    /// One container from its start to the reaping of its process.
    pub(super) fn one(&self, round: usize) -> linux::Result<Duration> {
        let began = Instant::now();
        let container = self.start(round, "true")?;
        let exit = process::wait(container.pid)?;
        let took = began.elapsed();
        assert_eq!(exit.code(), 0, "busybox true has failed");
        container.clear();
        Ok(took)
    }

    /// As many at once as the rows that start many do; they end by themselves, or are killed.
    pub(super) fn crowd(&self, round: usize, program: &str) -> linux::Result<Duration> {
        let began = Instant::now();
        let mut starters = Vec::new();
        for number in 0..CROWD {
            match Clone::default().start()? {
                Cloned::Copy => {
                    let done = self.start(round * CROWD + number, program).and_then(|container| {
                        if program != "true" {
                            process::send_signal(container.pidfd.as_fd(), signal::SIGKILL)?;
                        }
                        process::wait(container.pid)?;
                        container.clear();
                        Ok(())
                    });
                    process::exit_now(i32::from(done.is_err()))
                }
                Cloned::Caller { pid, .. } => starters.push(pid),
            }
        }
        for starter in starters {
            assert_eq!(process::wait(starter)?.code(), 0, "a container of the crowd has failed");
        }
        Ok(began.elapsed())
    }

    /// A process outside that is executed and ends, then one inside a container that stands.
    pub(super) fn beside(&self, standing: &Standing) -> linux::Result<Duration> {
        const ALL: u64 = namespace::MOUNT
            | namespace::PID
            | namespace::IPC
            | namespace::UTS
            | namespace::CGROUP
            | namespace::NETWORK;
        let began = Instant::now();
        client()?;
        let (told, tell) = fd::pipe()?;
        match Clone::default().start()? {
            Cloned::Copy => {
                let entered = || -> linux::Result<()> {
                    for cgroup in &standing.cgroups {
                        fs::write(cgroup.join("cgroup.procs"), "0").expect("cgroups are writable");
                    }
                    namespace::enter(&standing.pidfd, ALL)?;
                    match process::sibling()? {
                        Some(pid) => {
                            fd::write_all(&tell, &pid.to_ne_bytes())?;
                            process::exit_now(0)
                        }
                        None => Err(busybox("true")),
                    }
                };
                process::exit_now(i32::from(entered().is_err()))
            }
            Cloned::Caller { pid, .. } => {
                assert_eq!(process::wait(pid)?.code(), 0, "the container cannot be entered");
                let mut born = [0; 4];
                fd::read(&told, &mut born)?;
                let exit = process::wait(process::Pid::from_ne_bytes(born))?;
                assert_eq!(exit.code(), 0, "busybox true has failed");
                Ok(began.elapsed())
            }
        }
    }

    pub(super) fn start(&self, round: usize, program: &str) -> linux::Result<Standing> {
        start(&self.place, self.network, self.bridge.as_ref(), round, program)
    }
}

/// A process that is executed and ends.
pub(super) fn client() -> linux::Result<Duration> {
    let began = Instant::now();
    match Clone::default().start()? {
        Cloned::Copy => {
            let error = busybox("true");
            eprintln!("{error}");
            process::exit_now(1)
        }
        Cloned::Caller { pid, .. } => {
            assert_eq!(process::wait(pid)?.code(), 0, "busybox true has failed");
            Ok(began.elapsed())
        }
    }
}

fn busybox(program: &str) -> linux::Error {
    let words = ["busybox", program, "1000"];
    let count = if program == "true" { 2 } else { 3 };
    let arguments: Vec<CString> =
        words[..count].iter().map(|word| CString::new(*word).expect("no NUL in it")).collect();
    process::execute(c"/bin/busybox", &arguments, &[])
}

/// Directories that the samples use.
struct Place {
    root: PathBuf,
    /// A place in each hierarchy; the samples' own are beside it.
    cgroups: Vec<PathBuf>,
}

impl Place {
    fn make() -> std::io::Result<Self> {
        let root = std::env::temp_dir().join(format!("wharf-floor-{}", std::process::id()));
        for folder in ["lower/bin", "lower/proc", "lower/dev", "lower/sys", "merged"] {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::copy("/bin/busybox", root.join("lower/bin/busybox"))?;
        let mut cgroups = Vec::new();
        let top = Path::new("/sys/fs/cgroup");
        let hierarchies = if top.join("cgroup.procs").exists() {
            vec![top.to_owned()]
        } else {
            fs::read_dir(top)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?
        };
        for hierarchy in hierarchies {
            // Under `cpuset` a new group takes no process before it has been given processors.
            if hierarchy.join("cgroup.procs").exists() && !hierarchy.ends_with("cpuset") {
                cgroups.push(hierarchy.join("wharf-floor"));
            }
        }
        Ok(Place { root, cgroups })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

struct Bridge {
    index: u32,
}

impl Bridge {
    fn make() -> linux::Result<Self> {
        let mut socket = Socket::open(Family::Route)?;
        socket.request(vec![link::add_bridge("floor0", mac(0), None)])?;
        let index = link::find(&mut socket, "floor0")?.index;
        Ok(Bridge { index })
    }

    /// A cable into a new network namespace, and an address at its end.
    fn connect(&self, inside: &OwnedFd, round: usize) -> linux::Result<()> {
        let host = format!("floor{}", round + 1);
        let veth = link::Veth {
            host: &host,
            bridge: self.index,
            inside: "eth0",
            namespace: inside.as_fd(),
            mac: mac(round as u8 + 1),
            mtu: None,
        };
        Socket::open(Family::Route)?.request(vec![link::add_veth(veth)])?;
        let here = namespace::open(Path::new("/proc/thread-self/ns/net"))?;
        namespace::enter(inside, namespace::NETWORK)?;
        let mut socket = Socket::open(Family::Route)?;
        let index = link::find(&mut socket, "eth0")?.index;
        let own = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 2));
        let gateway = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1));
        socket.request(vec![
            link::set_up(1),
            link::set_up(index),
            address::add(index, own, 24),
            route::set_default(gateway, index),
        ])?;
        namespace::enter(&here, namespace::NETWORK)
    }
}

fn mac(last: u8) -> link::Mac {
    link::Mac([2, 0x42, 0, 0, 0, last])
}

/// A container whose program is executed.
pub(super) struct Standing {
    pid: process::Pid,
    pidfd: OwnedFd,
    cgroups: Vec<PathBuf>,
    /// Held, or its end would wait for the mounts to go.
    _mounts: OwnedFd,
}

impl Standing {
    /// Ends it, and what can be thrown away later.
    pub(super) fn end(self) -> linux::Result<()> {
        process::send_signal(self.pidfd.as_fd(), signal::SIGKILL)?;
        process::wait(self.pid)?;
        self.clear();
        Ok(())
    }

    fn clear(self) {
        for cgroup in &self.cgroups {
            let _ = fs::remove_dir(cgroup);
        }
    }
}

fn start(
    place: &Place,
    network: &str,
    bridge: Option<&Bridge>,
    round: usize,
    program: &str,
) -> linux::Result<Standing> {
    let folders = ["upper", "work"].map(|name| place.root.join(format!("{name}{round}")));
    for folder in &folders {
        fs::create_dir(folder).expect("the temporary directory is writable");
    }
    let lowers = [place.root.join("lower")];
    let layers =
        Overlay { lowers: &lowers, upper: Some((&folders[0], &folders[1])), volatile: true, extra: &[] };
    let root = mount::overlay(&layers)?;
    let cgroups: Vec<PathBuf> = place
        .cgroups
        .iter()
        .map(|cgroup| cgroup.with_file_name(format!("wharf-floor-{}-{round}", process::id())))
        .collect();
    for cgroup in &cgroups {
        fs::create_dir(cgroup).expect("cgroups are writable");
    }
    let mut namespaces =
        namespace::MOUNT | namespace::PID | namespace::IPC | namespace::UTS | namespace::CGROUP;
    if network != "host" {
        namespaces |= namespace::NETWORK;
    }
    let (gate, opener) = fd::pipe()?;
    match (Clone { namespaces, ..Clone::default() }).start()? {
        Cloned::Copy => {
            drop(opener);
            let error = inside(place, &root, &gate, program);
            eprintln!("{error}");
            process::exit_now(1)
        }
        Cloned::Caller { pid, pidfd } => {
            drop(gate);
            for cgroup in &cgroups {
                fs::write(cgroup.join("cgroup.procs"), pid.to_string()).expect("cgroups are writable");
            }
            if let Some(bridge) = bridge {
                let inside = namespace::open(Path::new(&format!("/proc/{pid}/ns/net")))?;
                bridge.connect(&inside, round)?;
            }
            let mounts = namespace::open(Path::new(&format!("/proc/{pid}/ns/mnt")))?;
            fd::write_all(&opener, b"!")?;
            Ok(Standing { pid, pidfd, cgroups, _mounts: mounts })
        }
    }
}

/// The new process: its file systems, its root, its program.
fn inside(place: &Place, root: &OwnedFd, gate: &OwnedFd, program: &str) -> linux::Error {
    let mounted = || -> linux::Result<()> {
        mount::set_propagation(Path::new("/"), Propagation::Slave, true)?;
        let merged = place.root.join("merged");
        mount::attach_at(root, &merged)?;
        for (kind, target) in [("proc", "proc"), ("tmpfs", "dev"), ("sysfs", "sys")] {
            mount::classic(Path::new(kind), &merged.join(target), kind, 0, "")?;
        }
        for (kind, target) in [("devpts", "dev/pts"), ("mqueue", "dev/mqueue"), ("tmpfs", "dev/shm")] {
            let _ = fs::create_dir(merged.join(target));
            let data = if kind == "devpts" { "newinstance" } else { "" };
            mount::classic(Path::new(kind), &merged.join(target), kind, 0, data)?;
        }
        mount::pivot_root(root)?;
        fd::read(gate, &mut [0]).map(drop)
    };
    match mounted() {
        Ok(()) => busybox(program),
        Err(error) => error,
    }
}
