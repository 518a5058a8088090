//! `volume update`, which exists for volumes of a swarm only.

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, text};
use crate::needs::since;
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["volume update"],
    &["[OPTIONS] VOLUME"],
    "Change a volume of a swarm",
    Count::Exactly(1),
    flags,
    run,
)
.hidden()
.names(Names::Volumes)
.since(since(42))
.flags_since(&[("availability", since(42))]);

fn flags() -> Vec<clap::Arg> {
    vec![
        text("availability", "string", "Availability in a swarm: active, pause or drain")
            .default_value("active"),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    // A volume that is not there is worth another word than one that is not a swarm's.
    session.client()?.inspect_volume_raw(parsed.first())?;
    Err(Failure::new("can only update cluster volumes"))
}
