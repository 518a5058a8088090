//! Containers under other ids than the host's (`wharfd --userns-remap`): root inside is nobody outside, and nothing that
//! people do with containers is different for it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use blackbox::{Host, IMAGE, Output, Settings, World, busybox, busybox_image, eventually};

/// The host's id of every container's root here.
const ROOT: u32 = 3_000_000;
const COUNT: u32 = 65_536;

fn remapped() -> World {
    with_flags(&["--userns-remap=default"])
}

/// A world in which `dockremap` has ids.
fn with_flags(flags: &[&str]) -> World {
    let world = World::empty(Settings {
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        subordinate_ids: Some((ROOT, COUNT)),
        ..Settings::default()
    });
    world.load(&busybox_image(IMAGE));
    world
}

fn pid(world: &World, name: &str) -> i64 {
    world.inspect(name)["State"]["Pid"].as_i64().expect("it runs")
}

/// The ids of a process on the host.
fn owner_of(pid: i64) -> (u32, u32) {
    let found = fs::metadata(format!("/proc/{pid}")).expect("the process runs");
    (found.uid(), found.gid())
}

/// The writable directory of a container on disk.
fn upper(world: &World, name: &str) -> PathBuf {
    let id = world.inspect(name)["Id"].as_str().expect("an id").to_owned();
    world.data_root().join("snapshots").join(id).join("fs")
}

/// What a terminal showed, without its carriage returns and the end of its input.
fn shown(output: Output) -> String {
    output.code(0).stdout.replace('\r', "").replace("^@", "")
}

