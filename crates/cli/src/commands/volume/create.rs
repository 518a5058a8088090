//! `volume create`.

use api::volume::CreateRequest;

use super::cluster;
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, list, text, typed};
use crate::needs::since;
use crate::session::Session;
use crate::tree::Spec;
use crate::values::env;

pub(crate) const SPEC: Spec =
    Spec::new(&["volume create"], &["[OPTIONS] [VOLUME]"], "Create a volume", Count::AtMost(1), flags, run)
        .flags_since(&[
            ("availability", since(42)),
            ("group", since(42)),
            ("limit-bytes", since(42)),
            ("required-bytes", since(42)),
            ("scope", since(42)),
            ("secret", since(42)),
            ("sharing", since(42)),
            ("topology-preferred", since(42)),
            ("topology-required", since(42)),
            ("type", since(42)),
        ]);

fn flags() -> Vec<clap::Arg> {
    let mut flags = vec![
        text("driver", "string", "Driver of the volume").short('d').default_value("local"),
        typed("label", "list", env::check_label, "Label of the volume (key=value)")
            .action(clap::ArgAction::Append),
        text("name", "string", "Name of the volume").hide(true),
        list("opt", "map", "Option of the driver (key=value)").short('o'),
    ];
    flags.extend(cluster::flags());
    flags
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
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
        cluster_volume_spec: cluster::spec(parsed)?,
    };
    crate::print(&format!("{}\n", session.client()?.create_volume(&request)?.name))
}
