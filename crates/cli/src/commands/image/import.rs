//! `image import`.

use std::io;

use client::Query;

use crate::commands::input::Source;
use crate::commands::progress;
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, list, text};
use crate::needs::since;
use crate::session::Session;
use crate::terminal;
use crate::tree::{Names, Spec};
use crate::values::reference;

pub(crate) const SPEC: Spec = Spec::new(
    &["image import", "import"],
    &["[OPTIONS] file|URL|- [REPOSITORY[:TAG]]"],
    "Make an image of a file system in a tar archive",
    Count::AtLeast(1),
    flags,
    run,
)
.names(Names::Files)
.flags_since(&[("platform", since(32))]);

fn flags() -> Vec<clap::Arg> {
    vec![
        list("change", "list", "Instruction of a Dockerfile to apply to the image").short('c'),
        text("message", "string", "Commit message").short('m'),
        text("platform", "string", "Platform of the file system"),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let source = parsed.first();
    let is_url = source.starts_with("http://") || source.starts_with("https://");
    let mut archive = match source {
        "-" => Some(Source::standard()),
        _ if is_url => None,
        path => Some(Source::open(path)?),
    };
    let target = parsed.arguments().get(1).map_or("", String::as_str);
    if !target.is_empty() {
        reference::check(target).map_err(Failure::new)?;
    }
    let (repository, tag) = reference::split_tag(target);
    let mut query = Query::new()
        .set("fromSrc", if is_url { source } else { "-" })
        .set_filled("repo", repository)
        .set_filled("tag", tag)
        .set_filled("message", parsed.text("message"))
        .set_filled("platform", parsed.text("platform"));
    for change in parsed.list("change") {
        query = query.set("changes", change);
    }
    let archive = archive.as_mut().map(|archive| archive as &mut dyn io::Read);
    let messages = session.client()?.import_image(&query, archive)?;
    progress::show(messages, &mut io::stdout(), terminal::stdout_is_terminal())?;
    Ok(0)
}
