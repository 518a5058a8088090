//! `container logs`.

use std::io::Write as _;

use client::LogOptions;

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch, text};
use crate::needs::since;
use crate::session::Session;
use crate::streams;
use crate::tree::{Names, Spec};
use crate::units;

pub(crate) const SPEC: Spec = Spec::new(
    &["container logs", "logs"],
    &["[OPTIONS] CONTAINER"],
    "Print what a container wrote",
    Count::Exactly(1),
    flags,
    run,
)
.names(Names::Containers)
.flags_since(&[("until", since(35))]);

fn flags() -> Vec<clap::Arg> {
    vec![
        switch("details", "Print what the logging driver noted beside each line"),
        switch("follow", "Go on with what is written from now on").short('f'),
        text("since", "string", "Begin at a time (2013-01-02T13:23:37Z) or so long ago (42m)"),
        text("tail", "string", "Number of lines from the end").short('n').default_value("all"),
        switch("timestamps", "Print the time of each line").short('t'),
        text("until", "string", "End at a time (2013-01-02T13:23:37Z) or so long ago (42m)"),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let moment = |flag: &str| match parsed.text(flag) {
        "" => Ok(String::new()),
        text => units::parse_moment(text)
            .map_err(|why| Failure::new(format!("invalid value for {flag:?}: {why}"))),
    };
    let client = session.client()?;
    let container = client.inspect_container(parsed.first())?;
    let options = LogOptions {
        follow: parsed.on("follow"),
        timestamps: parsed.on("timestamps"),
        details: parsed.on("details"),
        since: moment("since")?,
        until: moment("until")?,
        tail: parsed.text("tail").to_owned(),
    };
    let mut body = client.container_logs(&container.id, &options)?;
    if container.config.tty {
        std::io::copy(&mut body, &mut std::io::stdout())?;
        std::io::stdout().flush()?;
    } else {
        streams::demultiplex(&mut body, true, true)?;
    }
    Ok(0)
}
