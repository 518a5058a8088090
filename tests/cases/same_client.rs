//! One engine, one command line, two clients: what the stock `docker` prints, `wharf` prints, under the name of
//! docker, with the same exit code.
//!
//! The cases are command lines as a shell would split them. Help is not compared: its sentences are our own. Two
//! things differ by nature and are blanked: releases of the clients, and names that a failed `run` drew by lot.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use blackbox::{Output, Session, World};
use regex_lite::Regex;

/// A command line of each kind of mistake: unknown flags, missing and surplus arguments, values that are none.
const MISTAKES: &str = r#"
nope
container nope
ps --nope
ps -Z
ps -aZ
-Z ps
container --nope
image -Z
rm
stop
rename c1
cp a
tag busybox
ps x
network create
volume rm
inspect
ps --all=maybe
ps --last x
ps --last 99999999999999999999
ps --filter x
ps --format
ps -n
run --memory x busybox
run --cpus x busybox
run --blkio-weight x busybox
run --blkio-weight-device x busybox
run --device-read-bps x busybox
run --ulimit x busybox
run --mount type=bogus busybox
run --sysctl a.b=c busybox
run --dns x busybox
run --dns-search %% busybox
run --add-host x busybox
run --gpus x busybox
run --expose x busybox
run -p x busybox
run --net
run --health-interval x busybox
stop --time x c1
stop -t x c1
context use
context create x --docker bogus
-H bogus://x ps
-H unix:///x -c y ps
--log-level bogus ps
--tlsverify ps
help nope
search --limit x y
volume create --limit-bytes x
"#;

/// What is refused by the engine, or by a client that knows better.
const REFUSALS: &str = r#"
inspect nope
inspect c1 nope -f '{{.Name}}'
inspect --type image c1
inspect --type bogus c1
container inspect nope
image inspect nope
network inspect nope
volume inspect nope
volume update nope
volume create --type block x2
history nope
logs nope
logs --since bogus c1
port nope
port c1 81
top nope
diff nope
wait nope
kill nope
kill -s BOGUS c1
rm nope
rm -f nope
rm c1
rename c1 c2
start nope
start -a c1 c2
update --restart bogus c1
exec nope true
exec c3 true
exec c1 nope
exec c1 false
exec -it c1 true
attach c3
cp c1:/nope /tmp/
cp c1:/x c2:/y
cp a b
export -o /nonexistent/x c1
import /nonexistent
load -i /nonexistent
save -o /nonexistent/x busybox
tag nope x
tag "" x
tag busybox BAD
rmi nope
rmi -f nope
commit c1 'BAD NAME'
pull 'BAD NAME'
pull -a busybox:latest
network rm -f nope
network connect nope c1
network disconnect n1 nope
volume rm -f nope
volume rm v1
run -it busybox true
run --name c1 busybox true
run --rm -d --attach stdout busybox true
run --rm --restart always busybox true
run --rm --network nope busybox true
run --rm --network-alias x busybox true
run --rm --gpus all busybox true
run --rm --isolation hyperv busybox true
run --rm --security-opt seccomp=/nope busybox true
run --rm --pull bogus busybox true
run --rm --entrypoint nope busybox
run --rm busybox sh -c 'exit 3'
events --since bogus
context inspect nope
context rm nope
context rm default
context update default
context create default
context import xx /nonexistent
search x
stats --no-stream nope
"#;

