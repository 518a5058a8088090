//! The same shim over other runtimes' command lines: what holds for ours holds for them. Each test runs with runc and with
//! crun.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use oci::runtime::{ConsoleSize, Memory, Resources};
use shim::protocol::*;

use crate::world::*;

/// The runtimes of the machine. crun refuses a machine whose v2 tree has controllers of its own beside v1 trees; there it
/// is shown one without.
fn runtimes() -> [Runtime; 2] {
    let hybrid = std::fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers");
    let crun = match hybrid.is_ok_and(|controllers| !controllers.trim().is_empty()) {
        true => Runtime {
            path: "unshare".into(),
            arguments: [
                "--mount",
                "--propagation=unchanged",
                "sh",
                "-c",
                "mount --make-private /sys/fs/cgroup && umount -l /sys/fs/cgroup/unified && exec crun \"$@\"",
                "crun",
            ]
            .map(str::to_owned)
            .into(),
        },
        false => Runtime { path: "/usr/bin/crun".into(), arguments: Vec::new() },
    };
    [Runtime { path: "runc".into(), arguments: vec!["--debug".into()] }, crun]
}

/// A world under each of them, whose root is an overlay as the engine makes it.
fn each(script: &str, test: impl Fn(&mut World)) {
    for runtime in runtimes() {
        eprintln!("under {}", runtime.path.display());
        let mut world = world(script);
        let layers = world.dir.join("layers");
        for part in ["upper", "work"] {
            std::fs::create_dir_all(layers.join(part)).unwrap();
        }
        world.launch.rootfs = Rootfs::Overlay {
            lowers: vec![world.dir.join("root")],
            upper: layers.join("upper"),
            work: layers.join("work"),
            volatile: false,
        };
        world.launch.runtime = Some(runtime);
        test(&mut world);
    }
}

/// Nothing of it is left anywhere: no mount, no cgroup, none of the runtime's own files.
fn nothing_left(world: &World) {
    let mounts = linux::mount::list().unwrap();
    let left: Vec<PathBuf> = mounts
        .into_iter()
        .map(|mount| mount.target)
        .filter(|target| target.starts_with(&world.dir))
        .collect();
    assert_eq!(left, Vec::<PathBuf>::new());
    assert_eq!(world.cgroups(), Vec::<PathBuf>::new());
    assert!(!world.launch.runtime_dir.join("bundle").exists());
    assert!(!world.launch.runtime_dir.join("runtime").exists());
}

#[test]
fn output_exit_code_and_leavings() {
    each("echo out; echo err >&2; echo x > /file; exit 3", |world| {
        let mut client = world.start_attached(Attachment { multiplexed: true, ..outputs() });
        let exit = world.exit();
        assert_eq!((exit.code, exit.oom_killed), (3, false));
        assert_eq!(unframe(&read_text(&mut client)), ("out\n".to_owned(), "err\n".to_owned()));
        assert_eq!(world.logs(LogQuery { stdout: true, ..LogQuery::default() }), "out\n");
        assert!(world.dir.join("layers/upper/file").exists());
        nothing_left(world);
        world.release();
    });
}

#[test]
fn a_command_that_cannot_be_executed_is_told_in_the_runtimes_words() {
    for (command, kind) in [("nothing-here", FailureKind::NotFound), ("/data", FailureKind::NotExecutable)] {
        each("", |world| {
            std::fs::write(world.dir.join("root/data"), "not a program").unwrap();
            world.process().args = vec![command.to_owned()];
            let shim::LaunchError::Refused(failure) = world.try_start(Vec::new()).unwrap_err() else {
                panic!("not refused")
            };
            assert!(failure.verbatim && !failure.message.contains("unable to retrieve"), "{failure:?}");
            assert_eq!(failure.kind, kind, "{failure:?}");
            nothing_left(world);
        });
    }
}

#[test]
fn a_runtime_that_is_missing_or_says_nothing_is_told() {
    for (path, words) in [
        ("/no/such/runtime", "fork/exec /no/such/runtime: no such file or directory"),
        ("no-such-runtime", "exec: \"no-such-runtime\": executable file not found in $PATH"),
        ("/bin/false", "/bin/false did not terminate successfully: exit status 1"),
    ] {
        let mut world = world("");
        world.launch.runtime = Some(Runtime { path: path.into(), arguments: Vec::new() });
        let shim::LaunchError::Refused(failure) = world.try_start(Vec::new()).unwrap_err() else {
            panic!("not refused")
        };
        assert!(failure.message.contains(words), "{failure:?}");
        nothing_left(&world);
    }
}

