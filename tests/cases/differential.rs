//! The same words to a real Docker and to Wharf: the same output, errors and exit codes.
//!
//! Runs where `WHARF_PEER` holds a command that runs its arguments beside a real Docker 28; says so where it does not.
//! Both sides are driven by their `docker` client. What differs by nature (ids, times, addresses) is blanked.

use blackbox::{Output, Session, World, busybox_image};
use std::process::{Command, Stdio};

/// Commands that are run in this order on both sides. The image is called `busybox`.
const SCRIPT: &[&str] = &[
    "run --rm busybox echo hello",
    "run --rm busybox sh -c 'exit 42'",
    "run --rm busybox absent",
    "run --rm busybox /absent",
    "run --rm busybox /etc",
    "run --rm busybox /etc/passwd",
    "run --rm -w relative busybox true",
    "run --rm -w /made/up busybox pwd",
    "run --rm -u nobody busybox id",
    "run --rm -u 4242:4343 busybox id",
    "run --rm -u stranger busybox id",
    "run --rm -u web:strangers busybox id",
    "run --rm --hostname ship busybox hostname",
    "run --rm --memory 1k busybox true",
    "run --rm --memory 64m --memory-swap 32m busybox true",
    "run --rm --cpus 10000 busybox true",
    "run --rm --cap-add NONSENSE busybox true",
    "run --rm --cap-drop ALL busybox grep Cap /proc/self/status",
    "run --rm busybox grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status",
    "run --rm --security-opt no-new-privileges busybox grep NoNewPrivs /proc/self/status",
    "run --rm --security-opt nonsense=1 busybox true",
    "run --rm --network nowhere busybox true",
    "run --rm --network container:nobody busybox true",
    "run --rm --network host --hostname x busybox hostname",
    "run --rm -v /x:relative busybox true",
    "run --rm -v 'bad name:/x' busybox true",
    "run --rm -v /x:/ busybox true",
    "run --rm --mount type=bind,source=/absent,target=/x busybox true",
    "run --rm --mount type=nonsense,target=/x busybox true",
    "run --rm --tmpfs /t:size=1m,nonsense busybox true",
    "run --rm --name 'a b' busybox true",
    "run --rm --restart always busybox true",
    "run --rm --restart sometimes busybox true",
    "run --rm --sysctl nonsense=1 busybox true",
    "run --rm --ulimit nonsense=1 busybox true",
    "run --rm --ulimit nofile=10:20 busybox sh -c 'ulimit -n; ulimit -Hn'",
    "run --rm --device /absent busybox true",
    "run --rm --pull never absent",
    "run --rm --entrypoint '' busybox echo x",
    "run --rm --read-only busybox touch /x",
    "run --rm busybox env",
    "run --rm busybox mount",
    "run --rm busybox ls -l /dev",
    "run --rm --privileged busybox grep Cap /proc/self/status",
    "run --rm busybox ls /proc/self/ns",
    "run --rm busybox cat /proc/self/mountinfo",
    "create --name made busybox sleep 1000",
    "create --name made busybox",
    "inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.StartedAt}} {{.Name}} {{.Path}} {{.Args}}' made",
    "inspect -f '{{json .Config}}' made",
    "inspect -f '{{json .HostConfig}}' made",
    "inspect -f '{{json .State}}' made",
    "inspect -f '{{json .Mounts}}' made",
    "inspect -f '{{json .NetworkSettings.Networks}}' made",
    "ps -a --format '{{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Status}} {{.Ports}}'",
    "start made",
    "start made",
    "inspect -f '{{.State.Status}} {{.State.Running}} {{.State.OOMKilled}}' made",
    "exec made echo inside",
    "exec made absent",
    "exec made /absent",
    "exec made /etc",
    "exec -u stranger made true",
    "exec -w /absent made pwd",
    "exec -e A=1 made env",
    "exec nobody true",
    "pause made",
    "pause made",
    "exec made true",
    "ps --format '{{.Names}} {{.State}}'",
    "unpause made",
    "unpause made",
    "rename made renamed",
    "rename renamed renamed",
    "rename renamed ''",
    "rm renamed",
    "kill -s NONSENSE renamed",
    "kill renamed",
    "kill renamed",
    "wait renamed",
    "stop renamed",
    "exec renamed true",
    "top renamed",
    "attach renamed",
    "logs renamed",
    "diff renamed",
    "port renamed",
    "port renamed 80",
    "stats --no-stream nobody",
    "update --memory 1k renamed",
    "cp renamed:/absent /tmp/x",
    "rm renamed renamed",
    "rm nobody",
    "inspect nobody",
    "start nobody",
    "stop nobody",
    "restart nobody",
    "logs nobody",
    "ps --filter nonsense=1",
    "ps --filter status=nonsense",
    "ps --filter exited=x",
    "images --filter nonsense=1",
    "images --format '{{.Repository}} {{.Tag}} {{.Size}}' busybox",
    "image inspect -f '{{json .Config}}' busybox",
    "image inspect -f '{{.RepoTags}} {{.Architecture}} {{.Os}} {{json .RootFS}}' busybox",
    "image inspect absent",
    "history --format '{{.CreatedBy}} {{.Size}} {{.Comment}}' busybox",
    "tag busybox other:1",
    "tag absent other",
    "tag busybox UPPER",
    "tag busybox 'bad tag'",
    "rmi other:1",
    "rmi absent",
    "rmi -f absent",
    "volume create good",
    "volume create x",
    "volume create 'bad name'",
    "volume create --driver nonsense v",
    "volume inspect -f '{{.Name}} {{.Driver}} {{.Scope}} {{json .Labels}} {{json .Options}}' good",
    "volume inspect absent",
    "volume ls --format '{{.Driver}} {{.Name}}'",
    "volume ls --filter nonsense=1",
    "volume rm good",
    "volume rm good",
    "network create --subnet 10.200.0.0/16 net",
    "network create net",
    "network create bridge",
    "network create --subnet nonsense other",
    "network create --subnet 10.200.0.0/24 overlapping",
    "network create --driver nonsense other",
    "network inspect -f '{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{json .IPAM}} {{json .Options}} {{json .Labels}}' net",
    "network inspect -f '{{json .Options}}' bridge",
    "network inspect absent",
    "network ls --format '{{.Name}} {{.Driver}} {{.Scope}}'",
    "network connect net nobody",
    "network rm net",
    "network rm net",
    "network rm bridge",
    "system info --format '{{.OSType}} {{.Architecture}} {{.Swarm.LocalNodeState}} {{.DefaultRuntime}}'",
    "swarm join-token worker",
    "service ls",
    "container prune -f --filter nonsense=1",
];

