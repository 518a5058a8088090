//! Images as the API tells of them: lists, names, removal under containers, archives out and in, commits.

use std::io::{Read, Write};

use api::container::{Config, HealthConfig};
use api::filters::Filters;
use api::progress::Message;
use engine::{CommitOptions, Engine, ErrorKind, ImportRequest};
use tokio::sync::mpsc;

use crate::world::{IMAGE, in_a_world};

fn filters(pairs: &[(&str, &str)]) -> Filters {
    let mut filters = Filters::default();
    for (key, value) in pairs {
        filters.add(*key, *value);
    }
    filters
}

async fn tags(engine: &Engine, pairs: &[(&str, &str)]) -> Vec<String> {
    let list = engine.image_list(false, false, filters(pairs)).await.unwrap();
    let mut tags: Vec<String> =
        list.into_iter().flat_map(|image| image.repo_tags.unwrap_or_default()).collect();
    tags.sort();
    tags
}

/// The lines of a long operation, and its result.
async fn told<F>(work: impl FnOnce(mpsc::Sender<Message>) -> F) -> (engine::Result<()>, Vec<Message>)
where
    F: Future<Output = engine::Result<()>>,
{
    let (sender, mut receiver) = mpsc::channel(64);
    let lines = async {
        let mut lines = Vec::new();
        while let Some(line) = receiver.recv().await {
            lines.push(line);
        }
        lines
    };
    tokio::join!(work(sender), lines)
}

async fn saved(engine: &Engine, names: &[&str]) -> Vec<u8> {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let archive = tokio::task::spawn_blocking(move || {
        let mut archive = Vec::new();
        reader.read_to_end(&mut archive).unwrap();
        archive
    });
    engine.image_save(names, Vec::new(), writer.into()).await.unwrap();
    archive.await.unwrap()
}

#[test]
fn images_are_listed_inspected_and_named() {
    in_a_world(async |world| {
        let engine = world.engine();
        assert_eq!(tags(&engine, &[]).await, [IMAGE, image::embedded::NAME]);
        engine.image_tag(IMAGE, "app", "1").await.unwrap();
        engine.image_tag(IMAGE, "other/app", "").await.unwrap();
        assert_eq!(tags(&engine, &[("reference", "app")]).await, ["app:1"]);
        assert_eq!(tags(&engine, &[("reference", "*/app")]).await, ["other/app:latest"]);
        assert_eq!(tags(&engine, &[("reference", "app:*")]).await, ["app:1"]);
        assert_eq!(tags(&engine, &[("dangling", "true")]).await, Vec::<String>::new());
        assert_eq!(tags(&engine, &[("label", "none")]).await, Vec::<String>::new());
        let refused = engine.image_list(false, false, filters(&[("color", "red")])).await.unwrap_err();
        assert_eq!(
            (refused.kind(), refused.message()),
            (ErrorKind::InvalidParameter, "invalid filter 'color'")
        );

        let shown = engine.image_inspect("app:1", None).await.unwrap();
        assert_eq!(shown.repo_tags, ["app:1", "other/app:latest", IMAGE], "in the order of their full names");
        assert_eq!((shown.os.as_str(), shown.root_fs.layers.len()), ("linux", 1));
        assert!(
            shown.size > 100_000
                && shown.created.ends_with('Z')
                && shown.metadata.last_tag_time > shown.created
        );
        assert_eq!(shown.config.cmd, Some(vec!["sh".to_owned()]));
        let history = engine.image_history("app:1", None).await.unwrap();
        assert_eq!((history.len(), &history[0].id), (1, &shown.id));
        let missing = engine.image_inspect("nothing", None).await.unwrap_err();
        assert_eq!(
            (missing.kind(), missing.message()),
            (ErrorKind::NotFound, "No such image: nothing:latest")
        );
    });
}

#[test]
fn an_image_goes_when_nobody_uses_it() {
    in_a_world(async |world| {
        let engine = world.engine();
        let id = world.create("user", "true", |_| {}).await;
        let refused = engine.image_remove(IMAGE, None, false, true).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        let words = format!("(must force) - container {} is using its referenced image", &id[..12]);
        assert!(refused.message().contains(&words), "{refused}");
        let report = engine.image_prune(filters(&[("dangling", "false")])).await.unwrap();
        let deleted = report.images_deleted.unwrap();
        assert!(deleted.iter().any(|step| step.untagged == image::embedded::NAME), "{deleted:?}");
        assert!(report.space_reclaimed > 0);
        assert_eq!(tags(&engine, &[]).await, [IMAGE], "the used one stays");
        // Forced, the container keeps its files and still starts.
        engine.image_remove(IMAGE, None, true, true).await.unwrap();
        assert!(tags(&engine, &[]).await.is_empty());
        engine.container_start(&id).await.unwrap();
        assert_eq!(world.wait(&id).await, 0);
    });
}

