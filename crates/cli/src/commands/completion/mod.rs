//! `completion`: a script for the shell, which asks this program what can come next.
//!
//! ```text
//! shell ──▶ wharf __complete run --network ''     the words so far; the last is being typed
//!       ◀── web\ta network                        a candidate and what it is, a line each
//!           :4                                    how to go on: no files
//! ```
//!
//! That is also what Docker's own scripts ask and read, so they work with this program, too.
//! Commands and flags come from the tree; names of containers, images and the like from the engine,
//! which is not started for that: where nobody listens, there is nothing to complete.

mod candidates;
mod scripts;

use std::io::Write as _;

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch};
use crate::session::Session;
use crate::tree::Spec;

pub(crate) const SPEC: Spec = Spec::new(
    &["completion"],
    &["bash|zsh|fish"],
    "Print a script that lets a shell complete command lines",
    Count::Exactly(1),
    flags,
    run,
)
.hidden();

/// The words that ask for candidates: everything after them is the line so far. The second wants
/// no descriptions.
pub(crate) const ASK: &str = "__complete";
pub(crate) const ASK_BRIEFLY: &str = "__completeNoDesc";

fn flags() -> Vec<clap::Arg> {
    vec![switch("no-descriptions", "Let the shell show no descriptions")]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let script = match parsed.first() {
        "bash" => scripts::BASH,
        "zsh" => scripts::ZSH,
        "fish" => scripts::FISH,
        shell => {
            return Err(Failure::new(format!(
                "there is no completion for {shell:?}: bash, zsh and fish are known"
            )));
        }
    };
    let mut script = script.replace("PROGRAM", session.program);
    if parsed.on("no-descriptions") {
        script = script.replace(&format!(" {ASK} "), &format!(" {ASK_BRIEFLY} "));
    }
    std::io::stdout().write_all(script.as_bytes())?;
    Ok(0)
}

/// Something that can stand in the place of the last word.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    text: String,
    about: String,
}

impl Candidate {
    fn new(text: impl Into<String>, about: impl Into<String>) -> Candidate {
        Candidate { text: text.into(), about: about.into() }
    }
}

/// How the shell goes on, in the numbers of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directive {
    /// Without candidates, files.
    Files = 0,
    /// The same, and a candidate is not the end of the word.
    FilesWithin = 2,
    NoFiles = 4,
}

impl Directive {
    fn name(self) -> &'static str {
        match self {
            Directive::Files => "ShellCompDirectiveDefault",
            Directive::FilesWithin => "ShellCompDirectiveNoSpace",
            Directive::NoFiles => "ShellCompDirectiveNoFileComp",
        }
    }
}

/// Prints what can stand in the place of the last word.
pub(crate) fn complete(session: &Session, words: &[String], describe: bool) -> Outcome {
    let (last, before) = match words.split_last() {
        Some((last, before)) => (last.as_str(), before),
        None => ("", words),
    };
    let (mut found, directive) = candidates::find(session, before, last);
    found.sort();
    found.dedup_by(|one, other| one.text == other.text);
    let mut out = std::io::stdout().lock();
    for candidate in found {
        match describe && !candidate.about.is_empty() {
            true => writeln!(out, "{}\t{}", candidate.text, candidate.about)?,
            false => writeln!(out, "{}", candidate.text)?,
        }
    }
    writeln!(out, ":{}", directive as u8)?;
    writeln!(std::io::stderr(), "Completion ended with directive: {}", directive.name())?;
    Ok(0)
}
