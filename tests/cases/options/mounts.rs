//! `-v` and `--mount`, by what is inside.

use blackbox::{IMAGE, World, eventually};

#[test]
fn an_image_is_mounted_read_only_and_stays_while_it_is() {
    let world = World::start();
    let inside = "ls /image; touch /image/x";
    world
        .docker(&["run", "--rm", "--mount", "type=image,src=busybox,dst=/image", IMAGE, "sh", "-c", inside])
        .code(1)
        .prints("bin")
        .says("Read-only file system");
    let part = "type=image,src=busybox,dst=/page,image-subpath=www/index.html";
    assert_eq!(
        world.docker(&["run", "--rm", "--mount", part, IMAGE, "cat", "/page"]).ok(),
        "hello from inside"
    );
    world
        .docker(&[
            "run",
            "--rm",
            "--mount",
            "type=image,src=busybox,dst=/i,image-subpath=absent",
            IMAGE,
            "true",
        ])
        .code(127)
        .says("cannot access path");
    world.docker(&["create", "--name", "holder", "--mount", part, "localhost/hello"]).ok();
    // As for a running container's image: the name may go, the files stay.
    world.docker(&["rmi", "-f", IMAGE]).ok();
    world.docker(&["start", "-a", "holder"]).ok();
    let mount = &world.inspect("holder")["Mounts"][0];
    assert_eq!(
        (mount["Type"].as_str(), mount["Name"].as_str(), mount["RW"].as_bool()),
        (Some("image"), Some("busybox"), Some(false))
    );
    // The client hears of an end before what the run held is given back.
    eventually("the mounts of runs that ended to go", || {
        let left = std::fs::read_dir(world.exec_root().join("images")).map(Iterator::count);
        (left.unwrap_or_default() == 0).then_some(())
    });
}

#[test]
fn words_that_go_with_another_kind_of_mount_are_refused() {
    let world = World::start();
    for client in world.clients() {
        let directory = world.directory().to_str().unwrap().to_owned();
        for (volume, words) in [
            (
                format!("{directory}:/d:nocopy"),
                "invalid mount config for type \"bind\": field VolumeOptions must not be specified",
            ),
            (
                "data:/d:rslave".into(),
                "invalid mount config for type \"volume\": field BindOptions must not be specified",
            ),
            ("/d:ro".into(), "invalid volume specification: '/d:ro'"),
            (format!("{directory}:/d:ro,rw"), "invalid mode: ro,rw"),
        ] {
            client.run(&["create", "-v", &volume, IMAGE, "true"]).code(1).says(words);
        }
        let tmpfs = client.run(&[
            "run",
            "--rm",
            "--mount",
            "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700",
            IMAGE,
            "sh",
            "-c",
            "stat -c %a /t; df -k /t | tail -n1 | awk '{print $2}'",
        ]);
        assert_eq!(tmpfs.ok(), "700\n1024");
        world.tidy();
    }
}

#[test]
fn links_are_told_in_the_environment() {
    let world = World::start();
    for client in world.clients() {
        client
            .run(&[
                "run", "-d", "--name", "db", "--expose", "80-81", "-e", "KIND=sql", IMAGE, "sleep", "1000",
            ])
            .ok();
        let output = client.run(&["run", "--rm", "--name", "web", "--link", "db:store", IMAGE, "env"]).ok();
        let address = world.inspect("db")["NetworkSettings"]["IPAddress"].as_str().unwrap().to_owned();
        for line in [
            "STORE_NAME=/web/store".to_owned(),
            "STORE_ENV_KIND=sql".to_owned(),
            format!("STORE_PORT=tcp://{address}:80"),
            format!("STORE_PORT_80_TCP_END=tcp://{address}:81"),
            "STORE_PORT_81_TCP_PROTO=tcp".to_owned(),
        ] {
            assert!(output.lines().any(|printed| printed == line), "{line} is not in\n{output}");
        }
        client.run(&["create", "--name", "later", "--link", "db", IMAGE, "true"]).ok();
        assert_eq!(world.inspect("later")["HostConfig"]["Links"][0], "/db:/later/db");
        client.run(&["kill", "db"]).ok();
        client
            .run(&["start", "later"])
            .code(1)
            .says("Cannot link to a non running container: /db AS /later/db");
        client
            .run(&["run", "--rm", "--link", "nobody", IMAGE, "true"])
            .code(125)
            .says("could not get container for nobody: No such container: nobody");
        world.tidy();
    }
}

#[test]
fn a_volume_on_etc_leaves_the_names_of_the_container() {
    let world = World::start();
    for client in world.clients() {
        let output = client.run(&[
            "run",
            "--rm",
            "--hostname",
            "ship",
            "--mount",
            "type=volume,dst=/etc,volume-nocopy",
            IMAGE,
            "sh",
            "-c",
            "cat /etc/hostname; ls /etc",
        ]);
        assert_eq!(output.ok(), "ship\nhostname\nhosts\nresolv.conf");
        assert_eq!(world.wharf(&["volume", "ls", "-q"]).ok(), "", "it goes before the client does");
    }
}