#[test]
fn what_is_saved_can_be_loaded_again() {
    in_a_world(async |world| {
        let engine = world.engine();
        engine.image_tag(IMAGE, "app", "1").await.unwrap();
        let id = engine.image_inspect("app:1", None).await.unwrap().id;
        let archive = saved(&engine, &["app:1", IMAGE]).await;
        engine.image_remove(&id, None, true, true).await.unwrap();
        assert_eq!(engine.image_inspect("app:1", None).await.unwrap_err().kind(), ErrorKind::NotFound);

        let upload = Box::new(std::io::Cursor::new(archive));
        let (result, lines) = told(|sender| engine.image_load(upload, true, Vec::new(), sender)).await;
        result.unwrap();
        let streams: Vec<String> = lines.into_iter().map(|line| line.stream).collect();
        assert_eq!(streams, ["Loaded image: app:1\n".to_owned(), format!("Loaded image: {IMAGE}\n")]);
        assert_eq!(engine.image_inspect("app:1", None).await.unwrap().id, id);
        let container = world.run("again", "cat /data/given", |_| {}).await;
        assert_eq!(world.wait(&container).await, 0);
        assert_eq!(world.logs(&container, false).await, "from the image\n");

        let upload = Box::new(&b"<html>this is no archive at all</html>"[..]);
        let (result, lines) = told(|sender| engine.image_load(upload, false, Vec::new(), sender)).await;
        assert_eq!((result.unwrap_err().kind(), lines.len()), (ErrorKind::InvalidParameter, 0));
    });
}

#[test]
fn an_import_takes_changes() {
    in_a_world(async |world| {
        let engine = world.engine();
        let mut archive = image::archive::Writer::new(Vec::new());
        archive.add_document("hello", b"hi", 0).unwrap();
        let request = ImportRequest {
            source: "-".into(),
            repository: "imported".into(),
            tag: "1".into(),
            changes: vec!["ENV A=b".into(), "CMD [\"/x\"]".into()],
            ..ImportRequest::default()
        };
        let upload = Box::new(std::io::Cursor::new(archive.finish().unwrap()));
        let (result, lines) = told(|sender| engine.image_import(request.clone(), upload, sender)).await;
        result.unwrap();
        let shown = engine.image_inspect("imported:1", None).await.unwrap();
        assert_eq!(lines.last().unwrap().status, shown.id);
        assert_eq!((shown.config.env, shown.config.cmd), (Some(vec!["A=b".into()]), Some(vec!["/x".into()])));
        assert_eq!(shown.comment, "Imported from -");
        let bad = ImportRequest { changes: vec!["RUN true".into()], ..request };
        let (result, _) = told(|sender| engine.image_import(bad, Box::new(std::io::empty()), sender)).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidParameter);
    });
}

#[test]
fn an_import_may_be_fetched() {
    in_a_world(async |world| {
        let engine = world.engine();
        let mut archive = image::archive::Writer::new(Vec::new());
        archive.add_document("hello", &vec![7; 1 << 20], 0).unwrap();
        let archive = archive.finish().unwrap();
        let serve = |answers: Vec<Vec<u8>>| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let serve = move || {
                for answer in answers {
                    let mut client = listener.accept().unwrap().0;
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let mut byte = [0];
                        client.read_exact(&mut byte).unwrap();
                        head.push(byte[0]);
                    }
                    // It may have heard enough.
                    let _ = client.write_all(&answer);
                }
            };
            (format!("{address}/root.tar"), std::thread::spawn(serve))
        };
        let head =
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", archive.len());
        let whole = [head.as_bytes(), &archive].concat();
        let half = whole[..whole.len() / 2].to_vec();
        let refusal = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\nno such file\n".to_vec();
        let (address, server) = serve(vec![whole, half, refusal]);

        let request = |source: &str, tag: &str| ImportRequest {
            source: source.to_owned(),
            repository: "fetched".into(),
            tag: tag.into(),
            ..ImportRequest::default()
        };
        let import = async |source: &str, tag| {
            told(|sender| engine.image_import_from(request(source, tag), sender)).await
        };
        let (result, lines) = import(&address, "1").await;
        result.unwrap();
        let shown = engine.image_inspect("fetched:1", None).await.unwrap();
        assert_eq!(shown.comment, format!("Imported from {address}"));
        let lines: Vec<&str> = lines.iter().map(|line| line.status.as_str()).collect();
        assert_eq!(lines.first().unwrap(), &format!("Downloading from http://{address}"));
        assert!(lines.contains(&"Importing"), "{lines:?}");
        assert_eq!(*lines.last().unwrap(), shown.id);

        let (result, _) = import(&address, "2").await;
        assert!(result.unwrap_err().to_string().contains("unexpected EOF"));
        let (result, lines) = import(&address, "2").await;
        let error = result.unwrap_err();
        assert_eq!((error.kind(), lines.len()), (ErrorKind::NotFound, 0));
        let words = format!("failed to GET http://{address} with status 404 Not Found: no such file");
        assert_eq!(error.to_string(), words);
        assert!(engine.image_inspect("fetched:2", None).await.is_err());
        server.join().unwrap();
        let (result, _) = import("ftp://host/x", "2").await;
        assert!(result.unwrap_err().to_string().contains("unsupported protocol scheme \"ftp\""));
    });
}

