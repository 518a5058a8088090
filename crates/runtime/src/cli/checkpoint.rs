//! `checkpoint`, `restore`.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use oci::runtime::{Spec, Status};
use runtime::{CgroupMode, Checkpoint, Container, Error, Kind, Restore, Result, Settings};

use super::arguments::{Arguments, Flag};
use super::create::{self, check_console, owner, remove, write_pid_file};
use super::store::{Saved, read_spec};
use super::{Context, console, log, notify};

#[rustfmt::skip]
const BOTH: [Flag; 10] = [
    Flag::value("image-path", None, "directory of the image files (default: \"checkpoint\")"),
    Flag::value("work-path", None, "directory for work files and logs (default: that of the images)"),
    Flag::switch("tcp-established", None, "allow open TCP connections"),
    Flag::switch("ext-unix-sk", None, "allow connections to Unix sockets outside"),
    Flag::switch("shell-job", None, "allow a terminal or a session that is not the container's"),
    Flag::switch("lazy-pages", None, "move memory when it is used, by userfaultfd"),
    Flag::switch("file-locks", None, "take locks of files along"),
    Flag::value("manage-cgroups-mode", None, "what to do with cgroups: soft, full, strict or ignore (default: soft)"),
    Flag::value("empty-ns", None, "make this namespace without what is in it: network, which always is"),
    Flag::switch("auto-dedup", None, "take memory out of earlier images when it is in later ones"),
];

#[rustfmt::skip]
pub(super) const CHECKPOINT: &[Flag] = &[
    BOTH[0], BOTH[1], BOTH[2], BOTH[3], BOTH[4], BOTH[5], BOTH[6], BOTH[7], BOTH[8], BOTH[9],
    Flag::value("parent-path", None, "directory of earlier images, relative to that of these"),
    Flag::switch("leave-running", None, "leave the container running"),
    Flag::switch("tcp-skip-in-flight", None, "pass over TCP connections that are not open yet"),
    Flag::switch("link-remap", None, "give files a name again that have none any more"),
    Flag::number("status-fd", None, "descriptor that gets a zero byte when lazy pages are ready"),
    Flag::value("page-server", None, "ADDRESS:PORT where memory is to be sent, or offered with --lazy-pages"),
    Flag::switch("pre-dump", None, "dump memory only, and leave the container running"),
];

#[rustfmt::skip]
pub(super) const RESTORE: &[Flag] = &[
    BOTH[0], BOTH[1], BOTH[2], BOTH[3], BOTH[4], BOTH[5], BOTH[6], BOTH[7], BOTH[8], BOTH[9],
    create::CREATE[0], create::CREATE[1], create::CREATE[3],
    Flag::switch("detach", Some('d'), "detach from the container's process"),
    Flag::switch("no-subreaper", None, "do not become the parent of what the container leaves behind"),
    Flag::switch("no-pivot", None, "means nothing here: criu enters the root in its own way"),
    Flag::value("lsm-profile", None, "profile of the kernel's security module, as TYPE:NAME"),
    Flag::value("lsm-mount-context", None, "label of mounts instead of the one they had"),
];

pub(super) fn checkpoint(
    context: &Context,
    arguments: &Arguments,
    mut inherited: Vec<OwnedFd>,
) -> Result<u8> {
    warn_of_rootless(context);
    let found = context.store.find(arguments.id()?)?;
    if let Status::Created | Status::Stopped | Status::Creating = found.status {
        let message = format_args!("Container cannot be checkpointed in {} state", found.status);
        return Err(Error::new(Kind::WrongState, message));
    }
    let settings = settings(arguments)?;
    let pre_dump = arguments.is_set("pre-dump");
    let leave_running = arguments.is_set("leave-running");
    let wanted = Checkpoint {
        parent: parent(arguments, &settings.images)?,
        settings,
        leave_running,
        tcp_skip_in_flight: arguments.is_set("tcp-skip-in-flight"),
        link_remap: arguments.is_set("link-remap"),
        pre_dump,
        page_server: arguments.given("page-server").map(page_server).transpose()?,
        status: inherited.pop(),
        streams: found.saved.streams.clone(),
    };
    found.container.checkpoint(&found.spec, &found.saved.rootfs, wanted)?;
    if leave_running || pre_dump {
        return Ok(0);
    }
    super::manage::until_ended(&found)?;
    remove(context, found.container).map(|()| 0)
}

pub(super) fn restore(context: &Context, arguments: &Arguments) -> Result<u8> {
    warn_of_rootless(context);
    if arguments.is_set("no-pivot") {
        context.log.warn("--no-pivot means nothing to restore: criu enters the root by pivot_root");
    }
    let settings = settings(arguments)?;
    let id = arguments.id()?.to_owned();
    let detached = arguments.is_set("detach");
    let bundle = create::bundle(arguments)?;
    let (mut spec, config) = read_spec(&bundle)?;
    check_console(&spec, arguments, detached)?;
    if !detached && !arguments.is_set("no-subreaper") {
        linux::process::set_subreaper(true).map_err(Error::other)?;
    }
    let signals = if detached { None } else { Some(console::signals()?) };
    context.store.claim(&id, &config)?;
    let restored = notify::prepare(&context.store.directory(&id), &mut spec)
        .and_then(|()| restore_claimed(context, arguments, &spec, &bundle, settings));
    let (container, terminal) = match restored {
        Ok(restored) => restored,
        Err(error) => {
            context.store.forget(&id)?;
            return Err(error);
        }
    };
    let Some(signals) = signals else { return Ok(0) };
    console::attend(container.pidfd(), terminal, &signals, None)?;
    let exit = linux::process::wait(container.pid()).map_err(Error::other)?;
    remove(context, container)?;
    Ok(exit.code() as u8)
}

