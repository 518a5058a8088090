//! `container commit`.

use client::Query;

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, list, switch, switch_on, text};
use crate::session::Session;
use crate::tree::{Names, Spec};
use crate::values::reference;

pub(crate) const SPEC: Spec = Spec::new(
    &["container commit", "commit"],
    &["[OPTIONS] CONTAINER [REPOSITORY[:TAG]]"],
    "Make an image of what a container changed",
    Count::Between(1, 2),
    flags,
    run,
)
.stop()
.names(Names::Containers);

fn flags() -> Vec<clap::Arg> {
    vec![
        text("author", "string", "Author (for example \"Ann Example <ann@example.com>\")").short('a'),
        list("change", "list", "Instruction of a Dockerfile to apply to the image").short('c'),
        text("message", "string", "Commit message").short('m'),
        switch_on("pause", "Freeze the container meanwhile").short('p'),
        switch("no-pause", "Do not freeze the container meanwhile").hide(true),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let target = parsed.arguments().get(1).map_or("", String::as_str);
    if !target.is_empty() {
        reference::check(target).map_err(Failure::new)?;
    }
    if target.contains('@') {
        return Err(Failure::new("refusing to create a tag with a digest reference"));
    }
    let (repository, tag) = reference::split_tag(target);
    let pause = parsed.on("pause") && !parsed.on("no-pause");
    let mut query = Query::new()
        .set("container", parsed.first())
        .set_filled("repo", repository)
        .set_filled("tag", tag)
        .set_filled("comment", parsed.text("message"))
        .set_filled("author", parsed.text("author"))
        .set("pause", if pause { "1" } else { "0" });
    for change in parsed.list("change") {
        query = query.set("changes", change);
    }
    crate::print(&format!("{}\n", session.client()?.commit(&query, None)?.id))
}
