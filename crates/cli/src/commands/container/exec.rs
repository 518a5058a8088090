//! `container exec`: one more process in a running container.

use api::exec::{CreateRequest, StartRequest};

use super::options;
use super::run::{check_terminal, detach_keys};
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch, text};
use crate::needs::since;
use crate::session::Session;
use crate::signals::{Caught, Duty, Target};
use crate::streams::{self, End, Plan};
use crate::terminal;
use crate::tree::{Names, Spec};
use crate::values::{env, keys};

pub(crate) const SPEC: Spec = Spec::new(
    &["container exec", "exec"],
    &["[OPTIONS] CONTAINER COMMAND [ARG...]"],
    "Run a command in a running container",
    Count::AtLeast(2),
    flags,
    run,
)
.stop()
.names(Names::RunningContainers)
.flags_since(&[("env", since(25)), ("env-file", since(25)), ("workdir", since(35))]);

fn flags() -> Vec<clap::Arg> {
    let mut flags = vec![
        switch("detach", "Leave the command to itself").short('d'),
        text("detach-keys", "string", "Keys that detach from the command"),
        switch("interactive", "Keep standard input open, attached or not").short('i'),
        switch("privileged", "Lift most of the isolation from the host for the command"),
        switch("tty", "Give the command a terminal").short('t'),
        text("user", "string", "User to run as: name or uid, and group after a colon").short('u'),
        text("workdir", "string", "Directory to run in").short('w'),
    ];
    flags.extend(options::environment());
    flags
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let client = session.client()?;
    let [container, command @ ..] = parsed.arguments() else {
        return Err(Failure::new("a container is required"));
    };
    let detach = parsed.on("detach");
    let tty = parsed.on("tty");
    let stdin = parsed.on("interactive") && !detach;
    let keys_text = detach_keys(session, parsed.text("detach-keys"))?;
    let variables = env::variables(&parsed.list("env-file"), &parsed.list("env"))?;
    if !detach {
        check_terminal(stdin, tty)?;
    }
    let console_size =
        terminal::size().filter(|_| tty && !detach).map(|(rows, columns)| [rows.into(), columns.into()]);
    let request = CreateRequest {
        user: parsed.text("user").to_owned(),
        privileged: parsed.on("privileged"),
        tty,
        console_size,
        attach_stdin: stdin,
        attach_stdout: !detach,
        attach_stderr: !detach,
        detach_keys: keys_text.clone(),
        env: (!variables.is_empty()).then_some(variables),
        working_dir: parsed.text("workdir").to_owned(),
        cmd: Some(command.to_vec()),
    };
    let start = StartRequest { detach, tty, console_size };
    if detach {
        let id = client.create_exec(container, &request)?;
        client.start_exec_detached(&id, &start)?;
        return Ok(0);
    }
    let (id, hijacked) = client.run_exec(container, &request, &start)?;
    if let Some(caught) = Caught::begin(Duty::Leave, tty)? {
        caught.heed(session.another_client()?, Target::Exec(id.clone()))?;
    }
    let plan = Plan {
        tty,
        stdin,
        stdout: true,
        stderr: true,
        detach_keys: keys::parse(&keys_text).unwrap_or_default(),
    };
    match streams::carry(hijacked, &plan)? {
        End::Detached => Err(Failure::new("read escape sequence")),
        End::Closed(Some(code)) => Ok(status(code.into())),
        End::Closed(None) => exit_code(session, &id),
    }
}

/// What a program can end with.
fn status(code: i64) -> u8 {
    u8::try_from(code & 0xff).unwrap_or(255)
}

/// The status of the command where only another question brings it.
fn exit_code(session: &Session, id: &str) -> Outcome {
    match session.client()?.inspect_exec(id) {
        Ok(exec) => Ok(status(exec.exit_code.unwrap_or(0))),
        // The engine went away under us: that is not the command's status, and must not look like it.
        Err(error @ (client::Error::Connect { .. } | client::Error::Denied { .. })) => {
            Err(Failure::from(error).with_code(255))
        }
        Err(error) => Err(error.into()),
    }
}
