//! Words of a Dockerfile's line: where one ends, what its quotes keep together, and which variables it names.
//!
//! A line is first cut into words that still have their quotes and backslashes; only then are variables put in, so
//! that a value with spaces stays one word. In single quotes everything is itself; in double quotes a backslash
//! stands before `"`, `$` and itself. Of the forms of `${…}` those of the shell that ask whether a variable is set are
//! known (`-`, `+`, `?`, each also with a colon).

use std::iter::Peekable;
use std::str::Chars;

use crate::error::{Error, Result};

/// Substitutions within substitutions, beyond which a line is a mistake.
const DEPTH: usize = 64;

/// The words of a line as they were written.
pub(super) fn split(text: &str) -> Result<Vec<String>> {
    let mut all = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => {
                word.push(character);
                word.extend(characters.next());
                continue;
            }
            (character, Some(open)) if character == open => quote = None,
            ('"' | '\'', None) => quote = Some(character),
            (character, None) if character.is_whitespace() => {
                all.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
                continue;
            }
            _ => {}
        }
        word.push(character);
    }
    if quote.is_some() {
        return Err(unterminated(text));
    }
    all.extend((!word.is_empty()).then_some(word));
    Ok(all)
}

/// A word without its quotes, with the values of its variables, as `KEY=value` entries have them.
pub(super) fn expand(word: &str, environment: &[String]) -> Result<String> {
    let mut expansion = Expansion { rest: word.chars().peekable(), word, environment };
    expansion.until(None, 0)
}

fn unterminated(text: &str) -> Error {
    Error::invalid(format!("unexpected end of statement while looking for matching quote in {text:?}"))
}

struct Expansion<'a> {
    rest: Peekable<Chars<'a>>,
    word: &'a str,
    environment: &'a [String],
}

impl Expansion<'_> {
    /// Up to a character, which is taken too, or up to the end.
    fn until(&mut self, end: Option<char>, depth: usize) -> Result<String> {
        if depth > DEPTH {
            return Err(Error::invalid(format!("{:?} has too many substitutions in each other", self.word)));
        }
        let mut text = String::new();
        while let Some(character) = self.rest.next() {
            match character {
                character if Some(character) == end => return Ok(text),
                '\'' => text.push_str(&self.single()?),
                '"' => text.push_str(&self.double(depth)?),
                '$' => text.push_str(&self.variable(depth)?),
                '\\' => text.extend(self.rest.next()),
                character => text.push(character),
            }
        }
        match end {
            Some(_) => Err(Error::invalid("syntax error: missing '}'")),
            None => Ok(text),
        }
    }

    fn single(&mut self) -> Result<String> {
        let mut text = String::new();
        for character in self.rest.by_ref() {
            if character == '\'' {
                return Ok(text);
            }
            text.push(character);
        }
        Err(unterminated(self.word))
    }

    fn double(&mut self, depth: usize) -> Result<String> {
        let mut text = String::new();
        while let Some(character) = self.rest.next() {
            match character {
                '"' => return Ok(text),
                '$' => text.push_str(&self.variable(depth)?),
                '\\' => match self.rest.next_if(|next| matches!(next, '"' | '$' | '\\')) {
                    Some(escaped) => text.push(escaped),
                    None => text.push('\\'),
                },
                character => text.push(character),
            }
        }
        Err(unterminated(self.word))
    }

    /// What stands for a variable, whose `$` has been read.
    fn variable(&mut self, depth: usize) -> Result<String> {
        if self.rest.next_if_eq(&'{').is_none() {
            let name = self.name();
            return Ok(if name.is_empty() { "$".to_owned() } else { self.value(&name).unwrap_or_default() });
        }
        let name = self.name();
        if name.is_empty() {
            return Err(Error::invalid("syntax error: bad substitution"));
        }
        let value = self.value(&name);
        let colon = self.rest.next_if_eq(&':').is_some();
        let modifier = match self.rest.next() {
            Some('}') if !colon => return Ok(value.unwrap_or_default()),
            Some(modifier @ ('-' | '+' | '?')) => modifier,
            Some(other) => {
                let shown = if colon { format!(":{other}") } else { other.to_string() };
                return Err(Error::invalid(format!("unsupported modifier ({shown}) in substitution")));
            }
            None => return Err(Error::invalid("syntax error: missing '}'")),
        };
        let other = self.until(Some('}'), depth + 1)?;
        let value = value.filter(|value| !colon || !value.is_empty());
        match (modifier, value) {
            ('-', value) => Ok(value.unwrap_or(other)),
            ('+', value) => Ok(value.map_or_else(String::new, |_| other)),
            (_, Some(value)) => Ok(value),
            (_, None) => {
                let why = if other.is_empty() { "is not allowed to be unset".to_owned() } else { other };
                Err(Error::invalid(format!("{name}: {why}")))
            }
        }
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(letter) = self.rest.next_if(|letter| letter.is_alphanumeric() || *letter == '_') {
            name.push(letter);
        }
        name
    }

    /// The last of its entries counts.
    fn value(&self, name: &str) -> Option<String> {
        let mut entries = self.environment.iter().rev();
        let found = entries.find_map(|entry| entry.split_once('=').filter(|(key, _)| *key == name));
        found.map(|(_, value)| value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(word: &str) -> String {
        let environment = ["A=1", "EMPTY=", "A=two words"].map(str::to_owned);
        expand(word, &environment).unwrap_or_else(|error| error.message().to_owned())
    }

    #[test]
    fn words_keep_what_their_quotes_hold() {
        assert_eq!(split("a=\"b c\"  d\\ e 'f g'h").unwrap(), ["a=\"b c\"", "d\\ e", "'f g'h"]);
        assert_eq!(split(" \"\" ").unwrap(), ["\"\""]);
        assert!(split("'x").is_err());
    }

    #[test]
    fn variables_are_put_in_where_quotes_let_them() {
        assert_eq!(expanded("x$A.${A}$NONE"), "xtwo words.two words");
        assert_eq!(expanded("'$A' \"$A\" \\$A $ \"\\$A\\n\""), "$A two words $A $ $A\\n");
        assert_eq!(
            expanded("${NONE:-${A}} ${EMPTY:-d} ${EMPTY-d} ${A:+set} ${NONE+set}"),
            "two words d  set "
        );
    }

    #[test]
    fn mistakes_are_told() {
        assert_eq!(expanded("${A"), "syntax error: missing '}'");
        assert_eq!(expanded("${}"), "syntax error: bad substitution");
        assert_eq!(expanded("${A:x}"), "unsupported modifier (:x) in substitution");
        assert_eq!(expanded("${NONE:?must be}"), "NONE: must be");
        assert!(expanded(&"${A+".repeat(500)).contains("too many"));
    }
}
