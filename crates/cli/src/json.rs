//! JSON as the engine wrote it: shown with indentation, or a part of it, without another reading.
//!
//! `inspect` shows the engine's own bytes. A parsed tree would lose the order of members and the
//! spelling of numbers, so this works on the text: it was checked to be JSON before.

/// Indents a document by four spaces a level, like Go's encoder; `prefix` stands before every line
/// but the first.
pub(crate) fn indent(raw: &str, prefix: &str) -> String {
    let mut text = String::with_capacity(raw.len() * 2);
    let mut depth = 0usize;
    let mut rest = raw.trim();
    let newline = |text: &mut String, depth: usize| {
        text.push('\n');
        text.push_str(prefix);
        for _ in 0..depth {
            text.push_str("    ");
        }
    };
    while let Some(letter) = rest.chars().next() {
        let mut used = letter.len_utf8();
        match letter {
            '{' | '[' => {
                text.push(letter);
                let inside = rest[1..].trim_start();
                if inside.starts_with(['}', ']']) {
                    text.push(if letter == '{' { '}' } else { ']' });
                    used = rest.len() - inside.len() + 1;
                } else {
                    depth += 1;
                    newline(&mut text, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                newline(&mut text, depth);
                text.push(letter);
            }
            ',' => {
                text.push(',');
                newline(&mut text, depth);
            }
            ':' => text.push_str(": "),
            '"' => {
                used = string_length(rest);
                text.push_str(&rest[..used]);
            }
            ' ' | '\t' | '\r' | '\n' => {}
            _ => text.push(letter),
        }
        rest = &rest[used..];
    }
    text
}

/// The part of a document that a path of member names leads to, as it is written there.
pub(crate) fn lookup<'a>(raw: &'a str, path: &[&str]) -> Option<&'a str> {
    let mut value = raw.trim();
    for name in path {
        value = member(value, name)?;
    }
    Some(value)
}

fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = object.strip_prefix('{')?.trim_start();
    while rest.starts_with('"') {
        let used = string_length(rest);
        let key: String = serde_json::from_str(&rest[..used]).ok()?;
        rest = rest[used..].trim_start().strip_prefix(':')?.trim_start();
        let length = value_length(rest);
        if key == name {
            return Some(rest[..length].trim_end());
        }
        rest = rest[length..].trim_start().strip_prefix(',')?.trim_start();
    }
    None
}

/// The length of the string literal at the front, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the value at the front.
fn value_length(text: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'"' => {
                at += string_length(&text[at..]);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_indented_without_being_changed() {
        let raw = r#"{"b":[],"a":{"x":1.50,"s":"a\"b,{}"},"l":[1,{"k":null}], "e" : { }}"#;
        let wanted = "{\n        \"b\": [],\n        \"a\": {\n            \"x\": 1.50,\n            \"s\": \"a\\\"b,{}\"\n        },\n        \"l\": [\n            1,\n            {\n                \"k\": null\n            }\n        ],\n        \"e\": {}\n    }";
        assert_eq!(indent(raw, "    "), wanted);
    }

    #[test]
    fn members_are_found_by_path() {
        let raw = r#"{"State":{"Status":"running","a}":"\"{","Pid":12},"Args":[ "x" ]}"#;
        assert_eq!(lookup(raw, &[]), Some(raw));
        assert_eq!(lookup(raw, &["State", "Pid"]), Some("12"));
        assert_eq!(lookup(raw, &["Args"]), Some("[ \"x\" ]"));
        assert_eq!(lookup(raw, &["State", "None"]), None);
        assert_eq!(lookup(raw, &["Args", "x"]), None);
    }
}