#[test]
fn the_same_words_have_the_same_effect() {
    let Ok(prefix) = std::env::var("WHARF_PEER") else {
        eprintln!("not compared: WHARF_PEER is not set");
        return;
    };
    let world = World::start();
    load_into(&prefix, &busybox_image("busybox"));
    peer(&prefix, "ps -aq | xargs -r docker rm -fv; docker volume prune -af; docker network prune -f");
    let mut differences = Vec::new();
    for line in SCRIPT {
        let theirs = blanked(&peer(&prefix, line));
        let mut command = Command::new("sh");
        command.args(["-c", &format!("docker {line}")]);
        for (key, value) in world.client("docker", &[]).get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        let ours = blanked(&Session::start(command).finish());
        if ours != theirs {
            differences.push(format!("docker {line}\n--- Docker\n{theirs}\n--- Wharf\n{ours}"));
        }
    }
    peer(&prefix, "ps -aq | xargs -r docker rm -fv");
    assert!(
        differences.is_empty(),
        "{} of {} differ:\n\n{}",
        differences.len(),
        SCRIPT.len(),
        differences.join("\n\n")
    );
}

fn peer(prefix: &str, line: &str) -> Output {
    let mut words = prefix.split_whitespace();
    let mut command = Command::new(words.next().expect("WHARF_PEER is not empty"));
    command.args(words).args(["sh", "-c", &format!("docker {line}")]);
    Session::start(command).finish()
}

fn load_into(prefix: &str, archive: &[u8]) {
    let mut words = prefix.split_whitespace();
    let mut child = Command::new(words.next().expect("WHARF_PEER is not empty"))
        .args(words)
        .args(["docker", "load", "-q"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), archive).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Exit code and both streams, with everything blanked that differs from one run to the next.
fn blanked(output: &Output) -> String {
    let text = format!("exit code {}\n{}\n{}", output.code, output.stdout, output.stderr);
    let mut result = String::new();
    let mut hex = String::new();
    for character in text.chars().chain(['\n']) {
        if character.is_ascii_digit() || ('a'..='f').contains(&character) {
            hex.push(character);
            continue;
        }
        result.push_str(if hex.len() >= 12 { "<id>" } else { &hex });
        hex.clear();
        result.push(character);
    }
    result
}
