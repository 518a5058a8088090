//! `image import`.

use std::fs::File;
use std::io;

use client::Query;

use crate::commands::progress;
use crate::failure::{Outcome, doing};
use crate::flags::{Count, Parsed, list, text};
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
.names(Names::Files);

fn flags() -> Vec<clap::Arg> {
    vec![
        list("change", "list", "Instruction of a Dockerfile to apply to the image").short('c'),
        text("message", "string", "Commit message").short('m'),
        text("platform", "string", "Platform of the file system"),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let source = parsed.first();
    let (repository, tag) = reference::split_tag(parsed.arguments().get(1).map_or("", String::as_str));
    let is_url = source.starts_with("http://") || source.starts_with("https://");
    let mut query = Query::new()
        .set("fromSrc", if is_url { source } else { "-" })
        .set_filled("repo", repository)
        .set_filled("tag", tag)
        .set_filled("message", parsed.text("message"))
        .set_filled("platform", parsed.text("platform"));
    for change in parsed.list("change") {
        query = query.set("changes", change);
    }
    let client = session.client()?;
    let messages = match source {
        "-" => client.import_image(&query, Some(&mut io::stdin().lock()))?,
        _ if is_url => client.import_image(&query, None)?,
        path => client.import_image(&query, Some(&mut File::open(path).map_err(doing("open", path))?))?,
    };
    progress::show(messages, &mut io::stdout(), terminal::stdout_is_terminal())?;
    Ok(0)
}
