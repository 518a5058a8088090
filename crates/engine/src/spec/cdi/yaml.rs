//! As much YAML as vendors' device files are written in, read into a JSON value.
//!
//! Block mappings and sequences, plain and quoted scalars on one line, `[a, b]` and `{}` in one line, comments, one
//! document. Anchors, tags, block scalars and text over several lines are refused by line, never guessed at: the file is
//! passed over, and the log says why. Which scalars are numbers is left to whoever reads the value: they are, as in
//! YAML, unless quoted.

use serde_json::{Map, Value};

/// Levels of nesting; device files have six.
const MAX_DEPTH: usize = 32;

/// A line that says something.
struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

struct Reader<'a> {
    lines: Vec<Line<'a>>,
    at: usize,
}

/// Reads a document; the error names the line.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let body = uncommented(line).trim_end();
        let bare = body.trim_start_matches(' ');
        if bare.is_empty() || (lines.is_empty() && bare == "---") {
            continue;
        }
        if bare.starts_with('\t') {
            return Err(format!("line {}: tabs do not indent", number + 1));
        }
        lines.push(Line { number: number + 1, indent: body.len() - bare.len(), text: bare });
    }
    let mut reader = Reader { lines, at: 0 };
    let Some(first) = reader.lines.first() else { return Ok(Value::Null) };
    let value = reader.block(first.indent, 0)?;
    match reader.lines.get(reader.at) {
        Some(line) => Err(format!("line {}: it belongs to nothing above it", line.number)),
        None => Ok(value),
    }
}

/// Without what stands behind a `#` at the start of a word, outside of quotes.
fn uncommented(line: &str) -> &str {
    let (mut quote, mut before) = (None, ' ');
    for (at, character) in line.char_indices() {
        match (quote, character) {
            (None, '#') if before == ' ' => return &line[..at],
            // A quote within a word is a letter of it.
            (None, '"' | '\'') if " [{,:".contains(before) => quote = Some(character),
            (Some(open), _) if open == character && !(open == '"' && before == '\\') => quote = None,
            _ => {}
        }
        before = character;
    }
    line
}

impl<'a> Reader<'a> {
    /// What stands at one indentation: a mapping or a sequence.
    fn block(&mut self, indent: usize, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        match self.here(indent) {
            Some(text) if text == "-" || text.starts_with("- ") => self.sequence(indent, depth),
            _ => self.mapping(indent, depth),
        }
    }

    /// The next line, if it is indented just so.
    fn here(&self, indent: usize) -> Option<&'a str> {
        self.lines.get(self.at).filter(|line| line.indent == indent).map(|line| line.text)
    }

    fn sequence(&mut self, indent: usize, depth: usize) -> Result<Value, String> {
        let mut all = Vec::new();
        while let Some(text) = self.here(indent).filter(|text| *text == "-" || text.starts_with("- ")) {
            let rest = text[1..].trim_start();
            if rest.is_empty() {
                self.at += 1;
                all.push(self.below(indent, false, depth)?);
            } else if rest.starts_with("- ") || key(rest).is_some() {
                // What follows the dash is the first line of a block of its own.
                let inner = indent + text.len() - rest.len();
                self.lines[self.at].indent = inner;
                self.lines[self.at].text = rest;
                all.push(self.block(inner, depth + 1)?);
            } else {
                all.push(self.scalar(rest)?);
                self.at += 1;
            }
        }
        Ok(Value::Array(all))
    }

    fn mapping(&mut self, indent: usize, depth: usize) -> Result<Value, String> {
        let mut all = Map::new();
        while let Some(text) = self.here(indent) {
            let Some((name, rest)) = key(text) else { return Err(self.wrong("it is no `name: value`")) };
            let name = match self.scalar(name)? {
                Value::String(name) => name,
                other => other.to_string(),
            };
            let value = if rest.is_empty() {
                self.at += 1;
                self.below(indent, true, depth)?
            } else {
                let value = self.scalar(rest)?;
                self.at += 1;
                value
            };
            if all.insert(name, value).is_some() {
                self.at -= 1;
                return Err(self.wrong("its name is there already"));
            }
        }
        Ok(Value::Object(all))
    }

    /// The block that belongs to the line before. The dashes of a mapping's value may stand right below its name.
    fn below(&mut self, indent: usize, of_mapping: bool, depth: usize) -> Result<Value, String> {
        let Some(line) = self.lines.get(self.at) else { return Ok(Value::Null) };
        let dashes = of_mapping && line.indent == indent && (line.text == "-" || line.text.starts_with("- "));
        if line.indent > indent || dashes { self.block(line.indent, depth + 1) } else { Ok(Value::Null) }
    }

    fn scalar(&self, text: &str) -> Result<Value, String> {
        if let Some(inside) = text.strip_prefix('[') {
            let inside = inside.strip_suffix(']').ok_or_else(|| self.wrong("a list ends on its line"))?;
            if inside.contains(['[', '{']) {
                return Err(self.wrong("lists in lists are written in lines"));
            }
            let parts = split(inside).into_iter().filter(|part| !part.is_empty());
            return parts.map(|part| self.scalar(part)).collect::<Result<_, _>>().map(Value::Array);
        }
        if text == "{}" {
            return Ok(Value::Object(Map::new()));
        }
        if let Some(inside) = text.strip_prefix('\'') {
            let inside = inside.strip_suffix('\'').ok_or_else(|| self.wrong("its quote is not closed"))?;
            return Ok(Value::String(inside.replace("''", "'")));
        }
        if text.starts_with('"') {
            // What may be escaped in JSON is what vendors escape.
            return serde_json::from_str(text).map_err(|error| self.wrong(&error.to_string()));
        }
        if text.starts_with(['&', '*', '!', '|', '>', '{', '%', '@', '`', '?']) {
            return Err(self.wrong("anchors, tags, block scalars and the like are not read"));
        }
        Ok(plain(text))
    }

    fn wrong(&self, reason: &str) -> String {
        let number = self.lines.get(self.at).map_or(0, |line| line.number);
        format!("line {number}: {reason}")
    }
}