#[test]
fn terminals_of_both_kinds_of_process() {
    each("stty size; read line; stty size; read line", |world| {
        world.process().terminal = true;
        world.process().console_size = Some(ConsoleSize { height: 30, width: 90 });
        world.launch.stdin = Stdin::Open;
        let mut client = world.start_attached(Attachment { stdin: true, ..outputs() });
        assert!(read_until(&mut client, "\n").contains("30 90"));
        world.done(Request::ResizeContainer { height: 21, width: 43 });
        type_in(&mut client, b"\n");
        read_until(&mut client, "21 43");

        // Not every runtime knows the size before the process runs.
        let script = "until stty size 2>&1 | grep '33 101'; do sleep 0.1; done; read line; exit 4";
        let mut beside = process(&["sh", "-c", script]);
        beside.terminal = true;
        beside.console_size = Some(ConsoleSize { height: 33, width: 101 });
        let attachment = Some(Attachment { stdin: true, ..outputs() });
        let request = Request::Exec { id: "tty".into(), process: Box::new(beside), stdin: true, attachment };
        let (reply, mut socket) = world.ask_with_socket(request);
        assert!(matches!(reply, Reply::ExecStarted { .. }), "{reply:?}");
        read_until(&mut socket, "33 101");
        type_in(&mut socket, b"\n");
        let code = world.event(|what| match what {
            Happening::ExecExited { code, .. } => Some(*code),
            _ => None,
        });
        assert_eq!(code, 4);
        type_in(&mut client, b"\n");
        assert_eq!(world.exit().code, 0);
        world.release();
        nothing_left(world);
    });
}

#[test]
fn processes_beside_it() {
    each("echo ready; sleep 1000", |world| {
        world.start();
        world.wait_for_log("ready");
        let attachment = Attachment { multiplexed: true, stdin: true, unread: b"in".to_vec(), ..outputs() };
        let (_, mut socket) = world.exec("one", &["sh", "-c", "cat; echo err >&2; exit 6"], attachment);
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(unframe(&read_text(&mut socket)), ("in".to_owned(), "err\n".to_owned()));
        let (reply, mut socket) = world.exec("bad", &["nothing-here"], outputs());
        let Reply::Failed(failure) = reply else { panic!("{reply:?}") };
        assert_eq!(failure.kind, FailureKind::NotFound, "{failure:?}");
        assert_eq!(read_text(&mut socket), format!("OCI runtime exec failed: {}\r\n", failure.message));
        let code = world.event(|what| match what {
            Happening::ExecExited { code, .. } => Some(*code),
            _ => None,
        });
        assert_eq!(code, 6);
        world.done(Request::Signal { signal: 9, final_stop: true });
        assert_eq!(world.exit().code, 137);
        world.release();
        nothing_left(world);
    });
}

#[test]
fn pause_update_and_stop() {
    each("trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done", |world| {
        world.launch.spec.linux.as_mut().unwrap().resources = Some(Resources {
            memory: Some(Memory { limit: Some(64 << 20), ..Memory::default() }),
            ..Resources::default()
        });
        world.start();
        world.wait_for_log("ready");
        world.done(Request::Pause);
        assert!(matches!(world.state().phase, Phase::Running { paused: true, .. }));
        world.done(Request::Resume);
        let memory = Memory { limit: Some(48 << 20), ..Memory::default() };
        let resources = Some(Box::new(Resources { memory: Some(memory), ..Resources::default() }));
        world.done(Request::Update { resources, restart: None });
        let limits = ["memory.limit_in_bytes", "memory.max"];
        let told = world
            .cgroups()
            .iter()
            .flat_map(|cgroup| limits.map(|limit| cgroup.join(limit)))
            .find_map(|file| std::fs::read_to_string(file).ok().filter(|text| text.trim() != "max"));
        assert_eq!(told.unwrap().trim(), (48 << 20).to_string());
        world.done(Request::Stop { signal: None, timeout: Some(30) });
        assert_eq!(world.exit().code, 7);
        world.release();
        nothing_left(world);
    });
}

#[test]
fn restarts_keep_the_root() {
    each("echo run >> /runs; wc -l < /runs; exit 5", |world| {
        world.launch.restart = RestartPolicy::OnFailure { max_retries: 2 };
        world.start();
        assert_eq!(world.exit().code, 5);
        assert_eq!(world.all_logs(), "1\n2\n3\n");
        world.release();
        nothing_left(world);
    });
}

#[test]
fn memory_that_runs_out() {
    each("echo ready; head -c 100000000 /dev/zero | tail", |world| {
        let memory = Memory { limit: Some(16 << 20), swap: Some(16 << 20), ..Memory::default() };
        world.launch.spec.linux.as_mut().unwrap().resources =
            Some(Resources { memory: Some(memory), ..Resources::default() });
        world.start();
        world.event(|what| matches!(what, Happening::OutOfMemory).then_some(()));
        assert!(world.exit().oom_killed);
        world.release();
        nothing_left(world);
    });
}

#[test]
fn what_a_killed_shim_leaves_is_cleaned_up() {
    each("echo ready; sleep 1000", |world| {
        let pid = world.start();
        world.wait_for_log("ready");
        linux::process::send_signal(world.shim_pidfd().as_fd(), 9).unwrap();
        world.gone();
        let cleaned = shim::cleanup(&world.launch.runtime_dir).unwrap();
        assert_eq!((cleaned.exit.code, cleaned.recorded), (137, false));
        let gone = |pid| linux::procfs::stat(pid).map_or(true, |stat| stat.state == 'Z');
        assert!(gone(pid));
        let _reaped_elsewhere = linux::process::try_wait(pid);
        assert_eq!(world.cgroups(), Vec::<PathBuf>::new());
        // The engine removes the directory with what the runtime remembers.
        assert!(Path::new(&world.launch.runtime_dir).join("runtime").exists());
    });
}
