//! `context update`.

use std::io::Write as _;

use super::create::{Described, check_settings, settings};
use super::{Store, check_name};
use crate::failure::Outcome;
use crate::flags::{Count, Parsed, text, typed};
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["context update"],
    &["[OPTIONS] CONTEXT"],
    "Change a context",
    Count::Exactly(1),
    flags,
    run,
)
.details(
    "Change a context\n\nThe engine is described with --docker as for 'context create', anew and in whole.",
)
.names(Names::Contexts);

fn flags() -> Vec<clap::Arg> {
    vec![
        text("description", "string", "What it is"),
        typed("docker", "stringToString", check_settings, "The engine (host=…,ca=…,cert=…,key=…)"),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let store = Store::new(session);
    let name = parsed.first();
    check_name(name)?;
    let mut context = store.load(name)?;
    if !parsed.text("description").is_empty() {
        parsed.text("description").clone_into(&mut context.metadata.description);
    }
    if parsed.changed("docker") {
        let described = Described::read(session, &store, settings(parsed))?;
        context.endpoints.insert("docker".to_owned(), described.endpoint);
        store.forget_certificates(name)?;
        store.save(&context, &described.certificates)?;
    } else {
        store.save(&context, &[])?;
    }
    writeln!(std::io::stdout(), "{name}")?;
    writeln!(std::io::stderr(), "Successfully updated context \"{name}\"")?;
    Ok(0)
}
