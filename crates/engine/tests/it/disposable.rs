//! Containers outlive their engine, and the next engine knows what happened meanwhile.

use std::time::Duration;

use api::container::Status;

use crate::world::in_a_world;

/// Not there any more, or waiting for whoever inherited it to collect it.
fn is_gone(pid: i64) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}

#[test]
fn a_container_runs_on_and_is_found_again() {
    in_a_world(async |world| {
        let id =
            world.run("web", "while [ ! -e /tmp/go ]; do sleep 0.05; done; echo gone; exit 6", |_| {}).await;
        let before = world.engine().container_inspect(&id, false).await.unwrap().state;
        world.close().await;
        world.open().await;
        let after = world.until(&id, |shown| shown.state.pid > 0).await.state;
        assert_eq!((after.pid, &after.started_at), (before.pid, &before.started_at));
        let exec = api::exec::CreateRequest {
            cmd: Some(vec!["touch".into(), "/tmp/go".into()]),
            ..Default::default()
        };
        let exec = world.engine().exec_create(&id, exec).await.unwrap();
        let options = engine::ExecStartOptions { detach: true, ..Default::default() };
        world.engine().exec_start(exec.as_str(), options).await.unwrap();
        assert_eq!(world.wait(&id).await, 6);
        assert_eq!(world.logs(&id, false).await, "gone\n");
    });
}

#[test]
fn an_end_without_an_engine_is_known_afterwards_and_told_once() {
    in_a_world(async |world| {
        let id = world.run("web", "sleep 0.3; exit 8", |_| {}).await;
        let once = world.run("once", "sleep 0.3", |request| request.host_config.auto_remove = true).await;
        world.close().await;
        // Not a bound on anything: both have time to end.
        tokio::time::sleep(Duration::from_millis(700)).await;
        for _ in 0..2 {
            world.open().await;
            let shown = world.until(&id, |shown| shown.state.status == Status::Exited).await;
            assert_eq!(shown.state.exit_code, 8);
            let deadline = tokio::time::Instant::now() + crate::world::PATIENCE;
            while world.engine().container_inspect(&once, false).await.is_ok() {
                assert!(tokio::time::Instant::now() < deadline, "--rm is not applied");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let mut filters = api::filters::Filters::default();
            filters.add("event", "die");
            filters.add("container", "web");
            assert_eq!(world.told_until_the_end(filters).await.len(), 1);
            world.close().await;
        }
        world.open().await;
    });
}

#[test]
fn a_killed_shim_takes_its_container_with_it() {
    in_a_world(async |world| {
        let id = world.run("web", "while :; do sleep 0.1; done", |_| {}).await;
        let pid = world.engine().container_inspect(&id, false).await.unwrap().state.pid;
        let parent = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let parent: i32 =
            parent.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
        linux::process::kill(parent, linux::signal::SIGKILL).unwrap();
        let shown = world.until(&id, |shown| shown.state.status == Status::Exited).await;
        assert_eq!(shown.state.exit_code, 137);
        assert!(is_gone(pid));
    });
}

#[test]
fn a_shim_killed_without_an_engine_is_cleaned_up_by_the_next() {
    in_a_world(async |world| {
        let id = world.run("web", "while :; do sleep 0.1; done", |_| {}).await;
        let pid = world.engine().container_inspect(&id, false).await.unwrap().state.pid;
        world.close().await;
        let parent = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let parent: i32 =
            parent.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
        linux::process::kill(parent, linux::signal::SIGKILL).unwrap();
        world.open().await;
        let shown = world.until(&id, |shown| shown.state.status == Status::Exited).await;
        assert_eq!(shown.state.exit_code, 137);
    });
}

#[test]
fn a_rebooted_host_is_noticed_and_policies_are_applied() {
    in_a_world(async |world| {
        let lost = world.run("lost", "while :; do sleep 0.1; done", |_| {}).await;
        let kept = world
            .run("kept", "while :; do sleep 0.1; done", |request| {
                request.host_config.restart_policy.name = "always".into()
            })
            .await;
        world.close().await;
        // What a reboot does: no process, and a runtime root of another boot.
        for id in [&lost, &kept] {
            let runtime = world.dir.join("exec/containers").join(id);
            let handle = shim::Handle::connect(&runtime).unwrap();
            let kill = shim::protocol::Request::Signal { signal: 9, final_stop: true };
            handle.request(&kill, &[]).unwrap();
            let release = shim::protocol::Request::Release { removed: false, waiters: false };
            let deadline = std::time::Instant::now() + crate::world::PATIENCE;
            while !matches!(handle.request(&release, &[]).unwrap().0, shim::protocol::Reply::Done) {
                assert!(std::time::Instant::now() < deadline, "the container does not end");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        std::fs::write(world.dir.join("exec/boot-id"), "another\n").unwrap();
        world.open().await;
        let shown = world.until(&lost, |shown| shown.state.status == Status::Exited).await;
        assert_eq!(shown.state.exit_code, 255);
        world.until(&kept, |shown| shown.state.status == Status::Running).await;
    });
}

#[test]
fn what_belongs_to_no_record_is_removed() {
    in_a_world(async |world| {
        let id = world.run("web", "while :; do sleep 0.1; done", |_| {}).await;
        let pid = world.engine().container_inspect(&id, false).await.unwrap().state.pid;
        world.close().await;
        // A crash between the record's end and the files'.
        let records = store::records::Records::open(&world.dir.join("data/wharf.db")).unwrap();
        drop(records);
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(world.dir.join(format!("data/wharf.db{suffix}")));
        }
        world.open().await;
        assert!(world.engine().container_inspect(&id, false).await.is_err());
        assert!(is_gone(pid));
    });
}

#[test]
fn two_engines_do_not_share_a_data_root() {
    in_a_world(async |world| {
        let error = engine::Engine::open(world.config()).await.err().unwrap();
        assert!(error.message().starts_with("another engine uses the data root"), "{error}");
    });
}