/// Lists and documents through every style.
const FORMATS: &str = r#"
ps -a
ps -aq
ps -aq --no-trunc
ps -a --no-trunc
ps -n 2
ps -a --format json
ps -a --format '{{json .}}'
ps -a --format raw
ps -aq --format raw
ps -a --format 'table {{.ID}}\t{{.Names}}\t{{.Ports}}'
ps -a --format 'table {{.Names}}\t{{.Label "x"}}\t{{lower .Image}}'
ps -a --format '{{.Names}} {{.Label "x"}} {{.Labels}} {{.Platform}} {{.LocalVolumes}} {{.Mounts}}'
ps -a --format '{{.Names'
ps -a --format '{{nofunc .Names}}'
ps -a --format '{{upper .Names}} {{title .Names}} {{pad .Names 2 3}}|{{truncate .Names 1}}|{{println .Names}}'
ps -a --format '{{printf "%-10s|%q|%d" .Names .Image 5}} {{join (split .Names "c") "-"}}'
ps -a --format '{{if eq .State "running"}}UP{{else}}DOWN{{end}}{{with .Names}} {{.}}{{end}}'
ps -a --format '{{range split .Names "c"}}[{{.}}]{{end}}{{$x := .Names}}{{$x}}'
ps -a --format '{{html .Command}} {{js .Command}} {{urlquery .Command}}'
ps -a --format '{{len .Names}} {{.Names | printf "%s-%s" .Image}}'
images --format '{{.Repository}}:{{.Tag}} {{.Size}} {{.Digest}} {{.UniqueSize}} {{.VirtualSize}}'
images
images -q --no-trunc
history busybox
history --no-trunc --format json busybox
history -H=false busybox
network ls --no-trunc
network ls --format json
network ls --format 'table {{.Name}}\t{{.Label "q"}}\t{{.Internal}}'
network inspect n1
network inspect -f '{{json .IPAM}} {{.Labels}} {{range .IPAM.Config}}{{.Subnet}}{{end}}' n1
volume ls
volume ls --format json
volume ls --cluster
volume ls --format raw
volume inspect v1 v10 v2
system df
system df -v
system df --format json
system df -v --format json
system df -v --format '{{range .Volumes}}{{.Name}} {{.Size}} {{.Links}};{{end}}'
inspect c1
inspect c1 --format=json
inspect -s c1 -f '{{.SizeRw}} {{.SizeRootFs}}'
inspect c1 -f '{{.State}} {{.State.Health}} {{.Config.Healthcheck}} {{.HostConfig.RestartPolicy}}'
inspect c1 -f '{{json .State}} {{json .Mounts}} {{.HostConfig.PortBindings}} {{.Config.ExposedPorts}}'
inspect c1 -f '{{.HostConfig.Init}} {{.HostConfig.Ulimits}} {{.HostConfig.LogConfig}} {{.HostConfig.Binds}}'
inspect c1 -f '{{index .Config.Labels "x"}} {{index .Config.Labels "none"}} {{.Config.Labels.none}}'
inspect c1 -f '{{range $p, $b := .NetworkSettings.Ports}}{{$p}} {{(index $b 0).HostPort}}{{end}}'
inspect c1 -f '{{.State.Nope}}'
inspect c1 -f '{{.State.Health.Status}}'
inspect c1 -f '{{.State'
image inspect busybox -f '{{.Id}} {{.RepoTags}} {{.Config.Cmd}} {{.RootFS.Layers}}'
port c1
diff c1
stats --no-stream --format 'table {{.Name}}\t{{.Container}}' c3
stats --no-stream --format json c3
context ls
context ls --format json
context inspect
context show
info -f '{{.Name}} {{.Driver}} {{json .Swarm}} {{.DriverStatus}} {{.SecurityOptions}}'
version -f '{{.Server.APIVersion}} {{.Server.Os}} {{range .Server.Components}}{{.Name}};{{end}}'
events --since 1 --until 2
system prune
system prune -a --volumes --filter label=x
system prune --volumes --filter until=10h
volume prune -a
image prune -a
container prune --filter label=x
network prune
"#;

/// Members of documents, also those that the engine leaves out when they say nothing, and by the names of Go's types.
const MEMBERS: &[(&str, &str)] = &[
    (
        "image inspect bare -f",
        ".Config.User .Config.ExposedPorts .Config.Env .Config.Entrypoint .Config.Cmd .Config.Volumes .Config.WorkingDir \
         .Config.Labels .Config.StopSignal .Config.ArgsEscaped .Config.Healthcheck .Config.OnBuild .Config.Shell \
         .Config.Hostname .Container .ContainerConfig .Variant .OsVersion .VirtualSize .Descriptor .Manifests .Parent \
         .Comment .Author .ID .Id .RootFS.Layers .RootFS.Type .RootFS.DiffIDs .Metadata .Metadata.LastTagTime .RepoTags \
         .RepoDigests .Created .Size .Identity .Os .Architecture",
    ),
    (
        "inspect c4 -f",
        ".Config.Healthcheck.Interval .Config.Healthcheck.Timeout .Config.Healthcheck .Config.Healthcheck.Retries \
         .Config.Healthcheck.StartInterval .Config.ArgsEscaped .Config.NetworkDisabled .Config.MacAddress .Config.Tty \
         .Config.Domainname .Config.StopTimeout .HostConfig.KernelMemory .HostConfig.KernelMemoryTCP .HostConfig.Init \
         .HostConfig.Runtime .HostConfig.Mounts .HostConfig.Isolation .HostConfig.Capabilities .HostConfig.UTSMode \
         .HostConfig.ConsoleSize .State.Health .State.Health.Status .SizeRw .ImageManifestDescriptor .Node .Mounts \
         .NetworkSettings.Bridge .NetworkSettings.LinkLocalIPv6Address .HostConfig.Tmpfs .HostConfig.RestartPolicy \
         .HostConfig.LogConfig .HostConfig.BlkioWeightDevice .HostConfig.Devices .HostConfig.NanoCpus .HostConfig.NanoCPUs \
         .HostConfig.CpuRealtimePeriod .HostConfig.CPURealtimePeriod .HostConfig.CPUShares .HostConfig.CpuShares \
         .HostConfig.DNS .HostConfig.Dns .HostConfig.DNSOptions .HostConfig.DNSSearch .HostConfig.IOMaximumIOps \
         .HostConfig.CPUPeriod .HostConfig.CPUQuota .HostConfig.CPURealtimeRuntime .HostConfig.CPUCount .ID .Id .Created \
         .HostConfig.CPUPercent .NetworkSettings.SandboxID .ExecIDs .State.StartedAt .State.OOMKilled",
    ),
    (
        "network inspect n1 -f",
        ".Peers .Services .ConfigFrom .ConfigOnly .IPAM.Options .ID .Id .Scope .EnableIPv4 .Created .Containers .Options",
    ),
    ("volume inspect v2 -f", ".Status .UsageData .ClusterVolume .CreatedAt .Labels .Options .Scope"),
];

