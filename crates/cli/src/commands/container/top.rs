//! `container top`.

use std::io::Write as _;

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed};
use crate::format::align_wide;
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["container top", "top"],
    &["CONTAINER [ps OPTIONS]"],
    "List the processes of a container",
    Count::AtLeast(1),
    Vec::new,
    run,
)
.stop()
.names(Names::RunningContainers);

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let [container, options @ ..] = parsed.arguments() else {
        return Err(Failure::new("a container is required"));
    };
    let top = session.client()?.top(container, &options.join(" "))?;
    let mut lines = vec![top.titles];
    lines.extend(top.processes);
    std::io::stdout().write_all(align_wide(&lines).as_bytes())?;
    Ok(0)
}