fn restore_claimed(
    context: &Context,
    arguments: &Arguments,
    spec: &Spec,
    bundle: &Path,
    settings: Settings,
) -> Result<(Container, Option<std::os::fd::OwnedFd>)> {
    let root = spec.root.as_ref().ok_or_else(|| Error::invalid("root must be specified"))?;
    let rootfs = bundle.join(&root.path);
    let rootfs =
        std::fs::canonicalize(&rootfs).map_err(|error| Error::of_file("stat", rootfs.display(), &error))?;
    let id = arguments.id()?;
    let wanted = Restore {
        id,
        spec,
        bundle,
        rootfs: &rootfs,
        scratch: &context.store.directory(id),
        settings,
        cgroup_driver: context.cgroup_driver,
        rootless: context.rootless,
        lsm_profile: arguments.given("lsm-profile").map(str::to_owned),
        lsm_mount_context: arguments.given("lsm-mount-context").map(str::to_owned),
    };
    let streams = create::stream_names(spec);
    let restored = runtime::restore(&wanted, &mut |container| {
        let (record, rootfs, streams) = (container.record(), rootfs.clone(), streams.clone());
        context.store.save(&Saved { record, created: log::now(), rootfs, owner: owner(), streams })
    })?;
    let announced = match (arguments.given("console-socket"), &restored.terminal) {
        (Some(path), Some(terminal)) => console::send(path, "orphan-pts-master", terminal.as_fd()),
        _ => Ok(()),
    };
    let announced =
        announced.and_then(|()| write_pid_file(arguments.get("pid-file"), restored.container.pid()));
    match announced {
        Ok(()) => Ok((restored.container, restored.terminal)),
        Err(error) => {
            let _dead_already = restored.container.kill_all();
            let _reaped_elsewhere = linux::process::wait(restored.container.pid());
            let _leftover = restored.container.delete();
            Err(error)
        }
    }
}

fn warn_of_rootless(context: &Context) {
    if linux::credentials::user() != 0 {
        let program = &context.program;
        context.log.warn(format_args!("{program} checkpoint is untested with rootless containers"));
    }
}

fn settings(arguments: &Arguments) -> Result<Settings> {
    let word = arguments.get("manage-cgroups-mode").unwrap_or_default();
    let cgroups =
        CgroupMode::parse(word).ok_or_else(|| Error::invalid("invalid manage-cgroups-mode value"))?;
    if let Some(other) = arguments.all("empty-ns").iter().find(|name| *name != "network") {
        return Err(Error::invalid(format_args!("namespace {other:?} is not supported")));
    }
    let directory = std::env::current_dir().map_err(|error| Error::of_file("getcwd", ".", &error))?;
    Ok(Settings {
        images: directory.join(arguments.given("image-path").unwrap_or("checkpoint")),
        work: arguments.given("work-path").map(|path| directory.join(path)),
        tcp_established: arguments.is_set("tcp-established"),
        external_unix_sockets: arguments.is_set("ext-unix-sk"),
        shell_job: arguments.is_set("shell-job"),
        file_locks: arguments.is_set("file-locks"),
        auto_dedup: arguments.is_set("auto-dedup"),
        lazy_pages: arguments.is_set("lazy-pages"),
        cgroups,
    })
}

/// CRIU links from one directory of images to the other, so that both can be moved.
fn parent(arguments: &Arguments, images: &Path) -> Result<Option<String>> {
    let Some(path) = arguments.given("parent-path") else { return Ok(None) };
    if Path::new(path).is_absolute() {
        return Err(Error::invalid("--parent-path must be relative"));
    }
    let whole: PathBuf = images.join(path);
    // Relative to a directory that may not be there yet.
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(images);
    made.map_err(|error| Error::of_file("mkdir", images.display(), &error))?;
    match std::fs::metadata(&whole) {
        Ok(found) if found.is_dir() => Ok(Some(path.to_owned())),
        Ok(_) => {
            Err(Error::invalid(format_args!("invalid --parent-path: {}: not a directory", whole.display())))
        }
        Err(error) => {
            let error = Error::of_file("stat", whole.display(), &error);
            Err(Error::invalid(format_args!("invalid --parent-path: {error}")))
        }
    }
}

fn page_server(text: &str) -> Result<(String, u16)> {
    let usage = || Error::invalid("Use --page-server ADDRESS:PORT to specify page server");
    let (address, port) = text.rsplit_once(':').ok_or_else(usage)?;
    let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
    if address.is_empty() || port.is_empty() || (bare.is_none() && address.contains(':')) {
        return Err(usage());
    }
    let port = port.parse().map_err(|_| Error::invalid("Invalid port number"))?;
    Ok((bare.unwrap_or(address).to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_servers_have_an_address_and_a_port() {
        assert_eq!(page_server("127.0.0.1:27277").unwrap(), ("127.0.0.1".to_owned(), 27277));
        assert_eq!(page_server("[::1]:7").unwrap(), ("::1".to_owned(), 7));
        for wrong in ["", "host", ":7", "host:", "::1:7", "host:port", "host:70000"] {
            assert!(page_server(wrong).is_err(), "{wrong}");
        }
    }
}
