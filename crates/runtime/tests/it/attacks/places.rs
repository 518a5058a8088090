//! Places of mounts and devices that lead out of the container's tree, by a link that was there or is put there
//! meanwhile.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{Swapper, drop_mounts, names, outside, rounds};
use crate::bundle::Bundle;

/// A link in the image climbs out.
#[test]
fn cve_2021_30465_a_mount_through_a_link_stays_inside() {
    for target in ["../../../../../../../..", ""] {
        let mut bundle = Bundle::shell("grep -c ' tmpfs ' /proc/self/mountinfo > /dev/null && echo inside");
        let outside = outside(&bundle);
        symlink(format!("{target}{}", outside.display()), bundle.rootfs().join("climb")).unwrap();
        bundle.mount("/climb/made", "tmpfs", "tmpfs", &[]);
        assert_eq!(bundle.output(), "inside\n");
        assert_eq!(names(&outside), [""; 0], "nothing was made on the host");
    }
}

/// Two containers share a volume. While the second is created with a mount inside the volume, the first exchanges the
/// directory on the way for a link out: what was checked is not what is mounted on.
#[test]
fn cve_2021_30465_a_directory_exchanged_for_a_link_meanwhile() {
    race("/shared/place/made", "tmpfs", "tmpfs");
}

/// The same race for the file or directory that is made where a mount's place is missing: an empty file appears
/// anywhere on the host.
#[test]
fn cve_2024_45310_nothing_is_created_on_the_host_meanwhile() {
    race("/shared/place/deep/er/file", "bind", "/etc/hostname");
    race("/shared/place/deep/er/directory", "bind", "/etc");
}

fn race(destination: &str, kind: &str, source: &str) {
    let mut bundle = Bundle::shell("echo started");
    let outside = outside(&bundle);
    let shared = bundle.directory.join("shared");
    fs::create_dir_all(shared.join("place")).unwrap();
    symlink(&outside, shared.join("link")).unwrap();
    bundle.mount("/shared", "bind", shared.to_str().unwrap(), &["rbind"]);
    bundle.mount(destination, kind, source, if kind == "bind" { &["rbind", "ro"] } else { &[] });
    let swapper = Swapper::start(shared.join("place"), shared.join("link"));
    rounds(|| {
        // It may fail on what it finds, but then it says so.
        let outcome = bundle.run();
        assert!(outcome.status == 0 || outcome.stderr.contains("error mounting"), "{}", outcome.stderr);
        assert_eq!(names(&outside), [""; 0], "something was made on the host");
        outcome.status == 0
    });
    drop(swapper);
}

/// The image's `/dev` is a link to a directory of the host's: device nodes and links are made there, and the file that
/// is called `ptmx` is removed.
#[test]
fn cve_2026_41579_a_dev_that_is_a_link_leads_nowhere() {
    dev_is_a_link("");
}

/// The same by a relative link, and in another runtime.
#[test]
fn cve_2026_47766_a_dev_that_climbs_leads_nowhere() {
    dev_is_a_link("../../../../../../../..");
}

fn dev_is_a_link(prefix: &str) {
    for mounted in [true, false] {
        let mut bundle = Bundle::shell("echo started");
        let outside = outside(&bundle);
        fs::write(outside.join("ptmx"), "the host's").unwrap();
        let dev = bundle.rootfs().join("dev");
        fs::remove_dir(&dev).unwrap();
        symlink(Path::new(&format!("{prefix}{}", outside.display())), &dev).unwrap();
        if !mounted {
            drop_mounts(&mut bundle, "/dev");
        }
        assert_eq!(bundle.output(), "started\n");
        assert_eq!(names(&outside), ["ptmx"]);
        assert_eq!(fs::read_to_string(outside.join("ptmx")).unwrap(), "the host's");
    }
}

/// And while it is exchanged.
#[test]
fn cve_2026_41579_a_dev_exchanged_for_a_link_meanwhile() {
    let mut bundle = Bundle::shell("echo started");
    let outside = outside(&bundle);
    fs::write(outside.join("ptmx"), "the host's").unwrap();
    drop_mounts(&mut bundle, "/dev");
    symlink(&outside, bundle.rootfs().join("link")).unwrap();
    let swapper = Swapper::start(bundle.rootfs().join("dev"), bundle.rootfs().join("link"));
    rounds(|| {
        let outcome = bundle.run();
        assert!(outcome.status == 0 || outcome.stderr.contains("/dev"), "{}", outcome.stderr);
        assert_eq!(names(&outside), ["ptmx"]);
        outcome.stdout == "started\n"
    });
    drop(swapper);
    assert_eq!(fs::read_to_string(outside.join("ptmx")).unwrap(), "the host's");
}

crate::door::by_the_library! {
    cve_2021_30465_a_mount_through_a_link_stays_inside cve_2021_30465_a_directory_exchanged_for_a_link_meanwhile
    cve_2024_45310_nothing_is_created_on_the_host_meanwhile cve_2026_41579_a_dev_that_is_a_link_leads_nowhere
    cve_2026_47766_a_dev_that_climbs_leads_nowhere cve_2026_41579_a_dev_exchanged_for_a_link_meanwhile
}
