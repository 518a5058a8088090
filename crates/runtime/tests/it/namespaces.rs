//! Containers in namespaces of others, and in the host's.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::bundle::{Bundle, wait_until};

fn link(pid: &str, name: &str) -> String {
    std::fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap().display().to_string()
}

fn namespace<'b>(bundle: &'b mut Bundle, kind: &str) -> &'b mut serde_json::Value {
    let all = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    all.iter_mut().find(|namespace| namespace["type"] == kind).unwrap()
}

fn without_mount_namespace(bundle: &mut Bundle) {
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "mount");
}

/// A process in a mount namespace of its own, where something is mounted on a directory.
struct Holder(Child);

impl Holder {
    fn new(bundle: &Bundle) -> Holder {
        let directory = bundle.directory.join("held");
        std::fs::create_dir(&directory).unwrap();
        let script = format!(
            "mount --make-rprivate / && mount -t tmpfs none {0} && echo held > {0}/file && touch {1} && read wait",
            directory.display(),
            bundle.directory.join("ready").display(),
        );
        let mut command = Command::new("/bin/busybox");
        command.args(["unshare", "-m", "/bin/sh", "-c", &script]).stdin(Stdio::piped());
        // Once it is ready it executes nothing: its root becomes the container's.
        let holder = Holder(command.spawn().unwrap());
        wait_until(|| bundle.directory.join("ready").exists());
        holder
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_mount_namespace_that_is_named_by_its_path() {
    let mut bundle = Bundle::shell("cat /held/file; readlink /proc/self/ns/mnt");
    let holder = Holder::new(&bundle);
    namespace(&mut bundle, "mount")["path"] = json!(format!("/proc/{}/ns/mnt", holder.pid()));
    let source = bundle.directory.join("held");
    bundle.mount("/held", "bind", source.to_str().unwrap(), &["bind"]);
    assert!(!source.join("file").exists(), "it is mounted in the other namespace only");
    assert_eq!(bundle.output(), format!("held\n{}\n", link(&holder.pid(), "mnt")));
}

/// Of what is mounted in the other namespace alone, and of what lies in the container's own tree.
#[test]
fn id_mapped_binds_in_a_mount_namespace_that_is_joined() {
    let mut bundle = Bundle::shell("stat -c %u /held/file /within/file");
    let holder = Holder::new(&bundle);
    let source = bundle.directory.join("held");
    let seen = PathBuf::from(format!("/proc/{}/root{}/file", holder.pid(), source.display()));
    std::os::unix::fs::chown(seen, Some(1005), None).unwrap();
    let within = bundle.rootfs().join("tmp");
    std::fs::write(within.join("file"), "").unwrap();
    std::os::unix::fs::chown(within.join("file"), Some(1005), None).unwrap();
    namespace(&mut bundle, "mount")["path"] = json!(format!("/proc/{}/ns/mnt", holder.pid()));
    let ids = json!([{ "containerID": 1000, "hostID": 7000, "size": 10 }]);
    for (destination, source) in [("/held", &source), ("/within", &within)] {
        bundle.mount(destination, "bind", source.to_str().unwrap(), &["bind"]);
        let mount = bundle.config["mounts"].as_array_mut().unwrap().last_mut().unwrap();
        mount["uidMappings"] = ids.clone();
        mount["gidMappings"] = ids.clone();
    }
    assert_eq!(bundle.output(), "7005\n7005\n");
}

/// The mounts of a container that has no namespace for them, which nobody takes away.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        while linux::mount::list().unwrap().iter().any(|mount| mount.target == self.0) {
            linux::mount::unmount(&self.0, true).unwrap();
        }
    }
}

#[test]
fn in_the_hosts_mount_namespace() {
    let mut bundle = Bundle::new(&["/bin/sleep", "1000"]);
    let marker = bundle.directory.join("marker");
    std::fs::write(&marker, "").unwrap();
    without_mount_namespace(&mut bundle);
    let _mounted = Mounted(bundle.rootfs());
    bundle.create();
    bundle.start();
    assert!(bundle.rootfs().join("proc/1").exists(), "its mounts are the host's");
    let seen = bundle.exec(&format!("readlink /proc/self/ns/mnt; ls -d {} /bin/busybox", marker.display()));
    assert_eq!(seen.stdout, format!("{}\n/bin/busybox\n", link("self", "mnt")), "{}", seen.stderr);
    bundle.delete();
}

