//! What the kernel alone takes: the bare system calls of a start, made here, in the same run.
//!
//! No image is looked up, nothing is recorded, no stream is carried: an overlay of one layer, the namespaces, the
//! usual mounts, a cgroup in each hierarchy, a veth where there is a bridge, `busybox true`, and its end. The
//! measured copy of this program lives in a network and mount namespace of its own.

use std::ffi::CString;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use linux::mount::{self, Overlay, Propagation};
use linux::netlink::{Family, Socket, address, link, route};
use linux::process::{self, Clone, Cloned};
use linux::{fd, namespace};

use crate::report::median;

const ROUNDS: usize = 21;

/// Milliseconds for a start with this network; none where it cannot be measured.
pub(crate) fn start(network: &str) -> Option<f64> {
    let own = std::env::current_exe().ok()?;
    let output = Command::new(own).args(["--floor", network]).output().ok()?;
    if !output.status.success() {
        eprintln!("bench: no floor for {network}: {}", String::from_utf8_lossy(&output.stderr).trim_end());
        return None;
    }
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

/// The measured copy: prints the median, in milliseconds.
pub(crate) fn measure(network: &str) -> linux::Result<()> {
    namespace::unshare(namespace::NETWORK | namespace::MOUNT)?;
    mount::set_propagation(Path::new("/"), Propagation::Private, true)?;
    let place = Place::make().expect("the temporary directory is writable");
    let bridge = if network == "bridge" { Some(Bridge::make()?) } else { None };
    let mut samples = Vec::new();
    for round in 0..ROUNDS {
        samples.push(one(&place, network, bridge.as_ref(), round)?);
    }
    println!("{}", median(&mut samples));
    Ok(())
}

/// Directories that the samples use.
struct Place {
    root: PathBuf,
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
                cgroups.push(hierarchy.join(format!("wharf-floor-{}", std::process::id())));
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
    fn connect(&self, inside: &std::os::fd::OwnedFd, round: usize) -> linux::Result<()> {
        use std::os::fd::AsFd;
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

/// One start, to the reaping of its process. What can be thrown away later is not in it.
fn one(place: &Place, network: &str, bridge: Option<&Bridge>, round: usize) -> linux::Result<Duration> {
    let folders = ["upper", "work"].map(|name| place.root.join(format!("{name}{round}")));
    let began = Instant::now();
    for folder in &folders {
        fs::create_dir(folder).expect("the temporary directory is writable");
    }
    let lowers = [place.root.join("lower")];
    let layers =
        Overlay { lowers: &lowers, upper: Some((&folders[0], &folders[1])), volatile: true, extra: &[] };
    let root = mount::overlay(&layers)?;
    for cgroup in &place.cgroups {
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
            let error = inside(place, &root, &gate);
            eprintln!("{error}");
            process::exit_now(1)
        }
        Cloned::Caller { pid, .. } => {
            drop(gate);
            for cgroup in &place.cgroups {
                fs::write(cgroup.join("cgroup.procs"), pid.to_string()).expect("cgroups are writable");
            }
            if let Some(bridge) = bridge {
                let inside = namespace::open(Path::new(&format!("/proc/{pid}/ns/net")))?;
                bridge.connect(&inside, round)?;
            }
            let mounts = namespace::open(Path::new(&format!("/proc/{pid}/ns/mnt")))?;
            fd::write_all(&opener, b"!")?;
            let exit = process::wait(pid)?;
            let took = began.elapsed();
            assert_eq!(exit.code(), 0, "busybox true has failed");
            drop(mounts);
            for cgroup in &place.cgroups {
                let _ = fs::remove_dir(cgroup);
            }
            Ok(took)
        }
    }
}

/// The new process: its file systems, its root, its program.
fn inside(place: &Place, root: &std::os::fd::OwnedFd, gate: &std::os::fd::OwnedFd) -> linux::Error {
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
    if let Err(error) = mounted() {
        return error;
    }
    let arguments = ["busybox", "true"].map(|word| CString::new(word).expect("no NUL in it"));
    process::execute(c"/bin/busybox", &arguments, &[])
}
