//! `volume prune`.

use std::io::Write as _;

use api::filters::Filters;

use crate::commands::prune_filters;
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch, typed};
use crate::needs::since;
use crate::prompt;
use crate::session::Session;
use crate::tree::Spec;
use crate::units;
use crate::values::filter;

pub(crate) const SPEC: Spec = Spec::new(
    &["volume prune"],
    &["[OPTIONS]"],
    "Remove volumes that no container uses",
    Count::None,
    flags,
    run,
)
.since(since(25))
.flags_since(&[("all", since(42))]);

fn flags() -> Vec<clap::Arg> {
    vec![
        switch("all", "Remove volumes with a name too").short('a'),
        typed("filter", "filter", filter::argument, "Remove only these (for example \"label=<label>\")")
            .action(clap::ArgAction::Append),
        switch("force", "Do not ask").short('f'),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let mut filters =
        Filters::parse(&prune_filters(session, parsed)?).map_err(|error| Failure::new(error.to_string()))?;
    let all = parsed.on("all");
    if all {
        if filters.contains("all") {
            return Err(Failure::new("conflicting options: cannot specify both --all and --filter all=1"));
        }
        filters.add("all", "true");
    }
    let warning = match all {
        true => "WARNING! This will remove all local volumes not used by at least one container.",
        false => "WARNING! This will remove anonymous local volumes not used by at least one container.",
    };
    if !parsed.on("force") && !prompt::confirm(warning)? {
        return Ok(0);
    }
    let filters = if filters.is_empty() { String::new() } else { filters.to_json() };
    let report = session.client()?.prune_volumes(&filters)?;
    let mut out = std::io::stdout().lock();
    let deleted = report.volumes_deleted.unwrap_or_default();
    if !deleted.is_empty() {
        writeln!(out, "Deleted Volumes:\n{}\n", deleted.join("\n"))?;
    }
    writeln!(out, "Total reclaimed space: {}", units::decimal_size_long(report.space_reclaimed as f64))?;
    Ok(0)
}
