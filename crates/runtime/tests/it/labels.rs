//! Labels of the kernel's security modules, on kernels that have them and on those that do not.

use serde_json::json;

use crate::bundle::Bundle;

pub(crate) fn has_apparmor() -> bool {
    std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'))
}

fn has_selinux() -> bool {
    std::path::Path::new("/sys/fs/selinux/enforce").exists()
}

/// A profile that nobody loaded, or a module that is not there: either way the container does not run without it.
#[test]
fn a_profile_that_cannot_be_applied_is_an_error() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["process"]["apparmorProfile"] = json!("wharf-nobody-loaded-this");
    let message = bundle.refused();
    let expected = if has_apparmor() {
        "unable to apply apparmor profile"
    } else {
        "apparmor: config provided but apparmor not supported"
    };
    assert!(message.contains(expected), "{message}");
}

#[test]
fn a_label_that_cannot_be_applied_is_an_error() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["process"]["selinuxLabel"] = json!("no:such:label:s0");
    let message = bundle.refused();
    let expected = if has_selinux() {
        "no:such:label:s0"
    } else {
        "selinux label is specified in config, but selinux is disabled or not supported"
    };
    assert!(message.contains(expected), "{message}");
}

#[test]
fn the_same_for_a_later_process() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    for flag in ["--apparmor", "--process-label"] {
        let outcome = bundle.call(&["exec", flag, "wharf-nobody-knows-this", &bundle.id, "true"]);
        assert_eq!(outcome.status, 255, "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("apparmor") || outcome.stderr.contains("label"),
            "{}",
            outcome.stderr
        );
    }
}

/// The image cannot make the runtime believe that there is a module.
#[test]
fn what_the_image_says_of_modules_does_not_count() {
    let mut bundle = Bundle::new(&["true"]);
    let fake = bundle.rootfs().join("sys/module/apparmor/parameters");
    std::fs::create_dir_all(&fake).unwrap();
    std::fs::write(fake.join("enabled"), "Y\n").unwrap();
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/sys");
    bundle.config["process"]["apparmorProfile"] = json!("wharf-nobody-loaded-this");
    let message = bundle.refused();
    assert!(message.contains("apparmor"), "{message}");
    assert!(has_apparmor() || message.contains("not supported"), "{message}");
}

/// runc hands the label on to the kernel, which then refuses the first tmpfs: here the field is named.
#[test]
fn a_label_of_mounts_that_cannot_be_applied_is_an_error() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["linux"]["mountLabel"] = json!("no:such:label:s0");
    let message = bundle.refused();
    let expected = if has_selinux() {
        "no:such:label:s0"
    } else {
        "linux.mountLabel is specified in config, but selinux is disabled or not supported"
    };
    assert!(message.contains(expected), "{message}");
}
