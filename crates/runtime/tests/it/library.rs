//! The library's door, as a shim uses it: a detached root, pipes, several threads around.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::mount::{self, Overlay};
use linux::process::{Exit, wait};
use oci::runtime::Spec;
use runtime::{Container, Kind, Launch, Rootfs, Stdio};

use crate::bundle::Bundle;

fn spec(bundle: &Bundle) -> Spec {
    serde_json::from_value(bundle.config.clone()).unwrap()
}

/// Standard streams, and where the output is read.
fn pipes() -> (Stdio, std::fs::File) {
    let (reader, writer) = linux::fd::pipe().unwrap();
    let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let stderr = linux::fd::duplicate(&writer).unwrap();
    (Stdio::Descriptors { stdin: null(), stdout: writer, stderr }, std::fs::File::from(reader))
}

fn start(bundle: &Bundle, rootfs: Rootfs) -> (Container, std::fs::File) {
    let (stdio, output) = pipes();
    let spec = spec(bundle);
    let created = runtime::create(Launch::new(&bundle.id, &spec, &bundle.directory, rootfs, stdio)).unwrap();
    (created.start().unwrap(), output)
}

fn finish(container: Container, mut output: std::fs::File) -> (String, Exit) {
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    let exit = wait(container.pid()).unwrap();
    container.delete().unwrap();
    (text, exit)
}

#[test]
fn a_root_that_the_host_never_sees() {
    let bundle = Bundle::shell("echo hello > /new; cat /new; exit 4");
    let (upper, work) = (bundle.directory.join("upper"), bundle.directory.join("work"));
    std::fs::create_dir_all(&upper).unwrap();
    std::fs::create_dir_all(&work).unwrap();
    let lowers: Vec<PathBuf> = vec![bundle.rootfs()];
    let layers = Overlay { lowers: &lowers, upper: Some((&upper, &work)), volatile: true, extra: &[] };
    let root = mount::overlay(&layers).unwrap();
    let (container, output) = start(&bundle, Rootfs::Mount(root));
    let inside = linux::path::Root::from_directory(linux::fd::duplicate(container.root().unwrap()).unwrap());
    let (text, exit) = finish(container, output);
    assert_eq!((text.as_str(), exit), ("hello\n", Exit::Code(4)));
    assert_eq!(std::fs::read_to_string(upper.join("new")).unwrap(), "hello\n");
    // The handle outlives the processes and their namespace.
    assert_eq!(inside.read_file(Path::new("/new"), 100).unwrap(), b"hello\n");
    assert!(!bundle.cgroup_exists());
}

#[test]
fn kinds_of_failure_are_told_apart() {
    let sysctl = Some("net.ipv4.nosuch");
    for (program, sysctl, kind, status) in [
        ("nosuch", None, Kind::NotFound, 127),
        ("/etc/passwd", None, Kind::NotExecutable, 126),
        ("true", sysctl, Kind::NotFound, 127),
    ] {
        let mut bundle = Bundle::new(&[program]);
        if let Some(name) = sysctl {
            bundle.config["linux"]["sysctl"] = serde_json::json!({ name: "1" });
        }
        let (stdio, _output) = pipes();
        let spec = spec(&bundle);
        let launch =
            Launch::new(&bundle.id, &spec, &bundle.directory, Rootfs::Directory(bundle.rootfs()), stdio);
        let error = runtime::create(launch).unwrap_err();
        assert_eq!((error.kind(), error.exit_status()), (kind, status), "{error}");
        assert!(!bundle.cgroup_exists());
    }
}

#[test]
fn an_abandoned_creation_leaves_nothing() {
    let bundle = Bundle::new(&["true"]);
    let (stdio, mut output) = pipes();
    let spec = spec(&bundle);
    let launch = Launch::new(&bundle.id, &spec, &bundle.directory, Rootfs::Directory(bundle.rootfs()), stdio);
    runtime::create(launch).unwrap().abandon();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
    assert!(!bundle.cgroup_exists());
}

#[test]
fn a_process_beside_and_a_record_for_others() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    let (container, _output) = start(&bundle, Rootfs::Directory(bundle.rootfs()));
    let process = serde_json::from_str(r#"{"args":["/bin/sh","-c","hostname; exit 6"],"cwd":"/"}"#).unwrap();
    let (stdio, mut output) = pipes();
    let exec = container.exec(&process, stdio).unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), wait(exec.pid()).unwrap()), ("inside\n", Exit::Code(6)));

    let record = container.record();
    let json = serde_json::to_string(&record).unwrap();
    let read: runtime::Record = serde_json::from_str(&json).unwrap();
    assert!(read == record && read.is_alive());
    read.clean_up().unwrap();
    assert_eq!(wait(container.pid()).unwrap(), Exit::Signal(9));
    assert!(!read.is_alive() && !bundle.cgroup_exists());
    let (stdio, _output) = pipes();
    assert_eq!(container.exec(&process, stdio).unwrap_err().kind(), Kind::WrongState);
}

#[test]
fn a_terminal_is_handed_out() {
    let mut bundle = Bundle::shell("tty");
    bundle.config["process"]["terminal"] = serde_json::json!(true);
    let spec = spec(&bundle);
    let root = Rootfs::Directory(bundle.rootfs());
    let launch = Launch::new(
        &bundle.id,
        &spec,
        &bundle.directory,
        root,
        Stdio::Terminal { size: None, keeps_line_ends: false },
    );
    let mut created = runtime::create(launch).unwrap();
    let terminal = created.take_terminal().unwrap();
    let container = created.start().unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"\n") {
        let mut byte = [0];
        assert_eq!(linux::fd::read(terminal.as_fd(), &mut byte).unwrap(), 1);
        text.push(byte[0]);
    }
    assert_eq!(text, b"/dev/pts/0\r\n");
    wait(container.pid()).unwrap();
    container.delete().unwrap();
}
