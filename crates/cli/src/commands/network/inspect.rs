//! `network inspect`.

use crate::commands::inspect::{FORMAT, show};
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch, text};
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["network inspect"],
    &["[OPTIONS] NETWORK [NETWORK...]"],
    "Show all that is known about networks",
    Count::AtLeast(1),
    flags,
    run,
)
.names(Names::Networks);

fn flags() -> Vec<clap::Arg> {
    vec![
        text("format", "string", FORMAT).short('f'),
        switch("verbose", "Show more, for finding faults").short('v'),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let client = session.client()?;
    show(parsed.text("format"), "", parsed.arguments(), |name| {
        client.inspect_network_raw(name, parsed.on("verbose")).map_err(Failure::from)
    })
}
