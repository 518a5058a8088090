//! `container rename`.

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed};
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["container rename", "rename"],
    &["CONTAINER NEW_NAME"],
    "Give a container another name",
    Count::Exactly(2),
    Vec::new,
    run,
)
.names(Names::Containers);

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let [old, new] = parsed.arguments() else { return Err(Failure::new("two names are required")) };
    if old.trim().is_empty() || new.trim().is_empty() {
        return Err(Failure::new("Error: Neither old nor new names may be empty"));
    }
    session
        .client()?
        .rename_container(old, new)
        .map_err(|error| Failure::new(format!("{error}\nError: failed to rename container named {old}")))?;
    Ok(0)
}
