//! `wharf`: Docker's commands, for an engine that it starts by itself when none runs.
//!
//! Called by the name `docker` it answers to that name. It knows nothing but the engine's socket:
//! no file of the engine is read or written here. A command costs one look at the command line, at
//! most one small file of configuration, and the requests it needs; there is no second thread but
//! where bytes flow in both directions.

mod autostart;
mod commands;
mod config;
mod credentials;
mod failure;
mod flags;
mod format;
mod json;
mod needs;
mod prompt;
mod session;
mod signals;
mod streams;
mod template;
mod terminal;
mod tree;
mod units;
mod usage;
mod values;
mod zone;

use std::io::Write as _;
use std::process::ExitCode;

use failure::{Failure, Outcome};
use flags::Misread;
use session::{Globals, Session};
use tree::{Found, Spec};

fn main() -> ExitCode {
    let mut words: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let program = match words.first().map(|name| name.rsplit('/').next().unwrap_or(name)) {
        Some("docker") => "docker",
        _ => "wharf",
    };
    if !words.is_empty() {
        words.remove(0);
    }
    terminal::restore_on_panic();
    let code = match run(program, &words) {
        Ok(code) => code,
        Err(failure) => {
            if !failure.message.is_empty() {
                let _ = writeln!(std::io::stderr(), "{failure}");
            }
            failure.code
        }
    };
    ExitCode::from(code)
}

fn run(program: &'static str, words: &[String]) -> Outcome {
    let globals = session::global_flags();
    let parsed = match flags::parse(flags::command(session::global_flags(), true), words) {
        Ok(parsed) => parsed,
        // `docker --help ps` is `docker ps --help`.
        Err(Misread::Help { .. }) => {
            let named: Vec<String> = words.iter().filter(|word| !word.starts_with('-')).cloned().collect();
            return help(program, &named, globals);
        }
        Err(Misread::Error(text)) => return Err(misread(program, &text)),
    };
    if let [_, second, ..] = &parsed.list("host")[..] {
        let text = format!("invalid argument {second:?} for \"-H, --host\" flag: specify only one -H");
        return Err(misread(program, &text));
    }
    let words = parsed.arguments().to_vec();
    if parsed.on("version") {
        return print(&format!("{}\n", commands::version::one_line(program)));
    }
    let session = Session::new(program, Globals::read(&parsed)?);
    match words.first().map(String::as_str) {
        Some(autostart::LAUNCHER) => autostart::launcher(&words[1..]),
        Some(commands::completion::ASK) => commands::completion::complete(&session, &words[1..], true),
        Some(commands::completion::ASK_BRIEFLY) => {
            commands::completion::complete(&session, &words[1..], false)
        }
        None => advise(&usage::program(program, globals)),
        Some("help") => help(program, &words[1..], globals),
        Some(_) => {
            signals::exit_orderly()?;
            dispatch(&session, &words)
        }
    }
}

fn misread(program: &str, text: &str) -> Failure {
    let usage = format!(
        "Usage:  {program} [OPTIONS] COMMAND [ARG...]\n\nRun '{program} --help' for more information"
    );
    Failure::new(format!("{text}\n\n{usage}")).with_code(125)
}

fn help(program: &str, words: &[String], globals: Vec<clap::Arg>) -> Outcome {
    match tree::find(words) {
        (Found::Command(spec, name), _) => print(&usage::command(program, &name, spec)),
        (Found::Group(group), _) => print(&usage::group(program, group)),
        (Found::Nothing, 0) => print(&usage::program(program, globals)),
        (Found::Nothing, _) => Err(Failure::new(format!("unknown help topic: {}", words.join(" ")))),
    }
}

fn dispatch(session: &Session, words: &[String]) -> Outcome {
    let program = session.program;
    let (found, used) = tree::find(words);
    let rest = &words[used..];
    match found {
        Found::Command(spec, name) => execute(session, spec, &name, rest),
        Found::Group(group) => match rest.first().map(String::as_str) {
            Some("--help" | "-h") => print(&usage::group(program, group)),
            None => advise(&usage::group(program, group)),
            Some(_) => Err(wrong_flag(program, group, rest)),
        },
        Found::Nothing => Err(unknown(program, &words[..used])),
    }
}

/// A group has no flags of its own.
fn wrong_flag(program: &str, group: &tree::Group, line: &[String]) -> Failure {
    let text = match flags::parse(flags::command(Vec::new(), true), line) {
        Err(Misread::Error(text)) => text,
        _ => format!("unknown flag: {}", line.concat()),
    };
    let usage = format!(
        "Usage:  {program} {0} COMMAND\n\nRun '{program} {0} --help' for more information",
        group.name
    );
    Failure::new(format!("{text}\n\n{usage}")).with_code(125)
}

fn unknown(program: &str, words: &[String]) -> Failure {
    let name = words.join(" ");
    let mut text = format!("{program}: unknown command: {program} {name}\n\n");
    if let [group, _] = words {
        text.push_str(&format!(
            "Usage:  {program} {group} COMMAND\n\nRun '{program} {group} --help' for more information"
        ));
    } else {
        text.push_str(&format!("Run '{program} --help' for more information"));
    }
    Failure::new(text)
}

fn execute(session: &Session, spec: &'static Spec, name: &str, line: &[String]) -> Outcome {
    let program = session.program;
    let parsed = match flags::parse(flags::command((spec.flags)(), spec.stop), line) {
        Ok(parsed) => parsed,
        Err(Misread::Help { short }) => {
            if short {
                writeln!(std::io::stdout(), "Flag shorthand -h has been deprecated, use --help")?;
            }
            return print(&usage::command(program, name, spec));
        }
        Err(Misread::Error(text)) => {
            let usage = usage::line(program, name, spec);
            let text = format!("{text}\n\n{usage}\n\nRun '{program} {name} --help' for more information");
            return Err(Failure::new(text).with_code(125));
        }
    };
    if let Some(complaint) = spec.count.complaint(parsed.arguments().len()) {
        if matches!(spec.count, flags::Count::Plain(_)) {
            return Err(Failure::new(complaint));
        }
        let usage = usage::line(program, name, spec);
        let see = if matches!(spec.count, flags::Count::AtLeast(_)) { "See" } else { "Run" };
        return Err(Failure::new(format!(
            "{program}: '{program} {name}' {complaint}\n\n{usage}\n\n{see} '{program} {name} --help' for more information"
        )));
    }
    needs::check(session, spec, name, &parsed)?;
    (spec.run)(session, &parsed)
}

/// What one could have asked for, when nothing was.
fn advise(text: &str) -> Outcome {
    std::io::stderr().write_all(text.as_bytes())?;
    Ok(0)
}

/// Prints a text that is all there is to do. Unlike `println!` it can hear that nobody reads it any more.
pub(crate) fn print(text: &str) -> Outcome {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(0)
}
