//! `image rm`, better known as `rmi`.

use std::io::Write as _;

use client::Query;

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, list, switch};
use crate::needs::since;
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["image rm", "image remove", "image rmi", "rmi"],
    &["[OPTIONS] IMAGE [IMAGE...]"],
    "Remove images",
    Count::AtLeast(1),
    flags,
    run,
)
.names(Names::Images)
.flags_since(&[("platform", since(50))]);

fn flags() -> Vec<clap::Arg> {
    vec![
        switch("force", "Remove it with all its names, even if a stopped container uses it").short('f'),
        switch("no-prune", "Keep parents that have no name"),
        list("platform", "strings", "Remove only this platform (for example linux/amd64)"),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let force = parsed.on("force");
    let mut query = Query::new().set_if("force", force).set_if("noprune", parsed.on("no-prune"));
    for platform in parsed.comma_list("platform") {
        query = query.set("platforms", super::save::invalid(super::save::platform_json(&platform))?);
    }
    let client = session.client()?;
    let mut failures = Vec::new();
    let mut fatal = false;
    for name in parsed.arguments() {
        match client.remove_image(name, &query) {
            Ok(removed) => {
                let mut out = std::io::stdout();
                for line in removed {
                    match line.deleted.as_str() {
                        "" => writeln!(out, "Untagged: {}", line.untagged)?,
                        id => writeln!(out, "Deleted: {id}")?,
                    }
                }
            }
            Err(error) => {
                fatal |= !error.is_not_found();
                failures.push(Failure::from(error));
            }
        }
    }
    // Forced means: it shall not be there. That it is not is worth a word, but no failure.
    if force && !fatal && !failures.is_empty() {
        for failure in failures {
            writeln!(std::io::stderr(), "{failure}")?;
        }
        return Ok(0);
    }
    Failure::all(failures)
}
