//! `container pause`.

use crate::commands::each;
use crate::failure::Outcome;
use crate::flags::{Count, Parsed};
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["container pause", "pause"],
    &["CONTAINER [CONTAINER...]"],
    "Freeze all processes of containers",
    Count::AtLeast(1),
    Vec::new,
    run,
)
.names(Names::RunningContainers);

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let client = session.client()?;
    each(parsed.arguments(), |name| {
        client.pause_container(name)?;
        Ok(name.to_owned())
    })
}
