//! The command line: dockerd's flags, by dockerd's grammar.
//!
//! The table in `table` is the one list of options. A row says how a flag is spelled, which key of the configuration
//! file means the same, of what kind its value is, and whether this engine can do it. An option that it cannot do is
//! refused when somebody asks for anything but what happens anyway: nothing is accepted and then ignored.
//!
//! Grammar (pflag's): `--name value`, `--name=value`, `--switch`, `--switch=false`, `-x value`, `-xvalue`, `-x=value`;
//! lists repeat.

use std::collections::BTreeMap;

use serde_json::Value;

mod table;
mod value;
pub(crate) mod word;

pub(crate) use table::OPTIONS;
pub(crate) use value::{fits, go, shown, size};

/// One option.
pub(crate) struct Opt {
    /// Without dashes; empty for those that only the file has.
    pub(crate) name: &'static str,
    pub(crate) short: Option<char>,
    /// In the configuration file; empty for those that only the command line has.
    pub(crate) key: &'static str,
    pub(crate) kind: Kind,
    pub(crate) fate: Fate,
    pub(crate) help: &'static str,
}

/// What a value looks like. In memory every value is the JSON that the file would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Switch,
    Number,
    Text,
    /// Repeats; a list of texts.
    List,
    /// Repeats; `name=value`.
    Map,
    /// Repeats; `name=name=value`: maps by name.
    Maps,
    /// Repeats; `name=path`: see [`crate::runtimes`].
    Runtimes,
    /// Bytes, as a number or like `64m`.
    Size,
    /// Repeats; `name=soft[:hard]`.
    Limits,
    /// Repeats; `base=CIDR,size=N`.
    Pools,
    /// Any JSON; only in the file.
    Document,
}

/// Whether the engine can do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Used,
    /// Only these values, as Go prints them, mean what happens anyway; the text says why others are refused.
    Only(&'static [&'static str], &'static str),
}

/// Values by key (by name where there is no key).
pub(crate) type Values = BTreeMap<&'static str, Value>;

impl Opt {
    /// Where its value is kept.
    pub(crate) fn id(&self) -> &'static str {
        if self.key.is_empty() { self.name } else { self.key }
    }

    /// As error messages name it.
    fn display(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}, --{}", self.name),
            None => format!("--{}", self.name),
        }
    }

    /// Refuses values that the engine cannot do.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        let Fate::Only(allowed, reason) = self.fate else { return Ok(()) };
        let said = go(value);
        if allowed.contains(&said.as_str()) {
            return Ok(());
        }
        let name = if self.name.is_empty() { self.key.to_owned() } else { format!("--{}", self.name) };
        Err(format!("{name} is not supported with the value {said}: {reason}"))
    }
}

/// What the command line says, or dockerd's words about what is wrong with it.
pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> Result<Values, String> {
    let mut values = Values::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix("--").filter(|long| !long.is_empty()) {
            let (name, said) = split(long);
            let option = OPTIONS.iter().find(|option| option.name == name && !name.is_empty());
            let option = option.ok_or_else(|| format!("unknown flag: --{name}"))?;
            store(option, said, &mut words, &format!("--{name}"), &mut values)?;
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            short(letters, &mut words, &mut values)?;
        } else {
            return Err("\"wharfd\" accepts no arguments.".to_owned());
        }
    }
    Ok(values)
}

fn split(text: &str) -> (&str, Option<String>) {
    match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    }
}

/// A cluster of one-letter flags; the first that wants a value takes the rest.
fn short(letters: &str, words: &mut impl Iterator<Item = String>, values: &mut Values) -> Result<(), String> {
    let mut rest = letters.chars();
    while let Some(letter) = rest.next() {
        let option = OPTIONS.iter().find(|option| option.short == Some(letter));
        let option = option.ok_or_else(|| format!("unknown shorthand flag: {letter:?} in -{letters}"))?;
        let tail = rest.as_str();
        if let Some(said) = tail.strip_prefix('=') {
            return store(option, Some(said.to_owned()), words, &format!("-{letter}"), values);
        }
        if option.kind != Kind::Switch && !tail.is_empty() {
            return store(option, Some(tail.to_owned()), words, &format!("-{letter}"), values);
        }
        store(option, None, words, &format!("{letter:?} in -{letters}"), values)?;
        if option.kind != Kind::Switch {
            return Ok(());
        }
    }
    Ok(())
}

fn store(
    option: &'static Opt,
    said: Option<String>,
    words: &mut impl Iterator<Item = String>,
    spelled: &str,
    values: &mut Values,
) -> Result<(), String> {
    let said = match (said, option.kind) {
        (Some(said), _) => said,
        (None, Kind::Switch) => "true".to_owned(),
        (None, _) => words.next().ok_or_else(|| format!("flag needs an argument: {spelled}"))?,
    };
    let invalid =
        |error: String| format!("invalid argument {said:?} for {:?} flag: {error}", option.display());
    let value = value::parse(option.kind, &said).map_err(invalid)?;
    word::check(option.id(), &said).map_err(invalid)?;
    match (values.get_mut(option.id()), value) {
        (Some(Value::Array(list)), Value::Array(more)) => list.extend(more),
        (Some(Value::Object(map)), Value::Object(more)) => {
            let twice = more.keys().find(|name| option.kind == Kind::Runtimes && map.contains_key(*name));
            if let Some(name) = twice {
                return Err(invalid(format!("runtime '{name}' was already defined")));
            }
            merge(map, more);
        }
        (_, value) => {
            values.insert(option.id(), value);
        }
    }
    Ok(())
}

