//! `image prune`.

use std::io::Write as _;

use api::filters::Filters;
use api::image::PruneReport;

use crate::commands::prune_filters;
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch, typed};
use crate::needs::since;
use crate::prompt;
use crate::session::Session;
use crate::tree::Spec;
use crate::units;
use crate::values::filter;

pub(crate) const SPEC: Spec =
    Spec::new(&["image prune"], &["[OPTIONS]"], "Remove images that nothing needs", Count::None, flags, run)
        .since(since(25));

fn flags() -> Vec<clap::Arg> {
    vec![
        switch("all", "Remove all images without a container, not just those without a name").short('a'),
        typed("filter", "filter", filter::argument, "Remove only these (for example 'until=<timestamp>')")
            .action(clap::ArgAction::Append),
        switch("force", "Do not ask").short('f'),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let all = parsed.on("all");
    let filters = filters(&prune_filters(session, parsed)?, all)?;
    let warning = match all {
        true => "WARNING! This will remove all images without at least one container associated to them.",
        false => "WARNING! This will remove all dangling images.",
    };
    if !parsed.on("force") && !prompt::confirm(warning)? {
        return Ok(0);
    }
    let report = session.client()?.prune_images(&filters)?;
    let mut out = std::io::stdout();
    out.write_all(deleted(&report).as_bytes())?;
    writeln!(out, "Total reclaimed space: {}", units::decimal_size_long(report.space_reclaimed as f64))?;
    Ok(0)
}

/// Without a name, or without a container: that is a filter to the engine.
pub(crate) fn filters(given: &str, all: bool) -> Result<String, Failure> {
    let mut filters = Filters::parse(given).map_err(|error| Failure::new(error.to_string()))?;
    filters.remove("dangling");
    filters.add("dangling", if all { "false" } else { "true" });
    Ok(filters.to_json())
}

/// What was removed, as a block of lines; nothing when nothing was.
pub(crate) fn deleted(report: &PruneReport) -> String {
    let lines = report.images_deleted.iter().flatten().map(|line| match line.untagged.as_str() {
        "" => format!("deleted: {}\n", line.deleted),
        name => format!("untagged: {name}\n"),
    });
    let lines: String = lines.collect();
    if lines.is_empty() { String::new() } else { format!("Deleted Images:\n{lines}\n") }
}
