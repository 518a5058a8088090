//! Lines that a shell completes by our script: commands, flags, and what the engine knows.

use blackbox::{IMAGE, World, binary};

/// What bash has at hand for a line that ends here. It calls the function that is named for the program, as on a Tab.
const COMPLETE: &str = r#"
source <("$PROGRAM" completion bash)
complete -p "${PROGRAM##*/}" || exit
compopt() { :; }
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
"_${PROGRAM##*/}_complete"
printf '%s\n' "${COMPREPLY[@]}"
"#;

#[test]
fn bash_completes_commands_flags_and_names() {
    let world = World::start();
    world.wharf(&["create", "--name", "web-front", IMAGE, "true"]).ok();
    world.wharf(&["run", "-d", "--name", "web-back", IMAGE, "sleep", "1000"]).ok();
    let program = binary("wharf");
    let path = format!(
        "{}:{}",
        program.parent().expect("it lies in a directory").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let complete = |line: &str| -> Vec<String> {
        let mut command = std::process::Command::new("bash");
        command.args(["--norc", "-c", COMPLETE, "bash", line]).env("PROGRAM", &program).env("PATH", &path);
        for (name, value) in world.client("wharf", &[]).get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = blackbox::Session::start(command).finish().ok();
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
