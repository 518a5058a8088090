//! Properties of the unit that the configuration asks for: annotations `org.systemd.property.NAME`.
//!
//! The value is written as in gdbus(1) and busctl(1) dumps, GVariant's text form: `true`, `'text'`, `uint64 5`,
//! `['one', 'two']`. That of a NAME that ends in `Sec` is in seconds; systemd has those in microseconds under `…USec`.
//! Structures, dictionaries and arrays of anything but texts are refused: no property of a scope that tools set needs
//! them.

use std::collections::BTreeMap;

use super::bus::{Property, Value};
use crate::{Error, Result};

const PREFIX: &str = "org.systemd.property.";

/// Those of a configuration, in the order of their names.
pub(crate) fn properties(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>> {
    let asked = annotations.iter().filter_map(|(key, text)| Some((key, key.strip_prefix(PREFIX)?, text)));
    asked
        .map(|(key, name, text)| {
            check(name).map_err(|reason| {
                Error::invalid(format_args!("annotation {key} name incorrect: {reason}"))
            })?;
            property(name, text).map_err(|reason| {
                Error::invalid(format_args!("annotation {key}={text} value parse error: {reason}"))
            })
        })
        .collect()
}

fn check(name: &str) -> std::result::Result<(), &'static str> {
    if name.len() < 3 {
        return Err("too short");
    }
    match name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        true => Ok(()),
        false => Err("contains non-alphabetic character"),
    }
}

fn property(name: &str, text: &str) -> std::result::Result<Property, &'static str> {
    let value = Text(text.trim()).whole()?;
    match name.strip_suffix("Sec") {
        // Not `USec`, which is that already.
        Some(stem) if stem.ends_with(|letter: char| letter.is_ascii_lowercase()) => {
            Ok((format!("{stem}USec"), Value::Number(microseconds(&value).ok_or("not a number")?)))
        }
        _ => Ok((name.to_owned(), value)),
    }
}

fn microseconds(seconds: &Value) -> Option<u64> {
    match seconds {
        Value::Number(seconds) => seconds.checked_mul(1_000_000),
        Value::Plain('d', bytes) => {
            let seconds = f64::from_le_bytes(bytes.as_slice().try_into().ok()?);
            (seconds >= 0.0).then_some((seconds * 1e6) as u64)
        }
        Value::Plain(kind, bytes) => {
            let mut wide = [0; 8];
            wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
            let unsigned = u64::from_le_bytes(wide);
            let is_negative = "nix".contains(*kind) && bytes.last().is_some_and(|high| high & 0x80 != 0);
            unsigned.checked_mul(1_000_000).filter(|_| !is_negative)
        }
        _ => None,
    }
}

/// What is left to read.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    fn whole(mut self) -> std::result::Result<Value, &'static str> {
        let value = match self.0.chars().next() {
            Some('\'' | '"') => Value::Text(self.quoted()?),
            Some('[') => Value::Texts(self.texts()?),
            Some('@') => {
                self.0 = self.0.strip_prefix("@as").ok_or("only arrays of texts are known")?.trim_start();
                Value::Texts(self.texts()?)
            }
            Some(_) => self.word()?,
            None => return Err("it is empty"),
        };
        if self.0.trim().is_empty() { Ok(value) } else { Err("something follows the value") }
    }

    /// A number, with or without its type, or a truth.
    fn word(&mut self) -> std::result::Result<Value, &'static str> {
        let text = std::mem::take(&mut self.0);
        let (kind, number) = text.split_once(char::is_whitespace).unwrap_or(("", text));
        let number = number.trim();
        let plain = |kind, bytes: Option<Vec<u8>>| bytes.map(|bytes| Value::Plain(kind, bytes));
        match kind {
            "" if number == "true" || number == "false" => Some(Value::Flag(number == "true")),
            "boolean" => number.parse().ok().map(Value::Flag),
            "string" => return Text(number).whole().and_then(is_text),
            "uint64" => whole(number).map(Value::Number),
            "byte" => plain('y', whole::<u8>(number).map(|n| n.to_le_bytes().into())),
            "int16" => plain('n', whole::<i16>(number).map(|n| n.to_le_bytes().into())),
            "uint16" => plain('q', whole::<u16>(number).map(|n| n.to_le_bytes().into())),
            "int32" => plain('i', whole::<i32>(number).map(|n| n.to_le_bytes().into())),
            "uint32" => plain('u', whole::<u32>(number).map(|n| n.to_le_bytes().into())),
            "int64" => plain('x', whole::<i64>(number).map(|n| n.to_le_bytes().into())),
            "double" => plain('d', number.parse().ok().map(|n: f64| n.to_le_bytes().into())),
            "" => match whole::<i32>(number) {
                Some(number) => Some(Value::Plain('i', number.to_le_bytes().into())),
                None => plain('d', number.parse().ok().map(|n: f64| n.to_le_bytes().into())),
            },
            _ => None,
        }
        .ok_or("neither a number, a truth nor a quoted text")
    }

    fn quoted(&mut self) -> std::result::Result<String, &'static str> {
        let mut letters = self.0.chars();
        let end = letters.next().filter(|quote| matches!(quote, '\'' | '"')).ok_or("a quote is missing")?;
        let mut text = String::new();
        loop {
            match letters.next().ok_or("the text does not end")? {
                letter if letter == end => break,
                '\\' => match letters.next().ok_or("the text does not end")? {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    letter @ ('\\' | '\'' | '"') => text.push(letter),
                    _ => return Err("an escape that is not known"),
                },
                letter => text.push(letter),
            }
        }
        self.0 = letters.as_str();
        Ok(text)
    }

    fn texts(&mut self) -> std::result::Result<Vec<String>, &'static str> {
        let mut texts = Vec::new();
        self.0 = self.0.strip_prefix('[').ok_or("an array is missing")?.trim_start();
        while !self.0.starts_with(']') {
            texts.push(self.quoted()?);
            self.0 = self.0.trim_start();
            match self.0.strip_prefix(',') {
                Some(rest) => self.0 = rest.trim_start(),
                None if self.0.starts_with(']') => {}
                None => return Err("the array does not end"),
            }
        }
        self.0 = &self.0[1..];
        Ok(texts)
    }
}

