//! `container prune`.

use std::io::Write as _;

use crate::commands::prune_filters;
use crate::failure::Outcome;
use crate::flags::{Count, Parsed, switch, typed};
use crate::needs::since;
use crate::prompt;
use crate::session::Session;
use crate::tree::Spec;
use crate::units;
use crate::values::filter;

pub(crate) const SPEC: Spec =
    Spec::new(&["container prune"], &["[OPTIONS]"], "Remove all stopped containers", Count::None, flags, run)
        .since(since(25));

fn flags() -> Vec<clap::Arg> {
    vec![
        typed("filter", "filter", filter::argument, "Remove only these (for example 'until=<timestamp>')")
            .action(clap::ArgAction::Append),
        switch("force", "Do not ask").short('f'),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let filters = prune_filters(session, parsed)?;
    if !parsed.on("force") && !prompt::confirm("WARNING! This will remove all stopped containers.")? {
        return Ok(0);
    }
    let report = session.client()?.prune_containers(&filters)?;
    let mut out = std::io::stdout().lock();
    let deleted = report.containers_deleted.unwrap_or_default();
    if !deleted.is_empty() {
        writeln!(out, "Deleted Containers:\n{}\n", deleted.join("\n"))?;
    }
    writeln!(out, "Total reclaimed space: {}", units::decimal_size_long(report.space_reclaimed as f64))?;
    Ok(0)
}
