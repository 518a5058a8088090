//! `container restart`.

use crate::commands::each;
use crate::failure::Outcome;
use crate::flags::{Count, Parsed, integer, text};
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["container restart", "restart"],
    &["[OPTIONS] CONTAINER [CONTAINER...]"],
    "Stop containers and start them again",
    Count::AtLeast(1),
    flags,
    run,
)
.names(Names::Containers);

fn flags() -> Vec<clap::Arg> {
    vec![
        text("signal", "string", "Signal that asks the process to end").short('s'),
        integer::<i64>("timeout", "int", "Seconds to wait before the container is killed").short('t'),
        integer::<i64>("time", "int", "The old name of --timeout").hide(true),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let timeout = super::stop::timeout(parsed)?;
    let client = session.client()?;
    each(parsed.arguments(), |name| {
        client.restart_container(name, parsed.text("signal"), timeout)?;
        Ok(name.to_owned())
    })
}
