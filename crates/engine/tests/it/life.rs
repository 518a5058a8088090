//! From create to remove.

use api::container::{PathStat, Status, UpdateRequest};
use engine::{CreateOptions, ExecStartOptions, RemoveOptions};

use crate::world::{IMAGE, in_a_world};

#[test]
fn a_container_runs_and_its_output_and_exit_are_kept() {
    in_a_world(async |world| {
        let id = world.run("web", "echo out; echo err >&2; hostname; exit 3", |_| {}).await;
        assert_eq!(world.wait(&id).await, 3);
        let shown = world.until(&id, |shown| shown.state.status == Status::Exited).await;
        assert_eq!((shown.state.exit_code, shown.state.pid), (3, 0));
        let log = world.logs("web", false).await;
        for line in ["out\n", "err\n", &format!("{}\n", &id[..12])] {
            assert!(log.contains(line), "{log:?}");
        }
    });
}

#[test]
fn users_groups_environment_and_directory_are_as_configured() {
    in_a_world(async |world| {
        let script = "id -u; id -g; id -G; echo $A; echo $PWD; cat /etc/hostname";
        let id = world
            .run("web", script, |request| {
                request.config.user = "bob".into();
                request.config.env = Some(vec!["A=1".into()]);
                request.config.working_dir = "/made/here".into();
                request.config.hostname = "harbour".into();
            })
            .await;
        assert_eq!(world.wait(&id).await, 0);
        assert_eq!(world.logs(&id, false).await, "1000\n1000\n1000 10\n1\n/made/here\nharbour\n");
    });
}

#[test]
fn a_command_that_is_not_there_fails_with_127_and_leaves_it_created() {
    in_a_world(async |world| {
        let id = world.create("web", "", |request| request.config.cmd = Some(vec!["nonsense".into()])).await;
        let error = world.engine().container_start(&id).await.unwrap_err();
        assert_eq!(error.kind(), engine::ErrorKind::InvalidParameter);
        assert!(
            error.to_string().contains("exec: \"nonsense\": executable file not found in $PATH"),
            "{error}"
        );
        let shown = world.engine().container_inspect(&id, false).await.unwrap();
        assert_eq!((shown.state.status, shown.state.exit_code), (Status::Created, 127));
    });
}

#[test]
fn stop_kill_restart_and_rename() {
    in_a_world(async |world| {
        let engine = world.engine();
        let id =
            world.run("web", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done", |_| {}).await;
        assert_eq!(engine.container_start(&id).await.unwrap_err().kind(), engine::ErrorKind::NotModified);
        world.until_logged(&id, "ready").await;
        engine.container_stop("web", None, Some(20)).await.unwrap();
        let shown = engine.container_inspect(&id, false).await.unwrap();
        assert_eq!((shown.state.status, shown.state.exit_code), (Status::Exited, 5));
        assert_eq!(
            engine.container_stop("web", None, None).await.unwrap_err().kind(),
            engine::ErrorKind::NotModified
        );

        engine.container_restart("web", None, Some(20)).await.unwrap();
        engine.container_rename("web", "shop").await.unwrap();
        assert!(engine.container_inspect("web", false).await.is_err());
        engine.container_kill("shop", "KILL").await.unwrap();
        let shown = engine.container_inspect("shop", false).await.unwrap();
        assert_eq!((shown.state.exit_code, shown.name.as_str()), (137, "/shop"));
        let refused = engine.container_kill("shop", "").await.unwrap_err();
        assert!(refused.message().ends_with("is not running"), "{refused}");
    });
}

#[test]
fn pause_freezes_and_refuses_what_needs_a_process() {
    in_a_world(async |world| {
        let engine = world.engine();
        let id = world.run("web", "while :; do sleep 0.1; done", |_| {}).await;
        engine.container_pause(&id).await.unwrap();
        assert_eq!(engine.container_inspect(&id, false).await.unwrap().state.status, Status::Paused);
        let exec = api::exec::CreateRequest { cmd: Some(vec!["true".into()]), ..Default::default() };
        assert!(
            engine
                .exec_create(&id, exec)
                .await
                .unwrap_err()
                .message()
                .contains("unpause the container before exec")
        );
        assert!(engine.container_pause(&id).await.unwrap_err().message().ends_with("is already paused"));
        engine.container_unpause(&id).await.unwrap();
        assert_eq!(engine.container_inspect(&id, false).await.unwrap().state.status, Status::Running);
    });
}

#[test]
fn names_are_unique_and_given_when_none_is_asked_for() {
    in_a_world(async |world| {
        let engine = world.engine();
        let id = world.create("web", "true", |_| {}).await;
        let again = api::container::CreateRequest {
            config: api::container::Config { image: IMAGE.into(), ..Default::default() },
            ..Default::default()
        };
        let web = CreateOptions { name: Some("/web".into()), ..CreateOptions::default() };
        let taken = engine.container_create(web, again.clone()).await.unwrap_err();
        assert!(taken.message().starts_with(&format!(
            "Conflict. The container name \"/web\" is already in use by container \"{id}\""
        )));
        let given = engine.container_create(CreateOptions::default(), again).await.unwrap().id;
        let name = engine.container_inspect(&given, false).await.unwrap().name;
        assert!(name.contains('_'), "{name}");
        let missing = api::container::CreateRequest {
            config: api::container::Config { image: "localhost/nothing".into(), ..Default::default() },
            ..Default::default()
        };
        let error = engine.container_create(CreateOptions::default(), missing).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (engine::ErrorKind::NotFound, "No such image: localhost/nothing:latest")
        );
    });
}

