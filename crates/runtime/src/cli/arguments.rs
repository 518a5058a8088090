//! Options and operands, the way Go programs take them: `--name value`, `--name=value`, `-n value`, one dash or two.

use std::collections::BTreeMap;

use runtime::{Error, Result};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    name: &'static str,
    short: Option<char>,
    takes_value: bool,
}

impl Flag {
    pub(crate) const fn switch(name: &'static str, short: Option<char>) -> Flag {
        Flag { name, short, takes_value: false }
    }

    pub(crate) const fn value(name: &'static str, short: Option<char>) -> Flag {
        Flag { name, short, takes_value: true }
    }

    pub(crate) fn usage(&self) -> String {
        let value = if self.takes_value { " value" } else { "" };
        match self.short {
            Some(short) => format!("--{}{value}, -{short}{value}", self.name),
            None => format!("--{}{value}", self.name),
        }
    }
}

/// Options by their long names, and operands.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    values: BTreeMap<&'static str, Vec<String>>,
    pub(crate) operands: Vec<String>,
}

impl Arguments {
    /// Options may stand anywhere among the operands.
    pub(crate) fn parse(flags: &[Flag], args: &[String]) -> Result<Arguments> {
        Arguments::parse_up_to(flags, args, usize::MAX).map(|(parsed, _)| parsed)
    }

    /// Options may stand before the command's name; the rest is returned as it is.
    pub(crate) fn parse_until_command(flags: &[Flag], args: &[String]) -> Result<(Arguments, Vec<String>)> {
        Arguments::parse_up_to(flags, args, 0)
    }

    /// Options may stand among the first operands; after that many the rest is returned as it is.
    pub(crate) fn parse_up_to(
        flags: &[Flag],
        args: &[String],
        limit: usize,
    ) -> Result<(Arguments, Vec<String>)> {
        let mut parsed = Arguments::default();
        let mut rest = args.iter();
        while let Some(word) = rest.as_slice().first() {
            if !word.starts_with('-') || word == "-" {
                if parsed.operands.len() == limit {
                    break;
                }
                parsed.operands.push(word.clone());
                rest.next();
                continue;
            }
            rest.next();
            if word == "--" {
                if limit == usize::MAX {
                    parsed.operands.extend(rest.by_ref().cloned());
                }
                break;
            }
            parsed.take(flags, word, &mut rest)?;
        }
        Ok((parsed, rest.cloned().collect()))
    }

    fn take(&mut self, flags: &[Flag], word: &str, rest: &mut std::slice::Iter<'_, String>) -> Result<()> {
        let bare = word.trim_start_matches('-');
        let (name, inline) = match bare.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (bare, None),
        };
        let is_short =
            |flag: &Flag| flag.short.is_some_and(|short| name.len() == 1 && name.starts_with(short));
        let Some(flag) = flags.iter().find(|flag| flag.name == name || is_short(flag)) else {
            return Err(Error::invalid(format_args!("flag provided but not defined: -{name}")));
        };
        let value = match (flag.takes_value, inline) {
            (_, Some(value)) => value,
            (false, None) => "true".to_owned(),
            (true, None) => rest
                .next()
                .cloned()
                .ok_or_else(|| Error::invalid(format_args!("flag needs an argument: -{name}")))?,
        };
        self.values.entry(flag.name).or_default().push(value);
        Ok(())
    }

    /// The last value given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.last().map(String::as_str)
    }

    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !["false", "0", "f", "F", "False", "FALSE"].contains(&value))
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let parse = |value: &str| {
            value
                .parse()
                .map_err(|_| Error::invalid(format_args!("invalid value {value:?} for flag -{name}")))
        };
        self.get(name).map(parse).transpose()
    }

    /// The one operand that most commands take.
    pub(crate) fn id(&self) -> Result<&str> {
        match self.operands.as_slice() {
            [id] => Ok(id),
            [] => Err(Error::invalid("exactly 1 argument(s) required: the container id")),
            more => Err(Error::invalid(format_args!("exactly 1 argument(s) required, {} given", more.len()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[Flag::switch("force", Some('f')), Flag::value("bundle", Some('b'))];

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn options_in_every_spelling_and_place() {
        for text in
            ["--bundle /b -f c", "c -b /b --force", "-bundle=/b c --force=true", "--bundle /x -b=/b c -f"]
        {
            let parsed = Arguments::parse(FLAGS, &words(text)).unwrap();
            assert_eq!((parsed.get("bundle"), parsed.is_set("force")), (Some("/b"), true), "{text}");
            assert_eq!(parsed.id().unwrap(), "c", "{text}");
        }
    }

    #[test]
    fn a_program_keeps_its_own_options() {
        let (parsed, rest) = Arguments::parse_up_to(FLAGS, &words("-f c ls -f --bundle"), 1).unwrap();
        assert_eq!(parsed.id().unwrap(), "c");
        assert_eq!(rest, words("ls -f --bundle"));
    }

    #[test]
    fn unknown_options_are_refused() {
        let error = Arguments::parse(FLAGS, &words("--nope")).unwrap_err();
        assert_eq!(error.to_string(), "flag provided but not defined: -nope");
        assert!(Arguments::parse(FLAGS, &words("-b")).is_err());
    }
}
