//! What newer kernels give has a fallback, and what has none is refused by name: the engine on Debian 12's kernel, on the
//! oldest that is meant to work, and on one that is too old ([`Kernel`] says how).

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use blackbox::{Archive, IMAGE, Kernel, Settings, World, binary, busybox, busybox_image, eventually, file};

const KERNELS: [Kernel; 2] = [Kernel::LINUX_6_1, Kernel::LINUX_5_15];

fn on(kernel: Kernel) -> World {
    let world = World::empty(Settings { kernel: Some(kernel), ..Settings::default() });
    world.load(&busybox_image(IMAGE));
    world
}

fn status_of(pid: impl std::fmt::Display, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.expect("the kernel tells it").trim().to_owned()
}

#[test]
fn the_filter_is_on_everything() {
    for kernel in KERNELS {
        let world = on(kernel);
        let unconfined = ["--security-opt", "seccomp=unconfined"];
        world
            .wharf(&[&["run", "-d", "--name", "open"], &unconfined[..], &[IMAGE, "sleep", "1000"]].concat())
            .ok();
        world.wharf(&["run", "-d", "--name", "usual", IMAGE, "sleep", "1000"]).ok();
        let pid = |name: &str| world.inspect(name)["State"]["Pid"].as_i64().expect("it runs");
        assert_eq!(status_of(world.engine_pid(), "Seccomp_filters"), "1");
        let shim = status_of(pid("open"), "PPid");
        assert_eq!(status_of(shim, "Seccomp_filters"), "1");
        assert_eq!(status_of(pid("open"), "Seccomp_filters"), "1");
        assert_eq!(status_of(pid("usual"), "Seccomp_filters"), "2", "its own comes on top");
        assert_eq!(
            world.wharf(&["exec", "usual", "grep", "-c", "Seccomp.*2", "/proc/self/status"]).ok(),
            "2"
        );
    }
}

#[test]
fn a_life_of_a_container() {
    for kernel in KERNELS {
        let world = on(kernel);
        for client in world.clients() {
            let serve = [
                "run",
                "-d",
                "--name",
                "web",
                "-p",
                "8080:80",
                "--health-cmd",
                "true",
                "--health-interval",
                "1s",
            ];
            client.run(&[&serve[..], &[IMAGE, "httpd", "-f", "-p", "80", "-h", "/www"]].concat()).ok();
            let page = || world.host().try_run(&["curl", "-sf", "http://127.0.0.1:8080/"]);
            eventually("the page", || page().status.success().then_some(()));
            assert_eq!(String::from_utf8_lossy(&page().stdout), "hello from inside\n");
            eventually("health", || {
                (world.inspect("web")["State"]["Health"]["Status"] == "healthy").then_some(())
            });

            client.run(&["exec", "web", "sh", "-c", "echo new >/www/new"]).ok();
            assert_eq!(client.run(&["diff", "web"]).ok(), "C /www\nA /www/new");
            let place = world.directory().join("copied");
            client.run(&["cp", "web:/www/new", place.to_str().unwrap()]).ok();
            assert_eq!(fs::read_to_string(&place).unwrap(), "new\n");
            client.run(&["cp", place.to_str().unwrap(), "web:/www/back"]).ok();
            assert_eq!(client.run(&["exec", "web", "cat", "/www/back"]).ok(), "new");
            assert!(client.run(&["top", "web"]).ok().contains("httpd"));
            client.run(&["stats", "--no-stream", "web"]).ok();
            client.run(&["update", "--memory", "64m", "--memory-swap", "64m", "web"]).ok();

            client.run(&["pause", "web"]).ok();
            assert_eq!(world.inspect("web")["State"]["Status"], "paused");
            client.run(&["unpause", "web"]).ok();
            client.run(&["commit", "web", "kept"]).ok();
            assert_eq!(client.run(&["run", "--rm", "kept", "cat", "/www/new"]).ok(), "new");

            // The root is made anew, and holds what the last run wrote.
            client.run(&["restart", "-t", "0", "web"]).ok();
            assert_eq!(client.run(&["exec", "web", "cat", "/www/new"]).ok(), "new");
            client.run(&["stop", "-t", "0", "web"]).ok();
            assert_eq!(world.inspect("web")["State"]["ExitCode"], 137);
            client.run(&["start", "web"]).ok();
            client.run(&["kill", "-s", "TERM", "web"]).ok();
            client.run(&["kill", "web"]).ok();
            client.run(&["rm", "-f", "web"]).ok();
            client.run(&["rmi", "kept"]).ok();
        }
    }
}

