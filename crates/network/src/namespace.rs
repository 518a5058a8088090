//! Network namespaces: one per container, alive as long as somebody refers to it and gone by itself afterwards.
//!
//! A thread may be in one namespace only, and a socket stays in that of the thread that made it. So what has to happen
//! inside happens on a short-lived thread that enters, does it and ends ([`within`]): no thread of the program is ever
//! left in a namespace that is not its own. Netlink sockets made inside serve from outside.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use linux::netlink::{Family, Socket, link};

use crate::sysctl;

/// The threads that visit a namespace make a few system calls; this is ample for them.
const STACK: usize = 128 << 10;

/// A network namespace with a netlink socket inside.
#[derive(Debug)]
pub struct Namespace {
    fd: OwnedFd,
    route: Mutex<Socket>,
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Namespace {
    /// A new one: loopback is up, interfaces that come announce their address and have no IPv6 unless it is asked for.
    pub fn create() -> linux::Result<Namespace> {
        on_own_thread(|| {
            linux::namespace::unshare(linux::namespace::NETWORK)?;
            Self::settle(linux::namespace::open(Path::new("/proc/thread-self/ns/net"))?)
        })
    }

    /// As [`Namespace::create`], for processes in this user namespace: its root may configure it.
    pub fn create_for(user: BorrowedFd<'_>) -> linux::Result<Namespace> {
        // No thread of ours can go to another user namespace.
        let fd = linux::namespace::network_of(user)?;
        on_own_thread(|| {
            linux::namespace::enter(&fd, linux::namespace::NETWORK)?;
            Self::settle(fd)
        })
    }

    /// For a new one, from inside.
    fn settle(fd: OwnedFd) -> linux::Result<Namespace> {
        // Neighbours learn at once that a reused address has moved.
        let settings = sysctl::Inside::visit()?;
        settings.set("net/ipv4/conf/default/arp_notify", "1")?;
        settings.set_if_there("net/ipv6/conf/default/ndisc_notify", "1")?;
        settings.set_if_there("net/ipv6/conf/default/disable_ipv6", "1")?;
        let mut route = Socket::open(Family::Route)?;
        const LOOPBACK: u32 = 1;
        route.request(vec![link::set_up(LOOPBACK)])?;
        Ok(Namespace { fd, route: Mutex::new(route) })
    }

    /// One that exists: to connect a container that runs.
    pub fn of(fd: OwnedFd) -> linux::Result<Namespace> {
        let route = within(&fd, || Socket::open(Family::Route))?;
        Ok(Namespace { fd, route: Mutex::new(route) })
    }

    /// The namespace's descriptor alone; its sockets are closed.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    pub(crate) fn route(&self) -> MutexGuard<'_, Socket> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Do something inside a network namespace.
pub fn within<T: Send>(
    namespace: impl AsFd,
    work: impl FnOnce() -> linux::Result<T> + Send,
) -> linux::Result<T> {
    let namespace = namespace.as_fd();
    on_own_thread(|| {
        linux::namespace::enter(namespace, linux::namespace::NETWORK)?;
        work()
    })
}

fn on_own_thread<T: Send>(work: impl FnOnce() -> linux::Result<T> + Send) -> linux::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("namespace".into())
            .stack_size(STACK)
            .spawn_scoped(scope, work)
            .map_err(|error| linux::Error::from_io("clone3", "a thread for a network namespace", &error))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
