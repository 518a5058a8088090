//! Which engine a command line reaches: contexts, variables, and an engine on another host by `ssh`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use blackbox::{Output, Session, World};

/// `wharf` without the world's address in its environment: only what a test says names the engine.
fn undirected(world: &World, words: &[&str]) -> Command {
    let mut command = world.client("wharf", words);
    command.env_remove("DOCKER_HOST");
    command
}

fn finish(command: Command) -> Output {
    let mut session = Session::start(command);
    session.end_input();
    session.finish()
}

/// A program called `ssh` that is already where it should go.
fn fake_ssh(world: &World) -> String {
    let directory = world.directory().join("bin");
    fs::create_dir_all(&directory).expect("the world's directory is writable");
    let wharf = world.client("wharf", &[]).get_program().to_string_lossy().into_owned();
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {log}\nwhile [ \"$1\" != -- ]; do shift; done\nshift 3\nexec {wharf} -H {address} \"$@\"\n",
        log = world.directory().join("ssh.log").display(),
        address = world.address(),
    );
    let path = directory.join("ssh");
    fs::write(&path, script).expect("the world's directory is writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the script is ours");
    format!("{}:{}", directory.display(), std::env::var("PATH").unwrap_or_default())
}

#[test]
fn an_engine_is_reached_by_ssh() {
    let world = World::start();
    let path = fake_ssh(&world);
    let far = |words: &[&str]| {
        let mut command = undirected(&world, &[&["-H", "ssh://me@far:22"], words].concat());
        command.env("PATH", &path);
        command
    };
    assert_eq!(
        finish(far(&["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"])).code,
        7
    );
    let mut session = Session::start(far(&["run", "--rm", "-i", "busybox", "cat"]));
    session.send(b"there and back");
    session.end_input();
    let output = session.finish();
    assert_eq!((output.code, output.stdout.as_str()), (0, "there and back"));
    let log = fs::read_to_string(world.directory().join("ssh.log")).expect("ssh was called");
    assert_eq!(
        log.lines().next(),
        Some("-o ConnectTimeout=30 -T -l me -p 22 -- far docker system dial-stdio")
    );
}

#[test]
fn a_context_goes_from_one_configuration_to_another() {
    let world = World::start();
    let run = |words: &[&str]| finish(undirected(&world, words));
    let host = format!("host={}", world.address());
    run(&["context", "create", "near", "--description", "this one", "--docker", &host]).ok();
    assert_eq!(run(&["-c", "near", "images", "--format", "{{.Repository}}"]).ok().lines().count(), 2);
    run(&["context", "use", "near"]).ok();
    assert_eq!(run(&["context", "show"]).ok(), "near");
    assert!(run(&["context", "ls"]).ok().contains("near *"));
    run(&["context", "export", "near", "near.tar"]).ok();
    assert_eq!(run(&["context", "export", "near", "near.tar"]).stderr, "open near.tar: file exists\n");

    run(&["context", "import", "copy", "near.tar"]).ok();
    let zip = "import tarfile, zipfile\nwith zipfile.ZipFile('near.zip', 'w', zipfile.ZIP_DEFLATED) as out:\n  \
               for one in tarfile.open('near.tar'):\n    \
                 if one.isdir(): out.writestr(one.name + '/', b'')\n    \
                 else: out.writestr(one.name, tarfile.open('near.tar').extractfile(one).read())\n";
    let mut python = Command::new("python3");
    python.args(["-c", zip]).current_dir(world.directory());
    assert!(python.status().expect("python3 runs").success());
    run(&["context", "import", "zipped", "near.zip"]).ok();
    let shown = run(&["context", "inspect", "zipped", "-f", "{{.Endpoints.docker.Host}}"]).ok();
    assert_eq!(shown, world.address());
    run(&["context", "update", "copy", "--description", "the other one"]).ok();
    let inspected = run(&[
        "context",
        "inspect",
        "copy",
        "-f",
        "{{.Name}} {{.Metadata.Description}} {{.Endpoints.docker.Host}}",
    ]);
    assert_eq!(inspected.ok(), format!("copy the other one {}", world.address()));
    run(&["context", "rm", "-f", "near"]).ok();
    assert_eq!(run(&["context", "show"]).ok(), "default");
}

#[test]
fn what_says_more_wins() {
    let world = World::start();
    let nowhere = "unix:///nonexistent/docker.sock";
    let host = format!("host={}", world.address());
    finish(undirected(&world, &["context", "create", "near", "--docker", &host])).ok();
    finish(undirected(&world, &["context", "create", "nowhere", "--docker", &format!("host={nowhere}")]))
        .ok();
    let reaches = |words: &[&str], variables: &[(&str, &str)]| {
        let mut command = undirected(&world, &[words, &["ps", "-q"]].concat());
        command.envs(variables.iter().copied());
        finish(command).code == 0
    };
    assert!(reaches(&[], &[("DOCKER_CONTEXT", "near")]));
    assert!(!reaches(&[], &[("DOCKER_CONTEXT", "near"), ("DOCKER_HOST", nowhere)]), "DOCKER_HOST wins");
    assert!(reaches(&["-c", "near"], &[("DOCKER_HOST", nowhere)]), "a flag wins");
    assert!(reaches(&["-H", &world.address()], &[("DOCKER_CONTEXT", "nowhere")]), "a flag wins");
    let mut both = undirected(&world, &["-c", "near", "-H", nowhere, "ps"]);
    both.env("DOCKER_CONTEXT", "near");
    assert_eq!(finish(both).stderr, "conflicting options: cannot specify both --host and --context\n");
}
