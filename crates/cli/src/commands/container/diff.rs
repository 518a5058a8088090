//! `container diff`.

use crate::failure::Outcome;
use crate::flags::{Count, Parsed};
use crate::session::Session;
use crate::tree::{Names, Spec};
use std::io::Write as _;

pub(crate) const SPEC: Spec = Spec::new(
    &["container diff", "diff"],
    &["CONTAINER"],
    "List what changed in a container's file system",
    Count::Exactly(1),
    Vec::new,
    run,
)
.names(Names::Containers);

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let changes = session.client()?.container_changes(parsed.first())?;
    let mut out = std::io::stdout().lock();
    for change in changes {
        let letter = match change.kind {
            0 => 'C',
            1 => 'A',
            _ => 'D',
        };
        writeln!(out, "{letter} {}", change.path)?;
    }
    Ok(0)
}
