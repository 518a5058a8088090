//! `system info`.

use std::fmt::Write as _;
use std::io::Write as _;

use api::system::Info;

use crate::commands::version;
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, text};
use crate::session::{RELEASE, Session};
use crate::template::{self, Prepared};
use crate::tree::Spec;
use crate::units;

pub(crate) const SPEC: Spec = Spec::new(
    &["system info", "info"],
    &["[OPTIONS]"],
    "Show what the engine is and has",
    Count::None,
    flags,
    run,
);

fn flags() -> Vec<clap::Arg> {
    vec![text("format", "string", crate::commands::inspect::FORMAT).short('f')]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let format = parsed.text("format");
    let raw = session.client().and_then(|client| client.info_raw().map_err(Failure::from));
    let mut out = std::io::stdout();
    if !format.is_empty() {
        // Of an engine that does not answer a template sees nothing, but what the client knows.
        let (raw, unanswered) = match raw {
            Ok(raw) => (raw, None),
            Err(failure) => (serde_json::to_vec(&Info::default()).unwrap_or_default(), Some(failure)),
        };
        let document = with_client(&String::from_utf8_lossy(&raw), session)?;
        let shown = match format {
            "json" => Ok(document),
            text => {
                let prepared = Prepared::parse(text).map_err(misfit)?;
                prepared.render(&template::read(&document)?.called("system.dockerInfo"))
            }
        };
        // The line that was begun ends before a message.
        writeln!(out, "{}", shown.as_deref().unwrap_or_default())?;
        let misfit = shown.err().map(|fault| Failure::new(fault.to_string()));
        return Failure::all(unanswered.into_iter().chain(misfit).collect());
    }
    writeln!(
        out,
        "Client:\n Version:    {RELEASE}\n Context:    {}\n Debug Mode: {}\n\nServer:",
        session.context()?,
        session.debug()
    )?;
    match raw {
        Ok(raw) => {
            let info: Info = api::json::from_slice(&raw).map_err(|error| Failure::new(error.to_string()))?;
            out.write_all(server(&info).as_bytes())?;
            for warning in info.warnings.into_iter().flatten() {
                writeln!(std::io::stderr(), "{warning}")?;
            }
            Ok(0)
        }
        Err(failure) => Err(failure),
    }
}

fn misfit(fault: template::Fault) -> Failure {
    Failure::new(format!("template parsing error: {fault}")).with_code(64)
}

/// The engine's document with ours as its last member.
fn with_client(document: &str, session: &Session) -> Result<String, Failure> {
    let engine = document.trim().strip_suffix('}').unwrap_or(document);
    let context = serde_json::Value::from(session.context()?);
    Ok(format!(
        "{engine},\"ClientInfo\":{{\"Debug\":{},\"Version\":\"{RELEASE}\",\"Os\":\"linux\",\"Arch\":\"{}\",\"Context\":{context},\"Plugins\":[],\"Warnings\":null}}}}",
        session.debug(),
        version::architecture(),
    ))
}

fn server(info: &Info) -> String {
    let mut text = String::new();
    let mut line = |depth: usize, name: &str, value: &dyn std::fmt::Display| {
        let value = value.to_string();
        if !value.is_empty() {
            let space = if value.starts_with('\n') { "" } else { " " };
            let _ = writeln!(text, "{:depth$}{name}:{space}{value}", "");
        }
    };
    line(1, "Containers", &info.containers);
    line(2, "Running", &info.containers_running);
    line(2, "Paused", &info.containers_paused);
    line(2, "Stopped", &info.containers_stopped);
    line(1, "Images", &info.images);
    line(1, "Server Version", &info.server_version);
    line(1, "Storage Driver", &info.driver);
    for [name, value] in &info.driver_status {
        line(2, name, value);
    }
    line(1, "Logging Driver", &info.logging_driver);
    line(1, "Cgroup Driver", &info.cgroup_driver);
    line(1, "Cgroup Version", &info.cgroup_version);
    line(1, "Plugins", &format!("\n  Volume: {}", info.plugins.volume.join(" ")));
    line(2, "Network", &info.plugins.network.join(" "));
    line(2, "Log", &info.plugins.log.join(" "));
    if !info.cdi_spec_dirs.is_empty() {
        line(1, "CDI spec directories", &format!("\n  {}", info.cdi_spec_dirs.join("\n  ")));
    }
    line(1, "Swarm", &info.swarm.local_node_state);
    let runtimes: Vec<&str> = info.runtimes.keys().map(String::as_str).collect();
    line(1, "Runtimes", &runtimes.join(" "));
    line(1, "Default Runtime", &info.default_runtime);
    line(1, "Init Binary", &info.init_binary);
    for (name, commit) in [
        ("containerd version", &info.containerd_commit),
        ("runc version", &info.runc_commit),
        ("init version", &info.init_commit),
    ] {
        line(1, name, &commit.id);
    }
    if !info.security_options.is_empty() {
        let options: Vec<String> = info.security_options.iter().map(|option| security(option)).collect();
        line(1, "Security Options", &format!("\n{}", options.join("\n")));
    }
    line(1, "Kernel Version", &info.kernel_version);
    line(1, "Operating System", &info.operating_system);
    line(1, "OSType", &info.os_type);
    line(1, "Architecture", &info.architecture);
    line(1, "CPUs", &info.n_cpu);
    line(1, "Total Memory", &units::binary_size(info.mem_total as f64));
    line(1, "Name", &info.name);
    line(1, "ID", &info.id);
    line(1, "Docker Root Dir", &info.docker_root_dir);
    line(1, "Debug Mode", &info.debug);
    line(1, "HTTP Proxy", &info.http_proxy);
    line(1, "HTTPS Proxy", &info.https_proxy);
    line(1, "No Proxy", &info.no_proxy);
    if !info.labels.is_empty() {
        line(1, "Labels", &format!("\n  {}", info.labels.join("\n  ")));
    }
    line(1, "Experimental", &info.experimental_build);
    if !info.registry_config.insecure_registry_cidrs.is_empty() {
        let mut insecure: Vec<&str> = info
            .registry_config
            .index_configs
            .iter()
            .filter(|(_, registry)| !registry.secure)
            .map(|(name, _)| name.as_str())
            .collect();
        insecure.extend(info.registry_config.insecure_registry_cidrs.iter().map(String::as_str));
        line(1, "Insecure Registries", &format!("\n  {}", insecure.join("\n  ")));
    }
    if let Some(mirrors) = info.registry_config.mirrors.as_ref().filter(|mirrors| !mirrors.is_empty()) {
        line(1, "Registry Mirrors", &format!("\n  {}", mirrors.join("\n  ")));
    }
    line(1, "Live Restore Enabled", &info.live_restore_enabled);
    text
}

/// `name=seccomp,profile=builtin` as a name and what belongs to it.
fn security(option: &str) -> String {
    let mut text = String::new();
    for part in option.split(',') {
        match part.split_once('=') {
            Some(("name", name)) => text = format!("  {name}{text}"),
            Some((key, value)) => {
                let mut letters = key.chars();
                let first =
                    letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
                let _ = write!(text, "\n   {first}{}: {value}", letters.as_str());
            }
            None => text = format!("  {part}{text}"),
        }
    }
    text
}
