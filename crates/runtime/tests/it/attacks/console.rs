//! The terminal, and the place that it is put on.

use std::fs;
use std::os::unix::fs::symlink;

use oci::runtime::Spec;
use runtime::{Launch, Rootfs, Stdio};
use serde_json::json;

use super::{Swapper, drop_mounts, names, outside, rounds_that_meet};
use crate::bundle::Bundle;

fn on_a_terminal(script: &str) -> Bundle {
    let mut bundle = Bundle::shell(script);
    drop_mounts(&mut bundle, "/dev");
    fs::create_dir_all(bundle.rootfs().join("dev/pts")).unwrap();
    bundle.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]);
    bundle.config["process"]["terminal"] = json!(true);
    bundle
}

/// Creates the container, and throws it away; the error if there was one.
fn create(bundle: &Bundle) -> Result<(), String> {
    let spec: Spec = serde_json::from_value(bundle.config.clone()).unwrap();
    let root = Rootfs::Directory(bundle.rootfs());
    let launch = Launch::new(
        &bundle.id,
        &spec,
        &bundle.directory,
        root,
        Stdio::Terminal { size: None, keeps_line_ends: false },
    );
    runtime::create(launch).map(|created| created.abandon()).map_err(|error| error.to_string())
}

/// `/dev/console` is a link: the terminal covers, and makes writable, whatever it leads to.
#[test]
fn cve_2025_52565_the_console_is_not_bound_through_a_link() {
    let bundle = on_a_terminal("true");
    symlink("/proc/sysrq-trigger", bundle.rootfs().join("dev/console")).unwrap();
    let message = create(&bundle).unwrap_err();
    assert!(message.contains("/dev/console") && message.contains("Symlink"), "{message}");
}

/// The same for a link to a file of the host's that does not exist yet: it would be made there, for root.
#[test]
fn cve_2026_88264_the_console_creates_nothing_on_the_host() {
    let bundle = on_a_terminal("true");
    let outside = outside(&bundle);
    symlink(outside.join("made"), bundle.rootfs().join("dev/console")).unwrap();
    assert!(create(&bundle).unwrap_err().contains("/dev/console"));
    assert_eq!(names(&outside), [""; 0]);
}

/// And while it is exchanged.
#[test]
fn cve_2025_52565_a_console_exchanged_for_a_link_meanwhile() {
    let bundle = on_a_terminal("true");
    let outside = outside(&bundle);
    fs::write(bundle.rootfs().join("dev/console"), "").unwrap();
    symlink(outside.join("made"), bundle.rootfs().join("link")).unwrap();
    let swapper = Swapper::start(bundle.rootfs().join("dev/console"), bundle.rootfs().join("link"));
    rounds_that_meet(|| {
        let created = create(&bundle);
        assert_eq!(names(&outside), [""; 0]);
        if let Err(message) = &created {
            assert!(message.contains("/dev/console"), "{message}");
        }
        created.is_ok()
    });
    drop(swapper);
}

/// A container exchanges its multiplexer for a file of its own before somebody executes a process on a terminal there: what
/// is opened must be the kernel's.
#[test]
fn cve_2025_52565_a_multiplexer_of_the_containers_own_is_refused() {
    let mut bundle = Bundle::shell(
        "umount /dev/pts; mkdir -p /dev/pts; : > /dev/ptmx2; \
                                    rm /dev/ptmx; ln -s /dev/ptmx2 /dev/ptmx; echo done > /done; sleep 1000",
    );
    super::add_capability(&mut bundle, "CAP_SYS_ADMIN");
    symlink("busybox", bundle.rootfs().join("bin/umount")).unwrap();
    bundle.create();
    bundle.start();
    crate::bundle::wait_until(|| bundle.rootfs().join("done").exists());
    let outcome = bundle.call(&["exec", "-t", &bundle.id, "true"]);
    assert_ne!(outcome.status, 0);
    assert!(outcome.stderr.contains("not the terminal multiplexer"), "{}", outcome.stderr);
}
