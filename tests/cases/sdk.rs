//! Docker's SDKs, as programs use them. They read sockets in ways of their own, which the clients do not show.

use std::path::{Path, PathBuf};
use std::process::Command;

use blackbox::World;

/// The releases that the checks were written against; newer ones of the same major version serve as well.
const PYTHON_SDK: &str = "docker>=7,<8";
const TESTCONTAINERS: &str = "testcontainers>=4,<5";
const NODE_SDK: &str = "dockerode@5";

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
    let install = ["install", "--silent", "--no-audit", "--no-fund", package];
    succeeds(Command::new("npm").args(install).current_dir(directory))?;
    Ok("node".into())
}

/// Runs the checks of a file in `sdk/` beside the engine, where its published ports are.
#[track_caller]
fn check(world: &World, interpreter: Result<PathBuf, String>, file: &str) {
    let interpreter = match interpreter {
        Ok(interpreter) => interpreter,
        Err(reason) => {
            eprintln!("not tested, the SDK cannot be installed here: {reason}");
            return;
        }
    };
    let checks = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk").join(file);
    let output = world
        .host()
        .command(&interpreter.to_string_lossy())
        .arg(checks)
        .env("DOCKER_HOST", world.address())
        .env("DOCKER_CONFIG", world.directory().join("config"))
        .env("SDK_DIRECTORY", world.directory())
        .output()
        .expect("the interpreter is there");
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
    check(&world, python_with(TESTCONTAINERS, world.directory()), "testing.py");
}

#[test]
fn node_programs_find_everything_as_in_docker() {
    let world = World::start();
    check(&world, node_with(NODE_SDK, world.directory()), "everyday.mjs");
}