/// A name and what stands behind its colon.
fn key(text: &str) -> Option<(&str, &str)> {
    let end = match text.chars().next()? {
        quote @ ('"' | '\'') => text[1..].find(quote)? + 2,
        _ => text.find(": ").or_else(|| text.ends_with(':').then(|| text.len() - 1))?,
    };
    let rest = text[end..].strip_prefix(':')?;
    (rest.is_empty() || rest.starts_with(' ')).then(|| (&text[..end], rest.trim_start()))
}

/// The parts between commas outside of quotes.
fn split(text: &str) -> Vec<&str> {
    let (mut quote, mut start, mut parts) = (None, 0, Vec::new());
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            (None, ',') => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

fn plain(text: &str) -> Value {
    let octal = text.strip_prefix("0o").or_else(|| text.strip_prefix('0').filter(|rest| !rest.is_empty()));
    match text {
        "null" | "~" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => match (text.parse::<i64>(), octal.and_then(|digits| i64::from_str_radix(digits, 8).ok())) {
            (_, Some(number)) | (Ok(number), None) => number.into(),
            _ => Value::String(text.to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_vendors_file() {
        let text = r#"---
# written by a program
cdiVersion: 0.5.0
containerEdits:
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  hooks:
  - args:
    - nvidia-cdi-hook
    - --link
    - libglx.so.535::/usr/lib/libglx.so   # a link
    hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
devices:
- containerEdits:
    deviceNodes:
      - path: /dev/nvidia0
        fileMode: 0666
        major: 195
  name: "0"
- {}
- name: all
annotations: {}
list: [ro, 'no, suid', 3]
kind: nvidia.com/gpu
"#;
        let expected = json!({
            "cdiVersion": "0.5.0",
            "containerEdits": {
                "env": ["NVIDIA_VISIBLE_DEVICES=void"],
                "hooks": [{
                    "args": ["nvidia-cdi-hook", "--link", "libglx.so.535::/usr/lib/libglx.so"],
                    "hookName": "createContainer",
                    "path": "/usr/bin/nvidia-cdi-hook",
                }],
            },
            "devices": [
                {"containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0", "fileMode": 438, "major": 195}]}, "name": "0"},
                {},
                {"name": "all"},
            ],
            "annotations": {},
            "list": ["ro", "no, suid", 3],
            "kind": "nvidia.com/gpu",
        });
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn scalars_are_what_they_look_like_unless_quoted() {
        let value =
            parse("a: 7\nb: '7'\nc: it's # not\nd: \"x\\ty\"\ne:\nf: true\ng: a:b\nh: '#1'\n").unwrap();
        let expected =
            json!({"a": 7, "b": "7", "c": "it's", "d": "x\ty", "e": null, "f": true, "g": "a:b", "h": "#1"});
        assert_eq!(value, expected);
    }

    #[test]
    fn what_is_not_read_is_refused_by_line() {
        for (text, line) in [
            ("a: &x 1\n", "line 1"),
            ("a: 1\nb: |\n  text\n", "line 2"),
            ("a: 1\na: 2\n", "line 2"),
            ("a:\n\tb: 1\n", "line 2"),
            ("a: [1, [2]]\n", "line 1"),
            ("a: 'open\n", "line 1"),
            ("a: 1\n   b: 2\n", "line 2"),
            ("- 1\nb: 2\n", "line 2"),
            ("just words\n", "line 1"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(line), "{text:?}: {error}");
        }
        assert!(parse(&"- ".repeat(100)).is_err());
    }
}
