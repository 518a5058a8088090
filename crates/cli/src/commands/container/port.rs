//! `container port`.

use std::io::Write as _;

use api::container::PortBinding;

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed};
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["container port", "port"],
    &["CONTAINER [PRIVATE_PORT[/PROTO]]"],
    "List the published ports of a container, or of one of its ports",
    Count::Between(1, 2),
    Vec::new,
    run,
)
.names(Names::Containers);

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let container = session.client()?.inspect_container(parsed.first())?;
    let ports = container.network_settings.ports.unwrap_or_default();
    let mut out = std::io::stdout().lock();
    if let Some(port) = parsed.arguments().get(1).filter(|port| !port.is_empty()) {
        let wanted = wanted(port)?;
        let bindings = ports.get(&wanted).cloned().flatten().unwrap_or_default();
        if bindings.is_empty() {
            return Err(Failure::new(format!(
                "Error: No public port '{port}' published for {}",
                parsed.first()
            )));
        }
        for binding in bindings {
            writeln!(out, "{}", address(&binding))?;
        }
        return Ok(0);
    }
    let mut lines: Vec<(u32, String)> = Vec::new();
    for (port, bindings) in &ports {
        let number = port.split('/').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        for binding in bindings.iter().flatten() {
            lines.push((number, format!("{port} -> {}", address(binding))));
        }
    }
    lines.sort();
    for (_, line) in lines {
        writeln!(out, "{line}")?;
    }
    Ok(0)
}

fn wanted(text: &str) -> Result<String, Failure> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    match port.parse::<u16>() {
        Ok(port) => Ok(format!("{port}/{}", protocol.to_lowercase())),
        Err(_) => Err(Failure::new(format!(
            "Error: invalid port ({port}): strconv.ParseUint: parsing {port:?}: invalid syntax"
        ))),
    }
}

fn address(binding: &PortBinding) -> String {
    match binding.host_ip.contains(':') {
        true => format!("[{}]:{}", binding.host_ip, binding.host_port),
        false => format!("{}:{}", binding.host_ip, binding.host_port),
    }
}
