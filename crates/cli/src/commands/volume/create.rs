//! `volume create`.

use api::volume::CreateRequest;

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, list, text};
use crate::session::Session;
use crate::tree::Spec;
use crate::values::env;

pub(crate) const SPEC: Spec =
    Spec::new(&["volume create"], &["[OPTIONS] [VOLUME]"], "Create a volume", Count::AtMost(1), flags, run);

/// Flags about volumes of a swarm. They are known so that they can be refused by name.
const SWARM: [&str; 10] = [
    "availability",
    "group",
    "limit-bytes",
    "required-bytes",
    "scope",
    "secret",
    "sharing",
    "topology-preferred",
    "topology-required",
    "type",
];

fn flags() -> Vec<clap::Arg> {
    let mut flags = vec![
        text("driver", "string", "Driver of the volume").short('d').default_value("local"),
        list("label", "list", "Label of the volume (key=value)"),
        text("name", "string", "Name of the volume").hide(true),
        list("opt", "map", "Option of the driver (key=value)").short('o'),
    ];
    flags.extend(SWARM.iter().map(|name| list(name, "string", "For volumes of a swarm").hide(true)));
    flags
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    if let Some(flag) = SWARM.iter().find(|flag| parsed.changed(flag)) {
        return Err(Failure::new(format!(
            "unsupported flag --{flag}: there are no volumes of a swarm in this engine"
        )));
    }
    let name = match (parsed.arguments().first(), parsed.given("name")) {
        (Some(_), Some(_)) => {
            return Err(Failure::new(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
            ));
        }
        (Some(name), None) => name.clone(),
        (None, name) => name.unwrap_or_default().to_owned(),
    };
    let request = CreateRequest {
        name,
        driver: parsed.text("driver").to_owned(),
        driver_opts: Some(env::pairs(&parsed.list("opt"))).filter(|options| !options.is_empty()),
        labels: Some(env::pairs(&parsed.list("label"))).filter(|labels| !labels.is_empty()),
        ..CreateRequest::default()
    };
    println!("{}", session.client()?.create_volume(&request)?.name);
    Ok(0)
}
