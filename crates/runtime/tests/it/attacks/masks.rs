//! What covers a masked path.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use serde_json::json;

use super::{Swapper, drop_mounts, outside, rounds_that_meet};
use crate::bundle::Bundle;

fn masking(script: &str) -> Bundle {
    let mut bundle = Bundle::shell(script);
    // No tmpfs at /dev: the image's own is used.
    drop_mounts(&mut bundle, "/dev");
    bundle.config["linux"]["maskedPaths"] = json!(["/proc/kallsyms"]);
    bundle
}

/// The image's `/dev/null` is a link to a file of procfs, which a runtime binds writable over the masked one.
#[test]
fn cve_2025_31133_masks_do_not_come_from_the_image() {
    let bundle = masking("true");
    symlink("/proc/sys/kernel/core_pattern", bundle.rootfs().join("dev/null")).unwrap();
    let message = bundle.refused();
    // A link where the device belongs is an error; nothing was mounted from it.
    assert!(message.contains("/dev/null") && message.contains("Symlink"), "{message}");
}

/// Another container exchanges `/dev/null` for the link while this one is created.
#[test]
fn cve_2025_31133_a_null_device_exchanged_for_a_link_meanwhile() {
    let bundle = masking("cat /proc/kallsyms; grep -c ' /proc/kallsyms .*core_pattern' /proc/self/mountinfo");
    assert_eq!(bundle.run().stdout, "0\n", "the device is made in the image");
    symlink("/proc/sys/kernel/core_pattern", bundle.rootfs().join("link")).unwrap();
    let swapper = Swapper::start(bundle.rootfs().join("dev/null"), bundle.rootfs().join("link"));
    rounds_that_meet(|| {
        let outcome = bundle.run();
        // Either the mask is what it should be, or the exchanged device is named and nothing runs.
        if outcome.stdout != "0\n" {
            assert!(outcome.stdout.is_empty(), "{}", outcome.stdout);
            assert!(outcome.stderr.contains("/dev/null"), "{}", outcome.stderr);
        }
        outcome.stdout == "0\n"
    });
    drop(swapper);
}

/// A directory and a file of one list, each covered by what belongs there, and the cover cannot be written.
#[test]
fn cve_2025_31133_covers_are_empty_and_stay_so() {
    let mut bundle =
        masking("wc -c < /proc/kallsyms; ls /hidden | wc -l; touch /hidden/x; stat -c %t:%T /proc/kallsyms");
    fs::create_dir(bundle.rootfs().join("hidden")).unwrap();
    fs::write(bundle.rootfs().join("hidden/secret"), "").unwrap();
    bundle.config["linux"]["maskedPaths"] = json!(["/proc/kallsyms", "/hidden"]);
    let outcome = bundle.run();
    assert_eq!(outcome.stdout, "0\n0\n1:3\n", "{}", outcome.stderr);
    assert!(outcome.stderr.contains("Read-only file system"), "{}", outcome.stderr);
}

/// The image's `/dev/null` is a link to a file of the host's that is bound into the container: a runtime that opens its
/// standard streams again gives that file to the container's user.
#[test]
fn cve_2026_88265_streams_are_never_opened_from_the_image() {
    let mut bundle = Bundle::shell("echo hello");
    drop_mounts(&mut bundle, "/dev");
    let victim = outside(&bundle).join("victim");
    fs::write(&victim, "the host's").unwrap();
    bundle.mount("/host", "bind", victim.to_str().unwrap(), &["bind"]);
    symlink("/host", bundle.rootfs().join("dev/null")).unwrap();
    bundle.config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    bundle.run();
    let metadata = fs::metadata(&victim).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (0, 0));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "the host's");
}

crate::door::by_the_library! {
    cve_2025_31133_masks_do_not_come_from_the_image cve_2025_31133_a_null_device_exchanged_for_a_link_meanwhile
    cve_2025_31133_covers_are_empty_and_stay_so cve_2026_88265_streams_are_never_opened_from_the_image
}
