//! Mounts of the configuration, in their order and with all their options.

use std::fs;
use std::os::unix::fs::symlink;

use linux::mount::{
    ATIME, Attributes, NOATIME, NODEV, NODIRATIME, NOEXEC, NOSUID, NOSYMFOLLOW, RDONLY, STRICTATIME,
};
use serde_json::json;

use crate::bundle::Bundle;

fn host_directory(bundle: &Bundle, name: &str) -> String {
    let path = bundle.directory.join(name);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("file"), "from host\n").unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn binds_of_directories_and_files() {
    let mut bundle = Bundle::shell("cat /a/b/file /one; echo changed > /a/b/file; echo x > /one");
    let source = host_directory(&bundle, "source");
    bundle.mount("/a/b", "bind", &source, &["rbind", "rw"]);
    bundle.mount("/one", "bind", &format!("{source}/file"), &["bind", "ro"]);
    let outcome = bundle.run();
    assert_eq!(outcome.stdout, "from host\nfrom host\n", "{}", outcome.stderr);
    assert!(outcome.stderr.contains("Read-only file system"), "{}", outcome.stderr);
    assert_eq!(fs::read_to_string(format!("{source}/file")).unwrap(), "changed\n");
}

#[test]
fn a_missing_source_is_named() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.mount("/a", "bind", "/no/such/source", &["rbind"]);
    let message = bundle.refused();
    assert!(message.contains(r#"error mounting \"/no/such/source\" to rootfs at \"/a\""#), "{message}");
    assert!(message.contains("No such file or directory"), "{message}");
}

#[test]
fn a_directory_onto_a_file_is_refused() {
    let mut bundle = Bundle::new(&["true"]);
    let source = host_directory(&bundle, "source");
    bundle.mount("/etc/passwd", "bind", &source, &["rbind"]);
    assert!(bundle.refused().contains("Not a directory"));
}

#[test]
fn read_only_with_everything_below() {
    let script = "touch /plain/x; touch /plain/sub/x && echo below; touch /deep/x; touch /deep/sub/x";
    let mut bundle = Bundle::shell(script);
    let source = host_directory(&bundle, "source");
    fs::create_dir_all(format!("{source}/sub")).unwrap();
    // The mount below is the container's own, so that the host stays as it is.
    bundle.mount("/plain", "bind", &source, &["rbind"]);
    bundle.mount("/plain/sub", "tmpfs", "tmpfs", &[]);
    bundle.mount("/plain", "none", "none", &["remount", "bind", "ro"]);
    bundle.mount("/deep", "bind", &source, &["rbind"]);
    bundle.mount("/deep/sub", "tmpfs", "tmpfs", &[]);
    bundle.mount("/deep", "none", "none", &["remount", "bind", "rro"]);
    let outcome = bundle.run();
    assert_eq!(outcome.stdout, "below\n", "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("Read-only file system").count(), 3, "{}", outcome.stderr);
}

/// As with mount(8): `remount` speaks to the file system, unless it is a bind that is meant.
#[test]
fn a_remount_reaches_the_file_system() {
    let mut bundle = Bundle::shell("grep -E ' /(sized|sealed|synced) ' /proc/mounts");
    for place in ["/sized", "/sealed", "/synced"] {
        bundle.mount(place, "tmpfs", "tmpfs", &["size=2m", "nosuid"]);
    }
    bundle.mount("/sized", "tmpfs", "tmpfs", &["remount", "size=1m"]);
    bundle.mount("/sealed", "tmpfs", "tmpfs", &["remount", "ro"]);
    bundle.mount("/synced", "tmpfs", "tmpfs", &["remount", "sync"]);
    let output = bundle.output();
    let of = |place: &str| {
        let line = output.lines().find(|line| line.contains(place)).unwrap_or_else(|| panic!("{output}"));
        line.split_whitespace().nth(3).unwrap().split(',').map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(of(" /sized ").contains(&"size=1024k".to_owned()), "{output}");
    assert!(
        of(" /sealed ").contains(&"ro".to_owned()) && of(" /sized ").contains(&"rw".to_owned()),
        "{output}"
    );
    assert!(
        of(" /synced ").contains(&"sync".to_owned()) && of(" /synced ").contains(&"nosuid".to_owned()),
        "{output}"
    );
    for (options, named) in
        [(&["remount", "bogus=1"][..], "bogus"), (&["remount", "bind", "size=1m"], "size=1m")]
    {
        let mut bundle = Bundle::shell("true");
        bundle.mount("/sized", "tmpfs", "tmpfs", &[]);
        bundle.mount("/sized", "tmpfs", "tmpfs", options);
        let refused = bundle.refused();
        assert!(refused.contains(named), "{options:?}: {refused}");
    }
    let mut bundle = Bundle::shell("true");
    bundle.mount("/x", "ramfs", "ramfs", &["tmpcopyup"]);
    assert!(bundle.refused().contains("is for a new tmpfs"));
}

#[test]
fn a_tmpfs_keeps_the_mode_of_its_place_and_its_content_on_request() {
    let mut bundle = Bundle::shell(
        "stat -c %a /plain /set; cat /copied/dir/file; readlink /copied/link; stat -c %a:%u /copied/dir/file",
    );
    let root = bundle.rootfs();
    use std::os::unix::fs::PermissionsExt;
    for (name, mode) in [("plain", 0o711), ("set", 0o711), ("copied", 0o755)] {
        fs::create_dir_all(root.join(name)).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir_all(root.join("copied/dir")).unwrap();
    fs::write(root.join("copied/dir/file"), "kept\n").unwrap();
    std::os::unix::fs::chown(root.join("copied/dir/file"), Some(7), Some(8)).unwrap();
    fs::set_permissions(root.join("copied/dir/file"), fs::Permissions::from_mode(0o4751)).unwrap();
    symlink("/etc/passwd", root.join("copied/link")).unwrap();
    bundle.mount("/plain", "tmpfs", "tmpfs", &["nosuid"]);
    bundle.mount("/set", "tmpfs", "tmpfs", &["mode=1777"]);
    bundle.mount("/copied", "tmpfs", "tmpfs", &["tmpcopyup", "ro"]);
    assert_eq!(bundle.output(), "711\n1777\nkept\n/etc/passwd\n4751:7\n");
}

#[test]
fn a_source_in_the_containers_own_tree_sees_what_is_mounted_there() {
    let mut bundle = Bundle::shell("cat /second/file");
    let source = host_directory(&bundle, "source");
    let inside = bundle.rootfs().join("first");
    bundle.mount("/first", "bind", &source, &["rbind"]);
    bundle.mount("/second", "bind", inside.to_str().unwrap(), &["rbind"]);
    assert_eq!(bundle.output(), "from host\n");
}

#[test]
fn the_whole_host_can_be_bound_without_the_container_in_it() {
    let mut bundle = Bundle::shell(
        "test -e /host/etc/passwd && echo host; ls /host/bin/busybox; grep -c ' /host' /proc/self/mountinfo",
    );
    bundle.mount("/host", "bind", "/", &["rbind", "ro", "rprivate"]);
    let output = bundle.output();
    assert!(output.starts_with("host\n/host/bin/busybox\n"), "{output}");
}

#[test]
fn dangling_links_are_completed_inside() {
    let mut bundle = Bundle::shell("cat /var/lib/data/file");
    let source = host_directory(&bundle, "source");
    symlink("/var/lib/data", bundle.rootfs().join("link")).unwrap();
    bundle.mount("/link", "bind", &source, &["rbind"]);
    assert_eq!(bundle.output(), "from host\n");
    assert!(!std::path::Path::new("/var/lib/data").exists());
}

#[test]
fn propagation_is_as_asked_and_never_reaches_the_host() {
    let mut bundle = Bundle::shell("grep -E ' /(a|b|c) ' /proc/self/mountinfo");
    let source = host_directory(&bundle, "source");
    bundle.mount("/a", "bind", &source, &["rbind", "rprivate"]);
    bundle.mount("/b", "bind", &source, &["rbind", "rshared"]);
    bundle.mount("/c", "bind", &source, &["rbind", "unbindable"]);
    let output = bundle.output();
    let line = |place: &str| output.lines().find(|line| line.contains(place)).unwrap();
    assert!(!line(" /a ").contains("shared:"), "{output}");
    assert!(line(" /b ").contains("shared:"), "{output}");
    assert!(line(" /c ").contains("unbindable"), "{output}");
}

/// Of the root itself, and what it makes of a bind that has no word of its own, where the host shares the source.
#[test]
fn propagation_of_the_root() {
    let script = "while read id parent device root place rest; do case $place in /|/a) echo $place $rest;; esac; done \
                  < /proc/self/mountinfo; exec sleep 1000";
    let mut bundle = Bundle::shell(script);
    let source = host_directory(&bundle, "source");
    let source = std::path::Path::new(&source);
    linux::mount::classic("tmpfs".as_ref(), source, "tmpfs", 0, "").unwrap();
    let _mounted = OnHost(source.to_owned());
    linux::mount::set_propagation(source, linux::mount::Propagation::Shared, false).unwrap();
    bundle.mount("/a", "bind", source.to_str().unwrap(), &["bind"]);
    for (word, of_root, of_bind) in [
        ("", "", "master:"),
        ("rslave", "", "master:"),
        ("rprivate", "", ""),
        ("rshared", "shared:", "shared:"),
        ("unbindable", "unbindable", "shared:"),
    ] {
        bundle.config["linux"]["rootfsPropagation"] = json!(word);
        bundle.create();
        bundle.start();
        crate::bundle::wait_until(|| bundle.log().lines().count() == 2);
        let log = bundle.log();
        for (place, expected) in [("/ ", of_root), ("/a ", of_bind)] {
            let line = log.lines().find(|line| line.starts_with(place)).unwrap();
            for kind in ["shared:", "master:", "unbindable"] {
                assert_eq!(line.contains(kind), kind == expected, "{word:?}: {line}");
            }
        }
        bundle.delete();
    }
    bundle.config["linux"]["rootfsPropagation"] = json!("sideways");
    assert!(bundle.refused().contains("rootfsPropagation=sideways is not supported"));
}

#[test]
fn id_mapped_binds() {
    let mut bundle = Bundle::shell("stat -c %u:%g /mapped/file");
    let source = host_directory(&bundle, "source");
    std::os::unix::fs::chown(format!("{source}/file"), Some(500), Some(500)).unwrap();
    let map = json!([{ "containerID": 500, "hostID": 7000, "size": 10 }]);
    bundle.config["mounts"].as_array_mut().unwrap().push(json!({
        "destination": "/mapped", "type": "bind", "source": source, "options": ["bind"],
        "uidMappings": map, "gidMappings": map,
    }));
    assert_eq!(bundle.output(), "7000:7000\n");
}

/// A source that starts at the bundle, with more than one range, and with a map of its own at each of two places.
#[test]
fn id_mapped_binds_of_a_source_that_is_relative() {
    let mut bundle = Bundle::shell("stat -c %u:%g /first/file /first/other /second/file /second/other");
    let source = host_directory(&bundle, "source");
    fs::write(format!("{source}/other"), "").unwrap();
    std::os::unix::fs::chown(format!("{source}/file"), Some(5), Some(5)).unwrap();
    std::os::unix::fs::chown(format!("{source}/other"), Some(50), Some(50)).unwrap();
    for (destination, first, second) in [("/first", 700, 7000), ("/second", 800, 8000)] {
        let map = json!([
            { "containerID": 0, "hostID": first, "size": 10 }, { "containerID": 50, "hostID": second, "size": 1 },
        ]);
        bundle.config["mounts"].as_array_mut().unwrap().push(json!({
            "destination": destination, "type": "bind", "source": "source", "options": ["bind"],
            "uidMappings": map, "gidMappings": map,
        }));
    }
    assert_eq!(bundle.output(), "705:705\n7000:7000\n805:805\n8000:8000\n");
}

/// A mount of the test's own on the host.
struct OnHost(std::path::PathBuf);

impl Drop for OnHost {
    fn drop(&mut self) {
        linux::mount::unmount(&self.0, true).unwrap();
    }
}

/// With the maps of the container where the mount names none, and with everything below it or without.
#[test]
fn id_maps_that_are_the_containers() {
    let mut bundle = Bundle::shell("stat -c %u:%g /mapped/file /mapped/below/file");
    let source = host_directory(&bundle, "source");
    let below = std::path::Path::new(&source).join("below");
    fs::create_dir(&below).unwrap();
    linux::mount::classic("tmpfs".as_ref(), &below, "tmpfs", 0, "").unwrap();
    let _mounted = OnHost(below.clone());
    fs::write(below.join("file"), "").unwrap();
    for file in [format!("{source}/file"), format!("{source}/below/file")] {
        std::os::unix::fs::chown(file, Some(60), Some(60)).unwrap();
    }
    let map = json!([
        { "containerID": 0, "hostID": 0, "size": 50 }, { "containerID": 50, "hostID": 150, "size": 50 },
    ]);
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    bundle.config["linux"]["uidMappings"] = map.clone();
    bundle.config["linux"]["gidMappings"] = map;
    for (option, expected) in [
        ("rbind", "65534:65534\n65534:65534\n"),
        ("idmap", "60:60\n65534:65534\n"),
        ("ridmap", "60:60\n60:60\n"),
    ] {
        bundle.mount("/mapped", "bind", &source, &["rbind", option]);
        assert_eq!(bundle.output(), expected, "{option}");
        bundle.config["mounts"].as_array_mut().unwrap().pop();
    }
}

#[test]
fn bad_options_are_told_with_the_file_systems_own_words() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.mount("/a", "tmpfs", "tmpfs", &["nonsense=1"]);
    assert!(bundle.refused().contains("nonsense"));
    let mut bundle = Bundle::new(&["true"]);
    bundle.mount("/a", "bind", "/etc", &["rbind", "size=5"]);
    assert!(bundle.refused().contains("filesystem-specific options"));
}

/// The flags of the mount at `/mnt`, bound with these options from a mount that has those.
fn flags_of_bind(bundle: &mut Bundle, has: &str, options: &[&str]) -> Result<String, String> {
    let source = bundle.directory.join("mounted");
    std::fs::create_dir_all(&source).unwrap();
    let mount = |words: &[&str]| {
        let done = std::process::Command::new("mount").args(words).arg(&source).status().unwrap();
        assert!(done.success(), "{words:?}");
    };
    mount(&["-t", "tmpfs", "-o", "strictatime", "tmpfs"]);
    mount(&["--bind", "-o", &format!("remount,{has}")]);
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/mnt");
    bundle.mount("/mnt", "bind", source.to_str().unwrap(), options);
    let outcome = bundle.run();
    linux::mount::unmount(&source, true).unwrap();
    let words = outcome.stdout.split(' ').nth(3).map(str::to_owned);
    words.ok_or(outcome.stderr)
}

#[test]
fn a_bind_that_names_a_flag_has_no_others_but_locked_ones() {
    let mut bundle = Bundle::shell("grep ' /mnt ' /proc/self/mounts");
    let cases: &[(&str, &[&str], &str)] = &[
        ("ro,noexec,nodiratime", &["bind"], "ro,noexec,nodiratime"),
        ("ro,noexec,nosymfollow", &["bind", "dev"], "rw"),
        ("ro", &["bind", "nosuid", "nodev"], "rw,nosuid,nodev"),
        ("nodev,nosuid,noatime", &["bind", "ro", "norelatime"], "ro,noatime"),
        ("noatime", &["bind", "nodiratime"], "rw,nodiratime"),
        ("nodiratime", &["bind", "strictatime"], "rw"),
    ];
    for (has, options, expected) in cases {
        let flags = flags_of_bind(&mut bundle, has, options).unwrap();
        let flags: Vec<&str> = flags
            .split(',')
            .filter(|word| !word.contains('=') && !["inode64", "relatime"].contains(word))
            .collect();
        assert_eq!(flags.join(","), *expected, "{has} bound {options:?}");
    }
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    let map = json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
    bundle.config["linux"]["uidMappings"] = map.clone();
    bundle.config["linux"]["gidMappings"] = map;
    let kept = flags_of_bind(&mut bundle, "ro,nosuid,noatime", &["bind", "nodev"]).unwrap();
    assert!(kept.starts_with("ro,nosuid,nodev,noatime"), "{kept}");
    for (has, word) in [("ro", "rw"), ("nosuid", "suid"), ("relatime", "noatime")] {
        let refused = flags_of_bind(&mut bundle, has, &["bind", word]).unwrap_err();
        let expected = "error during container init: error mounting";
        assert!(refused.contains(expected) && refused.contains("operation not permitted"), "{refused}");
    }
}

/// Flags of a tree of two mounts, bound from one whose mounts have these, as they are listed for the mount and the one below.
fn flags_of_tree(bundle: &mut Bundle, has: u64, options: &[&str]) -> [String; 2] {
    let source = bundle.directory.join("mounted");
    let below = source.join("below");
    let mount = |place: &std::path::Path| {
        fs::create_dir_all(place).unwrap();
        linux::mount::classic("tmpfs".as_ref(), place, "tmpfs", 0, "").unwrap();
        OnHost(place.to_owned())
    };
    let _source = mount(&source);
    let _below = mount(&below);
    let root = linux::path::Root::open(&source).unwrap();
    let attributes =
        Attributes { set: has, clear: if has & ATIME == 0 { 0 } else { ATIME }, ..Attributes::default() };
    linux::mount::set_attributes(&root, &attributes, true).unwrap();
    drop(root);
    let listed = |text: &str, place: &str| {
        let mut lines = text.lines().filter(|line| line.split(' ').nth(4) == Some(place));
        lines.next().unwrap().split(' ').nth(5).unwrap().to_owned()
    };
    let of_host = || {
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
        [&source, &below].map(|place| listed(&text, place.to_str().unwrap()))
    };
    let before = of_host();
    bundle.config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/mnt");
    bundle.mount("/mnt", "bind", source.to_str().unwrap(), options);
    let output = bundle.output();
    assert_eq!(of_host(), before, "the host's are as they were");
    ["/mnt", "/mnt/below"].map(|place| listed(&output, place))
}

/// Each is set on both, cleared on both, and neither without its `r`.
#[test]
fn recursive_flags_count_for_what_is_mounted_below() {
    let mut bundle = Bundle::shell("grep ' /mnt' /proc/self/mountinfo");
    let plain = "rw,relatime";
    for (flag, set, clear, shown) in [
        (RDONLY, "ro", "rw", "ro,relatime"),
        (NOSUID, "nosuid", "suid", "rw,nosuid,relatime"),
        (NODEV, "nodev", "dev", "rw,nodev,relatime"),
        (NOEXEC, "noexec", "exec", "rw,noexec,relatime"),
        (NOSYMFOLLOW, "nosymfollow", "symfollow", "rw,relatime,nosymfollow"),
        (NODIRATIME, "nodiratime", "diratime", "rw,nodiratime,relatime"),
        (NOATIME, "noatime", "atime", "rw,noatime"),
        (STRICTATIME, "strictatime", "nostrictatime", "rw"),
        (STRICTATIME, "strictatime", "relatime", "rw"),
    ] {
        let mut flags = |has, option: &str| flags_of_tree(&mut bundle, has, &["rbind", option]);
        assert_eq!(flags(0, &format!("r{set}")), [shown; 2], "{set}");
        assert_eq!(flags(0, set), [shown, plain], "{set}");
        assert_eq!(flags(flag, &format!("r{clear}")), [plain; 2], "{clear}");
        // Of access times, words that name no other way change nothing.
        let kept = ["atime", "diratime", "nostrictatime"].contains(&clear);
        assert_eq!(flags(flag, clear), [if kept { shown } else { plain }, shown], "{clear}");
        assert_eq!(flags(flag, "rnorelatime"), [shown; 2], "what is not named stays as it is");
    }
    let mut flags = |has, options: &[&str]| flags_of_tree(&mut bundle, has, &[&["rbind"], options].concat());
    assert_eq!(flags(0, &["rnosuid", "rnodev", "rsuid"]), ["rw,nodev,relatime"; 2], "the last word counts");
    assert_eq!(flags(NOEXEC, &["rnosuid", "rexec", "rnoatime"]), ["rw,nosuid,noatime"; 2]);
    assert_eq!(flags(0, &["rw", "rro"]), ["ro,relatime"; 2]);
    assert_eq!(flags(0, &["nodev", "rnosuid"]), ["rw,nosuid,nodev,relatime", "rw,nosuid,relatime"]);
}

#[test]
fn sources_start_at_the_bundle_and_places_may_be_named_from_outside() {
    let mut bundle = Bundle::shell("cat /a/file /b/file");
    host_directory(&bundle, "source");
    let place = bundle.rootfs().join("b");
    bundle.mount("/a", "", "source", &["bind"]);
    bundle.mount(place.to_str().unwrap(), "", "./source", &["bind"]);
    bundle.write_config();
    let words = ["run", "--bundle", bundle.directory.to_str().unwrap(), &bundle.id];
    let output = bundle.command(&words).current_dir("/").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "from host\nfrom host\n", "{output:?}");
}

#[test]
fn dev_is_made_read_only_when_it_is_full() {
    let mut bundle = Bundle::shell("test -c /dev/null && grep -o '^tmpfs /dev tmpfs ro' /proc/self/mounts");
    bundle.config["mounts"][1]["options"].as_array_mut().unwrap().push(json!("ro"));
    assert_eq!(bundle.output(), "tmpfs /dev tmpfs ro\n");
}

#[test]
fn an_id_mapped_source_in_the_containers_own_tree() {
    let mut bundle = Bundle::shell("stat -c %u:%g /second/file");
    let source = host_directory(&bundle, "source");
    bundle.mount("/first", "bind", &source, &["bind"]);
    let inside = bundle.rootfs().join("first");
    let map = json!([{ "containerID": 0, "hostID": 7000, "size": 10 }]);
    bundle.config["mounts"].as_array_mut().unwrap().push(json!({
        "destination": "/second", "type": "bind", "source": inside, "options": ["bind"],
        "uidMappings": map, "gidMappings": map,
    }));
    assert_eq!(bundle.output(), "7000:7000\n");
}

#[test]
fn an_id_mapped_source_in_the_tree_of_a_container_with_other_ids() {
    let mut bundle = Bundle::shell("stat -c %u:%g /second/file");
    let source = host_directory(&bundle, "source");
    bundle.mount("/first", "bind", &source, &["bind"]);
    let inside = bundle.rootfs().join("first");
    let own = json!([{ "containerID": 0, "hostID": 0, "size": 100 }]);
    let map = json!([{ "containerID": 0, "hostID": 70, "size": 10 }]);
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    bundle.config["linux"]["uidMappings"] = own.clone();
    bundle.config["linux"]["gidMappings"] = own;
    bundle.config["mounts"].as_array_mut().unwrap().push(json!({
        "destination": "/second", "type": "bind", "source": inside, "options": ["bind"],
        "uidMappings": map, "gidMappings": map,
    }));
    assert_eq!(bundle.output(), "70:70\n");
}

#[test]
fn what_belongs_to_a_file_system_is_not_asked_of_a_bind() {
    for word in ["sync", "lazytime", "iversion"] {
        let mut bundle = Bundle::new(&["true"]);
        bundle.mount("/a", "bind", "/etc", &["bind", word]);
        assert!(bundle.refused().contains(&format!("\\\"{word}\\\" is a matter of the file system")));
    }
}

#[test]
fn options_of_a_tmpfs_in_one_word_and_without_meaning() {
    let mut bundle = Bundle::shell("stat -c %a /t; grep -c ' /t tmpfs .*size=1024k' /proc/mounts");
    bundle.mount("/t", "tmpfs", "tmpfs", &["size=1m,mode=700", "iversion"]);
    assert_eq!(bundle.output(), "700\n1\n");
}

#[test]
fn a_place_is_made_without_what_its_name_only_passes_through() {
    let mut bundle = Bundle::shell("grep -c ' /there tmpfs' /proc/mounts; ls -d /passed");
    bundle.mount("/passed/../there", "tmpfs", "tmpfs", &[]);
    let outcome = bundle.run();
    assert_eq!(outcome.stdout, "1\n", "{}", outcome.stderr);
}

crate::door::by_the_library! {
    binds_of_directories_and_files a_missing_source_is_named a_directory_onto_a_file_is_refused
    read_only_with_everything_below a_tmpfs_keeps_the_mode_of_its_place_and_its_content_on_request
    a_source_in_the_containers_own_tree_sees_what_is_mounted_there
    the_whole_host_can_be_bound_without_the_container_in_it dangling_links_are_completed_inside
    propagation_is_as_asked_and_never_reaches_the_host propagation_of_the_root id_mapped_binds
    id_mapped_binds_of_a_source_that_is_relative id_maps_that_are_the_containers
    bad_options_are_told_with_the_file_systems_own_words
    a_bind_that_names_a_flag_has_no_others_but_locked_ones dev_is_made_read_only_when_it_is_full
    an_id_mapped_source_in_the_containers_own_tree
    an_id_mapped_source_in_the_tree_of_a_container_with_other_ids
    what_belongs_to_a_file_system_is_not_asked_of_a_bind options_of_a_tmpfs_in_one_word_and_without_meaning
    a_place_is_made_without_what_its_name_only_passes_through recursive_flags_count_for_what_is_mounted_below
}