#[test]
fn an_image_may_be_odd() {
    in_a_world(async |world| {
        let engine = world.engine();
        let id = world.create("base", "", |_| {}).await;
        let odd = Config {
            stop_signal: "FOO".into(),
            env: Some(vec![String::new(), "A=b".into()]),
            healthcheck: Some(HealthConfig { test: vec!["DANCE".into()], ..HealthConfig::default() }),
            exposed_ports: [("$PORT/tcp".to_owned(), Default::default())].into(),
            ..Config::default()
        };
        let commit =
            CommitOptions { repository: "odd".into(), config: Some(odd), ..CommitOptions::default() };
        engine.container_commit(&id, commit).await.unwrap();
        let id =
            world.run("web", "echo $A; exec sleep 1000", |request| request.config.image = "odd".into()).await;
        world.until_logged(&id, "b\n").await;
        let shown = engine.container_inspect(&id, false).await.unwrap();
        assert_eq!((shown.config.stop_signal.as_str(), shown.state.health), ("FOO", None));
        assert!(shown.config.exposed_ports.contains_key("$PORT/tcp"));
        engine.container_stop("web", None, Some(0)).await.unwrap();

        // It is another matter what somebody asks for by himself.
        let refused = engine.container_create(
            Default::default(),
            api::container::CreateRequest {
                config: Config { image: "odd".into(), stop_signal: "BAR".into(), ..Config::default() },
                ..Default::default()
            },
        );
        assert_eq!(refused.await.unwrap_err().message(), "invalid signal: BAR");
        let publishing = |request: &mut api::container::CreateRequest| {
            request.config.exposed_ports.insert("80/foo".into(), Default::default());
            request.host_config.publish_all_ports = true;
            request.host_config.network_mode = "bridge".into();
        };
        let id = world.create("all", "", publishing).await;
        let error = engine.container_start(&id).await.unwrap_err().to_string();
        assert!(
            error.starts_with("failed to set up container networking: driver failed programming"),
            "{error}"
        );
        assert!(error.ends_with(": unknown protocol"), "{error}");
    });
}

#[test]
fn a_commit_is_an_image_that_runs() {
    in_a_world(async |world| {
        let engine = world.engine();
        let id = world.run("maker", "echo changed >/data/given; rm /tmp -r; touch /new", |_| {}).await;
        assert_eq!(world.wait(&id).await, 0);
        let changes = engine.container_changes(&id).await.unwrap().unwrap();
        let told: Vec<(&str, u8)> =
            changes.iter().map(|change| (change.path.as_str(), change.kind)).collect();
        for expected in [("/data/given", 0), ("/tmp", 2), ("/new", 1)] {
            assert!(told.contains(&expected), "{told:?}");
        }
        let options = CommitOptions {
            repository: "made".into(),
            comment: "by hand".into(),
            changes: vec!["CMD cat /data/given".into(), "LABEL a=b".into()],
            ..CommitOptions::default()
        };
        let made = engine.container_commit(&id, options).await.unwrap().id;
        let shown = engine.image_inspect("made", None).await.unwrap();
        assert_eq!((&shown.id, shown.comment.as_str(), shown.root_fs.layers.len()), (&made, "by hand", 2));
        assert_eq!(tags(&engine, &[("label", "a=b")]).await, ["made:latest"]);
        let copy = world
            .run("copy", "", |request| {
                request.config.image = "made".into();
                request.config.cmd = None;
            })
            .await;
        assert_eq!(world.wait(&copy).await, 0);
        assert_eq!(world.logs(&copy, false).await, "changed\n");
        // Its parent is needed, and the name of a parent may go.
        let refused = engine.image_remove(&shown.parent, None, true, true).await.unwrap_err();
        assert!(
            refused.message().contains("(cannot be forced) - image has dependent child images"),
            "{refused}"
        );
    });
}

#[test]
fn the_embedded_image_runs() {
    in_a_world(async |world| {
        let id = world
            .run("hello", "", |request| {
                request.config.image = image::embedded::NAME.into();
                request.config.cmd = None;
            })
            .await;
        assert_eq!(world.wait(&id).await, 0);
        let said = world.logs(&id, false).await;
        assert!(said.contains("Hello from Wharf!"), "{said}");
        assert!(said.contains("process id   1 - the first of its PID namespace"), "{said}");
        assert!(said.contains(&format!("host name    {}\n", &id[..12])), "{said}");
        assert!(said.contains("filtered by seccomp"), "{said}");
    });
}
