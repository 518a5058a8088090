//! The functions of templates: Go's own, and those that Docker adds.

use std::cmp::Ordering;

use super::print;
use super::value::{Kind, Value};

const NAMES: &[&str] = &[
    "and", "call", "eq", "ge", "gt", "html", "index", "join", "js", "json", "le", "len", "lower", "lt", "ne",
    "not", "or", "pad", "print", "printf", "println", "slice", "split", "title", "truncate", "upper",
    "urlquery",
];

/// Spaces beyond this are a mistake.
const PAD_LIMIT: usize = 10_000;

pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Calls a function; `and` and `or` are not called, because they need not look at all arguments.
/// Over the row of headers, what changes a text leaves it as it is.
pub(super) fn call(name: &str, arguments: &[Value], headers: bool) -> Result<Value, String> {
    let text = |value: String| Ok(Value::text(value));
    match name {
        "json" | "title" | "lower" | "upper" if headers => Ok(one(name, arguments)?.clone()),
        "truncate" if headers => Ok(two(name, arguments)?.0.clone()),
        "json" => text(one(name, arguments)?.to_json()),
        "lower" => text(string(name, arguments, 1, 0)?.to_lowercase()),
        "upper" => text(string(name, arguments, 1, 0)?.to_uppercase()),
        "title" => text(title(string(name, arguments, 1, 0)?)),
        "join" => join(arguments),
        "split" => {
            let (text, separator) = (string(name, arguments, 2, 0)?, string(name, arguments, 2, 1)?);
            Ok(Value::list(split(text, separator)))
        }
        "pad" => pad(arguments),
        "truncate" => {
            let text = string(name, arguments, 2, 0)?;
            let limit = integer(name, two(name, arguments)?.1)?;
            let limit = usize::try_from(limit)
                .map_err(|_| in_call(name)(format!("runtime error: slice bounds out of range [:{limit}]")))?;
            let limit = limit.min(text.len());
            // Of bytes, as in Go, which may be within a letter.
            Ok(Value::text(String::from_utf8_lossy(&text.as_bytes()[..limit])))
        }
        "not" => Ok(Value::Bool(!one(name, arguments)?.truth())),
        "len" => length(one(name, arguments)?).map(|length| Value::Int(length as i64)).map_err(in_call(name)),
        "index" if arguments.is_empty() => {
            Err(format!("wrong number of args for {name}: want at least 1 got 0"))
        }
        "index" => index(arguments).map_err(in_call(name)),
        "slice" => slice(arguments).map_err(in_call(name)),
        "print" => text(print::print(arguments)),
        "println" => text(print::println(arguments)),
        "printf" => match arguments {
            [Value::Text(format), rest @ ..] => text(print::printf(format, rest)),
            [] => Err("wrong number of args for printf: want at least 1 got 0".to_owned()),
            [other, ..] => Err(expected_text(other)),
        },
        "html" => text(html(&print::print(arguments))),
        "js" => text(js(&print::print(arguments))),
        "urlquery" => text(urlquery(&print::print(arguments))),
        "eq" => equal(arguments).map_err(in_call(name)),
        "ne" => {
            let (one, other) = two(name, arguments)?;
            same(one, other).map(|same| Value::Bool(!same)).map_err(in_call(name))
        }
        "lt" | "le" | "gt" | "ge" => {
            let (one, other) = two(name, arguments)?;
            let order = compare(one, other).map_err(in_call(name))?;
            Ok(Value::Bool(match name {
                "lt" => order == Ordering::Less,
                "le" => order != Ordering::Greater,
                "gt" => order == Ordering::Greater,
                _ => order != Ordering::Less,
            }))
        }
        _ => Err(format!("error calling {name}: there is nothing to call here")),
    }
}

fn in_call(name: &str) -> impl Fn(String) -> String {
    move |why| format!("error calling {name}: {why}")
}

fn wrong_count(name: &str, wanted: usize, given: usize) -> String {
    format!("wrong number of args for {name}: want {wanted} got {given}")
}

fn expected_text(value: &Value) -> String {
    format!("wrong type for value; expected string; got {}", value.type_name())
}

fn one<'a>(name: &str, arguments: &'a [Value]) -> Result<&'a Value, String> {
    match arguments {
        [value] => Ok(value),
        _ => Err(wrong_count(name, 1, arguments.len())),
    }
}

