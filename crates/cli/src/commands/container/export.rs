//! `container export`.

use crate::commands::output;
use crate::failure::Outcome;
use crate::flags::{Count, Parsed, text};
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["container export", "export"],
    &["[OPTIONS] CONTAINER"],
    "Write a container's file system as a tar archive",
    Count::Exactly(1),
    flags,
    run,
)
.names(Names::Containers);

fn flags() -> Vec<clap::Arg> {
    vec![text("output", "string", "File to write instead of standard output").short('o')]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let target = output::Target::choose(parsed.text("output"), "export", "container")?;
    target.write(&mut session.client()?.export_container(parsed.first())?)
}
