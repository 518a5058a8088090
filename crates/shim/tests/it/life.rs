//! Start, end, restart, stop, health, and what a killed shim leaves.

use std::io::Read;
use std::os::unix::net::UnixStream;

use shim::protocol::*;

use crate::world::*;

#[test]
fn a_container_runs_and_its_exit_is_told_to_everybody() {
    let mut world = world("echo out; echo err >&2; exit 3");
    let (mut waiting, theirs) = UnixStream::pair().unwrap();
    world.launch.waiters.push(waiter(WaitUntil::Exit, "head "));
    let pid = world.try_start(vec![theirs.into()]).unwrap();
    assert!(pid > 1);
    assert_eq!(read_text(&mut waiting), "head {\"StatusCode\":3}\n");

    let exit = world.exit();
    assert_eq!((exit.code, exit.oom_killed), (3, false));
    assert!(exit.started_at < exit.finished_at);
    assert!(matches!(world.seen[0].what, Happening::Started { pid: told, restart_count: 0 } if told == pid));
    assert!(matches!(world.state().phase, Phase::Exited { .. }));
    let text = std::fs::read_to_string(&world.launch.log.path).unwrap();
    assert!(text.contains("{\"log\":\"out\\n\",\"stream\":\"stdout\",\"time\":\""), "{text}");
    assert!(text.contains("{\"log\":\"err\\n\",\"stream\":\"stderr\",\"time\":\""), "{text}");

    // Who asks later is answered at once.
    let (_, mut late) = world.ask_with_socket(Request::Wait(waiter(WaitUntil::Exit, "")));
    assert_eq!(read_text(&mut late), "{\"StatusCode\":3}\n");
    let in_chunks = Waiter { chunked: true, ..waiter(WaitUntil::Exit, "") };
    let (_, mut late) = world.ask_with_socket(Request::Wait(in_chunks));
    assert_eq!(read_text(&mut late), "11\r\n{\"StatusCode\":3}\n\r\n0\r\n\r\n");
    assert_eq!(world.cgroups(), Vec::<std::path::PathBuf>::new());
    world.release();
    assert!(!world.launch.runtime_dir.join("shim.sock").exists());
}

