//! `container start`, attached or not.

use std::io::Write as _;

use api::container::WaitCondition;
use client::{AttachOptions, Client};

use super::run::{check_terminal, detach_keys, exit_status};
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch, text};
use crate::session::Session;
use crate::signals::{Caught, Duty, Target};
use crate::streams::{self, End, Plan};
use crate::tree::{Names, Spec};
use crate::values::keys;

pub(crate) const SPEC: Spec = Spec::new(
    &["container start", "start"],
    &["[OPTIONS] CONTAINER [CONTAINER...]"],
    "Start stopped containers",
    Count::AtLeast(1),
    flags,
    run,
)
.names(Names::StoppedContainers);

fn flags() -> Vec<clap::Arg> {
    vec![
        switch("attach", "Join the output, and pass on the signals that we get").short('a'),
        text("detach-keys", "string", "Keys that detach from the container"),
        switch("interactive", "Join the input").short('i'),
        text("checkpoint", "string", "Checkpoint to start from").hide(true),
        text("checkpoint-dir", "string", "Directory of checkpoints").hide(true),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    for flag in ["checkpoint", "checkpoint-dir"] {
        if parsed.changed(flag) {
            return Err(Failure::new(format!(
                "\"--{flag}\" is only supported on a Docker daemon with experimental features enabled"
            )));
        }
    }
    if !parsed.on("attach") && !parsed.on("interactive") {
        let client = session.client()?;
        return without_streams(client, parsed.arguments());
    }
    if parsed.arguments().len() > 1 {
        return Err(Failure::new("you cannot start and attach multiple containers at once"));
    }
    attached(session, parsed)
}

/// Errors are told as they come, and the end names all that failed.
fn without_streams(client: &Client, names: &[String]) -> Outcome {
    let mut failed = Vec::new();
    for name in names {
        match client.start_container(name) {
            Ok(()) => writeln!(std::io::stdout(), "{name}")?,
            Err(error) => {
                writeln!(std::io::stderr(), "{error}")?;
                failed.push(name.as_str());
            }
        }
    }
    match failed.is_empty() {
        true => Ok(0),
        false => Err(Failure::new(format!("Error: failed to start containers: {}", failed.join(", ")))),
    }
}

fn attached(session: &Session, parsed: &Parsed) -> Outcome {
    let client = session.client()?;
    let container = client.inspect_container(parsed.first())?;
    let config = &container.config;
    let keys_text = detach_keys(session, parsed.text("detach-keys"))?;
    let stdin = parsed.on("interactive") && config.open_stdin;
    check_terminal(stdin, config.tty)?;
    let caught = Caught::begin(if config.tty { Duty::Leave } else { Duty::Forward }, config.tty)?;
    let output = parsed.on("attach") || parsed.on("interactive");
    let attach = AttachOptions { stdin, stdout: output, stderr: output, detach_keys: keys_text.clone() };
    let hijacked = client.attach_container(&container.id, &attach)?;
    let condition =
        if container.host_config.auto_remove { WaitCondition::Removed } else { WaitCondition::NextExit };
    let waiting = client.wait_container(&container.id, condition)?;
    client.start_container(&container.id)?;
    if let Some(caught) = caught {
        caught.heed(session.another_client()?, Target::Container(container.id.clone()))?;
    }
    let plan = Plan {
        tty: config.tty,
        stdin,
        stdout: output,
        stderr: output,
        detach_keys: keys::parse(&keys_text).unwrap_or_default(),
    };
    match streams::carry(hijacked, &plan)? {
        End::Detached => Ok(0),
        End::Closed(_) => exit_status(waiting),
    }
}
