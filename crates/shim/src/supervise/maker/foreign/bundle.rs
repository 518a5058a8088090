//! What a foreign runtime is given, and where it leaves its answers.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use linux::process::Pid;
use linux::pty::Size;
use oci::runtime::{Namespace, NamespaceKind, Process, Resources, Root, Spec};
use runtime::Stdio;
use serde::Serialize;

use super::super::super::{failure, other};
use crate::handle::with_short_path;
use crate::paths;
use crate::protocol::{Failure, FailureKind};

/// The name of the console's socket in the bundle, where every command runs: the whole path may be too long.
pub(super) const CONSOLE: &str = "console.sock";

/// The oldest of its generation. Runtimes do by the fields that are there, whatever the number; but some (crun before
/// 1.9) refuse a number that they don't know.
const OCI_VERSION: &str = "1.0.2";

/// A runtime that is through has sent its terminal already.
const TERMINAL_EXPECTED: Duration = Duration::from_secs(5);

/// The directory, see [`crate::paths`].
pub(super) struct Bundle {
    path: PathBuf,
    state: PathBuf,
}

impl Bundle {
    /// Without what an earlier run may have left.
    pub(super) fn create(runtime_dir: &Path) -> Result<Bundle, Failure> {
        let bundle = Bundle { path: paths::bundle(runtime_dir), state: paths::foreign_state(runtime_dir) };
        bundle.remove();
        let make = |path: &Path| {
            linux::fault::io("bundle: make a directory")?;
            std::fs::DirBuilder::new().mode(0o700).recursive(true).create(path)
        };
        make(&bundle.rootfs()).and_then(|()| make(&bundle.state)).map_err(|error| other(&error))?;
        Ok(bundle)
    }

