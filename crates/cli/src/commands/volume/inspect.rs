//! `volume inspect`.

use crate::commands::inspect::{FORMAT, show};
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, text};
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["volume inspect"],
    &["[OPTIONS] VOLUME [VOLUME...]"],
    "Show all that is known about volumes",
    Count::AtLeast(1),
    flags,
    run,
)
.names(Names::Volumes);

fn flags() -> Vec<clap::Arg> {
    vec![text("format", "string", FORMAT).short('f')]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let client = session.client()?;
    show(parsed.text("format"), "volume.Volume", parsed.arguments(), |name| {
        client.inspect_volume_raw(name).map_err(Failure::from)
    })
}
