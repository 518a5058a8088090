//! `container stop`.

use std::io::Write as _;

use crate::commands::each;
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, integer, text};
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["container stop", "stop"],
    &["[OPTIONS] CONTAINER [CONTAINER...]"],
    "Stop running containers",
    Count::AtLeast(1),
    flags,
    run,
)
.names(Names::RunningContainers);

/// How a container is brought to its end, also by `restart`.
pub(super) fn flags() -> Vec<clap::Arg> {
    vec![
        text("signal", "string", "Signal that asks the process to end").short('s'),
        integer::<i64>("timeout", "int", "Seconds to wait before the container is killed").short('t'),
        integer::<i64>("time", "int", "The old name of --timeout").hide(true),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let timeout = timeout(parsed)?;
    let client = session.client()?;
    each(parsed.arguments(), |name| {
        client.stop_container(name, parsed.text("signal"), timeout)?;
        Ok(name.to_owned())
    })
}

/// The seconds to wait, by the flag's old name or its new one.
pub(super) fn timeout(parsed: &Parsed) -> Result<Option<i64>, Failure> {
    if !parsed.changed("time") {
        return Ok(parsed.value("timeout"));
    }
    // Where Docker's client says it.
    writeln!(std::io::stdout(), "Flag --time has been deprecated, use --timeout instead")?;
    if parsed.changed("timeout") {
        return Err(Failure::new("conflicting options: cannot specify both --timeout and --time"));
    }
    Ok(parsed.value("time"))
}
