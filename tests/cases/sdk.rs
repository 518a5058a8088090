//! Docker's SDKs, as programs use them, and an editor's helper. They read sockets in ways of their own, which the
//! clients do not show.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use blackbox::{World, binary, busybox, eventually, file};

/// The releases that the checks were written against; newer ones of the same major version serve as well.
const PYTHON_SDK: &str = "docker>=7,<8";
const TESTCONTAINERS: &str = "testcontainers>=4,<5";
const NODE_SDK: &str = "dockerode@5";
const NODE_TESTCONTAINERS: &str = "testcontainers@11";
/// The image of what plays the reaper.
const REAPER: &str = "reaper:1";
const DEV_CONTAINERS: &str = "@devcontainers/cli@0";

/// Whether a program ran and succeeded; its complaint otherwise.
fn succeeds(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// A Python with a package, made where the world is.
fn python_with(package: &str, directory: &Path) -> Result<PathBuf, String> {
    let venv = directory.join("venv");
    succeeds(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let python = venv.join("bin/python");
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package];
    succeeds(Command::new(&python).args(install))?;
    Ok(python)
}

/// Node, and a package for it where the world is.
fn node_with(package: &str, directory: &Path) -> Result<PathBuf, String> {
    let install = ["install", "--silent", "--no-audit", "--no-fund", "--engine-strict", package];
    succeeds(Command::new("npm").args(install).current_dir(directory))?;
    Ok("node".into())
}

/// The checks of bollard, built where cargo keeps what tests build. Only what lies in the registry may be missing.
fn rust_with_bollard() -> Result<PathBuf, String> {
    let folder = sdk("bollard");
    let cargo = || {
        let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        command.current_dir(&folder);
        command
    };
    succeeds(cargo().args(["fetch", "--locked"]))?;
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bollard");
    succeeds(cargo().args(["build", "--locked", "--offline"]).env("CARGO_TARGET_DIR", &target))
        .unwrap_or_else(|error| panic!("{error}"));
    Ok(target.join("debug/everyday"))
}

/// A file or folder beside the tests.
fn sdk(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk").join(name)
}

/// Runs the checks of a file in `sdk/` beside the engine, where its published ports are.
#[track_caller]
fn check(world: &World, interpreter: Result<PathBuf, String>, file: &str) {
    if let Some(interpreter) = installed(interpreter) {
        succeed(world, &interpreter, &[], Some(file));
    }
}

/// The same with an image in the place of Testcontainers' reaper, which removes what a suite has left.
#[track_caller]
fn check_with_a_reaper(world: &World, interpreter: Result<PathBuf, String>, checks: &str) {
    let Some(interpreter) = installed(interpreter) else { return };
    let client = fs::read(binary("wharf")).expect("the client is built");
    let script = fs::read(sdk("reaper.sh")).expect("the script lies beside the checks");
    let image = busybox().layer(|layer| {
        file(layer, "bin/wharf", &client, 0o755);
        file(layer, "bin/reaper", &script, 0o755);
    });
    world.load(&image.set("Entrypoint", serde_json::json!(["/bin/reaper"])).build(REAPER));
    succeed(world, &interpreter, &[("RYUK_CONTAINER_IMAGE", Path::new(REAPER))], Some(checks));

    // It ends when it has removed all else.
    eventually("the reaper's end", || world.wharf(&["ps", "-q"]).ok().is_empty().then_some(()));
    for left in [
        ["ps", "-a", "--filter", "ancestor=busybox"],
        ["network", "ls", "--filter", "type=custom"],
        ["volume", "ls", "--filter", "name=left"],
    ] {
        assert_eq!(world.wharf(&left).ok().lines().count(), 1, "{left:?}");
    }
}

fn installed(program: Result<PathBuf, String>) -> Option<PathBuf> {
    program.map_err(|reason| blackbox::skip(&format!("the SDK cannot be installed here: {reason}"))).ok()
}

#[track_caller]
fn succeed(world: &World, program: &Path, variables: &[(&str, &Path)], file: Option<&str>) {
    let output = world
        .host()
        .command(&program.to_string_lossy())
        .args(file.map(sdk))
        .env("DOCKER_HOST", world.address())
        .env("DOCKER_CONFIG", world.directory().join("config"))
        .env("SDK_DIRECTORY", world.directory())
        .envs(variables.iter().copied())
        .output()
        .expect("the program is there");
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn python_programs_find_everything_as_in_docker() {
    let world = World::start();
    check(&world, python_with(PYTHON_SDK, world.directory()), "everyday.py");
}

#[test]
fn test_suites_of_python_find_everything_as_in_docker() {
    let world = World::start();
    let python = python_with(TESTCONTAINERS, world.directory());
    check_with_a_reaper(&world, python, "testing.py");
}

#[test]
fn node_programs_find_everything_as_in_docker() {
    let world = World::start();
    check(&world, node_with(NODE_SDK, world.directory()), "everyday.mjs");
}

#[test]
fn test_suites_of_node_find_everything_as_in_docker() {
    let world = World::start();
    let node = node_with(NODE_TESTCONTAINERS, world.directory());
    check_with_a_reaper(&world, node, "testing.mjs");
}

#[test]
fn editors_find_everything_as_in_docker() {
    let world = World::start();
    let Some(node) = installed(node_with(DEV_CONTAINERS, world.directory())) else { return };
    for client in ["docker", "wharf"] {
        let program = PathBuf::from(world.client(client, &[]).get_program());
        succeed(&world, &node, &[("DOCKER", &program)], Some("developing.mjs"));
    }
}

#[test]
fn rust_programs_find_everything_as_in_docker() {
    let world = World::start();
    if let Some(program) = installed(rust_with_bollard()) {
        succeed(&world, &program, &[], None);
    }
}
