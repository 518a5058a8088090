//! Pages of prose and of what a shell was told and said.
//!
//! ```text
//! A container that nobody knows has no state to change.
//!
//!     $ docker start nobody
//!     Error response from daemon: No such container: nobody
//!     (exit 1)
//! ```
//!
//! Lines that begin with four spaces are the shell's, all others prose. `$ ` begins a line of input and `> ` goes on
//! with it; what follows is its output up to the next input or prose. An empty line between two lines of output is
//! output.

use std::fmt;

/// A line and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) line: String,
    pub(super) answer: String,
}

/// A page in its order.
#[derive(Debug)]
pub(super) struct Page {
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Prose(String),
    Case(Case),
}

impl Page {
    pub(super) fn parse(text: &str) -> Page {
        let mut pieces: Vec<Piece> = Vec::new();
        // Empty lines belong to the answer if more of it follows.
        let mut gap = 0;
        for line in text.lines() {
            let Some(shell) = line.strip_prefix("    ") else {
                match line.is_empty() {
                    true => gap += 1,
                    false => {
                        pieces.push(Piece::Prose(line.to_owned()));
                        gap = 0;
                    }
                }
                continue;
            };
            if let Some(input) = shell.strip_prefix("$ ") {
                pieces.push(Piece::Case(Case { line: input.to_owned(), answer: String::new() }));
            } else if let Some(Piece::Case(case)) = pieces.last_mut() {
                match shell.strip_prefix("> ") {
                    Some(more) if case.answer.is_empty() => {
                        case.line.push('\n');
                        case.line.push_str(more);
                    }
                    _ => {
                        let ends = if case.answer.is_empty() { gap } else { gap + 1 };
                        case.answer.push_str(&"\n".repeat(ends));
                        case.answer.push_str(shell);
                    }
                }
            } else {
                panic!("output of no input: {line}");
            }
            gap = 0;
        }
        Page { pieces }
    }

    /// Whether this is among the remarks that the page begins with.
    pub(super) fn says(&self, remark: &str) -> bool {
        let wanted = format!("<!-- {remark} -->");
        let lines = self.pieces.iter().map_while(|piece| match piece {
            Piece::Prose(line) => Some(line.as_str()),
            Piece::Case(_) => None,
        });
        lines.take_while(|line| line.is_empty() || line.starts_with("<!--")).any(|line| line == wanted)
    }

    pub(super) fn cases(&self) -> impl Iterator<Item = &Case> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Case(case) => Some(case),
            Piece::Prose(_) => None,
        })
    }

    pub(super) fn cases_mut(&mut self) -> impl Iterator<Item = &mut Case> {
        self.pieces.iter_mut().filter_map(|piece| match piece {
            Piece::Case(case) => Some(case),
            Piece::Prose(_) => None,
        })
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last: Option<&Piece> = None;
        for piece in &self.pieces {
            match (last, piece) {
                (Some(Piece::Prose(_)), Piece::Prose(line)) if line.starts_with("## ") => writeln!(f)?,
                (Some(Piece::Prose(line)), Piece::Prose(_)) if !line.starts_with(['#', '<']) => {}
                (Some(Piece::Case(_)), Piece::Case(_)) | (None, _) => {}
                _ => writeln!(f)?,
            }
            match piece {
                Piece::Prose(line) => writeln!(f, "{line}")?,
                Piece::Case(case) => {
                    writeln!(f, "    $ {}", case.line.replace('\n', "\n    > "))?;
                    for line in case.answer.lines() {
                        match line.is_empty() {
                            true => writeln!(f)?,
                            false => writeln!(f, "    {line}")?,
                        }
                    }
                }
            }
            last = Some(piece);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# A page

Prose over
two lines.

    $ one
    $ two |
    > three
    a

    b
    (exit 1)

More prose.

    $ four
    four
";

    #[test]
    fn a_page_is_understood_and_written_as_it_was() {
        let page = Page::parse(TEXT);
        let cases: Vec<(&str, &str)> =
            page.cases().map(|case| (case.line.as_str(), case.answer.as_str())).collect();
        assert_eq!(cases, [("one", ""), ("two |\nthree", "a\n\nb\n(exit 1)"), ("four", "four")]);
        assert_eq!(page.to_string(), TEXT);
    }
}