#[test]
fn a_command_that_is_missing_or_not_executable_fails_the_launch() {
    for (command, kind) in [("nothing-here", FailureKind::NotFound), ("/tmp", FailureKind::NotExecutable)] {
        let mut world = world("");
        world.process().args = vec![command.to_owned()];
        let error = world.try_start(Vec::new()).unwrap_err();
        let shim::LaunchError::Refused(failure) = error else { panic!("{error:?}") };
        assert_eq!(failure.kind, kind, "{failure:?}");
        assert!(failure.message.contains(command), "{failure:?}");
        assert_eq!(world.cgroups(), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn who_waits_for_the_removal_is_told_by_the_shim_or_handed_to_the_engine() {
    for (removed, chunked) in [(true, false), (false, false), (true, true), (false, true)] {
        let mut world = world("exit 4");
        let (mut waiting, theirs) = UnixStream::pair().unwrap();
        world.launch.waiters.push(Waiter { chunked, ..waiter(WaitUntil::Removed, "head ") });
        world.try_start(vec![theirs.into()]).unwrap();
        world.exit();
        // Who knows nothing of chunks has given no such client.
        let release = Request::Release { removed, waiters: chunked };
        let (reply, sockets) = world.handle().request(&release, &[]).unwrap();
        let told = match reply {
            Reply::Done if !chunked => sockets.len(),
            Reply::Released { waiters } if chunked => {
                assert!(waiters.iter().all(|waiter| waiter.chunked && waiter.preface.is_empty()));
                waiters.len()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!((told, sockets.len()), (usize::from(!removed), usize::from(!removed)));
        drop(sockets);
        world.gone();
        let expected = match (removed, chunked) {
            (true, false) => "head {\"StatusCode\":4}\n",
            (true, true) => "head 11\r\n{\"StatusCode\":4}\n\r\n0\r\n\r\n",
            (false, _) => "head ",
        };
        assert_eq!(read_text(&mut waiting), expected);
    }
}

#[test]
fn release_is_refused_while_it_runs() {
    let mut world = world("sleep 60");
    world.start();
    assert!(matches!(
        world.ask(Request::Release { removed: true, waiters: false }),
        Reply::Failed(Failure { kind: FailureKind::Conflict, .. })
    ));
    world.done(Request::Signal { signal: 9, final_stop: true });
    assert_eq!(world.exit().code, 137);
    world.release();
}

#[test]
fn on_failure_restarts_so_often_and_keeps_the_root() {
    let mut world = world("echo run >> /runs; wc -l < /runs; exit 5");
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
    world.launch.restart = RestartPolicy::OnFailure { max_retries: 2 };
    world.start();
    assert_eq!(world.exit().code, 5);
    let story: Vec<String> = world
        .seen
        .iter()
        .filter_map(|event| match &event.what {
            Happening::Started { restart_count, .. } => Some(format!("start {restart_count}")),
            Happening::Exited { restarts, delay_ms, .. } => Some(format!("exit {restarts} {delay_ms}")),
            _ => None,
        })
        .collect();
    assert_eq!(story, ["start 0", "exit true 100", "start 1", "exit true 200", "start 2", "exit false 0"]);
    assert_eq!(world.all_logs(), "1\n2\n3\n");
    assert_eq!(world.state().restart_count, 2);
    let sequences: Vec<u64> = world.seen.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
    world.release();
    assert_eq!(std::fs::read_to_string(layers.join("upper/runs")).unwrap().lines().count(), 3);
}

#[test]
fn a_stop_ends_the_waiting_for_a_restart() {
    let mut world = world("exit 1");
    world.launch.restart = RestartPolicy::Always;
    world.start();
    // From the fourth delay on there is time to stop it in between.
    for _ in 0..4 {
        world.event(|what| matches!(what, Happening::Exited { restarts: true, .. }).then_some(()));
    }
    world.done(Request::Stop { signal: None, timeout: None });
    assert_eq!(world.exit().code, 1);
    world.release();
}

#[test]
fn a_stop_is_polite_and_then_is_not() {
    let mut polite = world("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.1; done");
    polite.start();
    polite.wait_for_log("ready");
    polite.done(Request::Stop { signal: None, timeout: None });
    assert_eq!(polite.exit().code, 7);
    assert_eq!(polite.all_logs(), "ready\nbye\n");
    polite.release();

    let mut stubborn = world("trap '' TERM; echo ready; while :; do sleep 0.1; done");
    stubborn.start();
    stubborn.wait_for_log("ready");
    stubborn.done(Request::Stop { signal: None, timeout: Some(1) });
    assert_eq!(stubborn.exit().code, 137);
    let signals: Vec<i32> = stubborn
        .seen
        .iter()
        .filter_map(|event| if let Happening::Killed { signal } = event.what { Some(signal) } else { None })
        .collect();
    assert_eq!(signals, [15, 9]);
    stubborn.release();
}

#[test]
fn a_stop_thaws_what_is_paused() {
    let mut world = world("trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done");
    world.start();
    world.wait_for_log("ready");
    world.done(Request::Pause);
    assert!(matches!(world.state().phase, Phase::Running { paused: true, .. }));
    assert!(matches!(world.ask(Request::Pause), Reply::Failed(_)));
    let (reply, _) = world.exec("x", &["true"], outputs());
    assert!(matches!(reply, Reply::Failed(_)), "{reply:?}");
    world.done(Request::Stop { signal: None, timeout: Some(20) });
    assert_eq!(world.exit().code, 0);
    assert!(world.seen.iter().any(|event| matches!(event.what, Happening::Resumed)));
    world.release();
}

#[test]
fn the_engine_may_go_and_come_back() {
    let mut world = world("echo before; read line; echo after");
    world.launch.stdin = Stdin::Open;
    world.start();
    world.wait_for_log("before");
    let back = shim::Handle::connect(&world.launch.runtime_dir).unwrap();
    let Reply::State(state) = back.request(&Request::State, &[]).unwrap().0 else { panic!() };
    assert_eq!(state.incarnation, "first");
    assert_eq!(state.shim_pid, world.shim_pid());
    // Events that happened while nobody listened are there, once and in order.
    let mut stream = back.subscribe(0).unwrap();
    let mut decoder = Decoder::default();
    let first = loop {
        if let Some(event) = decoder.pop().unwrap() {
            break event;
        }
        let mut bytes = [0; 100];
        let count = stream.read(&mut bytes).unwrap();
        decoder.push(&bytes[..count]);
    };
    assert_eq!(first.sequence, 1);
    let attachment = Attachment { stdin: true, ..outputs() };
    let (_, mut client) = world.ask_with_socket(Request::Attach(attachment));
    type_in(&mut client, b"\n");
    assert_eq!(read_text(&mut client), "after\n");
    world.exit();
    world.release();
}

#[test]
fn a_killed_shim_takes_its_container_along_and_leaves_a_record() {
    let mut world = world("echo ready; sleep 1000");
    let pid = world.start();
    world.wait_for_log("ready");
    assert_eq!(
        shim::cleanup(&world.launch.runtime_dir).unwrap_err().kind(),
        std::io::ErrorKind::ResourceBusy
    );
    linux::process::send_signal(world.shim_pidfd(), 9).unwrap();
    world.gone();
    let cleaned = shim::cleanup(&world.launch.runtime_dir).unwrap();
    assert_eq!((cleaned.exit.code, cleaned.recorded), (137, false));
    assert!(!is_alive(pid));
    assert_eq!(world.cgroups(), Vec::<std::path::PathBuf>::new());
    let events = shim::journal::read(&world.launch.runtime_dir).unwrap();
    assert!(
        matches!(&events.last().unwrap().what, Happening::Exited { exit, restarts: false, .. } if exit.code == 137)
    );
    // Again: the same answer, nothing recorded twice.
    let again = shim::cleanup(&world.launch.runtime_dir).unwrap();
    assert_eq!((again.exit.code, again.recorded), (137, true));
    assert_eq!(shim::journal::read(&world.launch.runtime_dir).unwrap().len(), events.len());
}

#[test]
fn a_shim_killed_after_the_exit_keeps_the_real_code() {
    let mut world = world("exit 9");
    world.start();
    world.exit();
    linux::process::send_signal(world.shim_pidfd(), 9).unwrap();
    world.gone();
    let cleaned = shim::cleanup(&world.launch.runtime_dir).unwrap();
    assert_eq!((cleaned.exit.code, cleaned.recorded), (9, true));
}

#[test]
fn signals_meant_for_a_session_do_not_end_a_shim() {
    let mut world = world("read line; exit 0");
    world.launch.stdin = Stdin::Open;
    world.start();
    for signal in [1, 2, 15] {
        linux::process::send_signal(world.shim_pidfd(), signal).unwrap();
    }
    assert!(matches!(world.state().phase, Phase::Running { .. }));
    world.done(Request::Stop { signal: Some(9), timeout: None });
    assert_eq!(world.exit().code, 137);
    world.release();
}

const MILLISECOND: u64 = 1_000_000;

fn health(command: &str) -> Health {
    Health {
        command: ["sh", "-c", command].map(str::to_owned).into(),
        interval: 50 * MILLISECOND,
        timeout: 20_000 * MILLISECOND,
        start_period: 0,
        start_interval: 50 * MILLISECOND,
        retries: 2,
        ask: None,
        on_unhealthy: OnUnhealthy::Nothing,
    }
}

fn probed(wanted: HealthStatus) -> impl Fn(&Happening) -> Option<(Probe, u32)> {
    move |what| match what {
        Happening::HealthProbed { status, failing_streak, probe, .. } if *status == wanted => {
            Some((probe.clone(), *failing_streak))
        }
        _ => None,
    }
}

#[test]
fn health_follows_the_probe() {
    let mut world = world("touch /well; read line");
    world.launch.stdin = Stdin::Open;
    world.launch.health = Some(health("echo looking; test -e /well"));
    world.start();
    let (probe, streak) = world.event(probed(HealthStatus::Healthy));
    assert_eq!((probe.exit_code, probe.output.as_str(), streak), (0, "looking\n", 0));
    world.exec("ill", &["rm", "/well"], outputs());
    let (probe, streak) = world.event(probed(HealthStatus::Unhealthy));
    assert_eq!((probe.exit_code, streak), (1, 2));
    world.exec("well", &["touch", "/well"], outputs());
    world.event(probed(HealthStatus::Healthy));
    let state = world.state().health.unwrap();
    assert!((2..=5).contains(&state.log.len()));
    world.done(Request::Signal { signal: 9, final_stop: true });
    world.exit();
    world.release();
}

#[test]
fn an_unhealthy_container_is_started_again_whatever_its_policy() {
    let mut world = world("sleep 1000");
    world.launch.health =
        Some(Health { on_unhealthy: OnUnhealthy::Restart, ..health("test $(cat /proc/1/comm) = none") });
    world.start();
    world.event(probed(HealthStatus::Unhealthy));
    let restarts = world.event(|what| match what {
        Happening::Exited { restarts, .. } => Some(*restarts),
        _ => None,
    });
    assert!(restarts);
    let count = world.event(|what| match what {
        Happening::Started { restart_count, .. } if *restart_count > 0 => Some(*restart_count),
        _ => None,
    });
    assert_eq!(count, 1);
    world.done(Request::Signal { signal: 9, final_stop: true });
    world.event(|what| matches!(what, Happening::Exited { restarts: false, .. }).then_some(()));
    world.release();
}

#[test]
fn a_probe_that_hangs_is_killed_and_counts_as_a_failure() {
    let mut world = world("sleep 1000");
    let check = Health { timeout: 100 * MILLISECOND, retries: 1, ..health("echo thinking; sleep 1000") };
    world.launch.health = Some(check);
    world.start();
    let (probe, _) = world.event(probed(HealthStatus::Unhealthy));
    assert_eq!(probe.exit_code, -1);
    assert!(probe.output.starts_with("Health check exceeded timeout (100ms)"), "{}", probe.output);
    world.done(Request::Signal { signal: 9, final_stop: true });
    world.exit();
    world.release();
}

#[test]
fn memory_that_runs_out_is_reported() {
    let mut world = world("echo ready; read line; tail /dev/zero");
    world.launch.stdin = Stdin::Open;
    let limit = 16 << 20;
    let memory = oci::runtime::Memory { limit: Some(limit), swap: Some(limit), ..Default::default() };
    let linux = world.launch.spec.linux.as_mut().unwrap();
    linux.resources = Some(oci::runtime::Resources { memory: Some(memory), ..Default::default() });
    let device = oci::runtime::Device {
        path: "/dev/zero".into(),
        kind: oci::runtime::DeviceKind::Character,
        major: 1,
        minor: 5,
        file_mode: None,
        uid: None,
        gid: None,
    };
    linux.devices.push(device);
    let (_, mut client) = {
        world.start();
        world.ask_with_socket(Request::Attach(Attachment { stdin: true, ..outputs() }))
    };
    type_in(&mut client, b"\n");
    let exit = world.exit();
    assert!(exit.oom_killed, "{exit:?}");
    assert!(world.seen.iter().any(|event| matches!(event.what, Happening::OutOfMemory)), "{:?}", world.seen);
    world.release();
}

#[test]
fn the_root_can_be_looked_into() {
    let mut world = world("echo inside > /tmp/file; echo ready; sleep 1000");
    world.start();
    world.wait_for_log("ready");
    let (reply, descriptors) = world.handle().request(&Request::Root, &[]).unwrap();
    assert!(matches!(reply, Reply::Root), "{reply:?}");
    let path = format!("/proc/self/fd/{}/tmp/file", raw(&descriptors[0]));
    assert_eq!(std::fs::read_to_string(path).unwrap(), "inside\n");
    drop(descriptors);
    world.done(Request::Signal { signal: 9, final_stop: true });
    world.exit();
    world.release();
}

#[test]
fn limits_are_updated_while_it_runs_and_kept_for_the_next_run() {
    let mut world = world("read line; exit 1");
    world.launch.stdin = Stdin::Open;
    world.launch.restart = RestartPolicy::Always;
    world.start();
    let resources =
        oci::runtime::Resources { pids: Some(oci::runtime::Pids { limit: Some(55) }), ..Default::default() };
    world.done(Request::Update {
        resources: Some(Box::new(resources)),
        restart: Some(RestartPolicy::OnFailure { max_retries: 1 }),
    });
    let limit = |world: &World| {
        let files =
            world.cgroups().into_iter().map(|cgroup| cgroup.join("pids.max")).filter(|file| file.exists());
        files.map(|file| std::fs::read_to_string(file).unwrap().trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(limit(&world), ["55"]);
    for _ in 0..2 {
        let (_, mut client) = world.ask_with_socket(Request::Attach(Attachment { stdin: true, ..outputs() }));
        type_in(&mut client, b"\n");
        assert_eq!(read_text(&mut client), "");
        let restarted = world.event(|what| match what {
            Happening::Exited { restarts: false, .. } => Some(false),
            Happening::Started { restart_count: 1, .. } => Some(true),
            _ => None,
        });
        if restarted {
            assert_eq!(limit(&world), ["55"]);
        }
    }
    assert!(matches!(world.state().phase, Phase::Exited { .. }));
    world.release();
}
