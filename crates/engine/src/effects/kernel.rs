//! The effects of a running engine: shims are processes, the rest are system calls.

mod program;
mod reap;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use linux::cgroup::{Cgroup, Layout};
use network::{Host, HostNames, Options};
use shim::protocol::{Launch, Reply, Request};

use super::{Effects, HostNetwork, Launched, Said, Shim, Unborn};

/// The host as it is. Work goes to the blocking threads of the runtime that asks for it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel;

impl Effects for Kernel {
    fn work(&self, work: Box<dyn FnOnce() + Send>) {
        // Whoever waits for it learns of a panic by getting no answer.
        drop(tokio::task::spawn_blocking(work));
    }

    fn together(&self, one: &mut (dyn FnMut() + Send), other: &mut dyn FnMut()) {
        std::thread::scope(|scope| {
            scope.spawn(one);
            other();
        });
    }

    fn program(&self, name: &str, arguments: &[&str]) -> io::Result<Said> {
        program::run(name, arguments)
    }

    fn spawn_shim(&self, program: &Path, container: &str, runtime: &Path) -> io::Result<Box<dyn Unborn>> {
        Ok(Box::new(shim::Spawned::new(program, container, runtime)?))
    }

    fn connect_shim(&self, runtime: &Path) -> io::Result<Arc<dyn Shim>> {
        Ok(Arc::new(shim::Handle::connect(runtime)?))
    }

    fn clean_up_shim(&self, runtime: &Path) -> io::Result<shim::Cleaned> {
        shim::cleanup(runtime)
    }

    fn kill_shim(&self, pid: i32) -> linux::Result<()> {
        linux::process::kill(pid, linux::signal::SIGKILL)
    }

    fn network(&self, names: HostNames, options: Options) -> network::Result<Box<dyn HostNetwork>> {
        Ok(Box::new(Host::open(names, options)?))
    }

    fn clear_cgroup(&self, path: &Path) -> linux::Result<()> {
        let cgroup = Cgroup::at(&Layout::detect()?, path)?;
        if !cgroup.exists() {
            return Ok(());
        }
        // It may be there in some trees only; what counts is that it goes.
        let killed = cgroup.kill();
        cgroup.remove().map_err(|error| killed.err().unwrap_or(error))
    }

    fn cgroups_below(&self, parent: &Path) -> linux::Result<Vec<String>> {
        let cgroup = Cgroup::at(&Layout::detect()?, parent)?;
        let mut below = std::collections::BTreeSet::new();
        for (_, directory) in cgroup.paths() {
            // A controller in which nothing was ever made has no such directory.
            let Ok(entries) = std::fs::read_dir(directory) else { continue };
            below.extend(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()));
        }
        Ok(below.into_iter().collect())
    }

    fn remove_cgroup_parent(&self, path: &Path) -> bool {
        let Ok(cgroup) = Layout::detect().and_then(|layout| Cgroup::at(&layout, path)) else { return true };
        for (_, directory) in cgroup.paths() {
            // Not a tree: what has a container below it is refused by the kernel, and stays.
            let _ = std::fs::remove_dir(directory);
        }
        !cgroup.exists()
    }

    fn mount_shm(&self, path: &Path, size: i64, (user, group): (u32, u32)) -> linux::Result<()> {
        let attributes = linux::mount::NOSUID | linux::mount::NODEV | linux::mount::NOEXEC;
        let [size, user, group] = [format!("size={size}"), format!("uid={user}"), format!("gid={group}")];
        linux::mount::new_fs("tmpfs", Some("shm"), &["mode=1777", &size, &user, &group], attributes)
            .and_then(|mount| linux::mount::attach_at(mount, path))
    }

    fn unmount_shm(&self, path: &Path) -> linux::Result<()> {
        linux::mount::unmount(path, true)
    }

    fn root_of(&self, pid: i32) -> linux::Result<OwnedFd> {
        linux::procfs::root_of(pid)
    }
}

impl Unborn for shim::Spawned {
    fn launch(
        self: Box<Self>,
        launch: &Launch,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Launched, shim::LaunchError> {
        let shim::Launched { handle, pid, started_at, shim_pid, pidfd } =
            shim::Spawned::launch(*self, launch, descriptors)?;
        reap::when_dead(shim_pid, pidfd);
        Ok(Launched { shim: Arc::new(handle), pid, started_at, shim_pid })
    }
}

impl Shim for shim::Handle {
    fn request(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<(Reply, Vec<OwnedFd>)> {
        shim::Handle::request(self, request, descriptors)
    }

    fn subscribe(&self, after: u64) -> io::Result<UnixStream> {
        shim::Handle::subscribe(self, after)
    }
}