    /// What cannot be removed goes with the runtime directory.
    pub(super) fn remove(&self) {
        for path in [&self.path, &self.state] {
            let _ = std::fs::remove_dir_all(path);
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The runtime's own (`--root`).
    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    pub(super) fn rootfs(&self) -> PathBuf {
        self.path.join("rootfs")
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.path.join("pid")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log.json")
    }

    /// Standard error of commands that start nothing.
    pub(super) fn errors(&self) -> PathBuf {
        self.path.join("errors")
    }

    pub(super) fn write_config(&self, spec: &Spec, rootfs: &Path, held: &[Held<'_>]) -> Result<(), Failure> {
        self.write("config.json", &told(spec, rootfs, held)).map(drop)
    }

    pub(super) fn write_process(&self, process: &Process) -> Result<PathBuf, Failure> {
        self.write("process.json", process)
    }

    pub(super) fn write_resources(&self, resources: &Resources) -> Result<PathBuf, Failure> {
        self.write("resources.json", resources)
    }

    fn write(&self, name: &str, document: &impl Serialize) -> Result<PathBuf, Failure> {
        let path = self.path.join(name);
        let written = serde_json::to_vec(document).map_err(io::Error::from).and_then(|document| {
            linux::fault::io("bundle: write a document")?;
            std::fs::write(&path, document)
        });
        written.map(|()| path).map_err(|error| other(&error))
    }

    /// The process that the last command has made. Each is told once.
    pub(super) fn take_pid(&self) -> Result<Pid, Failure> {
        let text = std::fs::read_to_string(self.pid_file()).unwrap_or_default();
        let _ = std::fs::remove_file(self.pid_file());
        text.trim().parse().ok().filter(|pid| *pid > 1).ok_or_else(|| {
            failure(FailureKind::Other, format!("the runtime named no process in its pid file: {text:?}"))
        })
    }
}

/// A namespace in place of the one that the specification asks for.
pub(super) type Held<'a> = (NamespaceKind, Option<BorrowedFd<'a>>);

/// crun(1) puts the processes of a scope of systemd, and their limits, one cgroup below where everybody looks for them,
/// unless this says that it is to be none. Others don't know it.
const SUBGROUP: &str = "run.oci.systemd.subgroup";

/// The specification as another program can act on it: what we hold has names.
fn told(spec: &Spec, rootfs: &Path, held: &[Held<'_>]) -> Spec {
    let mut spec = spec.clone();
    OCI_VERSION.clone_into(&mut spec.oci_version);
    let readonly = spec.root.as_ref().is_some_and(|root| root.readonly);
    spec.root = Some(Root { path: rootfs.to_owned(), readonly });
    for (kind, namespace) in held {
        let Some(namespace) = namespace else { continue };
        let path = format!("/proc/{}/fd/{}", linux::process::id(), namespace.as_raw_fd());
        let namespaces = &mut spec.linux.get_or_insert_default().namespaces;
        namespaces.retain(|one| one.kind != *kind);
        namespaces.push(Namespace { kind: *kind, path: Some(path.into()) });
    }
    spec.annotations.entry(SUBGROUP.to_owned()).or_default();
    spec
}

/// Where a runtime sends the master of the terminal that it has made.
pub(super) struct Console {
    listener: UnixListener,
    path: PathBuf,
    size: Option<Size>,
    master: Cell<Option<OwnedFd>>,
}

impl Console {
    /// None where no terminal is wanted.
    pub(super) fn for_stdio(bundle: &Bundle, stdio: &Stdio) -> Result<Option<Console>, Failure> {
        let Stdio::Terminal { size, .. } = stdio else { return Ok(None) };
        let path = bundle.path.join(CONSOLE);
        let listener = with_short_path(&path, |short| UnixListener::bind(short))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| other(&error))?;
        Ok(Some(Console { listener, path, size: *size, master: Cell::new(None) }))
    }

    /// The terminal, after the command: a runtime connects and sends before it ends.
    pub(super) fn take(self) -> Result<OwnedFd, Failure> {
        if let Some(master) = self.master.take() {
            return Ok(master);
        }
        self.receive()?;
        self.master.take().ok_or_else(silent)
    }

    /// Somebody has connected. Not every runtime gives the terminal of an exec its size, so the sooner we do, the less
    /// does its process see of it without.
    pub(super) fn receive(&self) -> Result<(), Failure> {
        let (socket, _) = self.listener.accept().map_err(|_| silent())?;
        let patient =
            socket.set_nonblocking(false).and_then(|()| socket.set_read_timeout(Some(TERMINAL_EXPECTED)));
        patient.map_err(|error| other(&error))?;
        let (mut name, mut descriptors) = ([0; 4096], Vec::new());
        linux::fd::receive(&socket, &mut name, &mut descriptors).map_err(|error| other(&error))?;
        let master = descriptors.pop().ok_or_else(silent)?;
        if let Some(size) = self.size {
            linux::pty::resize(&master, size).map_err(|error| other(&error))?;
        }
        self.master.set(Some(master));
        Ok(())
    }
}

impl AsFd for Console {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn silent() -> Failure {
    failure(FailureKind::Other, "the runtime has sent no terminal to its console socket")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specification_names_what_we_hold() {
        let namespaces = [NamespaceKind::Pid, NamespaceKind::Network];
        let spec = Spec {
            root: Some(Root { path: "rootfs".into(), readonly: true }),
            linux: Some(oci::runtime::Linux {
                namespaces: namespaces.map(|kind| Namespace { kind, path: None }).into(),
                ..Default::default()
            }),
            ..Spec::default()
        };
        let network = std::fs::File::open("/proc/self/ns/net").unwrap();
        let told = told(&spec, Path::new("/somewhere"), &[(NamespaceKind::Network, Some(network.as_fd()))]);
        assert_eq!(told.root, Some(Root { path: "/somewhere".into(), readonly: true }));
        let namespaces = told.linux.unwrap().namespaces;
        assert_eq!(namespaces.len(), 2);
        let path = namespaces[1].path.clone().unwrap();
        assert_eq!(std::fs::read_link(path).unwrap(), std::fs::read_link("/proc/self/ns/net").unwrap());
    }
}