#[test]
fn restarts_without_the_engine() {
    for kernel in KERNELS {
        let mut world = on(kernel);
        let script = "echo run >>/runs; wc -l </runs; [ $(wc -l </runs) -ge 3 ] && exec sleep 1000; exit 1";
        world.wharf(&["run", "-d", "--name", "again", "--restart", "always", IMAGE, "sh", "-c", script]).ok();
        world.kill_engine();
        world.start_engine();
        eventually("the third run", || world.wharf(&["logs", "again"]).ok().ends_with('3').then_some(()));
        assert_eq!(world.wharf(&["logs", "again"]).ok(), "1\n2\n3");
        world.wharf(&["exec", "again", "true"]).ok();
    }
}

/// Tells where in a mount, and in one below it, it can write.
const WRITES: &str =
    "touch /s/new 2>/dev/null && echo wrote; touch /s/below/new 2>/dev/null && echo wrote below; true";

#[test]
fn binds_are_read_only_with_all_below() {
    for kernel in KERNELS {
        let world = on(kernel);
        let source = world.directory().join("source");
        fs::create_dir_all(source.join("below")).unwrap();
        let mounted = |words: &[&str]| {
            let source = source.to_str().unwrap();
            let spec = [words[0], &format!("source={source}"), "target=/s"].join(",");
            let spec = [&[spec.as_str()], &words[1..]].concat().join(",");
            world.wharf(&["run", "--rm", "--mount", &spec, IMAGE, "sh", "-c", WRITES]).ok()
        };
        let tmpfs = Tmpfs::on(source.join("below"));
        assert_eq!(mounted(&["type=bind"]), "wrote\nwrote below");
        assert_eq!(mounted(&["type=bind", "readonly"]), "");
        assert_eq!(mounted(&["type=bind", "readonly", "bind-recursive=writable"]), "wrote below");
        let forced = ["type=bind", "readonly", "bind-recursive=readonly", "bind-propagation=rprivate"];
        assert_eq!(mounted(&forced), "");
        // Clients of before 1.44 know entries of `Binds` as read-only without what is mounted below.
        for (version, below) in [("1.43", "wrote below"), ("1.44", "")] {
            let volume = format!("{}:/s:ro", source.display());
            let mut docker =
                world.client("docker", &["run", "--rm", "-v", &volume, IMAGE, "sh", "-c", WRITES]);
            docker.env("DOCKER_API_VERSION", version);
            assert_eq!(blackbox::Session::start(docker).finish().ok(), below, "{version}");
        }
        drop(tmpfs);
    }
}

/// A mount of the host's, taken away at the end.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn on(path: PathBuf) -> Self {
        assert!(Command::new("mount").args(["-t", "tmpfs", "test"]).arg(&path).status().unwrap().success());
        Tmpfs(path)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// As many layers as Docker allows.
fn many_layers() -> Archive {
    (1..125).fold(busybox(), |image, number| {
        image.layer(|layer| file(layer, &format!("www/{number}"), number.to_string().as_bytes(), 0o644))
    })
}

