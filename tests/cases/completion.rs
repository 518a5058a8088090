//! Lines that shells complete by our scripts: commands, flags, and what the engine knows.

use std::process::Command;

use blackbox::{IMAGE, Session, World, binary, skip, surround};

/// A container that runs and one that does not, to be completed by name.
fn with_names() -> World {
    let world = World::start();
    world.wharf(&["create", "--name", "web-front", IMAGE, "true"]).ok();
    world.wharf(&["run", "-d", "--name", "web-back", IMAGE, "sleep", "1000"]).ok();
    world
}

/// Whether this shell is here; a test that lacks it says so.
fn has(program: &str) -> bool {
    let found = Command::new(program).args(["-c", "exit"]).status().is_ok_and(|status| status.success());
    if !found {
        skip(&format!("there is no {program}"));
    }
    found
}

/// A shell of somebody who has `wharf` on his `PATH` and uses the engine of this world.
fn shell(world: &World, program: &str) -> Command {
    let wharf = binary("wharf");
    let folder = wharf.parent().expect("it lies in a directory");
    let mut command = Command::new(program);
    surround(&mut command, &world.client("wharf", &[]));
    command.env("PATH", format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default()));
    command
}

/// What bash has at hand for a line that ends here. It calls the function that is named for the program, as on a Tab.
const BASH: &str = r#"
source <(wharf completion bash)
complete -p wharf || exit
compopt() { :; }
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
_wharf_complete
printf '%s\n' "${COMPREPLY[@]}"
"#;

#[test]
fn bash_completes_commands_flags_and_names() {
    let world = with_names();
    let complete = |line: &str| -> Vec<String> {
        let mut bash = shell(&world, "bash");
        bash.args(["--norc", "-c", BASH, "bash", line]);
        let output = Session::start(bash).finish().ok();
        let mut lines = output.lines();
        assert_eq!(lines.next(), Some("complete -F _wharf_complete wharf"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(complete("wharf unp"), ["unpause"]);
    assert_eq!(complete("wharf network disc"), ["disconnect"]);
    assert_eq!(complete("wharf run --health-ret"), ["--health-retries"]);
    let all = complete("wharf ");
    assert!(["run", "network", "version"].iter().all(|name| all.iter().any(|one| one == name)), "{all:?}");
    assert_eq!(complete("wharf inspect web-f"), ["web-front"]);
    assert_eq!(complete("wharf stop web-"), ["web-back"], "the other does not run");
    assert_eq!(complete("wharf run --network=bri"), ["bridge"], "behind the sign that parts bash's words");
    assert_eq!(complete("wharf nonsense "), [""; 0]);
}

/// Zsh completes only where somebody types. Ctrl-G shows the line as a Tab has left it, and empties it.
const ZSHRC: &str = r#"
autoload -U compinit && compinit -D -u
source <(wharf completion zsh)
show() { zle -I; print -r -- "<$BUFFER>"; BUFFER= }
zle -N show && bindkey '^G' show
"#;

#[test]
fn zsh_completes_commands_flags_and_names() {
    if !has("zsh") {
        return;
    }
    let world = with_names();
    std::fs::write(world.directory().join(".zshrc"), ZSHRC).unwrap();
    let mut zsh = shell(&world, "script");
    zsh.args(["-qec", "exec zsh -d -i", "/dev/null"]).env("ZDOTDIR", world.directory()).env("TERM", "vt100");
    let mut typed = Session::start(zsh);
    for (line, completed) in [
        ("wharf unp", "wharf unpause "),
        ("wharf network disc", "wharf network disconnect "),
        ("wharf run --health-ret", "wharf run --health-retries "),
        ("wharf inspect web-f", "wharf inspect web-front "),
        ("wharf stop web-", "wharf stop web-back "),
        ("wharf run --network=bri", "wharf run --network=bridge "),
        ("wharf nonsense ", "wharf nonsense "),
    ] {
        typed.send(format!("{line}\t\x07"));
        let shown = typed.read_until(">\r\n");
        assert!(shown.ends_with(&format!("<{completed}>\r\n")), "{line:?}: {shown:?}");
    }
    typed.send("exit\r");
    typed.finish().code(0);
}

#[test]
fn fish_offers_commands_flags_and_names() {
    if !has("fish") {
        return;
    }
    let world = with_names();
    let complete = |line: &str| -> Vec<(String, String)> {
        let mut fish = shell(&world, "fish");
        fish.args([
            "--no-config",
            "-c",
            "wharf completion fish | source; complete --do-complete $argv",
            line,
        ]);
        let output = Session::start(fish).finish().ok();
        let parts = |line: &str| line.split_once('\t').map(|(name, about)| (name.into(), about.into()));
        output.lines().map(|line| parts(line).unwrap_or((line.into(), String::new()))).collect()
    };
    let names = |line: &str| complete(line).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names("wharf unp"), ["unpause"]);
    assert_eq!(names("wharf network disc"), ["disconnect"]);
    assert_eq!(names("wharf run --health-ret"), ["--health-retries"]);
    assert!(complete("wharf unp")[0].1.contains("containers"), "what a command does stands beside it");
    assert_eq!(names("wharf inspect web-f"), ["web-front"]);
    assert_eq!(names("wharf stop web-"), ["web-back"], "the other does not run");
    assert_eq!(names("wharf run --network=bri"), ["--network=bridge"]);
    assert_eq!(names("wharf nonsense "), [""; 0]);
}
