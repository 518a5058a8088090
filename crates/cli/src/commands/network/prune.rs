//! `network prune`.

use std::io::Write as _;

use crate::commands::prune_filters;
use crate::failure::Outcome;
use crate::flags::{Count, Parsed, switch, typed};
use crate::needs::since;
use crate::prompt;
use crate::session::Session;
use crate::tree::Spec;
use crate::values::filter;

pub(crate) const SPEC: Spec = Spec::new(
    &["network prune"],
    &["[OPTIONS]"],
    "Remove all networks that no container uses",
    Count::None,
    flags,
    run,
)
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
    let warning = "WARNING! This will remove all custom networks not used by at least one container.";
    if !parsed.on("force") && !prompt::confirm(warning)? {
        return Ok(0);
    }
    let deleted = session.client()?.prune_networks(&filters)?.networks_deleted.unwrap_or_default();
    if !deleted.is_empty() {
        writeln!(std::io::stdout(), "Deleted Networks:\n{}\n", deleted.join("\n"))?;
    }
    Ok(0)
}
