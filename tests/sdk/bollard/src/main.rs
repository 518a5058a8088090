//! What users of bollard, the SDK of Rust, do all day, against the engine at `DOCKER_HOST`.
//!
//! Each function is a check of its own and leaves nothing behind. The image `busybox` must be there.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::*;
use bollard::query_parameters::*;
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio::io::AsyncWriteExt;

const IMAGE: &str = "busybox";

type Outcome = Result<(), Error>;

fn words(line: &[&str]) -> Option<Vec<String>> {
    Some(line.iter().map(|word| (*word).to_owned()).collect())
}

fn body(command: &[&str]) -> ContainerCreateBody {
    ContainerCreateBody { image: Some(IMAGE.into()), cmd: words(command), ..Default::default() }
}

fn sleeping() -> ContainerCreateBody {
    body(&["sleep", "1000"])
}

/// A filter with one value.
fn filter(key: &str, value: &str) -> Option<HashMap<String, Vec<String>>> {
    Some(HashMap::from([(key.to_owned(), vec![value.to_owned()])]))
}

/// Runs `test` with a container that is gone afterwards.
async fn with<F: Future<Output = Outcome>>(
    docker: &Docker,
    body: ContainerCreateBody,
    test: impl FnOnce(String) -> F,
) -> Outcome {
    let id = docker.create_container(None::<CreateContainerOptions>, body).await?.id;
    let outcome = test(id.clone()).await;
    let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
    docker.remove_container(&id, Some(options)).await?;
    outcome
}

async fn started<F: Future<Output = Outcome>>(
    docker: &Docker,
    body: ContainerCreateBody,
    test: impl FnOnce(String) -> F,
) -> Outcome {
    with(docker, body, |id| async move {
        docker.start_container(&id, None::<StartContainerOptions>).await?;
        test(id).await
    })
    .await
}

/// Standard output and standard error of a stream.
async fn parts(
    mut stream: impl Stream<Item = Result<LogOutput, Error>> + Unpin,
) -> Result<(String, String), Error> {
    let (mut out, mut err) = (String::new(), String::new());
    while let Some(part) = stream.try_next().await? {
        match &part {
            LogOutput::StdErr { .. } => err.push_str(&part.to_string()),
            _ => out.push_str(&part.to_string()),
        }
    }
    Ok((out, err))
}

/// The exit code; the SDK makes an error of one that is not zero.
async fn ended(docker: &Docker, id: &str, condition: &str) -> i64 {
    let options = WaitContainerOptions { condition: condition.into() };
    match docker.wait_container(id, Some(options)).next().await {
        Some(Ok(response)) => response.status_code,
        Some(Err(Error::DockerContainerWaitError { code, .. })) => code,
        other => panic!("no exit code: {other:?}"),
    }
}

async fn the_engine_is_known(docker: &Docker) -> Outcome {
    assert_eq!(docker.ping().await?, "OK");
    assert!(docker.version().await?.api_version.is_some());
    assert_eq!(docker.info().await?.os_type.as_deref(), Some("linux"));
    docker.df(None::<DataUsageOptions>).await?;
    Ok(())
}

async fn attach_speaks_both_ways(docker: &Docker) -> Outcome {
    let talking = ContainerCreateBody {
        open_stdin: Some(true),
        stdin_once: Some(true),
        ..body(&["sh", "-c", "cat; echo wrong >&2; exit 3"])
    };
    with(docker, talking, |id| async move {
        let options = AttachContainerOptions {
            stdin: true,
            stdout: true,
            stderr: true,
            stream: true,
            ..Default::default()
        };
        let AttachContainerResults { output, mut input } =
            docker.attach_container(&id, Some(options)).await?;
        docker.start_container(&id, None::<StartContainerOptions>).await?;
        input.write_all(b"a line\n").await?;
        input.shutdown().await?;
        assert_eq!(parts(output).await?, ("a line\n".into(), "wrong\n".into()));
        assert_eq!(ended(docker, &id, "not-running").await, 3);
        Ok(())
    })
    .await
}

