//! `container run`: create, attach, wait, start, and pass on what the process ends with.
//!
//! ```text
//! POST create ─ 404 ─▶ pull, POST create
//! POST attach                      (streams are open before there is a process to miss)
//! POST wait?condition=next-exit    (or removed: the engine listens before there is an exit to miss)
//! POST start
//! … bytes both ways, signals, window size …
//! the wait's body: the exit status
//! ```

use std::io::Write as _;

use api::container::{CreateRequest, WaitCondition};
use client::{AttachOptions, RemoveOptions, Waiting};

use super::create::{self, PullPolicy, usage_failure};
use super::{options, request};
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch, switch_on, text};
use crate::session::Session;
use crate::signals::{Caught, Duty, Target};
use crate::streams::{self, End, Plan};
use crate::terminal;
use crate::tree::{Names, Spec};
use crate::values::keys;

pub(crate) const SPEC: Spec = Spec::new(
    &["container run", "run"],
    &["[OPTIONS] IMAGE [COMMAND] [ARG...]"],
    "Create a container and run it",
    Count::AtLeast(1),
    flags,
    run,
)
.stop()
.names(Names::Images)
.flags_since(options::SINCE);

fn flags() -> Vec<clap::Arg> {
    let mut flags = options::flags();
    flags.extend([
        switch("detach", "Leave the container to itself and print its ID").short('d'),
        text("detach-keys", "string", "Keys that detach from the container"),
        switch_on("sig-proxy", "Pass the signals that we get to the process"),
    ]);
    flags
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    request::refuse_windows(parsed)?;
    let detach = parsed.on("detach");
    if detach && !parsed.list("attach").is_empty() {
        return Err(Failure::new("conflicting options: cannot specify both --attach and --detach"));
    }
    let blame = |failure| usage_failure(session, "run", failure);
    let mut request = request::build(parsed).map_err(blame)?;
    let policy = PullPolicy::read(parsed).map_err(blame)?;
    let detach_keys = detach_keys(session, parsed.text("detach-keys")).map_err(blame)?;
    if detach {
        let config = &mut request.config;
        (config.attach_stdin, config.attach_stdout, config.attach_stderr, config.stdin_once) =
            (false, false, false, false);
    } else {
        check_terminal(request.config.attach_stdin, request.config.tty)?;
    }
    if let Some((rows, columns)) = terminal::size() {
        request.host_config.console_size = [rows.into(), columns.into()];
    }
    execute(session, parsed, request, policy, &detach_keys)
}

/// A container's terminal needs one of ours to be typed at.
pub(crate) fn check_terminal(stdin: bool, tty: bool) -> Result<(), Failure> {
    if stdin && tty && !terminal::stdin_is_terminal() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    Ok(())
}

/// The keys of the flag, of the configuration, or the usual ones, as they were written.
pub(crate) fn detach_keys(session: &Session, flag: &str) -> Result<String, Failure> {
    let configured = if flag.is_empty() { session.config()?.text("detachKeys") } else { flag.to_owned() };
    let text = if configured.is_empty() { keys::DEFAULT.to_owned() } else { configured };
    // Nonsense is the engine's to refuse: every client hears the same words.
    Ok(text)
}

fn execute(
    session: &Session,
    parsed: &Parsed,
    request: CreateRequest,
    policy: PullPolicy,
    detach_keys: &str,
) -> Outcome {
    let fail = |failure: Failure| start_failure(session, failure);
    let config = request.config.clone();
    let wanted = request.host_config.auto_remove;
    let attached = config.attach_stdin || config.attach_stdout || config.attach_stderr;
    let created = create::create(session, parsed, request, policy).map_err(fail)?;
    // From now on they are for the container. Whoever pulls may give up.
    let caught = match attached {
        true => Caught::begin(duty(parsed.on("sig-proxy")), config.tty)?,
        false => None,
    };
    let client = session.client()?;
    // Older engines leave that to us.
    let remove = wanted && client.speaks(1, 25)?;
    if !config.attach_stdout && !config.attach_stderr {
        // Also of one that cannot be started; whether anybody reads it is no matter.
        let _ = writeln!(std::io::stdout(), "{}", created.id);
    }
    if !attached {
        client.start_container(&created.id).map_err(|error| fail(error.into()))?;
        return Ok(0);
    }
    let attach = AttachOptions {
        stdin: config.attach_stdin,
        stdout: config.attach_stdout,
        stderr: config.attach_stderr,
        detach_keys: detach_keys.to_owned(),
    };
    let hijacked = client.attach_container(&created.id, &attach)?;
    let condition = if remove { WaitCondition::Removed } else { WaitCondition::NextExit };
    let waiting = client.wait_container(&created.id, condition).map_err(|error| fail(error.into()))?;
    if let Err(error) = client.start_container(&created.id) {
        if remove {
            // The engine removes what never ran; waiting for it leaves nothing half gone behind us.
            let _ = waiting.outcome();
        }
        return Err(fail(error.into()));
    }
    if let Some(caught) = caught {
        caught.heed(session.another_client()?, Target::Container(created.id.clone()))?;
    }
    let plan = Plan {
        tty: config.tty,
        stdin: attach.stdin,
        stdout: attach.stdout,
        stderr: attach.stderr,
        detach_keys: keys::parse(detach_keys).unwrap_or_default(),
    };
    match streams::carry(hijacked, &plan)? {
        End::Detached => Ok(0),
        End::Closed(_) => {
            let status = exit_status(waiting);
            if wanted && !remove {
                client
                    .remove_container(&created.id, RemoveOptions { volumes: true, ..Default::default() })?;
            }
            status
        }
    }
}

/// What becomes of signals: `--sig-proxy` says whether the container gets them.
pub(crate) fn duty(proxy: bool) -> Duty {
    if proxy { Duty::Forward } else { Duty::Withstand }
}

/// The exit status that a wait brings.
pub(crate) fn exit_status(waiting: Waiting) -> Outcome {
    let outcome = waiting.outcome().map_err(|error| Failure::from(error).with_code(125))?;
    if let Some(error) = outcome.error.filter(|error| !error.message.is_empty()) {
        writeln!(std::io::stderr(), "Error waiting for container: {}", error.message)?;
        return Err(Failure::silent(125));
    }
    Ok(u8::try_from(outcome.status_code & 0xff).unwrap_or(125))
}

/// A failure to create or start, with the exit code that tells why.
fn start_failure(session: &Session, failure: Failure) -> Failure {
    let about = |words: &[&str]| words.iter().any(|word| failure.message.contains(word));
    let code = if about(&[
        "executable file not found",
        "no such file or directory",
        "system cannot find the file specified",
    ]) {
        127
    } else if about(&["permission denied", "is a directory"]) {
        126
    } else {
        125
    };
    usage_failure(session, "run", failure).with_code(code)
}
