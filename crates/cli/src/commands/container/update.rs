//! `container update`.

use std::io::Write as _;

use api::container::UpdateRequest;

use super::limits;
use crate::commands::each;
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, text};
use crate::needs::since;
use crate::session::Session;
use crate::tree::{Names, Spec};
use crate::values::limits::parse_restart;

pub(crate) const SPEC: Spec = Spec::new(
    &["container update", "update"],
    &["[OPTIONS] CONTAINER [CONTAINER...]"],
    "Change the limits and the restart policy of containers",
    Count::AtLeast(1),
    flags,
    run,
)
.names(Names::Containers)
.flags_since(&[
    ("cpu-rt-period", since(25)),
    ("cpu-rt-runtime", since(25)),
    ("cpus", since(29)),
    ("pids-limit", since(40)),
]);

fn flags() -> Vec<clap::Arg> {
    let mut flags = limits::flags();
    flags.push(text("restart", "string", "What to do when the container ends"));
    flags
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    if !flags().iter().any(|flag| parsed.changed(flag.get_id().as_str())) {
        return Err(Failure::new("you must provide one or more flags when using this command"));
    }
    let request = UpdateRequest {
        resources: limits::read(parsed),
        restart_policy: parse_restart(parsed.text("restart")).map_err(Failure::new)?,
    };
    let client = session.client()?;
    let mut warnings = Vec::new();
    let outcome = each(parsed.arguments(), |name| {
        warnings.extend(client.update_container(name, &request)?.warnings.unwrap_or_default());
        Ok(name.to_owned())
    });
    for warning in warnings {
        writeln!(std::io::stdout(), "{warning}")?;
    }
    outcome
}
