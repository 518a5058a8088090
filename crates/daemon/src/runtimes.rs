//! Runtimes that somebody registers: `--add-runtime name=path`, or `runtimes` in the file. dockerd's rules and words.
//!
//! A runtime is a program with runc's command line. dockerd can also be told the name of a containerd shim
//! (`runtimeType`); there is no containerd here, so that is refused.

use std::collections::BTreeMap;

use engine::Runtime;
use serde_json::{Value, json};

/// What a word behind `--add-runtime` means in the file.
pub(crate) fn parse(word: &str) -> Result<Value, String> {
    let (name, path) = word.split_once('=').unwrap_or((word, ""));
    let (name, path) = (name.trim().to_lowercase(), path.trim());
    if name.is_empty() || path.is_empty() {
        return Err(format!("invalid runtime argument: {word}"));
    }
    check_name(&name)?;
    Ok(json!({ name: { "path": path } }))
}

/// What both together say; a name that is in the file means what the file says.
pub(crate) fn merge(file: Option<Value>, flags: Option<Value>) -> Option<Value> {
    match (file, flags) {
        (Some(Value::Object(mut file)), Some(Value::Object(flags))) => {
            for (name, runtime) in flags {
                file.entry(name).or_insert(runtime);
            }
            Some(Value::Object(file))
        }
        (file, flags) => file.or(flags),
    }
}

/// From the form of the file.
pub(crate) fn settle(value: Option<&Value>) -> Result<BTreeMap<String, Runtime>, String> {
    let runtimes = value.and_then(Value::as_object);
    runtimes.into_iter().flatten().map(|(name, runtime)| Ok((name.clone(), one(name, runtime)?))).collect()
}

fn one(name: &str, runtime: &Value) -> Result<Runtime, String> {
    check_name(name)?;
    let text = |key: &str| runtime.get(key).and_then(Value::as_str).unwrap_or_default();
    let (path, kind) = (text("path"), text("runtimeType"));
    let arguments: Vec<String> = runtime
        .get("runtimeArgs")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let options =
        runtime.get("options").and_then(Value::as_object).is_some_and(|options| !options.is_empty());
    let wrong = |reason: &str| Err(format!("runtime {name}: {reason}"));
    match (path, kind) {
        ("", "") => wrong("either a runtimeType or a path must be configured"),
        ("", _) if !arguments.is_empty() => wrong("args cannot be used with a runtimeType runtime"),
        ("", _) => wrong(
            "runtimeType is not supported, because there is no containerd whose shims could be used: \
             configure the path of a program with runc's command line",
        ),
        (_, "") if options => wrong("options cannot be used with a path runtime"),
        (path, "") => Ok(Runtime { path: path.into(), arguments }),
        _ => wrong("cannot configure both path and runtimeType for the same runtime"),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    match name == engine::RESERVED_RUNTIME {
        true => Err(format!("runtime name '{name}' is reserved")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_command_line() {
        assert_eq!(parse(" Crun = /usr/bin/crun").unwrap(), json!({"crun": {"path": "/usr/bin/crun"}}));
        assert_eq!(parse("a=b=c").unwrap(), json!({"a": {"path": "b=c"}}));
        for wrong in ["a", "a=", "=x", ""] {
            assert_eq!(parse(wrong).unwrap_err(), format!("invalid runtime argument: {wrong}"));
        }
        assert_eq!(parse("runc=/x").unwrap_err(), "runtime name 'runc' is reserved");
    }

    #[test]
    fn entries_of_the_file() {
        let error = |value: Value| settle(Some(&json!({ "a": value }))).unwrap_err();
        assert_eq!(error(json!({})), "runtime a: either a runtimeType or a path must be configured");
        let both = json!({"path": "/x", "runtimeType": "io.containerd.x.v1"});
        assert_eq!(error(both), "runtime a: cannot configure both path and runtimeType for the same runtime");
        let options = json!({"path": "/x", "options": {"a": 1}});
        assert_eq!(error(options), "runtime a: options cannot be used with a path runtime");
        let arguments = json!({"runtimeType": "io.containerd.x.v1", "runtimeArgs": ["a"]});
        assert_eq!(error(arguments), "runtime a: args cannot be used with a runtimeType runtime");
        assert!(error(json!({"runtimeType": "io.containerd.x.v1"})).contains("no containerd"));
        let reserved = settle(Some(&json!({"runc": {"path": "/x"}}))).unwrap_err();
        assert_eq!(reserved, "runtime name 'runc' is reserved");
        let settled = settle(Some(&json!({"a": {"path": "crun", "runtimeArgs": ["--debug"]}}))).unwrap();
        assert_eq!(settled["a"], Runtime { path: "crun".into(), arguments: vec!["--debug".into()] });
    }

    #[test]
    fn the_file_counts_more() {
        let (file, flags) =
            (json!({"a": {"path": "/file"}}), json!({"a": {"path": "/flag"}, "b": {"path": "/b"}}));
        let both = json!({"a": {"path": "/file"}, "b": {"path": "/b"}});
        assert_eq!(merge(Some(file.clone()), Some(flags)), Some(both));
        assert_eq!(merge(Some(file.clone()), None), Some(file));
    }
}
