//! `daemon.json`: the same options as the command line's, each in one place only.
//!
//! dockerd's rules: nested objects are flattened (`proxies`) unless the option itself is an object; an unknown key is
//! an error, and so is an option that the command line sets, too.

use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Map, Value};

use crate::flags::{Kind, OPTIONS, Values, fits, go, shown};

/// A configuration of hundreds of mirrors stays far below.
const SIZE_LIMIT: u64 = 1 << 20;

/// What the file says. `required`: it was named by somebody, so it must be there.
pub(crate) fn load(path: &Path, required: bool, flags: &Values) -> Result<Values, String> {
    let read = || -> Result<String, String> {
        let told = |error: std::io::Error| format!("open {}: {}", path.display(), plain(&error));
        if std::fs::metadata(path).map_err(told)?.len() > SIZE_LIMIT {
            return Err(format!("{} is larger than {SIZE_LIMIT} bytes", path.display()));
        }
        std::fs::read_to_string(path).map_err(told)
    };
    if !required && matches!(std::fs::metadata(path), Err(error) if error.kind() == ErrorKind::NotFound) {
        return Ok(Values::new());
    }
    read().and_then(|text| parse(&text, flags)).map_err(|error| {
        format!("unable to configure the Docker daemon with file {}: {error}", path.display())
    })
}

/// The system's words, as C prints them.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// Parses the file's text and sets it against the flags.
fn parse(text: &str, flags: &Values) -> Result<Values, String> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Ok(Values::new());
    }
    let document: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("invalid JSON: {error}"))?;
    let flat = flatten(document);
    let unknown: Vec<_> =
        flat.iter().map(|(key, _)| key.as_str()).filter(|key| find(key).is_none()).collect();
    if !unknown.is_empty() {
        let mut unknown: Vec<_> = unknown.into_iter().collect();
        unknown.sort_unstable();
        return Err(format!(
            "the following directives don't match any configuration option: {}",
            unknown.join(", ")
        ));
    }
    let mut values = Values::new();
    let mut twice = Vec::new();
    for (key, value) in flat {
        let Some((key, kind)) = find(&key) else { continue };
        fits(kind, key, &value)?;
        if value.is_null() {
            continue;
        }
        // Runtimes may come from both.
        if let Some(flag) = flags.get(key).filter(|_| kind != Kind::Runtimes) {
            twice.push(format!("{key}: (from flag: {}, from file: {})", shown(kind, key, flag), go(&value)));
        }
        values.insert(key, value);
    }
    if !twice.is_empty() {
        twice.sort_unstable();
        return Err(format!(
            "the following directives are specified both as a flag and in the configuration file: {}",
            twice.join(", ")
        ));
    }
    Ok(values)
}

fn find(key: &str) -> Option<(&'static str, Kind)> {
    OPTIONS.iter().find(|option| option.key == key && !key.is_empty()).map(|option| (option.key, option.kind))
}

fn flatten(document: Map<String, Value>) -> Vec<(String, Value)> {
    let mut flat = Vec::new();
    for (key, value) in document {
        let whole = find(&key).is_some_and(|(_, kind)| {
            matches!(kind, Kind::Map | Kind::Maps | Kind::Limits | Kind::Runtimes | Kind::Document)
        });
        match value {
            Value::Object(inner) if !whole => flat.extend(inner),
            value => flat.push((key, value)),
        }
    }
    flat
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn flags(text: &str) -> Values {
        crate::flags::parse(text.split_whitespace().map(str::to_owned)).unwrap()
    }

    #[test]
    fn a_whole_file() {
        let text = r#"{"debug":true,"hosts":["unix:///a"],"log-opts":{"max-size":"1m"},
            "default-ulimits":{"nofile":{"Name":"nofile","Hard":5,"Soft":4}},
            "default-address-pools":[{"base":"10.0.0.0/8","size":24}],"proxies":{"http-proxy":"http://x"},"mtu":null}"#;
        let values = parse(text, &Values::new()).unwrap();
        assert_eq!(values["http-proxy"], json!("http://x"));
        assert_eq!(values["log-opts"], json!({"max-size": "1m"}));
        assert!(!values.contains_key("mtu"));
        assert!(parse("", &Values::new()).unwrap().is_empty());
        assert!(parse("\u{feff}{}", &Values::new()).unwrap().is_empty());
    }

    #[test]
    fn unknown_keys_and_conflicts_are_dockerds_errors() {
        assert_eq!(
            parse(r#"{"foo":1,"bar":{"x":1}}"#, &Values::new()).unwrap_err(),
            "the following directives don't match any configuration option: foo, x"
        );
        assert_eq!(
            parse(
                r#"{"data-root":"/b","hosts":["unix:///a"],"debug":true}"#,
                &flags("--data-root /a -H unix:///b -D")
            )
            .unwrap_err(),
            "the following directives are specified both as a flag and in the configuration file: \
             data-root: (from flag: /a, from file: /b), debug: (from flag: true, from file: true), \
             hosts: (from flag: [unix:///b], from file: [unix:///a])"
        );
        assert!(parse("{", &Values::new()).unwrap_err().starts_with("invalid JSON: "));
        assert!(parse(r#"{"mtu":"x"}"#, &Values::new()).unwrap_err().contains("Config.mtu of type int"));
    }

    #[test]
    fn a_missing_file_is_an_error_only_if_it_was_named() {
        let path = Path::new("/nowhere/daemon.json");
        assert!(load(path, false, &Values::new()).unwrap().is_empty());
        assert_eq!(
            load(path, true, &Values::new()).unwrap_err(),
            "unable to configure the Docker daemon with file /nowhere/daemon.json: \
             open /nowhere/daemon.json: no such file or directory"
        );
    }
}
