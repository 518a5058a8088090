//! A `/proc` that is not what it seems: labels are then written to nowhere, masks cover nothing, and what the runtime writes
//! to a harmless file goes to a dangerous one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Swapper, add_capability, drop_mounts, rounds, rounds_that_meet};
use crate::bundle::Bundle;

fn with_proc_as_a_link(target: &str) -> Bundle {
    let bundle = Bundle::new(&["true"]);
    fs::remove_dir(bundle.rootfs().join("proc")).unwrap();
    symlink(target, bundle.rootfs().join("proc")).unwrap();
    bundle
}

/// Something is mounted over the files that labels are written to.
#[test]
fn cve_2019_16884_nothing_is_mounted_over_proc() {
    let cases = [("bind", "/tmp", "rbind"), ("tmpfs", "tmpfs", "nosuid"), ("bind", "/", "rbind")];
    for (kind, source, option) in cases {
        for place in ["/proc", "/proc/self/attr", "/proc/sys", "/proc/../proc/./sys"] {
            let mut bundle = Bundle::new(&["true"]);
            bundle.mount(place, kind, source, &[option]);
            let message = bundle.refused();
            assert!(message.contains("cannot be mounted because it is inside /proc"), "{message}");
        }
    }
    for (kind, source, option) in cases {
        let mut bundle = Bundle::new(&["true"]);
        drop_mounts(&mut bundle, "/proc");
        bundle.mount("/proc", kind, source, &[option]);
        let message = bundle.refused();
        assert!(message.contains("cannot be mounted because it is inside /proc"), "in its place: {message}");
    }
    let mut bundle = Bundle::shell("cat /proc/uptime");
    let own = bundle.directory.join("uptime");
    fs::write(&own, "42\n").unwrap();
    bundle.mount("/proc/uptime", "bind", own.to_str().unwrap(), &["bind"]);
    assert_eq!(bundle.output(), "42\n", "harmless files may be replaced");
}

/// The same with a volume whose place the image made a link: the name says nothing about where it goes.
#[test]
fn cve_2019_16884_nor_through_a_link_of_the_image() {
    for (kind, source) in [("bind", "/tmp"), ("tmpfs", "tmpfs"), ("cgroup", "cgroup")] {
        let mut bundle = Bundle::new(&["true"]);
        symlink("/proc/self/attr", bundle.rootfs().join("data")).unwrap();
        bundle.mount("/data", kind, source, if kind == "bind" { &["rbind"] } else { &[] });
        let message = bundle.refused();
        assert!(message.contains("cannot be mounted because it is inside /proc"), "{message}");
    }
}

/// And while the volume's place is exchanged for that link.
#[test]
fn cve_2019_16884_nor_through_a_link_put_there_meanwhile() {
    let mut bundle = Bundle::shell("grep ' /proc/' /proc/self/mountinfo; echo ran");
    fs::create_dir(bundle.rootfs().join("data")).unwrap();
    symlink("/proc/self/attr", bundle.rootfs().join("link")).unwrap();
    bundle.mount("/data", "tmpfs", "tmpfs", &[]);
    let swapper = Swapper::start(bundle.rootfs().join("data"), bundle.rootfs().join("link"));
    rounds_that_meet(|| {
        let outcome = bundle.run();
        if outcome.status == 0 {
            assert_eq!(outcome.stdout, "ran\n", "something is mounted over what labels are written to");
        } else {
            assert!(outcome.stderr.contains("is inside /proc"), "{}", outcome.stderr);
        }
        outcome.status == 0
    });
    drop(swapper);
}

/// The image's `/proc` is a link: procfs is mounted where it leads, and `/proc` is the image's.
#[test]
fn cve_2019_19921_proc_through_a_link_is_refused() {
    for target in ["/tmp", "tmp", "/nowhere", "/../../tmp"] {
        let message = with_proc_as_a_link(target).refused();
        assert!(message.contains("proc\\\" must be mounted on ordinary directory"), "{message}");
    }
}

/// The regression of the same, where the link leads to a directory that was bound from a volume.
#[test]
fn cve_2023_27561_nor_where_a_volume_is_bound_to() {
    let mut bundle = with_proc_as_a_link("/volume");
    let volume = bundle.directory.join("volume");
    fs::create_dir_all(volume.join("self/attr")).unwrap();
    let mount = json!({ "destination": "/volume", "type": "bind", "source": volume, "options": ["rbind"] });
    bundle.config["mounts"].as_array_mut().unwrap().insert(0, mount);
    let message = bundle.refused();
    assert!(message.contains("proc\\\" must be mounted on ordinary directory"), "{message}");
    assert_eq!(super::names(&volume), ["self"]);
}

/// `/proc` (or `/sys`) is a link and a procfs is bound there rather than mounted; masks would then follow the link a
/// second time.
#[test]
fn cve_2023_28642_nor_when_it_is_bound() {
    for (place, name) in [("/proc", "proc"), ("/sys", "sys")] {
        let mut bundle = Bundle::new(&["true"]);
        drop_mounts(&mut bundle, place);
        fs::remove_dir(bundle.rootfs().join(name)).unwrap();
        symlink("/tmp", bundle.rootfs().join(name)).unwrap();
        bundle.mount(place, "bind", place, &["rbind", "ro"]);
        let message = bundle.refused();
        assert!(message.contains("must be mounted on ordinary directory"), "{message}");
    }
}

/// Another container shares the root and exchanges `/proc` for a link while this one is created.
#[test]
fn cve_2023_27561_a_proc_exchanged_for_a_link_meanwhile() {
    proc_exchanged(Bundle::shell(FOUND_AT_FAKE));
}

