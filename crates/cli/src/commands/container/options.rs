//! The flags that describe a new container, shared by `run` and `create`.

use api::container::SysctlOwner;
use api::version::ApiVersion;
use clap::Arg;

use crate::flags::{content_trust, integer, list, switch, text, typed, unsigned};
use crate::needs::since;
use crate::units;
use crate::values::{device, env, gpus, limits, mount, network};

/// What versions of the API brought.
pub(super) const SINCE: &[(&str, ApiVersion)] = &[
    ("annotation", since(43)),
    ("cgroupns", since(41)),
    ("cpu-rt-period", since(25)),
    ("cpu-rt-runtime", since(25)),
    ("cpus", since(25)),
    ("gpus", since(40)),
    ("health-start-interval", since(44)),
    ("health-start-period", since(29)),
    ("init", since(25)),
    ("platform", since(32)),
    ("stop-timeout", since(25)),
];

pub(crate) fn flags() -> Vec<Arg> {
    [
        identity(),
        environment(),
        streams(),
        files(),
        networking(),
        isolation(),
        super::limits::flags(),
        resources(),
        health(),
        rest(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn identity() -> Vec<Arg> {
    vec![
        text("name", "string", "Name to give to the container"),
        text("hostname", "string", "Host name within the container").short('h'),
        text("domainname", "string", "NIS domain name within the container"),
        text("user", "string", "User to run as: name or uid, and group after a colon").short('u'),
        list("group-add", "list", "Further groups of the user"),
        typed("label", "list", env::check_label, "Label of the container (key=value)")
            .short('l')
            .action(clap::ArgAction::Append),
        list("label-file", "list", "File with a label on each line"),
        list("annotation", "map", "Annotation that the OCI runtime is told"),
        text("cidfile", "string", "File to write the container's ID to; it must not exist yet"),
        text("entrypoint", "string", "Program to run in place of the image's ENTRYPOINT"),
        text("workdir", "string", "Directory to run in").short('w'),
    ]
}

/// Of a new container, and of a command in a running one.
pub(super) fn environment() -> Vec<Arg> {
    vec![
        typed(
            "env",
            "list",
            env::check_variable,
            "Environment variable (KEY=VALUE, or KEY to take over ours)",
        )
        .short('e')
        .action(clap::ArgAction::Append),
        list("env-file", "list", "File with an environment variable on each line"),
    ]
}

fn streams() -> Vec<Arg> {
    vec![
        typed("attach", "list", check_stream, "Attach to STDIN, STDOUT or STDERR")
            .short('a')
            .action(clap::ArgAction::Append),
        switch("interactive", "Keep standard input open, attached or not").short('i'),
        switch("tty", "Give the container a terminal").short('t'),
        text("log-driver", "string", "What to do with the container's output"),
        list("log-opt", "list", "Option of the logging driver (key=value)"),
    ]
}

fn files() -> Vec<Arg> {
    vec![
        list("volume", "list", "Mount a volume or a directory ([source:]target[:options])").short('v'),
        text("volume-driver", "string", "Driver of volumes that do not exist yet"),
        list("volumes-from", "list", "Mount what another container has mounted"),
        typed("mount", "mount", mount::parse, "Mount something (type=…,source=…,target=…)")
            .action(clap::ArgAction::Append),
        list("tmpfs", "list", "Mount a file system in memory (path[:options])"),
        switch("read-only", "Mount the root file system read-only"),
        list("storage-opt", "list", "Option of the storage driver (key=value)"),
        list("device", "list", "Device of the host to add (path[:path][:rwm])"),
        typed(
            "device-cgroup-rule",
            "list",
            device::parse_cgroup_rule,
            "Rule for devices that may be used (\"c 42:* rmw\")",
        )
        .action(clap::ArgAction::Append),
        typed("gpus", "gpu-request", gpus::parse, "GPUs to add ('all' for every one)")
            .action(clap::ArgAction::Append),
    ]
}

fn networking() -> Vec<Arg> {
    vec![
        typed("network", "network", network::parse, "Network to join")
            .alias("net")
            .action(clap::ArgAction::Append),
        list("network-alias", "list", "Further name in the network").alias("net-alias"),
        list("publish", "list", "Publish a port of the container ([ip:][host:]container[/protocol])")
            .short('p'),
        switch("publish-all", "Publish every exposed port on a port that is free").short('P'),
        list("expose", "list", "Expose a port or a range of ports"),
        text("ip", "string", "IPv4 address (for example 172.30.100.104)"),
        text("ip6", "string", "IPv6 address (for example 2001:db8::33)"),
        list("link-local-ip", "list", "Link-local address"),
        text("mac-address", "string", "Ethernet address (for example 92:d0:c6:0a:29:33)"),
        typed("link", "list", check_link, "Container to know by a name").action(clap::ArgAction::Append),
        typed("add-host", "list", network::parse_host, "Line for the hosts file (host:ip)")
            .action(clap::ArgAction::Append),
        typed("dns", "list", check_dns, "Name server to use").action(clap::ArgAction::Append),
        list("dns-option", "list", "Option for resolving names").alias("dns-opt"),
        typed("dns-search", "list", check_domain, "Domain to search for names")
            .action(clap::ArgAction::Append),
    ]
}

fn isolation() -> Vec<Arg> {
    vec![
        switch("privileged", "Lift most of the isolation from the host"),
        list("cap-add", "list", "Capability to add"),
        list("cap-drop", "list", "Capability to take away"),
        list("security-opt", "list", "Security option"),
        typed("sysctl", "map", check_sysctl, "Kernel parameter of the container's namespaces (key=value)")
            .action(clap::ArgAction::Append),
        text("ipc", "string", "IPC namespace to use"),
        text("pid", "string", "PID namespace to use"),
        text("uts", "string", "UTS namespace to use"),
        text("userns", "string", "User namespace to use"),
        text("cgroupns", "string", "Cgroup namespace to use: 'host' or 'private'"),
        text("cgroup-parent", "string", "Cgroup to put the container's into"),
        text("isolation", "string", "How to isolate the container"),
        text("runtime", "string", "OCI runtime to use"),
        switch("init", "Run a small init within the container that forwards signals and reaps processes"),
        switch("use-api-socket", "Give the container the engine's socket and our credentials").hide(true),
        content_trust(),
    ]
}

fn resources() -> Vec<Arg> {
    vec![
        integer::<i64>("memory-swappiness", "int", "How gladly memory is swapped out (0 to 100)"),
        typed("shm-size", "bytes", units::parse_bytes, "Size of /dev/shm"),
        switch("oom-kill-disable", "Do not kill the container's processes when memory runs out"),
        integer::<i64>("oom-score-adj", "int", "Who is killed first when memory runs out (-1000 to 1000)"),
        typed("blkio-weight-device", "list", device::parse_weight, "The same for one disk (path:weight)")
            .action(clap::ArgAction::Append),
        typed(
            "device-read-bps",
            "list",
            device::parse_bps,
            "Limit of bytes read from a disk in a second (path:bytes)",
        )
        .action(clap::ArgAction::Append),
        typed(
            "device-write-bps",
            "list",
            device::parse_bps,
            "Limit of bytes written to a disk in a second (path:bytes)",
        )
        .action(clap::ArgAction::Append),
        typed(
            "device-read-iops",
            "list",
            device::parse_iops,
            "Limit of reads from a disk in a second (path:count)",
        )
        .action(clap::ArgAction::Append),
        typed(
            "device-write-iops",
            "list",
            device::parse_iops,
            "Limit of writes to a disk in a second (path:count)",
        )
        .action(clap::ArgAction::Append),
        typed("ulimit", "ulimit", limits::parse_ulimit, "Limit of a process (name=soft[:hard])")
            .action(clap::ArgAction::Append),
        integer::<i64>("cpu-count", "int", "Number of processors (Windows only)"),
        integer::<i64>("cpu-percent", "int", "Share of processors (Windows only)"),
        typed(
            "io-maxbandwidth",
            "bytes",
            units::parse_bytes,
            "Limit of bandwidth of the system drive (Windows only)",
        ),
        unsigned::<u64>("io-maxiops", "uint", "Limit of operations of the system drive (Windows only)"),
    ]
}

fn health() -> Vec<Arg> {
    vec![
        text("health-cmd", "string", "Command that tells whether the container is well"),
        typed("health-interval", "duration", moment::duration::parse, "Time between two checks (ms|s|m|h)"),
        typed("health-timeout", "duration", moment::duration::parse, "Time a check may take (ms|s|m|h)"),
        typed(
            "health-start-period",
            "duration",
            moment::duration::parse,
            "Time at the start in which failures do not count (ms|s|m|h)",
        ),
        typed(
            "health-start-interval",
            "duration",
            moment::duration::parse,
            "Time between two checks at the start (ms|s|m|h)",
        ),
        integer::<i64>("health-retries", "int", "Failures in a row before the container counts as unwell"),
        switch("no-healthcheck", "Run no health check, not even the image's"),
    ]
}

fn rest() -> Vec<Arg> {
    vec![
        text("restart", "string", "What to do when the container ends").default_value("no"),
        switch("rm", "Remove the container and its anonymous volumes when it ends"),
        text("stop-signal", "string", "Signal that stops the container"),
        integer::<i64>("stop-timeout", "int", "Seconds to wait before the container is killed"),
        text("platform", "string", "Platform of the image, for images with several"),
        text("pull", "string", "When to pull the image: \"always\", \"missing\" or \"never\"")
            .default_value("missing"),
        switch("quiet", "Do not show the progress of a pull").short('q'),
    ]
}

/// Parameters that a namespace of a container has of its own.
fn check_sysctl(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((name, _)) if SysctlOwner::of(name).is_some() => Ok(text.to_owned()),
        _ => Err(format!("sysctl '{text}' is not allowed")),
    }
}

/// A domain, or `.` for none.
fn check_domain(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name == "." {
        return Ok(name.to_owned());
    }
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
    };
    let labels = name.strip_suffix('.').unwrap_or(name);
    let valid = name.len() < 255
        && labels.split('.').all(label)
        && name.contains(|letter: char| letter.is_ascii_alphabetic());
    match valid {
        true => Ok(labels.to_owned()),
        false => Err(format!("{text} is not a valid domain")),
    }
}

fn check_stream(text: &str) -> Result<String, String> {
    let stream = text.to_lowercase();
    match matches!(stream.as_str(), "stdin" | "stdout" | "stderr") {
        true => Ok(stream),
        false => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

fn check_link(text: &str) -> Result<String, String> {
    match text.split(':').count() {
        _ if text.is_empty() => Err("empty string specified for links".to_owned()),
        1 | 2 => Ok(text.to_owned()),
        _ => Err(format!("bad format for links: {text}")),
    }
}

fn check_dns(text: &str) -> Result<String, String> {
    match text.parse::<std::net::IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(format!("IP address is not correctly formatted: {text}")),
    }
}
