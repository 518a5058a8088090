//! Descriptors that the caller passed, by their numbers.
//!
//! A number means what the caller had there, or is an error; it never means what we have opened meanwhile, which would hand
//! our log to a container. So they are taken before anything else is opened.

use std::os::fd::OwnedFd;

use runtime::{Error, Result};

use super::arguments::{Arguments, Command};

/// As many as one process may have open anyway.
const MOST: i32 = 1 << 16;

/// All that this command is told of, in the order of their numbers.
pub(super) fn take(command: &Command, arguments: &Arguments) -> Result<Vec<OwnedFd>> {
    if command.has("preserve-fds") {
        return preserved(arguments.number("preserve-fds")?.unwrap_or(0));
    }
    match arguments.number::<i32>("status-fd")?.filter(|number| *number != -1) {
        Some(number) => status(number).map(|descriptor| vec![descriptor]),
        None => Ok(Vec::new()),
    }
}

/// How many come by socket activation, sd_listen_fds(3). Those that were meant for another process are not ours.
pub(super) fn activated() -> i32 {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
    match number("LISTEN_PID") {
        Some(pid) if pid == linux::process::id() => number("LISTEN_FDS").unwrap_or(0),
        _ => 0,
    }
}

/// From 3 up: those of socket activation, then those asked for.
fn preserved(extra: i32) -> Result<Vec<OwnedFd>> {
    let count = activated().saturating_add(extra).clamp(0, MOST);
    let take = |index| {
        linux::fd::take_inherited(3 + index).map_err(|error| {
            let message =
                format_args!("please check that preserved-fd {index} (of {count}) is present: {error}");
            Error::invalid(message)
        })
    };
    (0..count).map(take).collect()
}

fn status(number: i32) -> Result<OwnedFd> {
    linux::fd::take_inherited(number)
        .map_err(|error| Error::invalid(format_args!("invalid --status-fd argument {number}: {error}")))
}