fn two<'a>(name: &str, arguments: &'a [Value]) -> Result<(&'a Value, &'a Value), String> {
    match arguments {
        [one, other] => Ok((one, other)),
        _ => Err(wrong_count(name, 2, arguments.len())),
    }
}

fn string<'a>(name: &str, arguments: &'a [Value], wanted: usize, at: usize) -> Result<&'a str, String> {
    if arguments.len() != wanted {
        return Err(wrong_count(name, wanted, arguments.len()));
    }
    match &arguments[at] {
        Value::Text(text) => Ok(text),
        other => Err(expected_text(other)),
    }
}

fn integer(name: &str, value: &Value) -> Result<i64, String> {
    match value {
        Value::Int(number) => Ok(*number),
        other => Err(format!("wrong type for {name}; expected int; got {}", other.type_name())),
    }
}

fn title(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut begins = true;
    for letter in text.chars() {
        match begins {
            true => result.extend(letter.to_uppercase()),
            false => result.push(letter),
        }
        begins = match letter.is_ascii() {
            true => !letter.is_ascii_alphanumeric() && letter != '_',
            false => letter.is_whitespace(),
        };
    }
    result
}

fn join(arguments: &[Value]) -> Result<Value, String> {
    let (list, separator) = two("join", arguments)?;
    let Value::Text(separator) = separator else { return Err(expected_text(separator)) };
    match list {
        Value::List(values) => {
            let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
            Ok(Value::text(texts.join(separator)))
        }
        Value::Null(_) | Value::Absent => Ok(Value::text("")),
        other => Err(format!("wrong type for value; expected []string; got {}", other.type_name())),
    }
}

fn split(text: &str, separator: &str) -> Vec<Value> {
    match separator {
        "" => text.chars().map(|letter| Value::text(letter.to_string())).collect(),
        separator => text.split(separator).map(Value::text).collect(),
    }
}

fn pad(arguments: &[Value]) -> Result<Value, String> {
    let text = string("pad", arguments, 3, 0)?;
    let (before, after) = (integer("pad", &arguments[1])?, integer("pad", &arguments[2])?);
    if text.is_empty() {
        return Ok(Value::text(""));
    }
    let spaces = |count: i64| {
        let count = usize::try_from(count).map(|count| count.min(PAD_LIMIT));
        count.map_err(|_| in_call("pad")("strings: negative Repeat count".to_owned()))
    };
    let (before, after) = (spaces(before)?, spaces(after)?);
    Ok(Value::text(format!("{:before$}{text}{:after$}", "", "")))
}

fn length(value: &Value) -> Result<usize, String> {
    match value {
        Value::Text(text) => Ok(text.len()),
        Value::List(values) => Ok(values.len()),
        Value::Map(members) => Ok(members.len()),
        Value::Null(Kind::List | Kind::Map { .. }) => Ok(0),
        Value::Null(Kind::Pointer) | Value::Absent => Err("len of nil pointer".to_owned()),
        other => Err(format!("len of type {}", other.type_name())),
    }
}

fn index(arguments: &[Value]) -> Result<Value, String> {
    let [value, keys @ ..] = arguments else { return Err("index of nothing".to_owned()) };
    let mut value = value.clone();
    for key in keys {
        value = match (&value, key) {
            (Value::List(values), Value::Int(at)) => match usize::try_from(*at) {
                Ok(at) if at < values.len() => values[at].clone(),
                _ => return Err(format!("index out of range: {at}")),
            },
            (Value::Text(text), Value::Int(at)) => {
                let byte = usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at));
                Value::Int(i64::from(*byte.ok_or_else(|| format!("index out of range: {at}"))?))
            }
            (Value::Map(members), Value::Text(key)) => members
                .get(&**key)
                .cloned()
                .unwrap_or_else(|| members.values().next().map_or_else(|| Value::text(""), zero)),
            (Value::Null(Kind::Map { texts: true }), Value::Text(_)) => Value::text(""),
            (Value::Null(Kind::Map { .. }), Value::Text(_)) => Value::Null(Kind::Pointer),
            (Value::Struct(object), Value::Text(key)) => object.get(key).cloned().unwrap_or(Value::Absent),
            (Value::Null(Kind::List), Value::Int(at)) => return Err(format!("index out of range: {at}")),
            (Value::Null(_) | Value::Absent, _) => return Err("index of untyped nil".to_owned()),
            (Value::List(_), key) => {
                return Err(format!("cannot index slice/array with type {}", key.type_name()));
            }
            (value, _) => return Err(format!("can't index item of type {}", value.type_name())),
        };
    }
    Ok(value)
}