/// Members of what lists hold.
const ELEMENTS: &str = r#"
inspect c4 -f '{{range .Mounts}}[{{.Type}} {{.Name}} {{.Driver}} {{.Source}} {{.Mode}} {{.Propagation}}]{{end}}'
inspect c4 -f '{{range .HostConfig.Mounts}}[{{.Type}} {{.Source}} {{.ReadOnly}} {{.BindOptions}} {{.TmpfsOptions}}]{{end}}'
network inspect -f '{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}} {{.IPRange}} {{.AuxAddress}} {{end}}' n1
network inspect -f '{{range .IPAM.Config}}{{.AuxiliaryAddresses}} {{end}}' n1
network inspect -f '{{.IPAM.Config}}' n1
"#;

#[test]
fn members_that_say_nothing_are_shown_alike() {
    let fields = MEMBERS.iter().flat_map(|(words, fields)| {
        fields.split_whitespace().map(move |field| format!("{words} '{{{{{field}}}}}'"))
    });
    compare(&fields.chain([ELEMENTS.to_owned()]).collect::<Vec<_>>().join("\n"));
}

#[test]
fn mistakes_are_told_alike() {
    compare(MISTAKES);
}

#[test]
fn refusals_are_told_alike() {
    compare(REFUSALS);
}

#[test]
fn lists_and_documents_are_shown_alike() {
    compare(FORMATS);
}

/// Every line by both clients; all differences are told together.
fn compare(lines: &str) {
    let world = World::start();
    let make = |line: &str| world.docker(&split(line).iter().map(String::as_str).collect::<Vec<_>>()).ok();
    make("run -d --name c1 -l x=y1 -p 8081:80 -v v1:/v busybox sleep 1000");
    make("run -d --name c2 --label x=y2 busybox sleep 1000");
    make("create --name c3 --expose 90-92 busybox sh -c 'echo \"a long & <quoted> text\"'");
    make("network create --label q=1 n1");
    make("volume create --label l=1 v10");
    make("volume create v2");
    make(
        "create --name c4 --health-cmd true --health-interval 90s -v /tmp:/a -v v1:/b --mount type=tmpfs,target=/t busybox",
    );
    std::fs::write(world.directory().join("bare.tar"), [0; 1024]).expect("the world's directory is writable");
    make("import bare.tar bare");
    let blank = Regex::new(r"28\.\d+\.\d+|AS /\w+/|\b(\d+|Less than a|About a) (second|minute)s?")
        .expect("a constant pattern");
    let group = Regex::new(r"(Usage:  docker \w+) COMMAND").expect("a constant pattern");
    let spaces = Regex::new("  +").expect("a constant pattern");
    let shown = |output: &Output| {
        let text = format!("exit code {}\n{}\n{}", output.code, output.stdout, output.stderr);
        let blanked = blank.replace_all(&text, "<…>");
        // The stock client does not tell of the missing word before its release 28.5.
        let blanked = group.replace_all(&blanked, "$1").into_owned();
        // Columns are as wide as the times that were blanked.
        if blanked.contains("ago") { spaces.replace_all(&blanked, "  ").into_owned() } else { blanked }
    };
    let mut differences = Vec::new();
    let lines: Vec<&str> = lines.lines().filter(|line| !line.is_empty()).collect();
    for line in &lines {
        let [theirs, ours] = ["docker", "wharf"].map(|name| shown(&run(&world, name, line)));
        if theirs != ours {
            differences.push(format!("{line}\n--- docker\n{theirs}\n--- wharf\n{ours}"));
        }
    }
    let count = differences.len();
    assert!(count == 0, "{count} of {} differ:\n\n{}", lines.len(), differences.join("\n\n"));
}

/// Runs a client as `docker`, with nothing on standard input and nothing left from the line before.
fn run(world: &World, name: &str, line: &str) -> Output {
    let words = split(line);
    let mut command = world.client(name, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let _ = std::fs::remove_dir_all(world.directory().join("config"));
    command.arg0("docker").env("TZ", "UTC");
    let mut session = Session::start(std::mem::replace(&mut command, Command::new("true")));
    session.end_input();
    session.finish()
}

/// Words of a line; single quotes keep spaces and double quotes.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut open, mut quoted) = (String::new(), false, false);
    for letter in line.chars() {
        match letter {
            '\'' => (quoted, open) = (!quoted, true),
            ' ' if !quoted => {
                if open {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            letter => {
                word.push(letter);
                open = true;
            }
        }
    }
    if open {
        words.push(word);
    }
    words
}
