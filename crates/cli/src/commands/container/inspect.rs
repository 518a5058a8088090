//! `container inspect`.

use crate::commands::inspect::show;
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch, text};
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["container inspect"],
    &["[OPTIONS] CONTAINER [CONTAINER...]"],
    "Show all that is known about containers",
    Count::AtLeast(1),
    flags,
    run,
)
.names(Names::Containers);

fn flags() -> Vec<clap::Arg> {
    vec![
        text("format", "string", crate::commands::inspect::FORMAT).short('f'),
        switch("size", "Show sizes too").short('s'),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let client = session.client()?;
    show(parsed.text("format"), "", parsed.arguments(), |name| {
        client.inspect_container_raw(name, parsed.on("size")).map_err(Failure::from)
    })
}
