//! Help of every command, and what is said about command lines that make no sense.

use std::fmt::Write as _;

use crate::engine::{Engine, json, told};
use crate::snapshot;

/// The commands that help lists, as words.
fn commands(engine: &Engine) -> Vec<Vec<String>> {
    let listed = |line: &[&str]| {
        let text = String::from_utf8(engine.run(line).stdout).unwrap();
        let entries = text
            .lines()
            .filter_map(|line| line.strip_prefix("  "))
            .filter(|line| !line.starts_with([' ', '-']));
        entries.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect::<Vec<_>>()
    };
    let groups = ["container", "context", "image", "network", "system", "volume"];
    let mut commands = Vec::new();
    for name in listed(&["--help"]) {
        if groups.contains(&name.as_str()) {
            commands.extend(listed(&[&name, "--help"]).into_iter().map(|member| vec![name.clone(), member]));
        }
        commands.push(vec![name]);
    }
    commands
}

#[test]
fn every_command_has_its_help() {
    let engine = Engine::start(|_| json("{}"));
    let commands = commands(&engine);
    assert!(commands.len() > 90, "{} commands are listed", commands.len());
    for words in commands {
        let mut line: Vec<&str> = words.iter().map(String::as_str).collect();
        line.push("--help");
        let output = engine.run(&line);
        assert!(output.status.success() && output.stderr.is_empty(), "{}", told(&output));
        snapshot::check(&format!("help/{}", words.join("-")), &String::from_utf8(output.stdout).unwrap());
    }
    let bare = engine.run(&[]);
    snapshot::check("help/wharf", &String::from_utf8(engine.run(&["--help"]).stdout).unwrap());
    // What nobody asked for is no output.
    assert!(bare.stdout.is_empty() && bare.stderr.starts_with(b"Usage:  wharf [OPTIONS] COMMAND"));
    assert!(engine.lines().is_empty(), "help asks no engine: {:?}", engine.lines());
}

#[test]
fn nonsense_is_answered_with_usage() {
    let engine = Engine::start(|_| json("{}"));
    let lines: &[&[&str]] = &[
        &["nosuch"],
        &["container", "nosuch"],
        &["--nosuch", "ps"],
        &["ps", "--nosuch"],
        &["ps", "-aX"],
        &["ps", "--all=maybe"],
        &["ps", "x"],
        &["ps", "--last", "x"],
        &["ps", "--filter", "x"],
        &["ps", "--format"],
        &["rm"],
        &["cp", "a"],
        &["port"],
        &["cp", "a", "b"],
        &["cp", "a:b", "c:d"],
        &["run"],
        &["run", "-m", "x", "i"],
        &["run", "--mount", "x", "i"],
        &["run", "-p", "x", "i"],
        &["run", "-e", "=x", "i"],
        &["run", "--ulimit", "x", "i"],
        &["run", "--restart", "always", "--rm", "i"],
        &["run", "-d", "-a", "stdin", "i"],
        &["run", "-a", "x", "i"],
        &["run", "--pid", "x", "i"],
        &["run", "--pull", "x", "i"],
        &["run", "--cpus", "x", "i"],
        &["run", "--env-file", "nosuch", "i"],
        &["run", "--no-healthcheck", "--health-cmd", "x", "i"],
        &["run", "--log-driver", "none", "--log-opt", "a=b", "i"],
        &["run", "--network", "name=a,x=b", "i"],
        &["run", "--network", "host", "--network", "b", "i"],
        &["run", "UPPER"],
        &["create", "-p", "x", "i"],
        &["-H", "a", "-H", "b", "ps"],
        &["-H", "ftp://x", "ps"],
        &["-c", "a", "-H", "b", "ps"],
        &["inspect", "--type", "x", "y"],
        &["start", "-a", "x", "y"],
        &["update", "x"],
        &["logs", "--since", "x", "y"],
        &["exec", "-it", "x", "y"],
        &["login", "-u", "a"],
        &["login", "-u", "", "-p", "x"],
        &["login", "-u", "a", "-p", ""],
        &["volume", "--nope"],
        &["volume", "nope"],
    ];
    let mut text = String::new();
    for line in lines {
        let _ = writeln!(text, "$ wharf {}\n{}", line.join(" "), told(&engine.run(line)));
    }
    snapshot::check("usage-errors", &text);
}

#[test]
fn old_spellings_can_be_hidden() {
    let engine = Engine::start(|_| json("{}"));
    let output = engine.command(&["--help"]).env("DOCKER_HIDE_LEGACY_COMMANDS", "1").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\n  ps ") && text.contains("\n  image ") && !text.contains("\n  rmi "), "{text}");
}

#[test]
fn a_shell_may_go_without_descriptions() {
    let engine = Engine::start(|_| json("{}"));
    for shell in ["bash", "zsh", "fish"] {
        let output = engine.run(&["completion", shell, "--no-descriptions"]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.contains(" __completeNoDesc ") && !script.contains(" __complete "), "{script}");
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let engine = Engine::start(|_| json("{}"));
    for (line, flag) in [
        (&["run", "--cpu-count", "1", "i"][..], "--cpu-count"),
        (&["run", "--use-api-socket", "i"], "--use-api-socket"),
        (&["run", "--disable-content-trust=false", "i"], "--disable-content-trust"),
        (&["start", "--checkpoint", "x", "c"], "--checkpoint"),
        (&["inspect", "--type", "secret", "x"], "--type"),
    ] {
        let output = engine.run(line);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success()
                && ["unsupported", "is only supported"].iter().any(|words| stderr.contains(words))
                && stderr.contains(flag),
            "{line:?}: {stderr}"
        );
    }
    assert!(engine.lines().is_empty(), "{:?}", engine.lines());
}

#[test]
fn under_the_name_of_docker_it_says_docker() {
    let engine = Engine::start(|_| json("{}"));
    let link = engine.home.join("docker");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_wharf"), &link).unwrap();
    let output = std::process::Command::new(&link).arg("nosuch").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("docker: unknown command: docker nosuch\n\nRun 'docker --help'"), "{text}");
    let output = std::process::Command::new(&link).arg("--version").output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("Docker version 28."));
}
