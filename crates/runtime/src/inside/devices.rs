//! What `/dev` holds: device nodes and the usual links.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use linux::entry::{self, Kind, Metadata};
use linux::path::Root;
use linux::{Errno, mount};
use oci::runtime::{Device, DeviceKind};

use super::rootfs;
use crate::plan::Plan;
use crate::{Error, Result, error::Step};

/// In every container, whatever the configuration says.
const ALWAYS: [(&str, (u32, u32)); 6] = [
    ("/dev/null", (1, 3)),
    ("/dev/zero", (1, 5)),
    ("/dev/full", (1, 7)),
    ("/dev/random", (1, 8)),
    ("/dev/urandom", (1, 9)),
    ("/dev/tty", (5, 0)),
];

const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
];

pub(crate) fn fill(root: &Root, plan: &Plan) -> Result<()> {
    // Modes are meant as they are written.
    let mask = linux::process::set_umask(0);
    let filled = nodes(root, plan).and_then(|()| links(root));
    linux::process::set_umask(mask);
    filled
}

/// Where devices may have been bound.
pub(crate) fn paths(plan: &Plan) -> Vec<PathBuf> {
    if !plan.namespaces.has_user() {
        return Vec::new();
    }
    let always = ALWAYS.iter().map(|(path, _)| PathBuf::from(path));
    let own = plan.devices.iter().filter(|device| device.kind != DeviceKind::Fifo);
    always.chain(own.map(|device| device.path.clone())).collect()
}

fn nodes(root: &Root, plan: &Plan) -> Result<()> {
    let by_binding = plan.namespaces.has_user();
    for (path, numbers) in ALWAYS {
        if !plan.devices.iter().any(|device| device.path == Path::new(path)) {
            let device = Device {
                path: PathBuf::from(path),
                kind: DeviceKind::Character,
                major: numbers.0.into(),
                minor: numbers.1.into(),
                file_mode: Some(0o666),
                uid: None,
                gid: None,
            };
            node(root, &device, by_binding)?;
        }
    }
    // That one becomes a link.
    let mut others = plan.devices.iter().filter(|device| device.path != Path::new("/dev/ptmx"));
    others.try_for_each(|device| node(root, device, by_binding))
}

fn node(root: &Root, device: &Device, by_binding: bool) -> Result<()> {
    let step = || format!("error creating device node {:?}", device.path);
    if by_binding && device.kind != DeviceKind::Fifo {
        return bind(root, &device.path).step(step);
    }
    let (directory, name) = rootfs::parent(root, &device.path)?;
    let kind = match device.kind {
        DeviceKind::Character | DeviceKind::Unbuffered => Kind::Character,
        DeviceKind::Block => Kind::Block,
        DeviceKind::Fifo => Kind::Fifo,
    };
    let numbers = (device.major as u32, device.minor as u32);
    match entry::make_node(&directory, name, kind, device.file_mode.unwrap_or(0o666), numbers) {
        // An image may bring its own; but a name that means something else is not left in its place.
        Err(error) if error.is(Errno::EXIST) => {
            let found = entry::metadata(&directory, name).step(step)?;
            return conflict(&device.path, &found, kind, numbers);
        }
        // No right to make nodes here.
        Err(error) if error.is(Errno::PERM) => return bind(root, &device.path).step(step),
        other => other.step(step)?,
    }
    if device.uid.is_some() || device.gid.is_some() {
        let made = entry::node(&directory, name).step(step)?;
        entry::set_owner(&made, device.uid.unwrap_or(0), device.gid.unwrap_or(0)).step(step)?;
    }
    Ok(())
}

/// What an image has in the place of a device must be that device.
fn conflict(path: &Path, found: &Metadata, kind: Kind, numbers: (u32, u32)) -> Result<()> {
    let path = path.display();
    if found.kind != kind {
        let message =
            format_args!("{path} has incorrect ftype: {:?} doesn't match expected {kind:?}", found.kind);
        return Err(Error::other(message));
    }
    if kind == Kind::Fifo || found.device == numbers {
        return Ok(());
    }
    let ((major, minor), (expected_major, expected_minor)) = (found.device, numbers);
    Err(Error::other(format_args!(
        "{path} has incorrect major:minor: {major}:{minor} doesn't match expected {expected_major}:{expected_minor}"
    )))
}

/// The host's node in place of one of our own.
fn bind(root: &Root, path: &Path) -> Result<()> {
    let host = mount::clone_tree(None, path, false).step(|| "host's device")?;
    let target = rootfs::place(root, path, false)?;
    mount::attach(&host, &target).step(|| "bind")
}

fn links(root: &Root) -> Result<()> {
    for (path, target) in LINKS {
        if path != "/dev/core" || Path::new("/proc/kcore").exists() {
            link(root, Path::new(path), OsStr::new(target), false)?;
        }
    }
    // Terminals come from the container's own devpts, never from a node of the image.
    link(root, Path::new("/dev/ptmx"), OsStr::new("pts/ptmx"), true)
}

fn link(root: &Root, path: &Path, target: &OsStr, replaces: bool) -> Result<()> {
    let step = || format!("error creating {}", path.display());
    let (directory, name) = rootfs::parent(root, path)?;
    if replaces {
        match entry::remove_file(&directory, name) {
            Err(error) if !error.is(Errno::NOENT) => return Err(error).step(step),
            _ => {}
        }
    }
    match entry::make_symlink(&directory, name, target) {
        Err(error) if error.is(Errno::EXIST) => Ok(()),
        other => other.step(step),
    }
}
