//! JSON as the engine wrote it, shown with indentation.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_indented_without_being_changed() {
        let raw = r#"{"b":[],"a":{"x":1.50,"s":"a\"b,{}"},"l":[1,{"k":null}], "e" : { }}"#;
        let wanted = "{\n        \"b\": [],\n        \"a\": {\n            \"x\": 1.50,\n            \"s\": \"a\\\"b,{}\"\n        },\n        \"l\": [\n            1,\n            {\n                \"k\": null\n            }\n        ],\n        \"e\": {}\n    }";
        assert_eq!(indent(raw, "    "), wanted);
    }
}
