//! `container rm`.

use std::io::Write as _;

use client::RemoveOptions;

use crate::commands::each;
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch};
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["container rm", "container remove", "rm"],
    &["[OPTIONS] CONTAINER [CONTAINER...]"],
    "Remove containers",
    Count::AtLeast(1),
    flags,
    run,
)
.names(Names::Containers);

fn flags() -> Vec<clap::Arg> {
    vec![
        switch("force", "Kill the container first if it runs").short('f'),
        switch("link", "Remove only the link of that name").short('l'),
        switch("volumes", "Remove its anonymous volumes too").short('v'),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let client = session.client()?;
    let options =
        RemoveOptions { force: parsed.on("force"), volumes: parsed.on("volumes"), link: parsed.on("link") };
    each(parsed.arguments(), |argument| {
        let name = argument.trim_matches('/');
        if name.is_empty() {
            return Err(Failure::new("container name cannot be empty"));
        }
        match client.remove_container(name, options) {
            // Forced means: it shall not be there. That it is not is worth a word, but no failure.
            Err(error) if options.force && error.is_not_found() => {
                writeln!(std::io::stderr(), "{error}")?;
                Ok(String::new())
            }
            result => result.map(|()| argument.to_owned()).map_err(Failure::from),
        }
    })
}
