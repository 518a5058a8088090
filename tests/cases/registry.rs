//! Pull and push with a real registry, and with one that does not behave.

use blackbox::{Client, Host, IMAGE, Settings, World, busybox, eventually, file};
use std::process::Child;

/// Debian's docker-registry in the world's network, with a data directory in the world's.
pub(crate) struct Registry {
    process: Child,
}

impl Registry {
    pub(crate) fn start(world: &World) -> Self {
        Registry::with(world, "")
    }

    /// With more lines of configuration.
    fn with(world: &World, more: &str) -> Self {
        let directory = world.directory().join("registry");
        std::fs::create_dir_all(&directory).unwrap();
        let configuration = directory.join("config.yml");
        std::fs::write(
            &configuration,
            format!(
                "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:5000\n{more}",
                directory.display()
            ),
        )
        .unwrap();
        let process = world
            .host()
            .command("docker-registry")
            .args(["serve", configuration.to_str().unwrap()])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let registry = Registry { process };
        registry.wait(world.host());
        registry
    }

    fn wait(&self, host: &Host) {
        eventually("the registry", || {
            host.try_run(&["curl", "-s", "http://127.0.0.1:5000/v2/"]).status.success().then_some(())
        });
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn push_remove_pull_run() {
    let world = World::start();
    let _registry = Registry::start(&world);
    let id = world.wharf(&["images", "-q", "--no-trunc", IMAGE]).ok();
    for client in world.clients() {
        let name = format!("localhost:5000/team/{}:1", client.name);
        client.run(&["tag", IMAGE, &name]).code(0);
        let pushed = client.run(&["push", &name]).ok();
        assert!(pushed.contains("1: digest: sha256:"), "{pushed}");
        client.run(&["rmi", &name]).code(0);
        world.wharf(&["rmi", "-f", IMAGE]).code(0);
        let pulled = client.run(&["pull", &name]).ok();
        assert!(pulled.contains(&format!("Status: Downloaded newer image for {name}")), "{pulled}");
        assert!(pulled.ends_with(&name), "{pulled}");
        assert_eq!(client.run(&["images", "-q", "--no-trunc", &name]).ok(), id);
        let again = client.run(&["pull", &name]).ok();
        assert!(again.contains(&format!("Status: Image is up to date for {name}")), "{again}");
        assert_eq!(client.run(&["run", "--rm", &name, "echo", "pulled"]).ok(), "pulled");
        let digest = client.run(&["inspect", "-f", "{{index .RepoDigests 0}}", &name]).ok();
        assert_eq!(client.run(&["run", "--rm", &digest, "echo", "by digest"]).ok(), "by digest");
        world.wharf(&["tag", &name, IMAGE]).code(0);
    }
}

#[test]
fn run_pulls_what_is_missing() {
    let world = World::start();
    let _registry = Registry::start(&world);
    world.wharf(&["tag", IMAGE, "localhost:5000/box"]).ok();
    world.wharf(&["push", "localhost:5000/box"]).ok();
    for client in world.clients() {
        world.wharf(&["rmi", "localhost:5000/box"]).ok();
        let output = client.run(&["run", "--rm", "localhost:5000/box", "echo", "here"]).code(0);
        assert_eq!(output.stdout, "here\n");
        output
            .says("Unable to find image 'localhost:5000/box:latest' locally")
            .says("Status: Downloaded newer image for localhost:5000/box:latest");
    }
}

#[test]
fn what_is_not_there_is_said_so() {
    let world = World::start();
    let _registry = Registry::start(&world);
    for client in world.clients() {
        client.run(&["pull", "localhost:5000/absent"]).code(1).says("localhost:5000/absent:latest not found");
        client.run(&["pull", "localhost:1/x"]).code(1).says("connection refused");
        client.run(&["pull", "no-such-host.invalid/x"]).code(1).says("no-such-host.invalid");
    }
}

#[test]
fn an_interrupted_pull_is_taken_up_by_the_next_engine() {
    let mut world = World::empty(Settings::default());
    let _registry = Registry::start(&world);
    let noise: Vec<u8> = (0..24_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    world.load(&busybox().layer(|layer| file(layer, "noise", &noise, 0o644)).build("localhost:5000/big"));
    world.wharf(&["push", "localhost:5000/big"]).ok();
    for pause in [0, 20, 60, 150] {
        world.wharf(&["rmi", "localhost:5000/big"]).ok();
        let pull = world.session(&["pull", "localhost:5000/big"]);
        std::thread::sleep(std::time::Duration::from_millis(pause));
        world.kill_engine();
        drop(pull);
        world.start_engine();
        world.wharf(&["pull", "localhost:5000/big"]).ok();
        let sum = world.wharf(&["run", "--rm", "localhost:5000/big", "sh", "-c", "wc -c < /noise"]).ok();
        assert_eq!(sum, noise.len().to_string());
    }
}

#[test]
fn two_pulls_of_one_image_both_succeed() {
    let world = World::start();
    let _registry = Registry::start(&world);
    world.wharf(&["tag", IMAGE, "localhost:5000/shared"]).ok();
    world.wharf(&["push", "localhost:5000/shared"]).ok();
    world.wharf(&["rmi", "localhost:5000/shared"]).ok();
    world.wharf(&["rmi", IMAGE]).ok();
    let pulls: Vec<_> = (0..4).map(|_| world.session(&["pull", "-q", "localhost:5000/shared"])).collect();
    for pull in pulls {
        assert_eq!(pull.finish().ok(), "localhost:5000/shared:latest");
    }
}

#[test]
fn a_password_is_asked_for_kept_and_forgotten() {
    let world = World::start();
    // `sesame`, as htpasswd -B writes it.
    let password = "me:$2b$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O\n";
    let file = world.directory().join("htpasswd");
    std::fs::write(&file, password).unwrap();
    let more = format!("auth:\n  htpasswd:\n    realm: here\n    path: {}\n", file.display());
    let _registry = Registry::with(&world, &more);
    let login = |client: &Client<'_>, password: &str| {
        let mut session = client.session(&["login", "-u", "me", "--password-stdin", "localhost:5000"]);
        session.send(password).end_input();
        session.finish()
    };
    for client in world.clients() {
        let name = format!("localhost:5000/{}", client.name);
        client.run(&["tag", IMAGE, &name]).code(0);
        assert_eq!(client.run(&["push", &name]).code(1).stderr, "no basic auth credentials\n");
        client.run(&["pull", &name]).code(1).says("no basic auth credentials");
        client.run(&["run", "--rm", "--pull", "always", &name]).code(125).says("no basic auth credentials");
        login(&client, "wrong").code(1).says("401 Unauthorized");
        login(&client, "sesame").code(0).prints("Login Succeeded");
        client.run(&["push", "-q", &name]).code(0);
        client.run(&["rmi", &name]).code(0);
        client.run(&["pull", "-q", &name]).code(0);
        client.run(&["logout", "localhost:5000"]).code(0);
        client.run(&["pull", &name]).code(1).says("no basic auth credentials");
        client.run(&["rmi", &name]).code(0);
    }
}
