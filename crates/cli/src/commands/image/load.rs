//! `image load`.

use std::io;

use client::Query;

use crate::commands::input::Source;
use crate::commands::progress;
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, list, switch, text};
use crate::needs::since;
use crate::session::Session;
use crate::terminal;
use crate::tree::Spec;

pub(crate) const SPEC: Spec = Spec::new(
    &["image load", "load"],
    &["[OPTIONS]"],
    "Load images from a tar archive, or from standard input",
    Count::None,
    flags,
    run,
)
.flags_since(&[("platform", since(48))]);

fn flags() -> Vec<clap::Arg> {
    vec![
        text("input", "string", "File to read instead of standard input").short('i'),
        list("platform", "strings", "Platforms to load, for images with several"),
        switch("quiet", "Do not show the progress").short('q'),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let input = parsed.text("input");
    if input.is_empty() && terminal::stdin_is_terminal() {
        return Err(Failure::new("requested load from stdin, but stdin is empty"));
    }
    let fancy = terminal::stdout_is_terminal();
    let mut query = Query::new().set("quiet", if parsed.on("quiet") || !fancy { "1" } else { "0" });
    for platform in parsed.comma_list("platform") {
        query = query.set("platform", super::save::invalid(super::save::platform_json(&platform))?);
    }
    let mut source = if input.is_empty() { Source::standard() } else { Source::open(input)? };
    let messages = session.client()?.load_images(&query, &mut source)?;
    progress::show(messages, &mut io::stdout(), fancy)?;
    Ok(0)
}
