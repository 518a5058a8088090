//! Docker's SDKs, as programs use them. They read sockets in ways of their own, which the clients do not show.

use std::path::Path;
use std::process::Command;

use blackbox::World;

/// The release that the checks were written against; the newest 7 serves as well.
const PYTHON_SDK: &str = "docker>=7,<8";

/// Whether a program ran and succeeded; its complaint otherwise.
fn succeeds(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// A Python with the SDK, made where the world is.
fn python_sdk(directory: &Path) -> Result<std::path::PathBuf, String> {
    let venv = directory.join("venv");
    succeeds(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let python = venv.join("bin/python");
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PYTHON_SDK];
    succeeds(Command::new(&python).args(install))?;
    Ok(python)
}

#[test]
fn python_programs_find_everything_as_in_docker() {
    let world = World::start();
    let python = match python_sdk(world.directory()) {
        Ok(python) => python,
        Err(reason) => {
            eprintln!("not tested, the SDK cannot be installed here: {reason}");
            return;
        }
    };
    let checks = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk/everyday.py");
    let output = Command::new(python)
        .arg(checks)
        .env("DOCKER_HOST", world.address())
        .env("DOCKER_CONFIG", world.directory().join("config"))
        .output()
        .expect("the interpreter has just been made");
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
