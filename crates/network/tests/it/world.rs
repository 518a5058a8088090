//! A host for one test: a network namespace with an uplink to another one that is "outside".

use std::fmt::Display;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use network::{
    Attached, Bridge, BridgeRules, Endpoint, Entry, Host, HostNames, Namespace, Options, Published,
    Transport, address, namespace::within,
};

/// The host's address on its uplink, and that of the machine outside.
pub(crate) const HOST: &str = "198.51.100.1";
pub(crate) const OUTSIDE: &str = "198.51.100.2";

/// Long enough for a busy machine where an answer is expected; a refusal by silence takes [`SILENCE`].
const PATIENCE: Duration = Duration::from_secs(60);
const SILENCE: Duration = Duration::from_millis(400);

pub(crate) struct World {
    pub(crate) host: Host,
    pub(crate) outside: Namespace,
}

/// Run a test in a host of its own.
pub(crate) fn on_a_host(test: impl FnOnce(&World) + Send + 'static) {
    let thread = std::thread::spawn(|| {
        linux::namespace::unshare(linux::namespace::NETWORK).unwrap();
        run("ip link set lo up");
        // A new namespace takes after the machine, on which other engines may be at work.
        for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            std::fs::write(format!("/proc/sys/net/{key}"), "0").unwrap();
        }
        // Where bridged packets are filtered; elsewhere the setting is not there.
        let _ = std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "1");
        let outside = Namespace::create().unwrap();
        let path = format!("/proc/{}/fd/{}", std::process::id(), outside.as_fd().as_raw_fd());
        run(&format!("ip link add up0 type veth peer name eth0 netns {path}"));
        run(&format!("ip address add {HOST}/24 dev up0"));
        run("ip address add 2001:db8::1/64 dev up0 nodad");
        run("ip link set up0 up");
        outside_does(&outside, &format!("ip address add {OUTSIDE}/24 dev eth0"));
        outside_does(&outside, "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0");
        outside_does(&outside, "ip address add 2001:db8::2/64 dev eth0 nodad");
        outside_does(&outside, "ip link set eth0 up");
        outside_does(&outside, &format!("ip route add default via {HOST}"));
        outside_does(&outside, "ip -6 route add default via 2001:db8::1");
        let names = HostNames::for_runtime_root("/run/wharf".as_ref());
        let host = Host::open(names, Options::default()).unwrap();
        host.rebuild(&[], &[]).unwrap();
        test(&World { host, outside });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Run a program in the calling thread's namespace; it has to succeed.
pub(crate) fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

pub(crate) fn outside_does(outside: &Namespace, command: &str) {
    within(outside, || {
        run(command);
        Ok(())
    })
    .unwrap();
}

/// A container, as far as the network sees it.
pub(crate) struct Container {
    pub(crate) namespace: Namespace,
    pub(crate) attached: Attached,
    pub(crate) addresses: Vec<IpAddr>,
}

impl Container {
    pub(crate) fn v4(&self) -> IpAddr {
        *self.addresses.iter().find(|address| address.is_ipv4()).unwrap()
    }

    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        (self.v4(), port).into()
    }
}

/// `172.30.0.1/16` is the gateway's address.
pub(crate) fn bridge(name: &str, gateways: &[&str]) -> Bridge {
    let addresses: Vec<IpNet> = gateways.iter().map(|gateway| gateway.parse().unwrap()).collect();
    Bridge {
        rules: BridgeRules {
            name: name.into(),
            subnets: addresses.iter().map(IpNet::trunc).collect(),
            icc: true,
            internal: false,
            masquerade: true,
            entry: Entry::Closed,
            entry_v6: Entry::Closed,
            source: Vec::new(),
        },
        addresses,
        mtu: None,
    }
}

impl World {
    /// A container with the last byte `number` in its addresses.
    pub(crate) fn container(&self, bridge: &Bridge, number: u8) -> Container {
        let endpoint = endpoint(bridge, number);
        let namespace = Namespace::create().unwrap();
        let attached = self.host.attach(&namespace, &endpoint).unwrap();
        let addresses = endpoint.addresses.iter().map(IpNet::addr).collect();
        Container { namespace, attached, addresses }
    }

