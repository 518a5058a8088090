//! Attacks that runtimes fell to, each as small as it can be told.

use std::os::unix::fs::symlink;

use serde_json::json;

use crate::bundle::Bundle;

/// CVE-2019-19921, CVE-2023-27561: an image whose `/proc` leads elsewhere gets procfs mounted there.
#[test]
fn proc_through_a_link_is_refused() {
    let bundle = Bundle::new(&["true"]);
    std::fs::remove_dir(bundle.rootfs().join("proc")).unwrap();
    symlink("/tmp", bundle.rootfs().join("proc")).unwrap();
    let message = bundle.refused();
    assert!(message.contains("must be mounted on an ordinary directory"), "{message}");
}

/// CVE-2019-16884: a mount over procfs hides the files that labels are written to.
#[test]
fn nothing_is_mounted_over_proc() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.mount("/proc/self/attr", "bind", "/tmp", &["rbind"]);
    let message = bundle.refused();
    assert!(message.contains("cannot be mounted because it is inside /proc"), "{message}");
    let mut bundle = Bundle::shell("cat /proc/uptime");
    let own = bundle.directory.join("uptime");
    std::fs::write(&own, "42\n").unwrap();
    bundle.mount("/proc/uptime", "bind", own.to_str().unwrap(), &["bind"]);
    assert_eq!(bundle.output(), "42\n", "harmless files may be replaced");
}

/// CVE-2021-30465, CVE-2024-45310: places of mounts that are links out of the tree.
#[test]
fn mount_places_stay_inside() {
    let outside = std::env::temp_dir().join(format!("wharf-outside-{}", std::process::id()));
    std::fs::create_dir_all(&outside).unwrap();
    let mut bundle = Bundle::shell("test -d /climb && echo inside");
    symlink(format!("../../../../../../..{}", outside.display()), bundle.rootfs().join("climb")).unwrap();
    bundle.mount("/climb/made", "tmpfs", "tmpfs", &[]);
    assert_eq!(bundle.output(), "inside\n");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "nothing was made on the host");
    std::fs::remove_dir_all(&outside).unwrap();
}

/// CVE-2024-21626: a working directory through a descriptor that leaked.
#[test]
fn the_working_directory_cannot_be_outside() {
    for number in 3..12 {
        let mut bundle = Bundle::new(&["true"]);
        bundle.config["process"]["cwd"] = json!(format!("/proc/self/fd/{number}"));
        bundle.write_config();
        let outcome = bundle.tell("run");
        assert_ne!(outcome.status, 0, "descriptor {number}");
    }
}

/// CVE-2019-5736: the runtime's own program, reached from inside and overwritten.
#[test]
fn the_runtime_cannot_be_written_from_inside() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    // A copy, so that nobody else executes it at the end.
    let program = bundle.directory.join("runtime");
    std::fs::copy(env!("CARGO_BIN_EXE_wharf-runtime"), &program).unwrap();
    bundle.write_config();
    let state = bundle.directory.join("state");
    let call = |words: &[&str]| {
        let null = || std::process::Stdio::null();
        let mut command = std::process::Command::new(&program);
        command.arg("--root").arg(&state).args(words).current_dir(&bundle.directory);
        command.stdin(null()).stdout(null()).stderr(null()).status().unwrap()
    };
    assert!(call(&["create", &bundle.id]).success());
    // The waiting process is still the runtime's program; an attacker takes hold of it…
    let held = linux::path::Root::open(std::path::Path::new(&format!("/proc/{}", bundle.pid()))).unwrap();
    let exe = std::fs::File::open(linux::path::of(&held).join("exe")).unwrap();
    assert!(call(&["delete", "--force", &bundle.id]).success());
    // …and opens it for writing once nobody executes it any more.
    use std::os::fd::AsRawFd;
    let again = format!("/proc/self/fd/{}", exe.as_raw_fd());
    let mut refused = None;
    crate::bundle::wait_until(|| {
        let error = std::fs::OpenOptions::new().write(true).open(&again).unwrap_err();
        refused = Some(error.kind());
        error.kind() != std::io::ErrorKind::ExecutableFileBusy
    });
    assert_eq!(refused, Some(std::io::ErrorKind::ReadOnlyFilesystem));
}

/// The same, by the program's name leading back to the runtime.
#[test]
fn a_program_that_is_the_runtime_gains_nothing() {
    let bundle = Bundle::new(&["/evil"]);
    symlink("/proc/self/exe", bundle.rootfs().join("evil")).unwrap();
    bundle.write_config();
    let before = std::fs::read(env!("CARGO_BIN_EXE_wharf-runtime")).unwrap();
    bundle.tell("run");
    assert!(before == std::fs::read(env!("CARGO_BIN_EXE_wharf-runtime")).unwrap());
}

/// CVE-2025-31133: what covers a masked file must be the null device, not what the image calls `/dev/null`.
#[test]
fn masks_do_not_come_from_the_image() {
    let mut bundle = Bundle::shell("cat /proc/kallsyms | wc -c; stat -c %t:%T /proc/kallsyms");
    // No tmpfs at /dev: the image's own is used.
    bundle.config["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    symlink("/proc/sys/kernel/core_pattern", bundle.rootfs().join("dev/null")).unwrap();
    bundle.config["linux"]["maskedPaths"] = json!(["/proc/kallsyms"]);
    let message = bundle.run();
    // A link where the device belongs is an error; nothing was mounted from it.
    assert!(message.status != 0 && message.stderr.contains("/dev/null"), "{}", message.stderr);
}

/// CVE-2025-52565: the console's place is a link.
#[test]
fn the_console_is_not_bound_through_a_link() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev");
    std::fs::create_dir_all(bundle.rootfs().join("dev/pts")).unwrap();
    symlink("/proc/sysrq-trigger", bundle.rootfs().join("dev/console")).unwrap();
    bundle.config["process"]["terminal"] = json!(true);
    let message = bundle.refused();
    assert!(message.contains("/dev/console"), "{message}");
}

/// CVE-2016-3697: a numeric user name in the image's database is not an id.
#[test]
fn users_are_numbers_only() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    std::fs::write(bundle.rootfs().join("etc/passwd"), "1000:x:0:0::/root:/bin/sh\n").unwrap();
    bundle.create();
    bundle.start();
    let outcome = bundle.call(&["exec", "-u", "1000", &bundle.id, "id", "-u"]);
    assert_eq!(outcome.stdout, "1000\n", "{}", outcome.stderr);
    assert_ne!(
        bundle.call(&["exec", "-u", "4294967295", &bundle.id, "id"]).status,
        0,
        "that id means unchanged"
    );
}

/// CVE-2022-29162: inheritable capabilities are not handed out by default.
#[test]
fn nothing_is_inheritable_unless_named() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    let outcome =
        bundle.call(&["exec", "--cap", "CAP_NET_RAW", &bundle.id, "grep", "CapInh", "/proc/self/status"]);
    assert_eq!(outcome.stdout, "CapInh:\t0000000000000000\n", "{}", outcome.stderr);
}

/// CVE-2016-9962: a process on its way in is not open to those inside.
#[test]
fn a_waiting_process_shows_nothing() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    let pid = bundle.pid();
    let descriptors: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| std::fs::read_link(entry.unwrap().path()).unwrap().display().to_string())
        .collect();
    let directories = descriptors.iter().filter(|target| std::path::Path::new(target).is_dir());
    assert_eq!(directories.count(), 0, "{descriptors:?}");
    use std::os::unix::fs::MetadataExt;
    let status = std::fs::metadata(format!("/proc/{pid}/fd")).unwrap();
    assert_eq!(status.uid(), 0);
}
