//! `context show`.

use std::io::Write as _;

use crate::failure::Outcome;
use crate::flags::{Count, Parsed};
use crate::session::Session;
use crate::tree::Spec;

pub(crate) const SPEC: Spec =
    Spec::new(&["context show"], &[""], "Print the name of the current context", Count::None, Vec::new, run);

fn run(session: &Session, _parsed: &Parsed) -> Outcome {
    writeln!(std::io::stdout(), "{}", session.context()?)?;
    Ok(0)
}
