//! `container unpause`.

use crate::commands::each;
use crate::failure::Outcome;
use crate::flags::{Count, Parsed};
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["container unpause", "unpause"],
    &["CONTAINER [CONTAINER...]"],
    "Thaw all processes of containers",
    Count::AtLeast(1),
    Vec::new,
    run,
)
.names(Names::PausedContainers);

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let client = session.client()?;
    each(parsed.arguments(), |name| {
        client.unpause_container(name)?;
        Ok(name.to_owned())
    })
}
