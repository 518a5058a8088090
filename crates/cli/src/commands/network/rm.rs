//! `network rm`.

use crate::commands::each;
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch};
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["network rm", "network remove"],
    &["NETWORK [NETWORK...]"],
    "Remove networks",
    Count::AtLeast(1),
    flags,
    run,
)
.names(Names::Networks);

fn flags() -> Vec<clap::Arg> {
    vec![switch("force", "Do not fail if a network is not there").short('f')]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let client = session.client()?;
    let removed = each(parsed.arguments(), |name| match client.remove_network(name) {
        Err(error) if parsed.on("force") && error.is_not_found() => Ok(String::new()),
        result => Ok(result.map(|()| name.to_owned())?),
    });
    // Here alone Docker's client tells the status, too.
    removed.map_err(|failure| Failure::new(format!("{failure}\nexit status 1")))
}
