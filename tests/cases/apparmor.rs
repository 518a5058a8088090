//! Profiles of AppArmor: what confines a container where the kernel has them, and what is shown where it has not.

use blackbox::{IMAGE, World, skip};

/// Whether the kernel has AppArmor, and the engine's surroundings show it.
fn enabled(world: &World) -> bool {
    let looked = world.host().try_run(&[
        "sh",
        "-c",
        "test -e /sys/kernel/security/apparmor/profiles && cat /sys/module/apparmor/parameters/enabled",
    ]);
    looked.stdout.starts_with(b"Y")
}

fn shown(world: &World, name: &str) -> String {
    world.wharf(&["inspect", "--format", "{{.AppArmorProfile}}", name]).ok()
}

#[test]
fn without_it_a_profile_is_shown_until_the_first_start() {
    let world = World::start();
    if enabled(&world) {
        // The next test is for those kernels.
        return;
    }
    for (option, before) in [("apparmor=mine", "mine"), ("apparmor=unconfined", "unconfined")] {
        world.wharf(&["create", "--name", "web", "--security-opt", option, IMAGE, "true"]).ok();
        assert_eq!(shown(&world, "web"), before);
        world.wharf(&["start", "-a", "web"]).ok();
        assert_eq!(shown(&world, "web"), "");
        world.wharf(&["rm", "web"]).ok();
    }
    let options = world.wharf(&["info", "--format", "{{json .SecurityOptions}}"]).ok();
    assert!(!options.contains("apparmor"), "{options}");
}

#[test]
fn the_default_profile_confines_whoever_says_nothing() {
    let world = World::start();
    if !enabled(&world) {
        skip("the kernel has no AppArmor");
        return;
    }
    let options = world.wharf(&["info", "--format", "{{json .SecurityOptions}}"]).ok();
    assert!(options.starts_with("[\"name=apparmor\""), "{options}");

    const LABEL: [&str; 2] = ["cat", "/proc/self/attr/current"];
    let confined = "docker-default (enforce)";
    for (words, label, profile) in [
        (&[][..], confined, "docker-default"),
        (&["--security-opt", "apparmor=docker-default"], confined, "docker-default"),
        (&["--security-opt", "apparmor=unconfined"], "unconfined", "unconfined"),
        (&["--privileged"], "unconfined", "unconfined"),
        (&["--privileged", "--security-opt", "apparmor=docker-default"], confined, "docker-default"),
    ] {
        let run = [&["run", "-d", "--name", "web"], words, &[IMAGE, "sleep", "1000"]].concat();
        world.wharf(&run).ok();
        assert_eq!(shown(&world, "web"), profile, "{words:?}");
        let label_of = |pid: &[&str]| world.wharf(&[&["exec", "web"], pid].concat()).ok();
        assert_eq!(label_of(&["cat", "/proc/1/attr/current"]), label, "{words:?}");
        assert_eq!(label_of(&LABEL), label, "{words:?}");
        assert_eq!(world.wharf(&[&["exec", "--privileged", "web"], &LABEL[..]].concat()).ok(), label);
        // The engine may end what it confines.
        world.wharf(&["stop", "-t", "0", "web"]).ok();
        world.wharf(&["rm", "web"]).ok();
    }

    // With the capability, an open filter and open paths it is the profile that says no.
    const OPEN: [&str; 6] = [
        "--cap-add",
        "SYS_ADMIN",
        "--security-opt",
        "seccomp=unconfined",
        "--security-opt",
        "systempaths=unconfined",
    ];
    let script = "mkdir /m && mount -t tmpfs none /m 2>/dev/null && echo mounted; \
                  { cat /proc/sys/kernel/panic > /proc/sys/kernel/panic; } 2>/dev/null && echo set; true";
    let tried = |words: &[&str]| {
        let run = [&["run", "--rm"], &OPEN[..], words, &[IMAGE, "sh", "-c", script]].concat();
        world.wharf(&run).ok()
    };
    assert_eq!(tried(&[]), "");
    assert_eq!(tried(&["--security-opt", "apparmor=unconfined"]), "mounted\nset");

    let refused = world.wharf(&["run", "--rm", "--security-opt", "apparmor=no-such-profile", IMAGE, "true"]);
    assert_ne!(refused.code, 0, "{refused}");
    refused.says("unable to apply apparmor profile \"no-such-profile\"");
}
