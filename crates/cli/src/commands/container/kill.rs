//! `container kill`.

use crate::commands::each;
use crate::failure::Outcome;
use crate::flags::{Count, Parsed, text};
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["container kill", "kill"],
    &["[OPTIONS] CONTAINER [CONTAINER...]"],
    "Send a signal to running containers, SIGKILL if none is named",
    Count::AtLeast(1),
    flags,
    run,
)
.names(Names::RunningContainers);

fn flags() -> Vec<clap::Arg> {
    vec![text("signal", "string", "Signal to send").short('s')]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let client = session.client()?;
    each(parsed.arguments(), |name| {
        client.kill_container(name, parsed.text("signal"))?;
        Ok(name.to_owned())
    })
}