/// The same where procfs is bound.
#[test]
fn cve_2023_28642_a_proc_exchanged_while_it_is_bound() {
    let mut bundle = Bundle::shell(FOUND_AT_FAKE);
    drop_mounts(&mut bundle, "/proc");
    bundle.mount("/proc", "bind", "/proc", &["rbind", "ro"]);
    proc_exchanged(bundle);
}

/// Whether there is a mount at `/fake`, by whichever procfs is there.
const FOUND_AT_FAKE: &str =
    "cat /proc/self/mountinfo /fake/self/mountinfo 2> /dev/null | grep ' /fake '; echo ran";

fn proc_exchanged(bundle: Bundle) {
    fs::create_dir_all(bundle.rootfs().join("fake/self")).unwrap();
    symlink("/fake", bundle.rootfs().join("link")).unwrap();
    let swapper = Swapper::start(bundle.rootfs().join("proc"), bundle.rootfs().join("link"));
    rounds_that_meet(|| {
        let outcome = bundle.run();
        if outcome.status == 0 {
            assert_eq!(outcome.stdout, "ran\n", "procfs is where the link led");
        } else {
            assert!(outcome.stderr.contains("ordinary directory"), "{}", outcome.stderr);
        }
        outcome.status == 0
    });
    drop(swapper);
}

/// The runtime's own writes are redirected: where it looks for a sysctl there is a link to a file that does harm.
#[test]
fn cve_2025_52881_writes_go_to_a_procfs_of_our_own() {
    let mut bundle = with_a_sysctl();
    drop_mounts(&mut bundle, "/proc");
    let victim = victim(&bundle);
    let link = link_to(&victim, &bundle.rootfs().join("proc").join(SYSCTL));
    assert_eq!(bundle.output(), "42\n", "the kernel has the value");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "as it was");
    assert!(fs::symlink_metadata(link).unwrap().is_symlink());
}

const SYSCTL: &str = "sys/net/ipv4/ip_unprivileged_port_start";

/// A container that has a value set, and reads it from a procfs that nobody has touched.
fn with_a_sysctl() -> Bundle {
    let mut bundle = Bundle::shell(&format!("mount -t proc proc /tmp && cat /tmp/{SYSCTL}"));
    add_capability(&mut bundle, "CAP_SYS_ADMIN");
    bundle.config["linux"]["sysctl"] = json!({ "net.ipv4.ip_unprivileged_port_start": "42" });
    bundle
}

/// A file of the host's that somebody wants to have written to.
fn victim(bundle: &Bundle) -> PathBuf {
    let victim = super::outside(bundle).join("victim");
    fs::write(&victim, "as it was").unwrap();
    victim
}

fn link_to(victim: &Path, place: &Path) -> PathBuf {
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    symlink(victim, place).unwrap();
    place.to_owned()
}

/// And while what lies at `/proc`, covered or not, is exchanged for a tree with such a link.
#[test]
fn cve_2025_52881_a_tree_exchanged_while_it_is_written_to() {
    for covered in [true, false] {
        let mut bundle = with_a_sysctl();
        if !covered {
            drop_mounts(&mut bundle, "/proc");
        }
        let victim = victim(&bundle);
        link_to(&victim, &bundle.rootfs().join("fake").join(SYSCTL));
        let swapper = Swapper::start(bundle.rootfs().join("proc"), bundle.rootfs().join("fake"));
        rounds(|| {
            let outcome = bundle.run();
            assert_eq!(fs::read_to_string(&victim).unwrap(), "as it was");
            assert_eq!(outcome.stdout, "42\n", "{}", outcome.stderr);
            true
        });
        drop(swapper);
    }
}

/// The same for labels, which are written to files of the process itself.
#[test]
fn cve_2025_52881_labels_are_written_there_too() {
    if !crate::labels::has_apparmor() {
        return scratch::skip("the kernel has no profiles of AppArmor");
    }
    let mut bundle = Bundle::shell("mount -t proc proc /tmp && cat /tmp/self/attr/current");
    drop_mounts(&mut bundle, "/proc");
    add_capability(&mut bundle, "CAP_SYS_ADMIN");
    bundle.config["process"]["apparmorProfile"] = json!("unconfined");
    let victim = victim(&bundle);
    for process in ["self", "thread-self", "1"] {
        for file in ["attr/exec", "attr/apparmor/exec"] {
            link_to(&victim, &bundle.rootfs().join("proc").join(process).join(file));
        }
    }
    assert_eq!(bundle.output(), "unconfined\n");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "as it was");
}

/// A sysctl's name climbs out of `/proc/sys`.
#[test]
fn cve_2025_52881_names_of_sysctls_do_not_climb() {
    for name in
        ["net/../kernel/core_pattern", "net.ipv4/../../kernel", "net/./x", "net//x", "kernel.core_pattern"]
    {
        let mut bundle = Bundle::new(&["true"]);
        bundle.config["linux"]["sysctl"] = json!({ name: "1" });
        let message = bundle.refused();
        assert!(message.contains("sysctl"), "{name}: {message}");
    }
}

crate::door::by_the_library! {
    cve_2019_16884_nothing_is_mounted_over_proc cve_2019_16884_nor_through_a_link_of_the_image
    cve_2019_19921_proc_through_a_link_is_refused cve_2023_27561_nor_where_a_volume_is_bound_to
    cve_2023_28642_nor_when_it_is_bound cve_2023_27561_a_proc_exchanged_for_a_link_meanwhile
    cve_2019_16884_nor_through_a_link_put_there_meanwhile cve_2023_28642_a_proc_exchanged_while_it_is_bound
    cve_2025_52881_a_tree_exchanged_while_it_is_written_to cve_2025_52881_labels_are_written_there_too
    cve_2025_52881_writes_go_to_a_procfs_of_our_own cve_2025_52881_names_of_sysctls_do_not_climb
}
