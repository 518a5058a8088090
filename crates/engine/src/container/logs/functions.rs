//! Functions of log tags: Docker's own beside those that every Go template has.

use std::collections::HashMap;

use gtmpl_ng::{Func, FuncError, Value};

/// Docker's functions of templates, but for those that make columns.
pub(super) const FUNCTIONS: &[(&str, Func)] = &[
    ("json", json),
    ("lower", lower),
    ("upper", upper),
    ("title", title),
    ("split", split),
    ("join", join),
    ("pad", pad),
    ("truncate", truncate),
];

/// The members of Docker's structure in its order. What else a template can ask it for are methods, which are not written.
const MEMBERS: [&str; 12] = [
    "Config",
    "ContainerID",
    "ContainerName",
    "ContainerEntrypoint",
    "ContainerArgs",
    "ContainerImageID",
    "ContainerImageName",
    "ContainerCreated",
    "ContainerEnv",
    "ContainerLabels",
    "LogPath",
    "DaemonName",
];

/// Behind a time that a template prints. In JSON a time is written as RFC 3339 has it.
pub(super) const ZONE: &str = " +0000 UTC";

/// Wider than any tag is of use.
const MAX_PAD: usize = 1024;

fn wrong(function: &str) -> FuncError {
    FuncError::Generic(format!("wrong arguments for {function}"))
}

fn json(arguments: &[Value]) -> Result<Value, FuncError> {
    let [value] = arguments else {
        let count = arguments.len();
        return Err(FuncError::Generic(format!("wrong number of args for json: want 1 got {count}")));
    };
    let mut text = String::new();
    write_json(value, &mut text);
    Ok(Value::String(text))
}

fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => match text.strip_suffix(ZONE).filter(|time| is_time(time)) {
            Some(time) => write_text(&format!("{}Z", time.replacen(' ', "T", 1)), out),
            None => write_text(text, out),
        },
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write_json(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => write_members(&MEMBERS.map(str::to_owned), members, out),
        Value::Map(members) => {
            let mut keys: Vec<String> = members.keys().cloned().collect();
            keys.sort();
            write_members(&keys, members, out);
        }
        Value::Nil | Value::NoValue | Value::Function(_) => out.push_str("null"),
    }
}

fn write_members(keys: &[String], members: &HashMap<String, Value>, out: &mut String) {
    out.push('{');
    let present = keys.iter().filter_map(|key| Some((key, members.get(key)?)));
    for (index, (key, value)) in present.enumerate() {
        out.push_str(if index == 0 { "" } else { "," });
        write_text(key, out);
        out.push(':');
        write_json(value, out);
    }
    out.push('}');
}

/// Two line ends that JavaScript takes for such are escaped, and nothing that HTML would mind.
fn write_text(text: &str, out: &mut String) {
    let text = serde_json::Value::from(text).to_string();
    out.push_str(&text.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029"));
}

/// `2006-01-02 15:04:05.9`
fn is_time(text: &str) -> bool {
    let shape = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text.bytes().zip(shape.bytes()).all(|(have, wanted)| match wanted {
                b'0' => have.is_ascii_digit(),
                wanted => have == wanted,
            })
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    shape(whole, "0000-00-00 00:00:00") && fraction.bytes().all(|digit| digit.is_ascii_digit())
}

fn lower(arguments: &[Value]) -> Result<Value, FuncError> {
    let [Value::String(text)] = arguments else { return Err(wrong("lower")) };
    Ok(Value::String(text.to_lowercase()))
}

fn upper(arguments: &[Value]) -> Result<Value, FuncError> {
    let [Value::String(text)] = arguments else { return Err(wrong("upper")) };
    Ok(Value::String(text.to_uppercase()))
}

fn title(arguments: &[Value]) -> Result<Value, FuncError> {
    let [Value::String(text)] = arguments else { return Err(wrong("title")) };
    let mut start = true;
    let letters = text.chars().flat_map(|letter| {
        let upper = std::mem::replace(&mut start, letter.is_whitespace());
        if upper { letter.to_uppercase().collect::<Vec<_>>() } else { vec![letter] }
    });
    Ok(Value::String(letters.collect()))
}

fn split(arguments: &[Value]) -> Result<Value, FuncError> {
    let [Value::String(text), Value::String(separator)] = arguments else { return Err(wrong("split")) };
    Ok(Value::Array(text.split(separator.as_str()).map(|part| Value::String(part.to_owned())).collect()))
}

fn join(arguments: &[Value]) -> Result<Value, FuncError> {
    let [Value::Array(parts), Value::String(separator)] = arguments else { return Err(wrong("join")) };
    let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
    Ok(Value::String(parts.join(separator)))
}

/// So many spaces around it; around nothing, none.
fn pad(arguments: &[Value]) -> Result<Value, FuncError> {
    let [Value::String(text), Value::Number(before), Value::Number(after)] = arguments else {
        return Err(wrong("pad"));
    };
    if text.is_empty() {
        return Ok(Value::String(String::new()));
    }
    let spaces = |number: &gtmpl_ng::Number| {
        let count = number.as_u64().and_then(|count| usize::try_from(count).ok());
        count.filter(|count| *count <= MAX_PAD).map(|count| " ".repeat(count)).ok_or_else(|| wrong("pad"))
    };
    Ok(Value::String(format!("{}{text}{}", spaces(before)?, spaces(after)?)))
}

fn truncate(arguments: &[Value]) -> Result<Value, FuncError> {
    let [Value::String(text), Value::Number(length)] = arguments else { return Err(wrong("truncate")) };
    let length = length.as_u64().and_then(|length| usize::try_from(length).ok()).unwrap_or(usize::MAX);
    Ok(Value::String(text.chars().take(length).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    fn written(value: Value) -> String {
        let Ok(Value::String(text)) = json(&[value]) else { panic!("it is no text") };
        text
    }

    #[test]
    fn json_is_what_go_makes_of_it() {
        assert_eq!(written(string("a<b>&\"c\"\n\u{2028}")), r#""a<b>&\"c\"\n\u2028""#);
        assert_eq!(
            written(Value::Array(vec![string("a"), Value::Bool(true), Value::Nil])),
            r#"["a",true,null]"#
        );
        let members = [("b", string("2")), ("a", string("1"))].map(|(key, value)| (key.to_owned(), value));
        assert_eq!(written(Value::Map(members.into_iter().collect())), r#"{"a":"1","b":"2"}"#);
        let members = [("LogPath", string("/l")), ("ContainerID", string("c")), ("ID", string("s"))];
        let members = members.map(|(key, value)| (key.to_owned(), value));
        assert_eq!(
            written(Value::Object(members.into_iter().collect())),
            r#"{"ContainerID":"c","LogPath":"/l"}"#
        );
        let time = string("2026-11-21 18:16:49.656520118 +0000 UTC");
        assert_eq!(written(time), r#""2026-11-21T18:16:49.656520118Z""#);
        assert_eq!(written(string("soon +0000 UTC")), r#""soon +0000 UTC""#);
    }
}
