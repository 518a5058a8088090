//! `container attach`: joins the streams of a container that runs.

use api::container::{Inspect, WaitCondition};
use client::AttachOptions;

use super::run::{check_terminal, detach_keys, duty, exit_status};
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch, switch_on, text};
use crate::session::Session;
use crate::signals::{Caught, Target};
use crate::streams::{self, End, Plan};
use crate::terminal;
use crate::tree::{Names, Spec};
use crate::values::keys;

pub(crate) const SPEC: Spec = Spec::new(
    &["container attach", "attach"],
    &["[OPTIONS] CONTAINER"],
    "Join the standard streams of a running container",
    Count::Exactly(1),
    flags,
    run,
)
.names(Names::RunningContainers);

fn flags() -> Vec<clap::Arg> {
    vec![
        text("detach-keys", "string", "Keys that detach from the container"),
        switch("no-stdin", "Do not attach standard input"),
        switch_on("sig-proxy", "Pass the signals that we get to the process"),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let client = session.client()?;
    let container = client.inspect_container(parsed.first())?;
    check_state(&container)?;
    let keys_text = detach_keys(session, parsed.text("detach-keys"))?;
    let config = &container.config;
    let stdin = !parsed.on("no-stdin") && config.open_stdin;
    check_terminal(stdin, config.tty)?;
    let attach = AttachOptions { stdin, stdout: true, stderr: true, detach_keys: keys_text.clone() };
    // At a terminal keys are how a container gets signals.
    let caught = Caught::begin(duty(parsed.on("sig-proxy") && !config.tty), config.tty)?;
    let waiting = client.wait_container(&container.id, WaitCondition::NotRunning)?;
    let hijacked = client.attach_container(&container.id, &attach)?;
    // It may have ended between the two questions; then nothing would ever come.
    check_state(&client.inspect_container(&container.id)?)?;
    if config.tty && terminal::stdout_is_terminal() {
        repaint(session, &container.id)?;
    }
    if let Some(caught) = caught {
        caught.heed(session.another_client()?, Target::Container(container.id.clone()))?;
    }
    let plan = Plan {
        tty: config.tty,
        stdin,
        stdout: true,
        stderr: true,
        detach_keys: keys::parse(&keys_text).unwrap_or_default(),
    };
    match streams::carry(hijacked, &plan)? {
        End::Detached => Err(Failure::new("read escape sequence")),
        End::Closed(_) => exit_status(waiting),
    }
}

fn check_state(container: &Inspect) -> Result<(), Failure> {
    let state = &container.state;
    if !state.running {
        return Err(Failure::new("You cannot attach to a stopped container, start it first"));
    }
    if state.paused {
        return Err(Failure::new("You cannot attach to a paused container, unpause it first"));
    }
    if state.restarting {
        return Err(Failure::new("You cannot attach to a restarting container, wait until it is running"));
    }
    Ok(())
}

/// A program draws its screen anew when its window changes; so it is told a wrong size first.
fn repaint(session: &Session, id: &str) -> Result<(), Failure> {
    if let Some((rows, columns)) = terminal::size() {
        let _ = session.client()?.resize_container(id, rows.saturating_add(1), columns.saturating_add(1));
    }
    Ok(())
}
