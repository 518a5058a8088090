//! Environment variables and labels, from flags and files.

use std::collections::BTreeMap;

use crate::failure::{Failure, doing};

/// `KEY=VALUE`, or `KEY` to take over the caller's value.
pub(crate) fn check_variable(text: &str) -> Result<String, String> {
    if text.starts_with('=') || text.is_empty() {
        return Err(format!("invalid environment variable: {text}"));
    }
    Ok(text.to_owned())
}

/// `key[=value]`, with a key.
pub(crate) fn check_label(text: &str) -> Result<String, String> {
    let name = text.split('=').next().unwrap_or_default();
    if name.trim_start().is_empty() {
        return Err(format!("invalid label '{text}': empty name"));
    }
    if name.contains([' ', '\t']) {
        return Err(format!("label '{name}' contains whitespaces"));
    }
    Ok(text.to_owned())
}

/// All variables: those of the files first, so that flags win.
pub(crate) fn variables(files: &[String], flags: &[String]) -> Result<Vec<String>, Failure> {
    // A bare name takes the caller's value. Where there is none, a line of a file says nothing, and a flag takes the
    // image's variable away.
    let ours = |name: &String| std::env::var(name).ok().map(|value| format!("{name}={value}"));
    let mut all = Vec::new();
    for path in files {
        let lines = lines(path)?.into_iter();
        all.extend(lines.filter_map(|line| if line.contains('=') { Some(line) } else { ours(&line) }));
    }
    let bare = flags.iter().map(|flag| if flag.contains('=') { None } else { ours(flag) });
    all.extend(bare.zip(flags).map(|(found, flag)| found.unwrap_or_else(|| flag.clone())));
    Ok(last_wins(all.into_iter()))
}

/// Keeps one entry a name, in the place of the first and with the value of the last.
fn last_wins(entries: impl Iterator<Item = String>) -> Vec<String> {
    let mut result: Vec<String> = Vec::new();
    let name = |entry: &str| entry.split('=').next().unwrap_or(entry).to_owned();
    for entry in entries {
        match result.iter_mut().find(|known| name(known) == name(&entry)) {
            Some(known) => *known = entry,
            None => result.push(entry),
        }
    }
    result
}

/// All labels: those of the files first, so that flags win.
pub(crate) fn labels(files: &[String], flags: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = Vec::new();
    for path in files {
        // A flag may be a bare key; in a file such a line says nothing.
        all.extend(lines(path)?.into_iter().filter(|line| line.contains('=')));
    }
    all.extend_from_slice(flags);
    Ok(pairs(&all))
}

/// `key=value` entries; a bare key has an empty value.
pub(crate) fn pairs(entries: &[String]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|entry| entry.split_once('=').unwrap_or((entry, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn lines(path: &str) -> Result<Vec<String>, Failure> {
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::IsADirectory => {
            Failure::new(format!("invalid env file ({path}): read {path}: is a directory"))
        }
        _ => doing("open", path)(error),
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let number = before.iter().filter(|byte| **byte == b'\n').count();
        let line = error.as_bytes().split(|byte| *byte == b'\n').nth(number).unwrap_or_default();
        let line = line.iter().map(u8::to_string).collect::<Vec<_>>().join(" ");
        Failure::new(format!(
            "invalid env file ({path}): invalid utf8 bytes at line {}: [{line}]",
            number + 1
        ))
    })?;
    parse_lines(&text).map_err(|why| Failure::new(format!("invalid env file ({path}): {why}")))
}

/// Lines of a file, without blank ones and comments. Nothing is unquoted or expanded.
fn parse_lines(text: &str) -> Result<Vec<String>, String> {
    let mut entries = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (line.trim_end(), None),
        };
        if name.contains([' ', '\t']) {
            return Err(format!("variable '{name}' contains whitespaces"));
        }
        if name.is_empty() {
            return Err(format!("no variable name on line '{line}'"));
        }
        entries.push(match value {
            Some(value) => format!("{name}={value}"),
            None => name.to_owned(),
        });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_names() {
        assert!(check_label("a=b c").is_ok() && check_label("a").is_ok());
        for text in ["", " ", "=x", " =x"] {
            assert_eq!(check_label(text).unwrap_err(), format!("invalid label '{text}': empty name"));
        }
        assert_eq!(check_label("a b=c").unwrap_err(), "label 'a b' contains whitespaces");
    }

    #[test]
    fn files_hold_lines_as_they_are() {
        let text = "\u{feff}# comment\n\n  A=1 # kept\nB=\"quoted\"\nC\nD=\n";
        assert_eq!(parse_lines(text).unwrap(), ["A=1 # kept", "B=\"quoted\"", "C", "D="]);
        assert_eq!(parse_lines("A B=1").unwrap_err(), "variable 'A B' contains whitespaces");
        assert_eq!(parse_lines("=1").unwrap_err(), "no variable name on line '=1'");
    }

    #[test]
    fn the_last_value_wins_and_bare_names_are_looked_up() {
        let flags = ["A=1", "B=2", "A=3", "WHARF_TEST_SURELY_UNSET", "PATH"].map(str::to_owned);
        let variables = variables(&[], &flags).unwrap();
        assert_eq!(variables[..3], ["A=3", "B=2", "WHARF_TEST_SURELY_UNSET"]);
        assert!(variables.len() == 4 && variables[3].starts_with("PATH="));
        assert!(check_variable("=x").is_err() && check_variable("x=").is_ok());
    }

    #[test]
    fn labels_need_no_value() {
        assert_eq!(
            pairs(&["a".to_owned(), "b=c=d".to_owned()]),
            BTreeMap::from([("a".into(), "".into()), ("b".into(), "c=d".into())])
        );
    }
}
