//! `container wait`.

use api::container::WaitCondition;

use crate::commands::each;
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed};
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["container wait", "wait"],
    &["CONTAINER [CONTAINER...]"],
    "Wait until containers stop, and print their exit codes",
    Count::AtLeast(1),
    Vec::new,
    run,
)
.names(Names::Containers);

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let client = session.client()?;
    each(parsed.arguments(), |name| {
        let outcome = client.wait_container(name, WaitCondition::NotRunning)?.outcome()?;
        match outcome.error.filter(|error| !error.message.is_empty()) {
            Some(error) => Err(Failure::new(error.message)),
            None => Ok(outcome.status_code.to_string()),
        }
    })
}