#[test]
fn auto_remove_takes_everything_with_it() {
    in_a_world(async |world| {
        let id = world.create("once", "exit 4", |request| request.host_config.auto_remove = true).await;
        let waiting = {
            let engine = world.engine();
            let id = id.clone();
            let ticket =
                match engine.container_wait(&id, api::container::WaitCondition::Removed).await.unwrap() {
                    engine::WaitOutcome::Ticket(ticket) => ticket,
                    engine::WaitOutcome::Ready(_) => panic!("it has not been removed"),
                };
            let (client, socket) = std::os::unix::net::UnixStream::pair().unwrap();
            ticket.deliver(crate::world::client_of(socket)).await.unwrap();
            client
        };
        world.engine().container_start(&id).await.unwrap();
        assert_eq!(crate::world::read_all(waiting).await.trim(), "{\"StatusCode\":4}");
        assert!(world.engine().container_inspect(&id, false).await.is_err());
        world.create("once", "true", |_| {}).await;
    });
}

#[test]
fn remove_asks_for_force_while_it_runs() {
    in_a_world(async |world| {
        let engine = world.engine();
        let id = world.run("web", "while :; do sleep 0.1; done", |_| {}).await;
        let refused = engine.container_remove("web", RemoveOptions::default()).await.unwrap_err();
        assert_eq!(
            refused.message(),
            "cannot remove container \"web\": container is running: stop the container before removing or force remove"
        );
        let force = RemoveOptions { force: true, ..Default::default() };
        let (first, second) =
            tokio::join!(engine.container_remove(&id, force), engine.container_remove("web", force));
        first.unwrap();
        assert_eq!(second.unwrap_err().message(), "removal of container web is already in progress");
        assert!(engine.container_inspect(&id, false).await.is_err());
    });
}

#[test]
fn a_policy_restarts_until_the_container_is_stopped() {
    in_a_world(async |world| {
        let engine = world.engine();
        let id = world
            .run("web", "exit 1", |request| request.host_config.restart_policy.name = "always".into())
            .await;
        world.until(&id, |shown| shown.restart_count >= 2).await;
        engine.container_stop(&id, None, Some(5)).await.unwrap();
        let shown = engine.container_inspect(&id, false).await.unwrap();
        assert_eq!(shown.state.status, Status::Exited);
    });
}

#[test]
fn limits_are_enforced_and_can_be_changed() {
    in_a_world(async |world| {
        let engine = world.engine();
        let id = world
            .run("web", "while :; do sleep 0.1; done", |request| {
                request.host_config.resources.memory = 32 << 20
            })
            .await;
        let sample = engine.container_stats(&id).await.unwrap();
        assert_eq!(sample.memory_stats.limit, 32 << 20);
        assert!(sample.pids_stats.current >= 1 && sample.cpu_stats.system_cpu_usage > 0);
        let mut request = UpdateRequest::default();
        request.resources.memory = 48 << 20;
        request.resources.memory_swap = 96 << 20;
        engine.container_update(&id, request).await.unwrap();
        assert_eq!(engine.container_stats(&id).await.unwrap().memory_stats.limit, 48 << 20);
        let top = engine.container_top(&id, "-o pid,comm").await.unwrap();
        assert_eq!(top.titles, ["PID", "COMMAND"]);
        assert!(
            top.processes.iter().any(|process| process[1].contains("sh") || process[1].contains("busybox")),
            "{top:?}"
        );
    });
}

