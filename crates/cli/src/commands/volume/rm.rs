//! `volume rm`.

use crate::commands::each;
use crate::failure::Outcome;
use crate::flags::{Count, Parsed, switch};
use crate::needs::since;
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["volume rm", "volume remove"],
    &["[OPTIONS] VOLUME [VOLUME...]"],
    "Remove volumes that no container uses",
    Count::AtLeast(1),
    flags,
    run,
)
.names(Names::Volumes)
.flags_since(&[("force", since(25))]);

fn flags() -> Vec<clap::Arg> {
    vec![switch("force", "Do not fail if a volume is not there").short('f')]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let client = session.client()?;
    each(parsed.arguments(), |name| {
        client.remove_volume(name, parsed.on("force"))?;
        Ok(name.to_owned())
    })
}