#[test]
fn nothing_of_the_hosts_is_covered_for_everybody() {
    let mut bundle = Bundle::new(&["true"]);
    without_mount_namespace(&mut bundle);
    bundle.config["linux"]["maskedPaths"] = json!(["/proc/kcore"]);
    assert!(bundle.refused().contains("unable to restrict sys entries without a private MNT namespace"));
}

#[test]
fn what_is_the_hosts_beside_a_user_namespace() {
    let mut bundle = Bundle::shell("readlink /proc/self/ns/net; cat /proc/self/uid_map | tr -s ' '");
    let own = link("self", "net");
    namespace(&mut bundle, "network")["path"] = json!(format!("/proc/{}/ns/net", std::process::id()));
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    let map = json!([{ "containerID": 0, "hostID": 0, "size": 100 }]);
    bundle.config["linux"]["uidMappings"] = map.clone();
    bundle.config["linux"]["gidMappings"] = map;
    // Who has no rights over the network mounts no sysfs.
    bundle.config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "sysfs");
    assert_eq!(bundle.output(), format!("{own}\n 0 0 100\n"));
}

#[test]
fn a_later_process_of_a_joined_pid_namespace() {
    let first = Bundle::new(&["/bin/sleep", "1000"]);
    first.create();
    first.start();
    let mut second = Bundle::new(&["/bin/sleep", "2000"]);
    namespace(&mut second, "pid")["path"] = json!(format!("/proc/{}/ns/pid", first.pid()));
    second.config["process"]["oomScoreAdj"] = json!(321);
    second.config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
    second.create();
    second.start();
    let seen = second.exec("ps -o args; cat /proc/sys/net/ipv4/ip_forward");
    for expected in ["sleep 1000", "sleep 2000"] {
        assert!(seen.stdout.contains(expected), "{}{}", seen.stdout, seen.stderr);
    }
    assert!(seen.stdout.ends_with("1\n"), "{}", seen.stdout);
    let score = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", second.pid())).unwrap();
    assert_eq!(score, "321\n");
    assert_eq!(link(&second.pid().to_string(), "pid"), link(&first.pid().to_string(), "pid"));
}

/// Whichever process executes them for it, they count in the container's cgroup and not in the caller's.
#[test]
fn hooks_beside_a_joined_pid_namespace_are_in_the_containers_cgroup() {
    let first = Bundle::new(&["/bin/sleep", "1000"]);
    first.create();
    first.start();
    for ids_of_its_own in [false, true] {
        let mut second = Bundle::new(&["true"]);
        namespace(&mut second, "pid")["path"] = json!(format!("/proc/{}/ns/pid", first.pid()));
        second.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "cgroup");
        if ids_of_its_own {
            second.config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "proc");
            second.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
            let map = json!([{ "containerID": 0, "hostID": 0, "size": 100 }]);
            second.config["linux"]["uidMappings"] = map.clone();
            second.config["linux"]["gidMappings"] = map;
        }
        let script = "cat /proc/self/cgroup; umask; exit 1";
        second.config["hooks"]["createContainer"] = json!([{
            "path": "/bin/busybox", "args": ["busybox", "sh", "-c", script], "env": ["PATH=/bin:/usr/bin"],
        }]);
        let told = second.refused();
        let (_, told) = told.split_once("stdout: ").unwrap();
        let (told, _) = told.split_once(", stderr").unwrap();
        let lines: Vec<&str> = told.split("\\n").collect();
        let inside = lines.iter().filter(|line| line.ends_with(&format!("/{}", second.id))).count();
        assert_eq!(inside, second.cgroup().paths().len(), "{told}");
        assert!(lines.contains(&"0022"), "{told}");
    }
}

crate::door::by_the_library! {
    a_mount_namespace_that_is_named_by_its_path id_mapped_binds_in_a_mount_namespace_that_is_joined
    in_the_hosts_mount_namespace nothing_of_the_hosts_is_covered_for_everybody
    what_is_the_hosts_beside_a_user_namespace a_later_process_of_a_joined_pid_namespace
    hooks_beside_a_joined_pid_namespace_are_in_the_containers_cgroup
}
