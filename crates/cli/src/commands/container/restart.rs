//! `container restart`.

use super::stop;
use crate::commands::each;
use crate::failure::Outcome;
use crate::flags::{Count, Parsed};
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["container restart", "restart"],
    &["[OPTIONS] CONTAINER [CONTAINER...]"],
    "Stop containers and start them again",
    Count::AtLeast(1),
    stop::flags,
    run,
)
.names(Names::Containers);

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let timeout = stop::timeout(parsed)?;
    let client = session.client()?;
    each(parsed.arguments(), |name| {
        client.restart_container(name, parsed.text("signal"), timeout)?;
        Ok(name.to_owned())
    })
}
