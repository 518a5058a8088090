//! A CRIU that takes nothing apart: it writes down what it is asked, and answers as the real one would. So every option
//! can be seen arriving, and failures can be had that the real one has on other machines only.
//!
//! It is this very test program, called by a script named `criu` with the test [`the_other_side`] as its only one.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::bundle::{Bundle, Outcome};

const DIRECTORY: &str = "WHARF_FAKE_CRIU";

/// A number, or bytes.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Value)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)),
            2 => {
                let (value, rest) = {
                    let length = varint(&mut bytes) as usize;
                    bytes.split_at(length)
                };
                bytes = rest;
                Value::Bytes(value.to_vec())
            }
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, value));
    }
    fields
}

fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

fn bytes(field: u8, value: &[u8]) -> Vec<u8> {
    [&[field << 3 | 2, value.len() as u8], value].concat()
}

/// A number of up to 28 bits.
fn long(field: u8, value: i32) -> Vec<u8> {
    let mut out = vec![field << 3];
    let mut value = value as u32;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// One line for each field: its number, and what is in it.
fn describe(message: &[u8], nested: &[u64]) -> String {
    let mut text = String::new();
    for (field, value) in fields(message) {
        let value = match value {
            Value::Number(number) => (number as i64).to_string(),
            Value::Bytes(inner) if nested.contains(&field) => fields(&inner)
                .into_iter()
                .map(|(_, value)| match value {
                    Value::Number(number) => number.to_string(),
                    Value::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
                })
                .collect::<Vec<_>>()
                .join(" "),
            Value::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
        };
        text.push_str(&format!("{field} {value}\n"));
    }
    text
}

const VERSION: u64 = 10;
const FEATURES: u64 = 9;
const RESTORE: u64 = 2;
const NOTIFY: u8 = 6;

#[test]
fn the_other_side() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let socket = linux::fd::take_inherited(3).unwrap();
    let request = receive(&socket);
    let parts = fields(&request);
    let (1, Value::Number(kind)) = parts[0] else { panic!("{parts:?}") };
    let plain = |success: u8| [number(1, kind as u8), number(2, success)].concat();
    let answer = match kind {
        VERSION => {
            let minor = std::fs::read_to_string(directory.join("minor")).unwrap().trim().parse().unwrap();
            [plain(1), bytes(10, &[number(1, 3), number(2, minor), number(4, 1)].concat())].concat()
        }
        FEATURES => [plain(1), bytes(8, &number(2, 1))].concat(),
        _ => {
            let Value::Bytes(options) = &parts[1].1 else { panic!("{parts:?}") };
            std::fs::write(directory.join("options"), describe(options, &[11, 23, 25, 27, 39])).unwrap();
            if directory.join("fails").exists() {
                [plain(0), long(7, 52), bytes(9, b"because")].concat()
            } else if kind == RESTORE {
                restored(&socket, &directory)
            } else {
                notify(&socket, "status-ready", None, &[]);
                plain(1)
            }
        }
    };
    linux::fd::send(&socket, &answer, &[]).unwrap();
}

fn receive(socket: &OwnedFd) -> Vec<u8> {
    let mut packet = vec![0; 64 << 10];
    let length = linux::fd::read(socket, &mut packet).unwrap();
    packet.truncate(length);
    packet
}