    pub(crate) fn publish(&self, transport: Transport, host: &str, target: SocketAddr) -> Published {
        let published = Published { transport, host: Some(host.parse().unwrap()), target };
        self.host.publish(&[published]).unwrap();
        published
    }
}

pub(crate) fn endpoint(bridge: &Bridge, number: u8) -> Endpoint {
    let own = |gateway: &IpNet| {
        let address = match gateway.addr() {
            IpAddr::V4(v4) => Ipv4Addr::from(u32::from(v4) - 1 + u32::from(number)).into(),
            IpAddr::V6(v6) => std::net::Ipv6Addr::from(u128::from(v6) - 1 + u128::from(number)).into(),
        };
        IpNet::new(address, gateway.prefix_len()).unwrap()
    };
    let addresses: Vec<IpNet> = bridge.addresses.iter().map(own).collect();
    Endpoint {
        bridge: bridge.rules.name.clone(),
        interface: "eth0".into(),
        mac: address::mac_for(addresses[0].addr()),
        gateways: if bridge.rules.internal {
            Vec::new()
        } else {
            bridge.addresses.iter().map(IpNet::addr).collect()
        },
        addresses,
        mtu: None,
        isolated: !bridge.rules.icc,
        sysctls: Vec::new(),
    }
}

/// Answers each connection, and each datagram, with a word and the address that it came from.
pub(crate) struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn tcp(namespace: Option<&Namespace>, at: &str, word: &'static str) -> Server {
        let listener = inside(namespace, || TcpListener::bind(at).unwrap());
        listener.set_nonblocking(true).unwrap();
        Server::serve(move || {
            if let Ok((mut stream, from)) = listener.accept() {
                let _ = stream.write_all(format!("{word} {}", from.ip()).as_bytes());
            }
        })
    }

    pub(crate) fn udp(namespace: Option<&Namespace>, at: &str, word: &'static str) -> Server {
        let socket = inside(namespace, || UdpSocket::bind(at).unwrap());
        socket.set_nonblocking(true).unwrap();
        Server::serve(move || {
            if let Ok((_, from)) = socket.recv_from(&mut [0; 64]) {
                let _ = socket.send_to(format!("{word} {}", from.ip()).as_bytes(), from);
            }
        })
    }

    pub(crate) fn serve(mut turn: impl FnMut() + Send + 'static) -> Server {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                turn();
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Server { stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) fn inside<T: Send>(namespace: Option<&Namespace>, work: impl FnOnce() -> T + Send) -> T {
    match namespace {
        None => work(),
        Some(namespace) => within(namespace, || Ok(work())).unwrap(),
    }
}

/// What a server says to a client in `namespace`.
pub(crate) fn ask_tcp(namespace: Option<&Namespace>, address: impl Into<SocketAddr>) -> Option<String> {
    ask_stream(namespace, address.into(), PATIENCE)
}

fn ask_stream(namespace: Option<&Namespace>, address: SocketAddr, patience: Duration) -> Option<String> {
    inside(namespace, || {
        let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
        stream.set_read_timeout(Some(patience)).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    })
}

/// Whether a connection is kept from being made.
pub(crate) fn is_kept_off(namespace: Option<&Namespace>, address: impl Into<SocketAddr>) -> bool {
    ask_stream(namespace, address.into(), SILENCE).is_none()
}

/// Datagrams may be lost (the first one while an address is resolved), so the question is repeated.
pub(crate) fn ask_udp(namespace: Option<&Namespace>, address: impl Into<SocketAddr>) -> Option<String> {
    let address = address.into();
    inside(namespace, || {
        let any: SocketAddr = if address.is_ipv4() { "0.0.0.0:0".parse() } else { "[::]:0".parse() }.unwrap();
        let socket = UdpSocket::bind(any).ok()?;
        socket.set_read_timeout(Some(Duration::from_millis(300))).ok()?;
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 64];
        while Instant::now() < deadline {
            socket.send_to(b"?", address).ok()?;
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                assert_eq!(from, address, "the answer comes from where the question went");
                return Some(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
        }
        None
    })
}

/// Asks until it is given. What was closed here may for a moment still be open in a program that another test is about to
/// start.
pub(crate) fn given<T, E: Display>(mut ask: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(given) => return given,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Wait until something holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