/// What was said last of a name counts; maps within are merged, too.
fn merge(map: &mut serde_json::Map<String, Value>, more: serde_json::Map<String, Value>) {
    for (name, value) in more {
        match (map.get_mut(&name), value) {
            (Some(Value::Object(inner)), Value::Object(more)) => merge(inner, more),
            (_, value) => {
                map.insert(name, value);
            }
        }
    }
}

/// The text of `--help`.
pub(crate) fn help() -> String {
    let mut text = String::from(
        "\nUsage:\twharfd [OPTIONS]\n\nA container engine that speaks Docker's API.\n\nOptions:\n",
    );
    for option in OPTIONS.iter().filter(|option| !option.name.is_empty() && option.fate == Fate::Used) {
        let short = option.short.map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
        let spelled = format!("{}{}", option.name, value::placeholder(option.kind));
        text.push_str(&format!("  {short}--{spelled:<38} {}\n", option.help));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(text: &str) -> Result<Values, String> {
        parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn every_spelling() {
        let values =
            words("--debug -H unix:///a -Hunix:///b --host=tcp://c --icc=false -l warn -D=0 --mtu 9000")
                .unwrap();
        assert_eq!(values["hosts"], json!(["unix:///a", "unix:///b", "tcp://c"]));
        assert_eq!((&values["debug"], &values["icc"]), (&json!(false), &json!(false)));
        assert_eq!((&values["log-level"], &values["mtu"]), (&json!("warn"), &json!(9000)));
    }

    #[test]
    fn collected_values() {
        let text = "--log-opt a=b --log-opt c=d --default-ulimit nofile=1:2 --default-address-pool base=10.0.0.0/8,size=24";
        let values = words(text).unwrap();
        assert_eq!(values["log-opts"], json!({"a": "b", "c": "d"}));
        let text = "--default-network-opt bridge=a=1 --default-network-opt bridge=b=2 --default-network-opt macvlan=c=3";
        let expected = json!({"bridge": {"a": "1", "b": "2"}, "macvlan": {"c": "3"}});
        assert_eq!(words(text).unwrap()["default-network-opts"], expected);
        assert_eq!(values["default-ulimits"], json!({"nofile": {"Name": "nofile", "Hard": 2, "Soft": 1}}));
        assert_eq!(values["default-address-pools"], json!([{"base": "10.0.0.0/8", "size": 24}]));
    }

    #[test]
    fn errors_are_dockerds() {
        let error = |text: &str| words(text).unwrap_err();
        assert_eq!(error("--foo"), "unknown flag: --foo");
        assert_eq!(error("-Z"), "unknown shorthand flag: 'Z' in -Z");
        assert_eq!(error("--data-root"), "flag needs an argument: --data-root");
        assert_eq!(
            error("--mtu x"),
            r#"invalid argument "x" for "--mtu" flag: strconv.ParseInt: parsing "x": invalid syntax"#
        );
        assert_eq!(
            error("--icc=maybe"),
            r#"invalid argument "maybe" for "--icc" flag: strconv.ParseBool: parsing "maybe": invalid syntax"#
        );
        assert_eq!(
            error("--default-ulimit x"),
            r#"invalid argument "x" for "--default-ulimit" flag: invalid ulimit argument: x"#
        );
        assert_eq!(
            error("--default-shm-size x"),
            r#"invalid argument "x" for "--default-shm-size" flag: invalid size: 'x'"#
        );
        for (text, reason) in [
            ("--label x", "bad attribute format: x"),
            ("--host foo://", "invalid bind address (foo://): unsupported proto 'foo'"),
            (
                "--registry-mirror x",
                "invalid mirror: no scheme specified for \"x\": must use either 'https://' or 'http://'",
            ),
            (
                "--default-ulimit nofile=5:2",
                "ulimit soft limit must be less than or equal to hard limit: 5 > 2",
            ),
            ("--dns x", "invalid string being converted to IP address: x"),
            ("--host-gateway-ip x", "ParseAddr(\"x\"): unable to parse IP"),
            ("--ip x", "failed to parse IP: \"x\""),
            (
                "--default-network-opt x=y",
                "invalid value \"x=y\" for map option, should be root-key=key=value",
            ),
            ("--default-address-pool x", "invalid field 'x' must be a key=value pair"),
        ] {
            assert!(error(text).ends_with(&format!(" flag: {reason}")), "{}", error(text));
        }
        assert_eq!(
            error("--add-runtime a=/x --add-runtime A=/y"),
            r#"invalid argument "A=/y" for "--add-runtime" flag: runtime 'a' was already defined"#
        );
        assert_eq!(error("extra"), "\"wharfd\" accepts no arguments.");
    }

    #[test]
    fn names_are_unique() {
        for (at, option) in OPTIONS.iter().enumerate() {
            for other in &OPTIONS[at + 1..] {
                assert!(option.name.is_empty() || option.name != other.name, "{}", option.name);
                assert!(option.short.is_none() || option.short != other.short, "{}", option.name);
                assert_ne!(option.id(), other.id());
            }
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let option = OPTIONS.iter().find(|option| option.name == "selinux-enabled").unwrap();
        assert!(option.check(&json!(true)).unwrap_err().starts_with("--selinux-enabled is not supported"));
        assert!(option.check(&json!(false)).is_ok());
    }
}
