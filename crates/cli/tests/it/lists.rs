//! What lists and objects look like.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::engine::{Engine, Reply, Request, json, refuse, told};
use crate::snapshot;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Long ago enough that a second more or less changes no word.
fn days_ago(days: u64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - days * 86_400 - 3600
}

fn answers(request: &Request) -> Reply {
    let path = request.target.split('?').next().unwrap_or_default().to_owned();
    match (request.method.as_str(), path.as_str()) {
        ("GET", "/containers/json") => json(&containers()),
        ("GET", "/images/json") => json(&images()),
        ("GET", "/networks") => json(NETWORKS),
        ("GET", "/volumes") => json(VOLUMES),
        ("GET", "/system/df") => json(&format!(
            "{{\"LayersSize\":4423680,\"Images\":{},\"Containers\":{},\"Volumes\":[],\"BuildCache\":null}}",
            images(),
            containers()
        )),
        ("GET", "/images/web/history") => json(&format!(
            "[{{\"Id\":\"sha256:{ID}\",\"Created\":{},\"CreatedBy\":\"CMD [\\\"sh\\\"]\",\"Size\":0,\"Comment\":\"\",\"Tags\":[\"web:1\"]}},\
              {{\"Id\":\"<missing>\",\"Created\":{},\"CreatedBy\":\"ADD a very long instruction that does not fit into the column\",\"Size\":4423680,\"Comment\":\"c\",\"Tags\":null}}]",
            days_ago(3),
            days_ago(30)
        )),
        ("GET", "/containers/web/json") => json(CONTAINER),
        ("GET", "/containers/web/top") => {
            json(r#"{"Titles":["UID","PID","CMD"],"Processes":[["root","1","sh -c x"]]}"#)
        }
        ("GET", "/containers/web/changes") => {
            json(r#"[{"Path":"/a","Kind":1},{"Path":"/b","Kind":0},{"Path":"/c","Kind":2}]"#)
        }
        ("GET", "/containers/web/stats") => json(STATS),
        ("GET", "/version") => json(VERSION),
        ("GET", "/info") => json(INFO),
        ("POST", "/containers/prune") => json(r#"{"ContainersDeleted":["aa","bb"],"SpaceReclaimed":123456}"#),
        ("POST", "/images/prune") => {
            json(r#"{"ImagesDeleted":[{"Untagged":"a:1"},{"Deleted":"sha256:00"}],"SpaceReclaimed":5000000}"#)
        }
        ("POST", "/volumes/prune") => json(r#"{"VolumesDeleted":null,"SpaceReclaimed":0}"#),
        ("POST", "/networks/prune") => json(r#"{"NetworksDeleted":["n1"]}"#),
        ("POST", "/build/prune") => refuse(501, "no builder"),
        ("DELETE", "/images/web") => json(r#"[{"Untagged":"web:1"},{"Deleted":"sha256:00"}]"#),
        _ if path.starts_with("/containers/nosuch") => refuse(404, "No such container: nosuch"),
        _ if path.contains("nosuch") => refuse(404, "nosuch not found"),
        _ => json("{}"),
    }
}

fn containers() -> String {
    format!(
        r#"[{{"Id":"{ID}","Names":["/web","/other/link"],"Image":"web:1","ImageID":"sha256:{ID}","Command":"sh -c 'while true; do sleep 1; done'",
        "Created":{},"Ports":[{{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}},{{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}},{{"PrivatePort":53,"Type":"udp"}}],
        "SizeRw":2500,"SizeRootFs":4426180,"Labels":{{"a":"b","com.example.tier":"front"}},"State":"running","Status":"Up 2 days (healthy)",
        "HostConfig":{{"NetworkMode":"bridge"}},"NetworkSettings":{{"Networks":{{"bridge":{{}},"front":{{}}}}}},
        "Mounts":[{{"Type":"volume","Name":"averyverylongname","Source":"","Destination":"/d","Driver":"local","Mode":"z","RW":true,"Propagation":""}}]}},
        {{"Id":"fedcba{ID}","Names":["/old"],"Image":"sha256:{ID}","ImageID":"sha256:{ID}","Command":"true","Created":{},"Ports":[],"Labels":{{}},
        "State":"exited","Status":"Exited (0) 5 weeks ago","HostConfig":{{}},"NetworkSettings":null,"Mounts":[]}}]"#,
        days_ago(3),
        days_ago(40)
    )
}

fn images() -> String {
    format!(
        r#"[{{"Id":"sha256:{ID}","RepoTags":["web:1","host:5000/web:2"],"RepoDigests":["web@sha256:{ID}"],"Created":{},"Size":4423680,"SharedSize":-1,"Containers":1,"Labels":{{"a":"b"}},"ParentId":""}},
        {{"Id":"sha256:ff{ID}","RepoTags":[],"RepoDigests":[],"Created":{},"Size":1200000000,"SharedSize":-1,"Containers":0,"Labels":null,"ParentId":""}}]"#,
        days_ago(20),
        days_ago(800)
    )
}

const NETWORKS: &str = r#"[{"Name":"zz","Id":"aaaaaaaaaaaaaaaa","Created":"2024-01-02T03:04:05.6Z","Scope":"local","Driver":"bridge","EnableIPv4":true,"EnableIPv6":false,"Internal":true,"Labels":{"x":"y"}},
    {"Name":"bridge","Id":"bbbbbbbbbbbbbbbb","Created":"2024-01-02T03:04:05.6Z","Scope":"local","Driver":"bridge","EnableIPv4":true,"Labels":null}]"#;
const VOLUMES: &str = r#"{"Volumes":[{"Name":"v2","Driver":"local","Mountpoint":"/m/v2","Scope":"local","Labels":null},{"Name":"v1","Driver":"local","Mountpoint":"/m/v1","Scope":"local","Labels":{"k":"v"}}],"Warnings":null}"#;
const CONTAINER: &str = r#"{"Id":"0123","Name":"/web","State":{"Status":"running","Running":true,"OOMKilled":false,"ExitCode":0},"Config":{"Image":"web:1","Cmd":["sh"],"Env":null,"OpenStdin":false,"Labels":{"a":"b"}},
    "HostConfig":{"Memory":0,"PortBindings":{}},"NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}],"9/udp":null}},"Mounts":[]}"#;
const STATS: &str = r#"{"id":"0123456789abcdef","name":"/web","cpu_stats":{"cpu_usage":{"total_usage":300},"system_cpu_usage":2000,"online_cpus":2},"precpu_stats":{"cpu_usage":{"total_usage":100},"system_cpu_usage":1000},"memory_stats":{"usage":3145728,"limit":4194304,"stats":{"inactive_file":1048576}},"pids_stats":{"current":7},"networks":{"eth0":{"rx_bytes":1500,"tx_bytes":20}},"blkio_stats":{"io_service_bytes_recursive":[{"op":"read","value":4096},{"op":"write","value":0}]}}"#;
const VERSION: &str = r#"{"Platform":{"Name":"Wharf"},"Components":[{"Name":"Engine","Version":"28.5.2","Details":{}},{"Name":"wharf-shim","Version":"0.1.0","Details":{"GitCommit":"abc"}}],"Version":"28.5.2","ApiVersion":"1.44","MinAPIVersion":"1.24","GitCommit":"abc","GoVersion":"","Os":"linux","Arch":"amd64","KernelVersion":"6","BuildTime":"now"}"#;
const INFO: &str = r#"{"ID":"i","Containers":2,"ContainersRunning":1,"Images":3,"Driver":"overlay2","DriverStatus":[["Backing Filesystem","ext4"]],"Plugins":{"Volume":["local"],"Network":["bridge","host","null"],"Log":["json-file"]},
    "LoggingDriver":"json-file","CgroupDriver":"cgroupfs","CgroupVersion":"2","KernelVersion":"6.1","OperatingSystem":"Debian","OSType":"linux","Architecture":"x86_64","NCPU":2,"MemTotal":15773196288,"DockerRootDir":"/var/lib/wharf","Name":"host","ServerVersion":"28.5.2",
    "Runtimes":{"wharf":{}},"DefaultRuntime":"wharf","Swarm":{"LocalNodeState":"inactive"},"SecurityOptions":["name=seccomp,profile=builtin","name=cgroupns"],"RegistryConfig":{"InsecureRegistryCIDRs":["127.0.0.0/8"],"IndexConfigs":{},"Mirrors":[]},"Warnings":["WARNING: something"]}"#;

fn shown(lines: &[&[&str]]) -> String {
    let engine = Engine::start(answers);
    let mut text = String::new();
    for line in lines {
        let _ = writeln!(text, "$ wharf {}\n{}", line.join(" "), told(&engine.run(line)));
    }
    text
}

#[test]
fn containers_are_listed() {
    let text = shown(&[
        &["ps"],
        &["ps", "-q"],
        &["ps", "-s", "--no-trunc"],
        &[
            "ps",
            "--format",
            "{{.Names}} {{.Label \"com.example.tier\"}} {{.Mounts}} {{.Networks}} {{.State}} {{.Size}}",
        ],
        &["ps", "--format", "table {{.Names}}\\t{{.Label \"com.example.tier\"}}"],
        &["ps", "-q", "--format", "{{.Names}}"],
        &["ps", "--format", "{{.Nope}}"],
        &["ps", "--format", "{{.Names"],
        &["container", "ls", "--format", "{{json .Ports}}"],
        &["top", "web"],
        &["diff", "web"],
        &["port", "web"],
        &["port", "web", "80"],
        &["port", "web", "81"],
        &["stats", "--no-stream", "web"],
        &["stats", "--no-stream", "nosuch"],
    ]);
    snapshot::check("containers", &text);
}

#[test]
fn images_networks_and_volumes_are_listed() {
    let text = shown(&[
        &["images"],
        &["images", "-q"],
        &["images", "--digests", "--no-trunc"],
        &["images", "--format", "{{.Repository}}:{{.Tag}} {{.Size}} {{.Containers}}"],
        &["history", "web"],
        &["history", "-q", "web"],
        &["rmi", "web"],
        &["rmi", "web", "nosuch"],
        &["network", "ls"],
        &["network", "ls", "--format", "{{.Name}} {{.Internal}} {{.IPv6}} {{.Labels}}"],
        &["volume", "ls"],
        &["volume", "ls", "-q"],
        &["volume", "ls", "--format", "json"],
        &["system", "df"],
        &["system", "df", "-v"],
    ]);
    snapshot::check("images-networks-volumes", &text);
}

#[test]
fn objects_are_shown() {
    let text = shown(&[
        &["inspect", "web"],
        &["inspect", "web", "nosuch"],
        &[
            "inspect",
            "-f",
            "{{.Name}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} {{json .State}}",
            "web",
        ],
        &["inspect", "-f", "{{json .State}}", "web"],
        &["inspect", "-f", "{{.State.Nope}}", "web"],
        &["inspect", "-f", "{{.State", "web"],
        &["inspect", "-f", "json", "web"],
        &["container", "inspect", "nosuch"],
        &["version"],
        &["version", "--format", "{{.Server.Version}} {{.Client.ApiVersion}}"],
        &["info"],
        &["info", "--format", "{{.Driver}} {{.ClientInfo.Context}}"],
    ]);
    snapshot::check("objects", &text);
}

#[test]
fn prunes_ask_first_and_tell_what_went() {
    let engine = Engine::start(answers);
    let refused = engine.run_with_input(&["container", "prune"], b"n\n");
    assert!(engine.lines().is_empty());
    let accepted = engine.run_with_input(&["container", "prune"], b"y\n");
    let mut text = format!("{}\n{}\n", told(&refused), told(&accepted));
    for kind in ["container", "image", "volume", "network", "system"] {
        let _ = writeln!(text, "$ wharf {kind} prune -f\n{}", told(&engine.run(&[kind, "prune", "-f"])));
    }
    snapshot::check("prune", &text);
    assert!(
        engine.lines().contains(
            &"POST /images/prune?filters=%7B%22dangling%22%3A%7B%22true%22%3Atrue%7D%7D".to_owned()
        )
    );
}

#[test]
fn nothing_and_less_are_no_wish() {
    let engine = Engine::start(|_| json("[]"));
    for line in [&["search", "--limit", "-1", "x"][..], &["images", ""], &["rmi", "--platform", "", "x"]] {
        assert!(engine.run(line).status.success(), "{line:?}");
    }
    assert_eq!(engine.lines(), ["GET /images/search?term=x", "GET /images/json", "DELETE /images/x"]);
}
