//! `guest`: the tests on another machine, usually a small virtual one with cgroup v2 alone and systemd.
//!
//! Such a machine sees this checkout at the same path but has neither a network nor what the tests call: so they are
//! built here, and the programs they call come along with their libraries, in `target/guest-tools`. `tests/guest.sh`
//! is what runs there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::packages;
use crate::run::{Failure, Outcome, cargo, execute, root};

/// Programs that a minimal system lacks. What its own packages have is used from there.
const TOOLS: &[&str] = &[
    "apparmor_parser",
    "bzip2",
    "crun",
    "curl",
    "docker",
    "docker-registry",
    "fincore",
    "jq",
    "runc",
    "socat",
    "xz",
];

/// Those that execute themselves, and so can't be started by way of the loader. `tests/guest.sh` tells the machine's own
/// loader of what they need and it lacks.
const PLAIN: &[&str] = &["crun", "runc"];

/// A test program, and the folder that cargo would start it in.
struct Suite {
    folder: String,
    program: String,
    filter: String,
}

/// Runs suites there: `PACKAGE` or `PACKAGE:FILTER` each, the black box tests if none is named.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let usage = || {
        Failure::new("say how to run a command there: cargo xtask guest [PACKAGE[:FILTER]]... -- PREFIX...")
    };
    let dashes = arguments.iter().position(|word| word == "--").ok_or_else(usage)?;
    let (names, prefix) = (&arguments[..dashes], &arguments[dashes + 1..]);
    let (program, words) = prefix.split_first().ok_or_else(usage)?;

    packages::install()?;
    cargo(["build"])?;
    let mut suites = Vec::new();
    if names.is_empty() {
        suites = build("blackbox", "")?;
    }
    for name in names {
        let (package, filter) = name.split_once(':').unwrap_or((name, ""));
        suites.extend(build(package, filter)?);
    }
    gather(&root().join("target/guest-tools"))?;

    let mut command = Command::new(program);
    command.args(words).arg("sh").arg(root().join("tests/guest.sh"));
    for suite in &suites {
        command.args([&suite.folder, &suite.program, &suite.filter]);
    }
    execute(command)
}

/// Builds the tests of a package. Cargo tells what it has built, one JSON object a line.
fn build(package: &str, filter: &str) -> Result<Vec<Suite>, Failure> {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.args(["test", "--package", package, "--no-run", "--message-format", "json-render-diagnostics"]);
    command.current_dir(root()).stderr(Stdio::inherit());
    let told = output(command)?;
    let suites: Vec<Suite> = told
        .lines()
        .filter_map(|line| {
            let manifest = Path::new(member(line, "manifest_path")?);
            Some(Suite {
                folder: manifest.parent()?.display().to_string(),
                program: member(line, "executable")?.to_owned(),
                filter: filter.to_owned(),
            })
        })
        // `wharf` and its like are built along.
        .filter(|suite| suite.program.contains("/deps/"))
        .collect();
    if suites.is_empty() { Err(Failure::new(format!("{package} has no tests"))) } else { Ok(suites) }
}

/// A text member of a JSON object, as it stands: cargo's paths need no escapes where this repository can be built.
fn member<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_once(&format!("\"{name}\":\""))?.1.split('"').next()
}

/// Collects the tools that are here. A program that is linked dynamically gets its libraries, and a script that
/// starts it with them: the other machine's may be of other versions.
fn gather(folder: &Path) -> Outcome {
    let at = |error: std::io::Error| Failure::new(format!("cannot fill {}: {error}", folder.display()));
    let (programs, libraries) = (folder.join("bin"), folder.join("lib"));
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(at)?;
    }
    fs::create_dir_all(&programs).and_then(|()| fs::create_dir_all(&libraries)).map_err(at)?;
    for tool in TOOLS {
        let Some(path) = find(tool) else {
            eprintln!("xtask: {tool} is not on PATH: tests that call it will fail there");
            continue;
        };
        // A program without libraries makes ldd fail, and stays alone.
        let mut command = Command::new("ldd");
        command.arg(&path).stderr(Stdio::null());
        let listed = output(command).unwrap_or_default();
        let needed: Vec<&Path> = listed
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
            .map(Path::new)
            .filter(|path| path.exists())
            .collect();
        for library in &needed {
            fs::copy(library, libraries.join(library.file_name().unwrap_or_default())).map_err(at)?;
        }
        let Some(loader) =
            needed.iter().filter_map(|path| path.file_name()?.to_str()).find(|name| name.starts_with("ld-"))
        else {
            fs::copy(&path, programs.join(tool)).map_err(at)?;
            continue;
        };
        if PLAIN.contains(tool) {
            fs::copy(&path, programs.join(tool)).map_err(at)?;
            continue;
        }
        fs::copy(&path, libraries.join(tool)).map_err(at)?;
        let place = libraries.display();
        let script =
            format!("#!/bin/sh\nexec '{place}/{loader}' --library-path '{place}' '{place}/{tool}' \"$@\"\n");
        fs::write(programs.join(tool), script).map_err(at)?;
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(programs.join(tool), fs::Permissions::from_mode(0o755)).map_err(at)?;
    }
    Ok(())
}

fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|path| path.is_file())
}

/// What a program prints; a failure if it fails.
fn output(mut command: Command) -> Result<String, Failure> {
    let output =
        command.output().map_err(|error| Failure::new(format!("cannot start {command:?}: {error}")))?;
    if !output.status.success() {
        return Err(Failure::new(format!("{command:?} ended with {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