#[test]
fn files_go_in_and_out_running_or_not() {
    in_a_world(async |world| {
        let engine = world.engine();
        let id = world.run("web", "echo hello > /tmp/file; while :; do sleep 0.1; done", |_| {}).await;
        let shown = world.until(&id, |shown| shown.state.running).await;
        assert!(shown.state.pid > 0);
        for running in [true, false] {
            if !running {
                engine.container_kill(&id, "KILL").await.unwrap();
                world.until(&id, |shown| shown.state.status == Status::Exited).await;
            }
            let deadline = std::time::Instant::now() + crate::world::PATIENCE;
            let stat: PathStat = loop {
                match engine.archive_stat(&id, "/tmp/file").await {
                    Ok(stat) if stat.size == 6 => break stat,
                    other => assert!(std::time::Instant::now() < deadline, "{other:?}"),
                }
            };
            assert_eq!((stat.name.as_str(), stat.mode & 0o777), ("file", 0o644));
            let missing = engine.archive_stat(&id, "/tmp/none").await.unwrap_err();
            assert_eq!(missing.message(), format!("Could not find the file /tmp/none in container {id}"));
            let (mut reader, writer) = std::io::pipe().unwrap();
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
                bytes
            });
            let (_, archive) = engine.archive_get(&id, "/tmp/file").await.unwrap();
            archive.write(writer.into()).await.unwrap();
            let archive = read.await.unwrap();
            assert!(archive.starts_with(b"file\0"), "the member is named by the path's last part");
            let options = engine::PutOptions::default();
            engine.archive_put(&id, "/data", options, std::io::Cursor::new(archive)).await.unwrap();
            assert_eq!(engine.archive_stat(&id, "/data/file").await.unwrap().size, 6);
        }
        let changes = engine.container_changes(&id).await.unwrap().unwrap();
        assert!(changes.iter().any(|change| change.path == "/data/file" && change.kind == 1), "{changes:?}");
    });
}

#[test]
fn events_tell_the_story_in_order() {
    in_a_world(async |world| {
        let id = world.run("web", "exit 7", |_| {}).await;
        world.wait(&id).await;
        world.until(&id, |shown| shown.state.status == Status::Exited).await;
        let mut filters = api::filters::Filters::default();
        filters.add("container", "web");
        let told = world.told_until_the_end(filters).await;
        let story: Vec<&str> = told
            .iter()
            .filter(|event| event.kind == "container")
            .map(|event| event.action.as_str())
            .collect();
        assert_eq!(story, ["create", "start", "die"]);
        let die = &told.iter().find(|event| event.action == "die").unwrap().actor.attributes;
        assert_eq!(
            (die["exitCode"].as_str(), die["image"].as_str(), die["name"].as_str()),
            ("7", IMAGE, "web")
        );
    });
}

#[test]
fn a_detached_exec_ends_and_its_code_is_kept() {
    in_a_world(async |world| {
        let engine = world.engine();
        let id = world.run("web", "while :; do sleep 0.1; done", |_| {}).await;
        let request = api::exec::CreateRequest {
            cmd: Some(vec!["sh".into(), "-c".into(), "exit 9".into()]),
            ..Default::default()
        };
        let exec = engine.exec_create(&id, request).await.unwrap();
        let none = engine
            .exec_start(exec.as_str(), ExecStartOptions { detach: true, ..Default::default() })
            .await
            .unwrap();
        assert!(none.is_none());
        let deadline = std::time::Instant::now() + crate::world::PATIENCE;
        while engine.exec_inspect(exec.as_str()).unwrap().exit_code != Some(9) {
            assert!(std::time::Instant::now() < deadline);
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn an_answered_wait_means_that_it_has_ended() {
    in_a_world(async |world| {
        let engine = world.engine();
        for _ in 0..10 {
            let id = world.run("short", "exit 2", |_| {}).await;
            assert_eq!(world.wait(&id).await, 2);
            // At once, as a client library does.
            let shown = engine.container_inspect(&id, false).await.unwrap();
            assert_eq!((shown.state.status, shown.state.exit_code), (Status::Exited, 2));
            engine.container_remove(&id, RemoveOptions::default()).await.unwrap();
        }
    });
}

#[test]
fn who_waits_for_the_removal_waits_past_the_exit() {
    in_a_world(async |world| {
        let engine = world.engine();
        let id = world.run("web", "while :; do sleep 0.1; done", |_| {}).await;
        let ticket = match engine.container_wait(&id, api::container::WaitCondition::Removed).await.unwrap() {
            engine::WaitOutcome::Ticket(ticket) => ticket,
            engine::WaitOutcome::Ready(_) => panic!("it has not been removed"),
        };
        let (client, socket) = std::os::unix::net::UnixStream::pair().unwrap();
        ticket.deliver(crate::world::client_of(socket)).await.unwrap();
        let told = tokio::spawn(crate::world::read_all(client));
        engine.container_kill(&id, "KILL").await.unwrap();
        assert!(!told.is_finished());
        engine.container_remove(&id, RemoveOptions::default()).await.unwrap();
        assert_eq!(told.await.unwrap().trim(), "{\"StatusCode\":137}");
    });
}
