//! `context rm`.

use super::{DEFAULT, Store};
use crate::commands::each;
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch};
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["context rm", "context remove"],
    &["CONTEXT [CONTEXT...]"],
    "Remove contexts",
    Count::AtLeast(1),
    flags,
    run,
)
.names(Names::Contexts);

fn flags() -> Vec<clap::Arg> {
    vec![switch("force", "Remove it even if it is in use").short('f')]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let store = Store::new(session);
    let force = parsed.on("force");
    let current = session.context()?;
    each(parsed.arguments(), |name| {
        if name == DEFAULT {
            return Err(Failure::new("context \"default\" cannot be removed"));
        }
        if name == current && !force {
            return Err(Failure::new(format!("context {name:?} is in use, set -f flag to force remove")));
        }
        if !force && !store.exists(name) {
            return Err(Failure::new(format!("context {name:?} does not exist")));
        }
        if name == current {
            let mut config = session.config()?.clone();
            config.unset("currentContext");
            config.save()?;
        }
        store.remove(name)?;
        Ok(name.to_owned())
    })
}
