//! Help and usage texts, in the layout that Docker users know.

use std::fmt::Write as _;

use clap::{Arg, Command};

use crate::flags;
use crate::tree::{self, Group, Spec};

/// The columns that flags and their texts have on this terminal.
fn width() -> usize {
    crate::terminal::columns().unwrap_or(80)
}

/// The usage line, with the alternatives below it.
pub(crate) fn line(program: &str, name: &str, spec: &Spec) -> String {
    let mut text = String::new();
    // The first line has the name that was typed, the others the short one.
    let short = spec.spellings.iter().find(|spelling| !spelling.contains(' ')).copied().unwrap_or(name);
    for (index, usage) in spec.usage.iter().enumerate() {
        let (lead, name) = if index == 0 { ("Usage:  ", name) } else { ("\n\t", short) };
        let space = if usage.is_empty() { "" } else { " " };
        let _ = write!(text, "{lead}{program} {name}{space}{usage}");
    }
    text
}

/// The help of a command.
pub(crate) fn command(program: &str, name: &str, spec: &Spec) -> String {
    let details = if spec.details.is_empty() { spec.summary } else { spec.details };
    let mut text = format!("{}\n\n{details}\n", line(program, name, spec));
    if spec.spellings.len() > 1 {
        let spellings: Vec<String> = spec.spellings.iter().map(|name| format!("{program} {name}")).collect();
        let _ = write!(text, "\nAliases:\n  {}\n", spellings.join(", "));
    }
    let command = flags::command((spec.flags)(), spec.stop);
    let flags = flag_table(&command, width());
    if !flags.is_empty() {
        let _ = write!(text, "\nOptions:\n{flags}");
    }
    text
}

/// The help of a group.
pub(crate) fn group(program: &str, group: &Group) -> String {
    let mut text = format!("Usage:  {program} {} COMMAND\n\n{}\n\nCommands:\n", group.name, group.summary);
    entries(&mut text, tree::members(group.name).iter().map(|(name, spec)| (*name, spec.summary)));
    let _ =
        write!(text, "\nRun '{program} {} COMMAND --help' for more information on a command.\n", group.name);
    text
}

/// The help of the program.
pub(crate) fn program(program: &str, globals: Vec<Arg>) -> String {
    let mut text =
        format!("Usage:  {program} [OPTIONS] COMMAND\n\nRuns containers, and looks after what they need\n");
    let tops = tree::tops();
    text.push_str("\nCommon Commands:\n");
    entries(
        &mut text,
        tree::COMMON
            .iter()
            .filter_map(|name| tops.iter().find(|(top, _)| top == name))
            .map(|(name, spec)| (*name, spec.summary)),
    );
    text.push_str("\nManagement Commands:\n");
    entries(&mut text, tree::GROUPS.iter().map(|group| (group.name, group.summary)));
    // These are all under another spelling in a group, too.
    if std::env::var_os("DOCKER_HIDE_LEGACY_COMMANDS").is_none_or(|value| value.is_empty()) {
        text.push_str("\nCommands:\n");
        entries(
            &mut text,
            tops.iter()
                .filter(|(name, _)| !tree::COMMON.contains(name))
                .map(|(name, spec)| (*name, spec.summary)),
        );
    }
    let _ = write!(text, "\nGlobal Options:\n{}", flag_table(&flags::command(globals, true), width()));
    let _ = write!(text, "\nRun '{program} COMMAND --help' for more information on a command.\n");
    text
}

fn entries<'a>(text: &mut String, entries: impl Iterator<Item = (&'a str, &'a str)>) {
    for (name, summary) in entries {
        let _ = writeln!(text, "  {name:<11} {summary}");
    }
}

fn flag_table(command: &Command, width: usize) -> String {
    let mut flags: Vec<&Arg> =
        command.get_arguments().filter(|arg| arg.get_long().is_some() && !arg.is_hide_set()).collect();
    flags.sort_by_key(|arg| arg.get_long());
    let heads: Vec<String> = flags.iter().map(|arg| head(arg)).collect();
    let column = heads.iter().map(String::len).max().unwrap_or(0) + 3;
    let mut text = String::new();
    for (arg, head) in flags.iter().zip(&heads) {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let help = wrap(&format!("{help}{}", default(arg)), column, width);
        let _ = writeln!(text, "{head:<column$}{help}");
    }
    text
}

fn head(arg: &Arg) -> String {
    let long = arg.get_long().unwrap_or_default();
    let kind = match arg.get_value_names() {
        Some([kind]) if !kind.is_empty() => format!(" {kind}"),
        _ => String::new(),
    };
    match arg.get_short() {
        Some(short) => format!("  -{short}, --{long}{kind}"),
        None => format!("      --{long}{kind}"),
    }
}

/// Defaults that say something: not those that any flag of the kind has.
fn default(arg: &Arg) -> String {
    let [value] = arg.get_default_values() else { return String::new() };
    let value = value.to_string_lossy();
    match (value.as_ref(), arg.get_value_names()) {
        ("false" | "" | "0", _) => String::new(),
        (_, Some([kind])) if kind.as_str() == "string" => format!(" (default {value:?})"),
        _ => format!(" (default {value})"),
    }
}

/// Breaks a text into lines that begin at a column. A last word may stand out a little before it
/// is left alone on a line.
fn wrap(text: &str, column: usize, width: usize) -> String {
    const SLOP: usize = 5;
    let room = width.saturating_sub(column).max(24) - SLOP;
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut rest = paragraph;
        while rest.len() >= room + SLOP {
            let head = rest
                .char_indices()
                .take_while(|(at, _)| *at < room)
                .last()
                .map_or(0, |(at, letter)| at + letter.len_utf8());
            let Some(space) = rest[..head].rfind(' ').filter(|at| *at > 0) else { break };
            lines.push(&rest[..space]);
            rest = &rest[space + 1..];
        }
        lines.push(rest);
    }
    lines.join(&format!("\n{:column$}", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_wrapped_under_their_column() {
        let text = wrap("Number of the newest containers to show, running or not (default -1)", 20, 60);
        assert_eq!(
            text,
            "Number of the newest containers to\n                    show, running or not (default -1)"
        );
    }

    #[test]
    fn every_command_is_found_under_each_spelling() {
        for spec in crate::commands::ALL {
            for spelling in spec.spellings {
                let words: Vec<String> = spelling.split(' ').map(str::to_owned).collect();
                let (found, used) = tree::find(&words);
                assert!(
                    matches!(found, tree::Found::Command(found, _) if found.spellings == spec.spellings),
                    "{spelling}"
                );
                assert_eq!(used, words.len());
            }
        }
    }

    #[test]
    fn flags_of_every_command_are_consistent() {
        for spec in crate::commands::ALL {
            flags::command((spec.flags)(), spec.stop).debug_assert();
            let text = command("wharf", spec.spellings[0], spec);
            assert!(text.starts_with("Usage:  wharf "), "{text}");
        }
    }
}
