//! The progress of pulls, pushes, loads and imports.
//!
//! On a terminal every layer has a line that is redrawn in place; elsewhere every change of a
//! layer's step is a line of its own and the bars are left out.

use std::io::{self, Write};

use api::progress::{Detail, Message};
use client::Messages;

use crate::failure::Failure;
use crate::{terminal, units};

/// Shows a stream of messages until its end. An error within it is the outcome.
pub(crate) fn show(messages: Messages<Message>, out: &mut dyn Write, fancy: bool) -> Result<(), Failure> {
    let mut screen = Screen { lines: Vec::new(), width: terminal::columns().unwrap_or(80) };
    for message in messages {
        let message = message?;
        fail_on_error(&message)?;
        if message.aux.is_some() && message.status.is_empty() && message.stream.is_empty() {
            continue;
        }
        if fancy {
            screen.show(&message, out)?;
        } else {
            plain(&message, out)?;
        }
        out.flush()?;
    }
    Ok(())
}

/// Reads a stream of messages without showing them.
pub(crate) fn swallow(messages: Messages<Message>) -> Result<(), Failure> {
    for message in messages {
        fail_on_error(&message?)?;
    }
    Ok(())
}

fn fail_on_error(message: &Message) -> Result<(), Failure> {
    match &message.error_detail {
        Some(detail) => Err(Failure::new(detail.message.clone())),
        None if !message.error.is_empty() => Err(Failure::new(message.error.clone())),
        None => Ok(()),
    }
}

fn plain(message: &Message, out: &mut dyn Write) -> io::Result<()> {
    let moving =
        message.progress_detail.as_ref().is_some_and(|detail| detail.current > 0 || detail.total > 0);
    if !message.stream.is_empty() {
        return out.write_all(message.stream.as_bytes());
    }
    if moving || message.status.is_empty() {
        return Ok(());
    }
    match message.id.as_str() {
        "" => writeln!(out, "{}", message.status),
        id => writeln!(out, "{id}: {}", message.status),
    }
}

/// The lines that are drawn in place, topmost first; the cursor stands below the last.
struct Screen {
    lines: Vec<String>,
    width: usize,
}

impl Screen {
    fn show(&mut self, message: &Message, out: &mut dyn Write) -> io::Result<()> {
        if !message.stream.is_empty() {
            return out.write_all(message.stream.as_bytes());
        }
        if message.id.is_empty() || message.progress_detail.is_none() {
            // What is said without a place ends the block above it: it will not be redrawn.
            self.lines.clear();
            return plain(message, out);
        }
        let up = match self.lines.iter().position(|id| *id == message.id) {
            Some(at) => self.lines.len() - at,
            None => {
                self.lines.push(message.id.clone());
                writeln!(out)?;
                1
            }
        };
        let bar = message.progress_detail.as_ref().map(|detail| bar(detail, self.width)).unwrap_or_default();
        let line = format!("{}: {} {bar}", message.id, message.status);
        let line: String = line.trim_end().chars().take(self.width).collect();
        // Up to the line, clear it, write it, and back down.
        write!(out, "\x1b[{up}A\r\x1b[2K{line}\x1b[{up}B\r")
    }
}

/// `[====>   ]  1.2MB/3.4MB`, as wide as the terminal allows.
fn bar(detail: &Detail, width: usize) -> String {
    const CELLS: usize = 50;
    if detail.current <= 0 && detail.total <= 0 {
        return String::new();
    }
    let show = |number: i64| match detail.units.as_str() {
        "" => units::decimal_size_long(number as f64),
        unit => format!("{number} {unit}"),
    };
    if detail.total <= 0 {
        return format!("{:>8}", show(detail.current));
    }
    let current = detail.current.clamp(0, detail.total);
    let numbers = match detail.hidecounts {
        true => String::new(),
        false => format!("{:>8}/{}", show(current), show(detail.total)),
    };
    if width <= 110 {
        return numbers;
    }
    let filled = usize::try_from(current.saturating_mul(CELLS as i64) / detail.total).unwrap_or(0).min(CELLS);
    let head = if filled < CELLS { ">" } else { "" };
    format!("[{}{head}{:rest$}] {numbers}", "=".repeat(filled), "", rest = CELLS - filled - head.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elsewhere_only_steps_are_told() {
        let mut out = Vec::new();
        plain(&Message::step("ab", "Pulling fs layer"), &mut out).unwrap();
        let mut moving = Message::step("ab", "Downloading");
        moving.progress_detail = Some(Detail { current: 1, total: 2, ..Detail::default() });
        plain(&moving, &mut out).unwrap();
        plain(&Message::status("Digest: x"), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "ab: Pulling fs layer\nDigest: x\n");
    }

    #[test]
    fn layers_are_redrawn_in_place() {
        let mut screen = Screen { lines: Vec::new(), width: 80 };
        let mut out = Vec::new();
        for (id, status) in [("a", "Waiting"), ("b", "Waiting"), ("a", "Pull complete")] {
            screen.show(&Message::step(id, status), &mut out).unwrap();
        }
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("\x1b[2A\r\x1b[2Ka: Pull complete\x1b[2B\r"), "{text:?}");
    }

    #[test]
    fn bars_grow() {
        let detail = Detail { current: 500, total: 1000, ..Detail::default() };
        assert_eq!(bar(&detail, 80), "    500B/1kB");
        assert!(bar(&detail, 120).starts_with("[=========================>"));
        assert_eq!(bar(&Detail::default(), 120), "");
    }
}