/// What a map with such values gives for a key that it does not have.
fn zero(like: &Value) -> Value {
    match like {
        Value::Text(_) => Value::text(""),
        Value::Int(_) => Value::Int(0),
        Value::Bool(_) => Value::Bool(false),
        Value::List(_) | Value::Null(Kind::List) => Value::Null(Kind::List),
        _ => Value::Null(Kind::Pointer),
    }
}

fn slice(arguments: &[Value]) -> Result<Value, String> {
    let [value, bounds @ ..] = arguments else { return Err("slice of nothing".to_owned()) };
    let length = length(value).map_err(|_| format!("can't slice item of type {}", value.type_name()))?;
    if bounds.len() > 2 {
        return Err(format!("too many slice indexes: {}", bounds.len()));
    }
    let mut range = [0, length];
    for (place, bound) in range.iter_mut().zip(bounds) {
        let Value::Int(at) = bound else {
            return Err(format!("cannot index slice/array with type {}", bound.type_name()));
        };
        *place = usize::try_from(*at)
            .ok()
            .filter(|at| *at <= length)
            .ok_or_else(|| format!("index out of range: {at}"))?;
    }
    let [from, to] = range;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match value {
        Value::List(values) => Ok(Value::list(values[from..to].iter().cloned())),
        Value::Text(text) => Ok(Value::text(String::from_utf8_lossy(&text.as_bytes()[from..to]))),
        _ => Err(format!("can't slice item of type {}", value.type_name())),
    }
}

fn equal(arguments: &[Value]) -> Result<Value, String> {
    let [first, rest @ ..] = arguments else { return Err("missing argument for comparison".to_owned()) };
    if rest.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in rest {
        if same(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn same(one: &Value, other: &Value) -> Result<bool, String> {
    let nothing = |value: &Value| matches!(value, Value::Null(_) | Value::Absent);
    match (one, other) {
        (one, other) if nothing(one) || nothing(other) => Ok(nothing(one) && nothing(other)),
        (Value::Bool(one), Value::Bool(other)) => Ok(one == other),
        (one, other) => compare(one, other).map(Ordering::is_eq),
    }
}

fn compare(one: &Value, other: &Value) -> Result<Ordering, String> {
    let basic =
        |value: &Value| matches!(value, Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_));
    match (one, other) {
        (Value::Typed(one), other) => compare(&one.plain, other),
        (one, Value::Typed(other)) => compare(one, &other.plain),
        (Value::Int(one), Value::Int(other)) => Ok(one.cmp(other)),
        (Value::Text(one), Value::Text(other)) => Ok(one.cmp(other)),
        (Value::Float(one), Value::Float(other)) => Ok(one.total_cmp(other)),
        (one, other) if basic(one) && basic(other) => Err("incompatible types for comparison".to_owned()),
        _ => Err("invalid type for comparison".to_owned()),
    }
}

fn html(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' => result.push_str("&#34;"),
            '\'' => result.push_str("&#39;"),
            '&' => result.push_str("&amp;"),
            '<' => result.push_str("&lt;"),
            '>' => result.push_str("&gt;"),
            '\0' => result.push('\u{fffd}'),
            letter => result.push(letter),
        }
    }
    result
}

fn js(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' | '\'' | '"' => result.extend(['\\', letter]),
            '<' | '>' | '&' | '=' => result.push_str(&format!("\\u{:04X}", u32::from(letter))),
            letter if letter.is_control() => result.push_str(&format!("\\u{:04X}", u32::from(letter))),
            letter => result.push(letter),
        }
    }
    result
}

fn urlquery(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => result.push('+'),
            byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => result.push(char::from(byte)),
            byte => result.push_str(&format!("%{byte:02X}")),
        }
    }
    result
}
