//! Volumes: made, filled, shared, kept and removed.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use api::filters::Filters;
use api::volume::CreateRequest;
use engine::{ErrorKind, RemoveOptions};

use crate::world::{World, in_a_world};

fn filters(pairs: &[(&str, &str)]) -> Filters {
    let mut filters = Filters::default();
    for (key, value) in pairs {
        filters.add(*key, *value);
    }
    filters
}

async fn names(world: &World, pairs: &[(&str, &str)]) -> Vec<String> {
    let list = world.engine().volume_list(filters(pairs)).await.unwrap();
    list.volumes.into_iter().map(|volume| volume.name).collect()
}

fn named(name: &str) -> CreateRequest {
    CreateRequest { name: name.into(), ..CreateRequest::default() }
}

#[test]
fn a_volume_is_there_until_it_is_removed() {
    in_a_world(async |world| {
        let engine = world.engine();
        let labels = Some([("a".to_owned(), "b".to_owned())].into());
        let made = engine.volume_create(CreateRequest { labels, ..named("data") }).await.unwrap();
        assert_eq!((made.driver.as_str(), made.scope.as_str()), ("local", "local"));
        assert_eq!(made.mountpoint, world.dir.join("data/volumes/data/_data").to_str().unwrap());
        assert_eq!(engine.volume_create(named("data")).await.unwrap(), made, "twice is once");
        let anonymous = engine.volume_create(CreateRequest::default()).await.unwrap();
        assert_eq!((anonymous.name.len(), anonymous.labels.unwrap().len()), (64, 1));
        assert_eq!(names(world, &[("label", "a=b")]).await, ["data"]);
        assert_eq!(names(world, &[("name", "at")]).await, ["data"]);
        assert_eq!(names(world, &[("dangling", "false")]).await, Vec::<String>::new());
        let refused = engine.volume_list(filters(&[("x", "y")])).await.unwrap_err();
        assert_eq!(refused.message(), "invalid filter 'x'");

        engine.volume_remove("data", false).await.unwrap();
        assert!(!Path::new(&made.mountpoint).exists());
        let missing = engine.volume_inspect("data").await.unwrap_err();
        assert_eq!((missing.kind(), missing.message()), (ErrorKind::NotFound, "get data: no such volume"));
        assert_eq!(engine.volume_remove("data", false).await.unwrap_err().kind(), ErrorKind::NotFound);
        engine.volume_remove("data", true).await.unwrap();
    });
}

#[test]
fn an_empty_volume_is_filled_from_the_image_and_shared() {
    in_a_world(async |world| {
        let engine = world.engine();
        let bind = |request: &mut api::container::CreateRequest| {
            request.host_config.binds = Some(vec!["shared:/data".into()]);
        };
        let id = world.run("one", "cat /data/given; echo more >>/data/given; touch /data/new", bind).await;
        assert_eq!(world.wait(&id).await, 0);
        assert_eq!(world.logs(&id, false).await, "from the image\n");
        let place = engine.volume_inspect("shared").await.unwrap().mountpoint;
        assert_eq!(
            std::fs::read_to_string(Path::new(&place).join("given")).unwrap(),
            "from the image\nmore\n"
        );
        // It is not filled again.
        std::fs::remove_file(Path::new(&place).join("given")).unwrap();
        let two = world.run("two", "ls /data", bind).await;
        assert_eq!(world.wait(&two).await, 0);
        assert_eq!(world.logs(&two, false).await, "new\n");

        let refused = engine.volume_remove("shared", true).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        assert!(
            refused.message().starts_with("remove shared: volume is in use - [")
                && refused.message().contains(&id)
        );
        let report = engine.volume_prune(filters(&[("all", "true")])).await.unwrap();
        assert_eq!(report.volumes_deleted, Some(Vec::new()));
        for container in ["one", "two"] {
            engine
                .container_remove(container, RemoveOptions { volumes: true, ..RemoveOptions::default() })
                .await
                .unwrap();
        }
        assert_eq!(names(world, &[]).await, ["shared"], "a named volume stays");
        assert_eq!(engine.volume_prune(filters(&[])).await.unwrap().volumes_deleted, Some(Vec::new()));
        let report = engine.volume_prune(filters(&[("all", "true")])).await.unwrap();
        assert_eq!(report.volumes_deleted, Some(vec!["shared".to_owned()]));
    });
}