fn is_text(value: Value) -> std::result::Result<Value, &'static str> {
    if matches!(value, Value::Text(_)) { Ok(value) } else { Err("a quoted text is missing") }
}

/// Decimal, or hexadecimal after `0x`.
fn whole<T: TryFrom<i128>>(text: &str) -> Option<T> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16),
        None => text.parse::<i128>(),
    };
    T::try_from(number.ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> std::result::Result<Property, String> {
        let annotations = BTreeMap::from([(format!("{PREFIX}{name}"), text.to_owned())]);
        properties(&annotations).map(|mut all| all.remove(0)).map_err(|error| error.to_string())
    }

    #[test]
    fn values_as_tools_write_them() {
        let cases = [
            ("true", Value::Flag(true)),
            ("'inactive-or-failed'", Value::Text("inactive-or-failed".into())),
            (r#""it's\n""#, Value::Text("it's\n".into())),
            ("uint64 5", Value::Number(5)),
            ("-2", Value::Plain('i', vec![254, 255, 255, 255])),
            ("byte 0x10", Value::Plain('y', vec![16])),
            ("1.5", Value::Plain('d', 1.5f64.to_le_bytes().into())),
            ("['a.service', \"b\"]", Value::Texts(vec!["a.service".into(), "b".into()])),
            ("@as []", Value::Texts(Vec::new())),
        ];
        for (text, expected) in cases {
            assert_eq!(read("After", text), Ok(("After".to_owned(), expected)), "{text}");
        }
    }

    #[test]
    fn seconds_become_microseconds() {
        let expected = Ok(("TimeoutStopUSec".to_owned(), Value::Number(2_500_000)));
        assert_eq!(read("TimeoutStopSec", "2.5"), expected);
        assert_eq!(read("TimeoutStopSec", "uint16 3").unwrap().1, Value::Number(3_000_000));
        assert_eq!(
            read("TimeoutStopUSec", "uint64 7").unwrap(),
            ("TimeoutStopUSec".to_owned(), Value::Number(7))
        );
        assert!(read("TimeoutStopSec", "'3'").unwrap_err().ends_with("not a number"));
        assert!(read("TimeoutStopSec", "-1").unwrap_err().ends_with("not a number"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (name, text, expected) in [
            ("A", "1", "annotation org.systemd.property.A name incorrect: too short"),
            ("Memory.Max", "1", "contains non-alphabetic character"),
            ("After", "", "it is empty"),
            ("After", "foo", "neither a number"),
            ("After", "'x", "does not end"),
            ("After", "['x'", "does not end"),
            ("After", "'x' y", "something follows"),
            ("After", "[1]", "a quote is missing"),
            ("After", "uint32 -1", "neither a number"),
            ("After", "@ay [1]", "only arrays of texts"),
        ] {
            let error = read(name, text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