#[test]
fn root_inside_is_nobody_outside() {
    let world = remapped();
    for client in world.clients() {
        let options = client.run(&["info", "--format", "{{json .SecurityOptions}}"]).ok();
        assert!(options.contains(r#""name=userns""#), "{options}");
        client.run(&["run", "-d", "--name", "box", IMAGE, "sleep", "1000"]).ok();
        assert_eq!(owner_of(pid(&world, "box")), (ROOT, ROOT));
        let inside = |script: &str| client.run(&["exec", "box", "sh", "-c", script]).ok();
        assert_eq!(inside("id -u; tr -s ' ' </proc/self/uid_map"), format!("0\n 0 {ROOT} {COUNT}"));
        assert_eq!(inside("tr -s ' ' </proc/1/gid_map"), format!(" 0 {ROOT} {COUNT}"));
        // Root over its own files, and on disk they look like those of any other container.
        let made = "touch /mine /daemon; chown 1:1 /daemon; rm /etc/passwd; ls -ln /mine /daemon | tr -s ' ' | cut -d' ' -f3,4";
        assert_eq!(inside(made), "1 1\n0 0");
        let upper = upper(&world, "box");
        let on_disk = |name: &str| fs::symlink_metadata(upper.join(name)).unwrap();
        assert_eq!((on_disk("mine").uid(), on_disk("daemon").gid()), (0, 1));
        assert_eq!((on_disk("etc/passwd").uid(), on_disk("etc/passwd").rdev()), (0, 0), "a whiteout");
        let changes = client.run(&["diff", "box"]).ok();
        for change in ["A /mine", "A /daemon", "D /etc/passwd"] {
            assert!(changes.contains(change), "{changes}");
        }
        // Others of the host are seen by nobody's name, and cannot be had.
        assert_eq!(inside("stat -c %u /proc/sys/kernel"), "65534");
        assert_eq!(
            fs::metadata("/dev/null").unwrap().uid(),
            0,
            "standard input of a container is not given to it"
        );
        client.run(&["exec", "box", "mknod", "/node", "c", "1", "3"]).code(1);
        let text = client.run(&["top", "box"]).ok();
        assert!(text.lines().nth(1).is_some_and(|line| line.starts_with(&ROOT.to_string())), "{text}");
        client.run(&["rm", "-f", "box"]).ok();
    }
}

#[test]
fn a_container_may_keep_the_hosts_ids() {
    let world = remapped();
    for client in world.clients() {
        let read = |flags: &[&str]| {
            let script = "tr -s ' ' </proc/self/uid_map";
            client.run(&[&["run", "--rm"], flags, &[IMAGE, "sh", "-c", script]].concat()).ok()
        };
        assert_eq!(read(&["--userns", "host"]), " 0 0 4294967295");
        assert_eq!(read(&["--userns", "host", "--privileged", "--network", "host"]), " 0 0 4294967295");
        assert_eq!(read(&["--userns", "host", "--pid", "host"]), " 0 0 4294967295");
        client.run(&["create", "--name", "kept", "--userns", "host", IMAGE]).ok();
        assert_eq!(client.run(&["inspect", "-f", "{{.HostConfig.UsernsMode}}", "kept"]).ok(), "host");
        client.run(&["rm", "kept"]).ok();
        let refused = |flags: &[&str], reason: &str| {
            client.run(&[&["run", "--rm"], flags, &[IMAGE, "true"]].concat()).code(125).says(reason);
        };
        refused(
            &["--privileged"],
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace \
             when running privileged mode",
        );
        refused(
            &["--network", "host"],
            "cannot share the host's network namespace when user namespaces are enabled",
        );
        refused(&["--pid", "host"], "cannot share the host PID namespace when user namespaces are enabled");
        refused(&["--ipc", "host"], "cannot share the host IPC namespace when user namespaces are enabled");
        refused(&["--runtime", "/bin/other"], "other runtimes than the engine's own are not supported");
        refused(&["--userns", "other"], "--userns: invalid USER mode");
        refused(
            &["--user", "70000"],
            "unable to setup user: cannot setuid to unmapped uid 70000 in user namespace",
        );
    }
}

#[test]
fn namespaces_are_shared_with_their_owner() {
    let world = remapped();
    for client in world.clients() {
        client.run(&["run", "-d", "--name", "first", "--ipc", "shareable", IMAGE, "sleep", "1000"]).ok();
        let user = client.run(&["exec", "first", "readlink", "/proc/self/ns/user"]).ok();
        for kind in ["--network", "--pid", "--ipc"] {
            let script =
                "touch /dev/shm/x && ls -d /sys/class/net/lo >/dev/null && readlink /proc/self/ns/user";
            let words = ["run", "--rm", kind, "container:first", IMAGE, "sh", "-c", script];
            assert_eq!(client.run(&words).ok(), user, "{kind}");
        }
        let stranger = client.run(&["run", "--rm", IMAGE, "readlink", "/proc/self/ns/user"]).ok();
        assert_ne!(stranger, user);
        let words = ["run", "--rm", "--userns", "host", "--network", "container:first", IMAGE, "true"];
        client.run(&words).code(0);
        client.run(&["run", "-d", "--name", "second", "--userns", "host", IMAGE, "sleep", "1000"]).ok();
        client
            .run(&["run", "--rm", "--network", "container:second", IMAGE, "true"])
            .code(125)
            .says("cannot join the namespaces of a container with another user namespace");
        let two = ["run", "--rm", "--network", "container:first", "--pid", "container:third", IMAGE, "true"];
        client.run(&["run", "-d", "--name", "third", IMAGE, "sleep", "1000"]).ok();
        client.run(&two).code(125).says("cannot join namespaces of several containers");
        client.run(&["rm", "-f", "first", "second", "third"]).ok();
    }
}

#[test]
fn volumes_are_the_same_for_everybody() {
    let world = remapped();
    let archive = busybox()
        .layer(|layer| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            header.set_mode(0o750);
            header.set_uid(70);
            header.set_gid(71);
            layer.append_data(&mut header, "srv", std::io::empty()).unwrap();
            let mut header = tar::Header::new_gnu();
            header.set_size(3);
            header.set_mode(0o640);
            header.set_uid(70);
            header.set_gid(71);
            layer.append_data(&mut header, "srv/data", &b"abc"[..]).unwrap();
        })
        .build("filled");
    world.load(&archive);
    for client in world.clients() {
        let run = |flags: &[&str], script: &str| {
            let words =
                [&["run", "--rm", "-v", "shared:/srv"], flags, &["filled", "sh", "-c", script]].concat();
            client.run(&words).ok()
        };
        let list = "stat -c '%n %u %g' /srv /srv/* | sort";
        // Filled from the image.
        assert_eq!(run(&[], list), "/srv 70 71\n/srv/data 70 71");
        run(&[], "touch /srv/root; touch /srv/daemon; chown 1:1 /srv/daemon");
        let all = "/srv 70 71\n/srv/daemon 1 1\n/srv/data 70 71\n/srv/root 0 0";
        assert_eq!(run(&[], list), all);
        assert_eq!(run(&["--userns", "host"], list), all);
        run(&["--userns", "host"], "echo more >> /srv/root");
        assert_eq!(run(&["-u", "70"], "cat /srv/data /srv/root"), "abcmore");
        let place = client.run(&["volume", "inspect", "-f", "{{.Mountpoint}}", "shared"]).ok();
        assert_eq!(fs::metadata(Path::new(&place).join("root")).unwrap().uid(), 0);
        // Read-only, a part, and an image's own files.
        let words = ["run", "--rm", "-v", "shared:/srv:ro", IMAGE, "touch", "/srv/x"];
        client.run(&words).code(1).says("Read-only file system");
        let mount = "type=image,source=filled,target=/image";
        let words = ["run", "--rm", "--mount", mount, IMAGE, "stat", "-c", "%u %g", "/image/srv"];
        assert_eq!(client.run(&words).ok(), "70 71");
        client.run(&["volume", "rm", "shared"]).ok();
    }
}

#[test]
fn directories_of_the_host_stay_the_hosts() {
    let world = remapped();
    let there = world.directory().join("there");
    fs::create_dir(&there).unwrap();
    fs::write(there.join("file"), "of the host\n").unwrap();
    fs::create_dir(there.join("open")).unwrap();
    fs::set_permissions(there.join("open"), fs::Permissions::from_mode(0o777)).unwrap();
    let options = format!("device={}", there.display());
    for client in world.clients() {
        client.run(&["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &options, "name"]).ok();
        for source in [there.to_string_lossy().as_ref(), "name"] {
            let volume = format!("{source}:/there");
            let run = |script: &str| client.run(&["run", "--rm", "-v", &volume, IMAGE, "sh", "-c", script]);
            assert_eq!(run("cat /there/file; stat -c %u /there/file").ok(), "of the host\n65534");
            run("touch /there/x").code(1).says("Permission denied");
            run("touch /there/open/new && chmod 4755 /there/open/new").ok();
            let made = fs::metadata(there.join("open/new")).unwrap();
            assert_eq!((made.uid(), made.gid()), (ROOT, ROOT), "no file of root's appears on the host");
            fs::remove_file(there.join("open/new")).unwrap();
        }
        client.run(&["volume", "rm", "name"]).ok();
        // One that the engine makes is for the container.
        let fresh = world.directory().join("fresh/deep");
        let volume = format!("{}:/fresh", fresh.display());
        client.run(&["run", "--rm", "-v", &volume, IMAGE, "touch", "/fresh/x"]).ok();
        assert_eq!(fs::metadata(&fresh).unwrap().uid(), ROOT);
        fs::remove_dir_all(world.directory().join("fresh")).unwrap();
    }
}

#[test]
fn copies_speak_of_the_containers_ids() {
    let world = remapped();
    let file = world.directory().join("file");
    fs::write(&file, "text\n").unwrap();
    std::os::unix::fs::chown(&file, Some(5), Some(6)).unwrap();
    let foreign = world.directory().join("foreign");
    fs::write(&foreign, "text\n").unwrap();
    std::os::unix::fs::chown(&foreign, Some(70_000), Some(0)).unwrap();
    let (file, foreign) = (file.to_string_lossy().into_owned(), foreign.to_string_lossy().into_owned());
    let open = world.directory().join("open");
    fs::create_dir(&open).unwrap();
    std::os::unix::fs::chown(&open, Some(ROOT + 5), Some(ROOT + 6)).unwrap();
    let bind = format!("{}:/bind", open.display());
    for client in world.clients() {
        for running in [true, false] {
            let command: &[&str] = if running { &["sleep", "1000"] } else { &["true"] };
            let flags = ["--name", "box", "-v", "kept:/kept", "-v", &bind];
            client.run(&[&["run", "-d"], &flags[..], &[IMAGE], command].concat()).ok();
            if !running {
                client.run(&["wait", "box"]).ok();
            }
            for target in ["/tmp/one", "/kept/one", "/bind/one"] {
                client.run(&["cp", &file, &format!("box:{target}")]).code(0);
                client.run(&["cp", "-a", &file, &format!("box:{target}-a")]).code(0);
                let archive = client.run(&["cp", &format!("box:{target}"), "-"]).code(0).stdout;
                assert_eq!(owner_in(&archive), (5, 6), "{target}, running: {running}");
            }
            if running {
                let list = "stat -c '%n %u %g' /tmp/one /kept/one-a /bind/one";
                let seen = client.run(&["exec", "box", "sh", "-c", list]).ok();
                assert_eq!(seen, "/tmp/one 5 6\n/kept/one-a 5 6\n/bind/one 5 6");
                client
                    .run(&["cp", "-a", &foreign, "box:/tmp/foreign"])
                    .code(1)
                    .says("container ID 70000 cannot be mapped to a host ID");
                client.run(&["exec", "box", "test", "-e", "/tmp/foreign"]).code(1);
            }
            assert_eq!(fs::metadata(open.join("one")).unwrap().uid(), ROOT + 5);
            let archive = client.run(&["cp", "box:/bind", "-"]).code(0).stdout;
            assert_eq!(owner_in(&archive), (5, 6), "/bind, running: {running}");
            client.run(&["rm", "-fv", "box"]).ok();
            client.run(&["volume", "rm", "kept"]).ok();
        }
    }
}

/// User and group of the first member of an archive.
fn owner_in(archive: &str) -> (u64, u64) {
    let field = |from: usize| {
        let text = archive.get(from..from + 8).expect("a header of an archive");
        u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).expect("octal digits")
    };
    (field(108), field(116))
}

#[test]
fn images_made_of_containers_have_no_ids_of_the_host() {
    let world = remapped();
    for client in world.clients() {
        let script = "touch /made; chown 3:4 /made; echo ready; sleep 1000";
        client.run(&["run", "-d", "--name", "box", IMAGE, "sh", "-c", script]).ok();
        eventually("the file", || (client.run(&["logs", "box"]).stdout == "ready\n").then_some(()));
        client.run(&["commit", "box", "snap"]).ok();
        for flags in [&[][..], &["--userns", "host"][..]] {
            let words =
                [&["run", "--rm"], flags, &["snap", "stat", "-c", "%u %g", "/made", "/bin/busybox"]].concat();
            assert_eq!(client.run(&words).ok(), "3 4\n0 0", "{flags:?}");
        }
        let out = world.directory().join("export.tar");
        client.run(&["export", "-o", &out.to_string_lossy(), "box"]).code(0);
        let mut archive = tar::Archive::new(fs::File::open(&out).unwrap());
        let owners: Vec<u64> =
            archive.entries().unwrap().map(|entry| entry.unwrap().header().uid().unwrap()).collect();
        assert!(owners.contains(&3) && owners.iter().all(|uid| *uid < 100), "{owners:?}");
        client.run(&["rm", "-f", "box"]).ok();
        client.run(&["rmi", "snap"]).ok();
    }
}

#[test]
fn what_every_container_has_is_its_own() {
    let world = remapped();
    for client in world.clients() {
        let run = |flags: &[&str], script: &str| {
            client.run(&[&["run", "--rm"], flags, &[IMAGE, "sh", "-c", script]].concat()).ok()
        };
        let owners =
            "stat -c '%u %g' / /etc/hosts /etc/hostname /etc/resolv.conf /dev/shm /dev/pts | sort -u";
        assert_eq!(run(&[], owners), "0 0");
        assert_eq!(run(&[], "echo '192.0.2.1 other' >> /etc/hosts && grep -c other /etc/hosts"), "1");
        assert_eq!(run(&["--tmpfs", "/t:uid=7,gid=8"], "stat -c '%u %g' /t"), "7 8");
        assert_eq!(
            run(&["--shm-size", "1m"], "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2"),
            "1024"
        );
        // Streams, as root and as somebody else.
        assert_eq!(run(&[], "echo out > /dev/stdout"), "out");
        assert_eq!(run(&["-u", "1000:1000"], "echo out > /dev/stdout; id -u"), "out\n1000");
        assert_eq!(run(&["--init"], "tr '\\0' ' ' </proc/1/cmdline | cut -d' ' -f1"), "/sbin/docker-init");
        assert_eq!(run(&["--device", "/dev/zero:/dev/nil"], "head -c 2 /dev/nil | wc -c"), "2");
        assert_eq!(run(&["--read-only"], "touch /x 2>/dev/null || echo no"), "no");
        // Settings of its network, and its interfaces with the right to.
        assert_eq!(run(&["--sysctl", "net.core.somaxconn=77"], "cat /proc/sys/net/core/somaxconn"), "77");
        assert_eq!(run(&[], "tr -s '\\t' ' ' </proc/sys/net/ipv4/ping_group_range"), "0 65535");
        assert_eq!(run(&["--cap-add", "NET_ADMIN"], "ip link set eth0 down && echo done"), "done");
        assert_eq!(run(&["--network", "none"], "ls /sys/class/net"), "lo");
        // Rights are over what is its own alone.
        assert_eq!(
            run(&["--cap-add", "ALL"], "echo 1 2>/dev/null > /proc/sys/vm/swappiness || echo no"),
            "no"
        );
        assert_eq!(run(&["--cgroupns", "private"], "tail -1 /proc/self/cgroup"), "0::/");
        let terminal = client.in_terminal(
            &[
                "run",
                "--rm",
                "-it",
                IMAGE,
                "sh",
                "-c",
                "stat -c '%u %g' $(tty) /dev/console; echo x > /dev/tty",
            ],
            24,
            80,
        );
        assert_eq!(shown(terminal), "0 5\n0 5\nx\n");
        let words = ["run", "--rm", "-it", "-u", "9", IMAGE, "sh", "-c", "stat -c %u $(tty)"];
        assert_eq!(shown(client.in_terminal(&words, 24, 80)), "9\n");
    }
}

#[test]
fn later_processes_are_inside_too() {
    let world = remapped();
    for client in world.clients() {
        client.run(&["run", "-d", "--name", "box", IMAGE, "sleep", "1000"]).ok();
        let exec = |words: &[&str]| client.run(&[&["exec"], words].concat());
        let effective =
            |flags: &[&str]| exec(&[flags, &["box", "grep", "CapEff", "/proc/self/status"]].concat()).ok();
        assert_eq!(effective(&[]), "CapEff:\t00000000a80425fb");
        assert!(effective(&["--privileged"]).ends_with("ffffff"));
        // All rights, over what is its own.
        exec(&["--privileged", "box", "sh", "-c", "ip link set eth0 down && ip link show eth0"]).ok();
        exec(&["--privileged", "box", "mknod", "/disk", "b", "8", "0"]).code(1);
        assert_eq!(exec(&["-u", "7:8", "box", "sh", "-c", "id -u; echo x > /dev/stdout"]).ok(), "7\nx");
        let words = ["exec", "-it", "-u", "7", "box", "sh", "-c", "stat -c %u $(tty); echo x > /dev/tty"];
        assert_eq!(shown(client.in_terminal(&words, 24, 80)), "7\nx\n");
        exec(&["-d", "box", "sleep", "999"]).ok();
        let find = "for p in /proc/[0-9]*; do grep -q 999 $p/cmdline && stat -c %u $p && break; done";
        assert_eq!(exec(&["box", "sh", "-c", find]).ok(), "0");
        client.run(&["rm", "-f", "box"]).ok();
    }
    let probe = ["--health-cmd", "test $(id -u) = 0", "--health-interval", "100ms"];
    world.wharf(&[&["run", "-d", "--name", "well"], &probe[..], &[IMAGE, "sleep", "1000"]].concat()).ok();
    eventually("the probe", || {
        (world.inspect("well")["State"]["Health"]["Status"] == "healthy").then_some(())
    });
}

#[test]
fn networks_reach_and_name_them() {
    let world = remapped();
    let outside = Host::new();
    world.host().connect(&outside, "10.77.0.1/24", "10.77.0.2/24");
    world.wharf(&["network", "create", "lane"]).ok();
    let server = ["httpd", "-f", "-p", "80", "-h/www"];
    let flags = ["--name", "web", "--network", "lane", "-p", "8080:80"];
    world.wharf(&[&["run", "-d"], &flags[..], &[IMAGE], &server].concat()).ok();
    for (host, url) in [
        (&outside, "http://10.77.0.1:8080/"),
        (world.host(), "http://127.0.0.1:8080/"),
        (world.host(), "http://[::1]:8080/"),
    ] {
        eventually(url, || host.try_run(&["curl", "-gsS", "-m", "5", url]).status.success().then_some(()));
    }
    for client in world.clients() {
        let fetch = ["run", "--rm", "--network", "lane", IMAGE, "wget", "-qO-", "http://web/"];
        assert_eq!(client.run(&fetch).ok(), "hello from inside");
        client.run(&["network", "connect", "bridge", "web"]).ok();
        assert_eq!(client.run(&["exec", "web", "sh", "-c", "ls /sys/class/net | wc -l"]).ok(), "3");
        client.run(&["network", "disconnect", "bridge", "web"]).ok();
    }
}

#[test]
fn shims_restart_and_engines_find_them() {
    let mut world = remapped();
    let script =
        "touch /seen-$(ls / | grep -c seen); [ -e /seen-2 ] || exit 1; stat -c %u /seen-0; exec sleep 1000";
    let flags = ["--name", "again", "--restart", "on-failure", "-p", "8082:80"];
    world.wharf(&[&["run", "-d"], &flags[..], &[IMAGE, "sh", "-c", script]].concat()).ok();
    eventually("the third run", || (world.wharf(&["logs", "again"]).stdout == "0\n").then_some(()));
    assert_eq!(world.inspect("again")["RestartCount"], 2);
    assert_eq!(owner_of(pid(&world, "again")), (ROOT, ROOT));
    let before = pid(&world, "again");
    world.kill_engine();
    assert_eq!(owner_of(before), (ROOT, ROOT), "it goes on");
    world.start_engine();
    assert_eq!(pid(&world, "again"), before);
    for client in world.clients() {
        assert_eq!(client.run(&["exec", "again", "stat", "-c", "%u", "/seen-0"]).ok(), "0");
        client.run(&["cp", "again:/seen-0", "-"]).code(0);
        client.run(&["restart", "-t", "0", "again"]).ok();
        assert_eq!(owner_of(pid(&world, "again")), (ROOT, ROOT));
    }
}

#[test]
fn the_option_comes_and_goes() {
    let mut world = remapped();
    world.wharf(&["run", "--name", "box", "-v", "kept:/kept", IMAGE, "touch", "/mine", "/kept/mine"]).ok();
    world.wharf(&["run", "-d", "--name", "runs", IMAGE, "sleep", "1000"]).ok();
    world.stop_engine();
    world.set_flags(&[]);
    world.start_engine();
    // What ran goes on as it was, and a copy into it knows whose it is.
    assert_eq!(owner_of(pid(&world, "runs")), (ROOT, ROOT));
    let file = world.directory().join("file").to_string_lossy().into_owned();
    fs::write(&file, "").unwrap();
    world.wharf(&["cp", "-a", &file, "runs:/copied"]).code(0);
    assert_eq!(world.wharf(&["exec", "runs", "stat", "-c", "%u", "/copied"]).ok(), "0");
    // What starts now is the host's root; nothing had to change for it.
    world.wharf(&["restart", "-t", "0", "runs"]).ok();
    assert_eq!(owner_of(pid(&world, "runs")), (0, 0));
    assert_eq!(world.wharf(&["exec", "runs", "stat", "-c", "%u", "/copied"]).ok(), "0");
    world.wharf(&["create", "--name", "bold", "--privileged", IMAGE, "true"]).ok();
    world.wharf(&["start", "-a", "box"]).ok();
    world.stop_engine();
    world.set_flags(&["--userns-remap=dockremap:daemon"]);
    world.start_engine();
    for client in world.clients() {
        client.run(&["start", "-a", "box"]).ok();
        client.run(&["start", "bold"]).code(1).says("privileged mode is incompatible with user namespaces");
        let list = ["run", "--rm", "-v", "kept:/kept", IMAGE, "stat", "-c", "%u", "/kept/mine"];
        assert_eq!(client.run(&list).ok(), "0");
    }
}

#[test]
fn ids_must_be_somebodys() {
    let mut world = with_flags(&[]);
    world.stop_engine();
    for (wanted, reason) in [
        (
            "nosuch",
            "Error during uid lookup for \"nosuch\": getent unable to find entry \"nosuch\" in passwd database",
        ),
        ("99999", "Uid 99999 has no entry in /etc/passwd"),
        ("dockremap:nosuch", "Error during groupname lookup for \"nosuch\""),
        ("a:b:c", "Invalid user/group specification in --userns-remap: \"a:b:c\""),
        ("daemon", "Can't create ID mappings: no subuid ranges found for user \"daemon\""),
    ] {
        world.set_flags(&[&format!("--userns-remap={wanted}")]);
        world.try_engine().code(1).says(reason);
    }
    // In the file, too; and root is no other than root.
    fs::write(world.config_file(), r#"{"userns-remap": "daemon"}"#).unwrap();
    world.set_flags(&[]);
    world.try_engine().code(1).says("no subuid ranges found for user \"daemon\"");
    fs::write(world.config_file(), r#"{"userns-remap": "root"}"#).unwrap();
    world.start_engine();
    assert_eq!(
        world.wharf(&["run", "--rm", IMAGE, "sh", "-c", "tr -s ' ' </proc/self/uid_map"]).ok(),
        " 0 0 4294967295"
    );
    world.stop_engine();
    fs::write(world.config_file(), r#"{"userns-remap": "990:990"}"#).unwrap();
    world.start_engine();
    let map = world.wharf(&["run", "--rm", IMAGE, "sh", "-c", "tr -s ' ' </proc/self/uid_map"]).ok();
    assert_eq!(map, format!(" 0 {ROOT} {COUNT}"));
}
