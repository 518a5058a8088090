//! Questions to the person at the terminal.

use std::io::{self, BufRead as _, Write as _};

use crate::failure::Failure;
use crate::signals;

/// Asks for a `y`; anything else, `yes` too, is a no.
pub(crate) fn confirm(warning: &str) -> Result<bool, Failure> {
    let question = format!("{warning}\nAre you sure you want to continue? [y/N] ");
    let answer = signals::or_no(|| line(&question))?;
    Ok(matches!(answer.as_str(), "y" | "Y"))
}

/// Reads a line.
pub(crate) fn line(question: &str) -> Result<String, Failure> {
    let mut out = io::stdout();
    write!(out, "{question}")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// Reads a line that the terminal does not show.
pub(crate) fn secret(question: &str) -> Result<String, Failure> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let before = tcgetattr(io::stdin()).ok();
    if let Some(before) = &before {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &silent);
    }
    let answer = line(question);
    if let Some(before) = &before {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        println!();
    }
    answer
}