/// Tells how far it is, and waits for the word to go on.
fn notify(socket: &OwnedFd, script: &str, pid: Option<i32>, descriptors: &[std::os::fd::BorrowedFd<'_>]) {
    let inner = [bytes(1, script.as_bytes()), pid.map_or(Vec::new(), |pid| long(2, pid))].concat();
    let message = [number(1, NOTIFY), number(2, 1), bytes(5, &inner)].concat();
    linux::fd::send(socket, &message, descriptors).unwrap();
    assert_eq!(describe(&receive(socket), &[]), "1 6\n3 1\n");
}

/// A process that stands for the restored one.
fn restored(socket: &OwnedFd, directory: &Path) -> Vec<u8> {
    // Whoever reads our streams waits for their end.
    let mut sleeper = std::process::Command::new("/bin/busybox");
    sleeper.args(["sleep", "1000"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let pid = sleeper.spawn().unwrap().id() as i32;
    notify(socket, "setup-namespaces", Some(pid), &[]);
    let (reader, _writer) = linux::fd::pipe().unwrap();
    use std::os::fd::AsFd;
    notify(socket, "orphan-pts-master", None, &[reader.as_fd()]);
    notify(socket, "post-restore", Some(pid), &[]);
    std::fs::write(directory.join("pid"), pid.to_string()).unwrap();
    [number(1, RESTORE as u8), number(2, 1), bytes(3, &long(1, pid))].concat()
}

/// A directory for `PATH` with the fake in it.
pub(crate) fn fake(bundle: &Bundle) -> PathBuf {
    let directory = bundle.directory.join("fake");
    std::fs::create_dir(&directory).unwrap();
    let program = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\n[ \"$*\" = 'swrk 3' ] || exit 9\n{DIRECTORY}={} exec {} --exact criu::the_other_side --nocapture\n",
        directory.display(),
        program.display()
    );
    std::fs::write(directory.join("criu"), script).unwrap();
    std::fs::set_permissions(directory.join("criu"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(directory.join("minor"), "17").unwrap();
    directory
}

pub(crate) fn call(bundle: &Bundle, directory: &Path, words: &[&str]) -> Outcome {
    let mut command = bundle.command(words);
    command.env("PATH", format!("{}:/usr/bin:/bin", directory.display()));
    Outcome::of(command.output().unwrap())
}

fn asked(directory: &Path) -> Vec<String> {
    std::fs::read_to_string(directory.join("options")).unwrap().lines().map(str::to_owned).collect()
}

/// Every line is there. Those of paths differ from run to run, so not all of it is compared.
pub(crate) fn assert_asked(directory: &Path, expected: &[String]) {
    let lines = asked(directory);
    for line in expected {
        assert!(lines.contains(line), "{line:?} in {lines:#?}");
    }
}

pub(crate) fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim().to_owned()).collect()
}

fn running() -> Bundle {
    let mut bundle = Bundle::new(&["sleep", "1000"]);
    bundle.mount("/tmp", "bind", "/tmp", &["rbind"]);
    bundle.config["linux"]["maskedPaths"] = serde_json::json!(["/proc/keys", "/proc/acpi", "/proc/nothing"]);
    bundle.create();
    bundle.start();
    bundle
}

#[test]
fn every_option_of_a_checkpoint_arrives() {
    let bundle = running();
    let directory = fake(&bundle);
    let outcome = call(&bundle, &directory, &["checkpoint", "--leave-running", &bundle.id]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let pid = bundle.pid();
    let rootfs = bundle.rootfs().display().to_string();
    let common = format!(
        "2 {pid}\n9 4\n10 dump.log\n12 1\n13 {rootfs}\n24 1\n38 1073741824\n50 1\n51 /etc/criu/runc.conf"
    );
    assert_asked(&directory, &lines(&format!("{common}\n3 1\n34 6\n23 /tmp /tmp\n23 /proc/keys /dev/null")));
    let given = asked(&directory);
    assert!(given.iter().any(|line| line.starts_with("44 /sys/fs/cgroup/")), "{given:#?}");
    for field in
        ["4", "5", "6", "7", "8", "11", "14", "15", "16", "17", "18", "25", "26", "27", "37", "46", "48"]
    {
        assert!(!given.iter().any(|line| line.starts_with(&format!("{field} "))), "{field}: {given:#?}");
    }
    let options = "--image-path images --work-path work --parent-path ../checkpoint --tcp-established
        --tcp-skip-in-flight --link-remap --ext-unix-sk --shell-job --file-locks --auto-dedup --lazy-pages
        --manage-cgroups-mode strict --empty-ns network --page-server [::1]:27277 --leave-running=false";
    let words: Vec<&str> =
        ["checkpoint"].into_iter().chain(options.split_whitespace()).chain([bundle.id.as_str()]).collect();
    // It stays alive, since the fake kills nobody: that is noticed.
    let outcome =
        call(&bundle, &directory, &[&words[..words.len() - 2], &["--leave-running", &bundle.id]].concat());
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let all = "3 1\n4 1\n5 1\n7 1\n8 1\n14 ../checkpoint\n15 1\n16 1\n18 1\n34 5\n46 1\n48 1\n11 ::1 27277";
    assert_asked(&directory, &lines(&format!("{common}\n{all}")));
    assert!(asked(&directory).iter().any(|line| line.starts_with("17 ")), "a directory for work");
    let streams = std::fs::read_to_string(bundle.directory.join("images/descriptors.json")).unwrap();
    let log = bundle.directory.join("log").display().to_string();
    assert_eq!(streams, serde_json::json!(["/dev/null", log, log]).to_string());
}

#[test]
fn memory_alone_needs_a_kernel_that_tracks_it() {
    let bundle = running();
    let directory = fake(&bundle);
    let outcome = call(&bundle, &directory, &["checkpoint", "--pre-dump", &bundle.id]);
    assert!(outcome.stderr.contains("criu is missing features: [MemTrack]"), "{}", outcome.stderr);
    assert!(!directory.join("options").exists(), "it was not even asked");
}

#[test]
fn whoever_waits_for_lazy_pages_is_told() {
    let bundle = running();
    let directory = fake(&bundle);
    let (reader, writer) = linux::fd::pipe().unwrap();
    linux::fd::set_inheritable(&writer, true).unwrap();
    use std::os::fd::AsRawFd;
    let number = writer.as_raw_fd().to_string();
    let words = ["checkpoint", "--lazy-pages", "--status-fd", &number, "--leave-running", &bundle.id];
    let outcome = call(&bundle, &directory, &words);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    drop(writer);
    let mut told = [1; 2];
    assert_eq!((linux::fd::read(&reader, &mut told).unwrap(), told[0]), (1, 0));
    let refused = call(&bundle, &directory, &["checkpoint", "--status-fd", "999", &bundle.id]);
    assert!(refused.stderr.contains("invalid --status-fd argument 999"), "{}", refused.stderr);
}

#[test]
fn a_criu_that_is_too_old_or_fails_is_told_of() {
    let bundle = running();
    let directory = fake(&bundle);
    std::fs::write(directory.join("fails"), "").unwrap();
    let outcome = call(&bundle, &directory, &["checkpoint", &bundle.id]);
    assert!(outcome.stderr.contains("criu failed: type DUMP errno 52: because"), "{}", outcome.stderr);
    assert_eq!(bundle.state()["status"], "running");
    std::fs::write(directory.join("minor"), "15").unwrap();
    let outcome = call(&bundle, &directory, &["checkpoint", &bundle.id]);
    assert!(outcome.stderr.contains("CRIU version 31501 must be 31600 or higher"), "{}", outcome.stderr);
}

#[test]
fn every_option_of_a_restore_arrives() {
    let mut bundle = Bundle::new(&["sleep", "1000"]);
    bundle.mount("/data", "bind", "/tmp", &["rbind"]);
    bundle.mount("/mapped", "bind", "/tmp", &["bind"]);
    let ids = serde_json::json!([{ "containerID": 0, "hostID": 7000, "size": 10 }]);
    let mount = bundle.config["mounts"].as_array_mut().unwrap().last_mut().unwrap();
    (mount["uidMappings"], mount["gidMappings"]) = (ids.clone(), ids);
    bundle.config["linux"]["maskedPaths"] = serde_json::json!(["/proc/keys"]);
    bundle.config["annotations"] = serde_json::json!({ "org.criu.config": "/somewhere/criu.conf" });
    let seen = bundle.directory.join("seen");
    let script = format!("cat >{}", seen.display());
    bundle.config["hooks"] =
        serde_json::json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
    bundle.write_config();
    let directory = fake(&bundle);
    std::fs::create_dir(bundle.directory.join("images")).unwrap();
    std::fs::write(
        bundle.directory.join("images/descriptors.json"),
        r#"["pipe:[5]","/dev/null","pipe:[6]"]"#,
    )
    .unwrap();
    let options = "--detach --image-path images --work-path work --tcp-established --ext-unix-sk --shell-job
        --file-locks --auto-dedup --lazy-pages --manage-cgroups-mode ignore --empty-ns network
        --no-subreaper --no-pivot --lsm-profile selinux:label --lsm-mount-context context --pid-file pid";
    let words: Vec<&str> =
        ["restore"].into_iter().chain(options.split_whitespace()).chain([bundle.id.as_str()]).collect();
    let outcome = call(&bundle, &directory, &words);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("--no-pivot means nothing to restore"), "{}", outcome.stderr);
    let rootfs = bundle.rootfs().display().to_string();
    let mapped = bundle.directory.join("state").join(&bundle.id).join("5").display().to_string();
    let expected = format!(
        "4 1\n5 1\n6 1\n7 1\n8 1\n9 4\n10 restore.log\n12 1\n13 {rootfs}\n16 1\n24 1\n26 1\n34 0\n38 1073741824\n48 1\n50 1
         51 /somewhere/criu.conf\n53 selinux:label\n63 context\n23 /data /tmp\n23 /mapped {mapped}\n23 /dev/null /dev/null
         27 pipe:[5] 0\n27 pipe:[6] 2"
    );
    assert_asked(&directory, &lines(&expected));
    let given = asked(&directory);
    let cgroup = format!("/{}", bundle.id);
    assert!(given.iter().any(|line| line.starts_with("25 ") && line.ends_with(&cgroup)), "{given:#?}");
    assert!(bundle.rootfs().join("data").is_dir(), "the place of a mount is made");
    let pid = std::fs::read_to_string(directory.join("pid")).unwrap();
    assert_eq!(std::fs::read_to_string(bundle.directory.join("pid")).unwrap(), pid);
    assert_eq!(bundle.pid().to_string(), pid);
    let state: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(seen).unwrap()).unwrap();
    assert_eq!((state["pid"].to_string(), state["id"].as_str()), (pid, Some(bundle.id.as_str())));
    assert_eq!(bundle.tell("delete").status, 1, "it runs");
    linux::process::kill(bundle.pid(), 9).unwrap();
    bundle.wait_for_status("stopped");
}
