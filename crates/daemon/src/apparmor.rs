//! Profiles of AppArmor reach the kernel through apparmor_parser(8), which compiles them.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

const PARSER: &str = "apparmor_parser";

/// Nothing is cached on disk, and what has the same name is replaced.
const OPTIONS: &str = "-Kr";

/// Loads a profile; the engine looks afterwards whether the kernel has it. Nobody waits for this process's children (see
/// `main`), so how the program ended is not known: what it complains about is.
pub(crate) fn load(text: &str) -> Result<(), String> {
    let failed = |said: &str, error: String| {
        format!("running '{PARSER} {OPTIONS}' failed with output: {}\nerror: {error}", said.trim_end())
    };
    let mut parser = Command::new(PARSER)
        .arg(OPTIONS)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                failed("", format!("exec: {PARSER:?}: executable file not found in $PATH"))
            }
            _ => failed("", error.to_string()),
        })?;
    // A profile is smaller than a pipe: this never waits for the program to read.
    let written = parser.stdin.take().map(|mut input| input.write_all(text.as_bytes()));
    let mut said = String::new();
    if let Some(mut errors) = parser.stderr.take() {
        let _ = errors.read_to_string(&mut said);
    }
    let status = parser.wait();
    match (written, status) {
        (_, Ok(status)) if !status.success() => Err(failed(&said, status.to_string())),
        (Some(Err(error)), _) => Err(failed(&said, error.to_string())),
        _ => {
            if !said.is_empty() {
                tracing::warn!(said = said.trim_end(), "{PARSER}");
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_profile_is_refused_in_the_parsers_words() {
        let error = load("profile {").unwrap_err();
        assert!(error.starts_with("running 'apparmor_parser -Kr' failed with output: "), "{error}");
        assert!(error.contains("\nerror: "), "{error}");
    }
}