async fn exec_speaks_both_ways(docker: &Docker) -> Outcome {
    started(docker, sleeping(), |id| async move {
        let options = CreateExecOptions {
            cmd: Some(vec!["sh", "-c", "cat; echo $A; pwd; echo wrong >&2; exit 5"]),
            env: Some(vec!["A=b"]),
            working_dir: Some("/tmp"),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let exec = docker.create_exec(&id, options).await?.id;
        let StartExecResults::Attached { output, mut input } = docker.start_exec(&exec, None).await? else {
            panic!("an exec that is not detached is attached");
        };
        input.write_all(b"typed\n").await?;
        input.shutdown().await?;
        assert_eq!(parts(output).await?, ("typed\nb\n/tmp\n".into(), "wrong\n".into()));
        assert_eq!(docker.inspect_exec(&exec).await?.exit_code, Some(5));
        Ok(())
    })
    .await
}

async fn logs_follow(docker: &Docker) -> Outcome {
    let counting = body(&["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done; echo wrong >&2"]);
    started(docker, counting, |id| async move {
        let options = |follow| LogsOptions { follow, stdout: true, stderr: true, ..Default::default() };
        let told = parts(Box::pin(docker.logs(&id, Some(options(true))))).await?;
        assert_eq!(told, ("1\n2\n3\n".into(), "wrong\n".into()));
        let last = LogsOptions { tail: "1".into(), ..options(false) };
        assert_eq!(parts(Box::pin(docker.logs(&id, Some(last)))).await?.1, "wrong\n");
        Ok(())
    })
    .await
}

async fn statistics_and_processes(docker: &Docker) -> Outcome {
    started(docker, sleeping(), |id| async move {
        let samples: Vec<ContainerStatsResponse> =
            docker.stats(&id, None::<StatsOptions>).take(2).try_collect().await?;
        let memory = samples[1].memory_stats.as_ref().and_then(|memory| memory.usage);
        assert!(memory.is_some_and(|bytes| bytes > 0), "{samples:?}");
        let top = docker.top_processes(&id, None::<TopOptions>).await?;
        assert!(top.processes.unwrap_or_default()[0].iter().any(|cell| cell == "sleep 1000"));
        Ok(())
    })
    .await
}

async fn events_are_told(docker: &Docker) -> Outcome {
    let options = EventsOptions { filters: filter("label", "rust=events"), ..Default::default() };
    let mut events = Box::pin(docker.events(Some(options)));
    let labels = Some(HashMap::from([("rust".to_owned(), "events".to_owned())]));
    let told = async {
        let mut actions = Vec::new();
        while actions.len() < 4 {
            let event = events.try_next().await?.expect("events go on");
            actions.push(event.action.unwrap_or_default());
        }
        Ok::<_, Error>(actions)
    };
    let life = async {
        // The engine has to hear of the listener first.
        while docker.info().await?.n_events_listener != Some(1) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        started(docker, ContainerCreateBody { labels, ..body(&["true"]) }, |id| async move {
            ended(docker, &id, "not-running").await;
            Ok(())
        })
        .await
    };
    let (actions, life) = tokio::join!(told, life);
    life?;
    assert_eq!(actions?, ["create", "start", "die", "destroy"]);
    Ok(())
}

async fn archives_go_in_and_out(docker: &Docker) -> Outcome {
    with(docker, body(&["true"]), |id| async move {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        header.set_mode(0o640);
        header.set_uid(12);
        archive.append_data(&mut header, "note", &b"text"[..])?;
        let packed = bollard::body_full(archive.into_inner()?.into());
        let options = UploadToContainerOptions { path: "/tmp".into(), ..Default::default() };
        docker.upload_to_container(&id, Some(options), packed).await?;
        let options = DownloadFromContainerOptions { path: "/tmp/note".into() };
        let parts: Vec<_> = docker.download_from_container(&id, Some(options)).try_collect().await?;
        let bytes = parts.concat();
        let mut archive = tar::Archive::new(&bytes[..]);
        let entry = archive.entries()?.next().expect("an entry")?;
        assert_eq!((entry.header().uid()?, entry.header().mode()? & 0o777, entry.size()), (12, 0o640, 4));
        let exported: usize = docker
            .export_container(&id)
            .map_ok(|part| part.len())
            .try_fold(0, |a, b| async move { Ok(a + b) })
            .await?;
        assert!(exported > 100_000);
        Ok(())
    })
    .await
}

async fn health_is_waited_for(docker: &Docker) -> Outcome {
    let check = HealthConfig {
        test: words(&["CMD", "test", "-e", "/fine"]),
        interval: Some(200_000_000),
        retries: Some(1),
        ..Default::default()
    };
    let sick = ContainerCreateBody { healthcheck: Some(check), ..sleeping() };
    started(docker, sick, |id| async move {
        let until = async |wanted: HealthStatusEnum| loop {
            let state = docker.inspect_container(&id, None::<InspectContainerOptions>).await?.state;
            if state.and_then(|state| state.health).and_then(|health| health.status) == Some(wanted) {
                return Ok::<_, Error>(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        until(HealthStatusEnum::UNHEALTHY).await?;
        let options = CreateExecOptions { cmd: Some(vec!["touch", "/fine"]), ..Default::default() };
        let exec = docker.create_exec(&id, options).await?.id;
        docker.start_exec(&exec, None).await?;
        until(HealthStatusEnum::HEALTHY).await
    })
    .await
}

async fn networks_and_volumes(docker: &Docker) -> Outcome {
    let volume = VolumeCreateRequest { name: Some("rust-volume".into()), ..Default::default() };
    docker.create_volume(volume).await?;
    let network = NetworkCreateRequest { name: "rust-network".into(), ..Default::default() };
    docker.create_network(network).await?;
    let host = HostConfig { binds: words(&["rust-volume:/data"]), ..Default::default() };
    let outcome =
        started(docker, ContainerCreateBody { host_config: Some(host), ..sleeping() }, |id| async move {
            let endpoint = EndpointSettings { aliases: words(&["second"]), ..Default::default() };
            let join = NetworkConnectRequest { container: id.clone(), endpoint_config: Some(endpoint) };
            docker.connect_network("rust-network", join).await?;
            let inspect = docker.inspect_container(&id, None::<InspectContainerOptions>).await?;
            let networks =
                inspect.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
            assert!(
                networks["rust-network"]
                    .aliases
                    .as_ref()
                    .is_some_and(|names| names.contains(&"second".into()))
            );
            assert_eq!(inspect.mounts.unwrap_or_default()[0].name.as_deref(), Some("rust-volume"));
            let leave = NetworkDisconnectRequest { container: id, force: Some(true) };
            docker.disconnect_network("rust-network", leave).await
        })
        .await;
    docker.remove_network("rust-network").await?;
    docker.remove_volume("rust-volume", None::<RemoveVolumeOptions>).await?;
    outcome
}

async fn a_life(docker: &Docker) -> Outcome {
    started(docker, sleeping(), |id| async move {
        docker.pause_container(&id).await?;
        docker.unpause_container(&id).await?;
        let name = RenameContainerOptions { name: "rust-renamed".into() };
        docker.rename_container(&id, name).await?;
        let limits =
            ContainerUpdateBody { memory: Some(64 << 20), memory_swap: Some(64 << 20), ..Default::default() };
        docker.update_container(&id, limits).await?;
        let stop = StopContainerOptions { t: Some(0), ..Default::default() };
        docker.stop_container(&id, Some(stop)).await?;
        let inspect = docker.inspect_container("rust-renamed", None::<InspectContainerOptions>).await?;
        assert_eq!(inspect.state.and_then(|state| state.exit_code), Some(137));
        assert_eq!(inspect.host_config.and_then(|host| host.memory), Some(64 << 20));
        docker.restart_container(&id, None::<RestartContainerOptions>).await?;
        docker.kill_container(&id, None::<KillContainerOptions>).await?;
        assert_eq!(ended(docker, &id, "not-running").await, 137);
        Ok(())
    })
    .await
}

async fn errors_have_status_and_reason(docker: &Docker) -> Outcome {
    match docker.inspect_container("nobody", None::<InspectContainerOptions>).await {
        Err(Error::DockerResponseServerError { status_code: 404, message }) => {
            assert_eq!(message, "No such container: nobody");
        }
        other => panic!("a container that is not there: {other:?}"),
    }
    Ok(())
}

async fn prune_takes_what_has_ended(docker: &Docker) -> Outcome {
    let labels = Some(HashMap::from([("rust".to_owned(), "prune".to_owned())]));
    let made = ContainerCreateBody { labels: labels.clone(), ..body(&["true"]) };
    let id = docker.create_container(None::<CreateContainerOptions>, made).await?.id;
    let options = PruneContainersOptions { filters: filter("label", "rust=prune") };
    let pruned = docker.prune_containers(Some(options)).await?;
    assert_eq!(pruned.containers_deleted, Some(vec![id]));
    let network = NetworkCreateRequest { name: "rust-unused".into(), labels, ..Default::default() };
    docker.create_network(network).await?;
    let options = PruneNetworksOptions { filters: filter("label", "rust=prune") };
    assert_eq!(docker.prune_networks(Some(options)).await?.networks_deleted, words(&["rust-unused"]));
    Ok(())
}

async fn images(docker: &Docker) -> Outcome {
    let options = ListImagesOptions { filters: filter("reference", IMAGE), ..Default::default() };
    let list = docker.list_images(Some(options)).await?;
    assert_eq!(list[0].repo_tags, ["busybox:latest"]);
    let tag = TagImageOptions { repo: Some("rust-other".into()), tag: Some("1".into()) };
    docker.tag_image(IMAGE, Some(tag)).await?;
    assert_eq!(docker.inspect_image("rust-other:1").await?.id.as_deref(), Some(list[0].id.as_str()));
    let removed = docker.remove_image("rust-other:1", None::<RemoveImageOptions>, None).await?;
    assert_eq!(removed[0].untagged.as_deref(), Some("rust-other:1"));
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let address = std::env::var("DOCKER_HOST").expect("DOCKER_HOST names the engine's socket");
    let docker = Docker::connect_with_unix(&address, 120, API_DEFAULT_VERSION)?.negotiate_version().await?;
    let mut count = 0;
    macro_rules! check {
        ($($name:ident)*) => {$(
            println!(stringify!($name));
            $name(&docker).await?;
            count += 1;
        )*};
    }
    check! {
        the_engine_is_known attach_speaks_both_ways exec_speaks_both_ways logs_follow statistics_and_processes
        events_are_told archives_go_in_and_out health_is_waited_for networks_and_volumes a_life
        errors_have_status_and_reason prune_takes_what_has_ended images
    }
    println!("{count} checks passed");
    Ok(())
}