#[test]
fn anonymous_volumes_go_with_their_container() {
    in_a_world(async |world| {
        let engine = world.engine();
        let id = world.run("one", "touch /data/file", |request| {
            request.config.volumes = Some([("/data".to_owned(), Default::default())].into());
        });
        let id = id.await;
        assert_eq!(world.wait(&id).await, 0);
        let volume = names(world, &[]).await.pop().unwrap();
        // As `--volumes-from`: the second one keeps it alive.
        let second = world
            .create("two", "ls /data/file", |request| {
                request.host_config.volumes_from = Some(vec!["one".into()])
            })
            .await;
        let with_volumes = RemoveOptions { volumes: true, ..RemoveOptions::default() };
        engine.container_remove(&id, with_volumes).await.unwrap();
        assert_eq!(names(world, &[]).await, [volume.as_str()]);
        engine.container_start(&second).await.unwrap();
        assert_eq!(world.wait(&second).await, 0);
        // The last who has it takes it along, as with Docker; who is removed without volumes leaves it to a prune.
        let third = world
            .create("three", "true", |request| request.host_config.volumes_from = Some(vec!["two".into()]))
            .await;
        engine.container_remove(&second, RemoveOptions::default()).await.unwrap();
        assert_eq!(names(world, &[]).await, [volume.as_str()]);
        engine.container_remove(&third, with_volumes).await.unwrap();
        assert!(names(world, &[]).await.is_empty());

        let id = world.run("four", "touch /data/file", |request| {
            request.config.volumes = Some([("/data".to_owned(), Default::default())].into());
        });
        let id = id.await;
        assert_eq!(world.wait(&id).await, 0);
        let volume = names(world, &[]).await.pop().unwrap();
        engine.container_remove(&id, RemoveOptions::default()).await.unwrap();
        let report = engine.volume_prune(filters(&[])).await.unwrap();
        assert_eq!(report.volumes_deleted, Some(vec![volume]));
        assert!(report.space_reclaimed > 0, "it held a copy of the image's files");
    });
}

#[test]
fn a_filled_volume_looks_like_the_directory_it_came_from() {
    in_a_world(async |world| {
        let engine = world.engine();
        // An image whose directory belongs to somebody and has a mode of its own.
        let id = world.run("maker", "id >/dev/null; touch /data/x", |_| {}).await;
        assert_eq!(world.wait(&id).await, 0);
        let upper = world.dir.join("data/snapshots").join(&id).join("fs/data");
        let directory = linux::path::Root::open(&upper).unwrap();
        linux::entry::set_owner(&directory, 70, 71).unwrap();
        linux::entry::set_mode(&directory, 0o2750).unwrap();
        let options = engine::CommitOptions { repository: "owned".into(), ..Default::default() };
        engine.container_commit(&id, options).await.unwrap();
        world
            .create("user", "true", |request| {
                request.config.image = "owned".into();
                request.host_config.binds = Some(vec!["filled:/data".into()]);
            })
            .await;
        let place = engine.volume_inspect("filled").await.unwrap().mountpoint;
        let found = std::fs::metadata(&place).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (70, 71, 0o2750));
        assert!(Path::new(&place).join("x").exists());
    });
}

#[test]
fn driver_options_are_mounted_for_a_container() {
    in_a_world(async |world| {
        let engine = world.engine();
        let options = [("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")];
        let driver_opts = Some(options.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        engine.volume_create(CreateRequest { driver_opts, ..named("memory") }).await.unwrap();
        let id = world
            .run("one", "echo x >/m/file; cat /proc/mounts", |request| {
                request.host_config.binds = Some(vec!["memory:/m".into()]);
            })
            .await;
        assert_eq!(world.wait(&id).await, 0);
        let log = world.logs(&id, false).await;
        let line = log.lines().find(|line| line.contains(" /m ")).unwrap();
        assert!(line.contains("tmpfs") && line.contains("size=1024k"), "{line}");
    });
}

#[test]
fn a_device_that_is_not_there_is_missed_at_the_start() {
    in_a_world(async |world| {
        let engine = world.engine();
        let options = [("type", "none"), ("device", "/no/such"), ("o", "bind")];
        let driver_opts = Some(options.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        engine.volume_create(CreateRequest { driver_opts, ..named("gone") }).await.unwrap();
        let id = world
            .create("one", "true", |request| {
                request.host_config.binds = Some(vec!["gone:/not/in/the/image".into()]);
            })
            .await;
        let error = engine.container_start(&id).await.unwrap_err().to_string();
        assert!(error.starts_with("error while mounting volume '"), "{error}");
        assert!(error.ends_with(", flags: 0x1000: no such file or directory"), "{error}");
    });
}
