//! `context use`.

use std::io::Write as _;

use super::{DEFAULT, Store};
use crate::failure::Outcome;
use crate::flags::{Count, Parsed};
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["context use"],
    &["CONTEXT"],
    "Make a context the current one",
    Count::Plain(1),
    Vec::new,
    run,
)
.names(Names::Contexts);

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let name = parsed.first();
    let mut config = session.config()?.clone();
    if name == DEFAULT {
        config.unset("currentContext");
    } else {
        Store::new(session).load(name)?;
        config.set("currentContext", name.into());
    }
    config.save()?;
    writeln!(std::io::stdout(), "{name}")?;
    writeln!(std::io::stderr(), "Current context is now \"{name}\"")?;
    if name != DEFAULT
        && let Some(variable) = super::overriding_variable()
    {
        writeln!(
            std::io::stderr(),
            "Warning: {variable} environment variable overrides the active context. To use {name:?}, either set the global --context flag, or unset {variable} environment variable."
        )?;
    }
    Ok(0)
}