#[test]
fn images_of_many_layers() {
    for kernel in KERNELS {
        let world = on(kernel);
        world.load(&many_layers().build("many"));
        world.wharf(&["run", "-d", "--name", "tall", "many", "sleep", "1000"]).ok();
        assert_eq!(world.wharf(&["exec", "tall", "cat", "/www/1", "/www/124"]).ok(), "1124");
        world.wharf(&["exec", "tall", "sh", "-c", "rm /www/1; echo new >/www/124"]).ok();
        assert_eq!(world.wharf(&["diff", "tall"]).ok(), "C /www\nD /www/1\nC /www/124");
        world.wharf(&["stop", "-t", "0", "tall"]).ok();
        let place = world.directory().join("copied");
        world.wharf(&["cp", "tall:/www/124", place.to_str().unwrap()]).ok();
        assert_eq!(fs::read_to_string(place).unwrap(), "new\n");
        let files = "type=image,source=many,target=/files";
        assert_eq!(
            world.wharf(&["run", "--rm", "--mount", files, IMAGE, "cat", "/files/www/124"]).ok(),
            "124"
        );
    }
}

fn remapped(kernel: Kernel) -> Settings {
    Settings {
        flags: vec!["--userns-remap=default".to_owned()],
        subordinate_ids: Some((3_000_000, 65_536)),
        kernel: Some(kernel),
        ..Settings::default()
    }
}

#[test]
fn containers_under_other_ids() {
    let world = World::empty(remapped(Kernel::LINUX_6_1));
    world.load(&busybox_image(IMAGE));
    world.load(&many_layers().build("many"));
    for image in [IMAGE, "many"] {
        world.wharf(&["run", "-d", "--name", "box", "-v", "kept:/kept", image, "sleep", "1000"]).ok();
        let inside = "id -u; touch /www/new /kept/new && stat -c %u /www/new /kept/new";
        assert_eq!(world.wharf(&["exec", "box", "sh", "-c", inside]).ok(), "0\n0\n0");
        let pid = world.inspect("box")["State"]["Pid"].as_i64().expect("it runs");
        assert!(status_of(pid, "Uid").starts_with("3000000"));
        world.wharf(&["restart", "-t", "0", "box"]).ok();
        assert_eq!(world.wharf(&["exec", "box", "stat", "-c", "%u", "/www/new"]).ok(), "0");
        world.wharf(&["rm", "-f", "box"]).ok();
    }
}

#[test]
fn other_ids_are_refused_where_overlay_cannot_have_them() {
    let mut world = World::empty(Settings { flags: Vec::new(), ..remapped(Kernel::LINUX_5_15) });
    world.stop_engine();
    world.set_flags(&["--userns-remap=default"]);
    let reason = "--userns-remap needs overlays of id-mapped mounts, which Linux has since 5.19";
    world.try_engine().code(1).says(reason);
    world.set_flags(&[]);
    world.start_engine();
}

#[test]
fn a_kernel_that_is_too_old_is_refused() {
    let mut world = World::start();
    world.stop_engine();
    world.set_kernel(Some(Kernel::LINUX_5_10));
    let reason = "has no mount_setattr(2), or a filter keeps it from us: Linux has it since 5.12, and Wharf needs \
                  Linux 5.15 or newer";
    world.try_engine().code(1).says(reason);
    world.set_kernel(None);
    world.start_engine();
}

#[test]
fn the_runtime_says_what_is_missing() {
    let world = World::start();
    let bundle = world.directory().join("bundle");
    fs::create_dir_all(bundle.join("rootfs")).unwrap();
    let runtime = binary("wharf-runtime");
    let made = Command::new(&runtime).arg("spec").current_dir(&bundle).status().unwrap();
    assert!(made.success());
    let launcher = Kernel::LINUX_5_10.launcher();
    let mut command = Command::new(&launcher[0]);
    let root = world.directory().join("state");
    command
        .args(&launcher[1..])
        .arg(&runtime)
        .arg("--root")
        .arg(&root)
        .args(["run", "old"])
        .current_dir(&bundle);
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("mount_setattr") && said.contains("ENOSYS"), "{said}");
    assert_eq!(fs::read_dir(root).map(Iterator::count).unwrap_or_default(), 0, "nothing is left of it");
}
