//! Running a program of the host for what it says.

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use linux::poll::{Interest, Poll};

use crate::effects::Said;

/// What a program may say, and how long it may take: what goes on for ever must not keep a thread.
const MOST: usize = 16 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// What one read brings.
const PIECE: usize = 64 << 10;

pub(super) fn run(name: &str, arguments: &[&str]) -> io::Result<Said> {
    let mut child = Command::new(name)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let said = listen(&mut child, Instant::now() + PATIENCE);
    // Neither has to succeed: it may have ended just now, and where nobody waits for children there is none to collect.
    // One that does not let itself be killed is not waited for, either.
    let _ = if said.is_ok() { child.wait().map(drop) } else { child.kill() };
    said
}

fn listen(child: &mut Child, until: Instant) -> io::Result<Said> {
    let mut said = Said::default();
    let (Some(mut output), Some(mut errors)) = (child.stdout.take(), child.stderr.take()) else {
        return Ok(said);
    };
    let poll = Poll::new()?;
    poll.add(output.as_fd(), 0, Interest::READ)?;
    poll.add(errors.as_fd(), 1, Interest::READ)?;
    let (mut open, mut piece) = (2, vec![0; PIECE]);
    while open > 0 {
        let left = until.saturating_duration_since(Instant::now());
        let mut ready = Vec::new();
        poll.wait(&mut ready, Some(left))?;
        if ready.is_empty() && left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no end within the time it has"));
        }
        for event in ready {
            let (count, into) = match event.token {
                0 => (output.read(&mut piece)?, &mut said.output),
                _ => (errors.read(&mut piece)?, &mut said.errors),
            };
            into.extend_from_slice(&piece[..count]);
            if into.len() > MOST {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more output than is read"));
            }
            if count == 0 {
                open -= 1;
                match event.token {
                    0 => poll.remove(output.as_fd())?,
                    _ => poll.remove(errors.as_fd())?,
                }
            }
        }
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outputs_are_heard_to_their_ends() {
        let script = "head -c 200000 /dev/zero; head -c 100000 /dev/zero >&2; echo end >&2";
        let said = run("sh", &["-c", script]).unwrap();
        assert_eq!((said.output.len(), said.errors.len()), (200_000, 100_004));
    }

    #[test]
    fn there_are_bounds() {
        assert_eq!(run("/no/such/program", &[]).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(run("cat", &["/dev/zero"]).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        let mut child =
            Command::new("sleep").arg("1000").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let error = listen(&mut child, Instant::now()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
