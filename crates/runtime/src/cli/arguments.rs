//! Commands with their options and operands, read the way Go programs read them: `--name value`, `--name=value`,
//! `-n value`, one dash or two.
//!
//! A command is data: what it is called, what it takes, how it is explained. Reading, counting and explaining are
//! done here for all of them, so that a command's own code starts with words that are right.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::fd::OwnedFd;

use runtime::{Error, Result};

/// A command of the runtime.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    /// As usage shows them.
    pub(crate) operands: &'static str,
    pub(crate) count: Count,
    pub(crate) flags: &'static [Flag],
    pub(crate) order: Order,
    pub(crate) run: Run,
}

/// What a command does. Its result is the status that we exit with.
pub(crate) enum Run {
    Plain(fn(&super::Context, &Arguments) -> Result<u8>),
    /// With the descriptors that the caller has passed to it.
    Inheriting(fn(&super::Context, &Arguments, Vec<OwnedFd>) -> Result<u8>),
}

/// How many operands a command takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Count {
    Exactly(usize),
    AtLeast(usize),
    Between(usize, usize),
}

/// Where options may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Among the operands, after the container's id too.
    Any,
    /// Before the first operand: what follows it belongs to another program.
    First,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    name: &'static str,
    short: Option<char>,
    takes: Takes,
    help: &'static str,
}

/// What may follow a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Nothing, or `=true`.
    Nothing,
    Text,
    /// An integer: anything else is a wrong use of the command.
    Number,
}

impl Flag {
    pub(crate) const fn switch(name: &'static str, short: Option<char>, help: &'static str) -> Flag {
        Flag { name, short, takes: Takes::Nothing, help }
    }

    pub(crate) const fn value(name: &'static str, short: Option<char>, help: &'static str) -> Flag {
        Flag { name, short, takes: Takes::Text, help }
    }

    pub(crate) const fn number(name: &'static str, short: Option<char>, help: &'static str) -> Flag {
        Flag { name, short, takes: Takes::Number, help }
    }

    fn usage(&self) -> String {
        let value = if self.takes == Takes::Nothing { "" } else { " value" };
        match self.short {
            Some(short) => format!("--{}{value}, -{short}{value}", self.name),
            None => format!("--{}{value}", self.name),
        }
    }
}

/// The options of a table, one a line.
pub(crate) fn explain(flags: &[Flag]) -> String {
    let width = flags.iter().map(|flag| flag.usage().len()).max().unwrap_or(0);
    let mut text = String::new();
    for flag in flags {
        let _ = writeln!(text, "   {:<width$}  {}", flag.usage(), flag.help);
    }
    text
}

impl Command {
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|own| own.name == flag)
    }

    /// What `COMMAND --help` prints.
    pub(crate) fn help(&self, program: &str) -> String {
        let Command { name, summary, operands, flags, .. } = self;
        let options = if flags.is_empty() { "" } else { " [command options]" };
        let mut text = format!(
            "NAME:\n   {program} {name} - {summary}\n\nUSAGE:\n   {program} {name}{options} {operands}\n"
        );
        if !flags.is_empty() {
            let _ = write!(text, "\nOPTIONS:\n{}", explain(flags));
        }
        text
    }

    /// The words after the command's name. `None` where only help is asked for.
    pub(crate) fn parse(&self, program: &str, words: &[String]) -> Result<Option<Arguments>> {
        let (mut parsed, rest) = Arguments::parse(self.flags, words, self.order)?;
        if parsed.wants_help {
            return Ok(None);
        }
        parsed.operands.extend(rest);
        let given = parsed.operands.len();
        let wrong = match self.count {
            Count::Exactly(count) if given != count => format!("exactly {count}"),
            Count::AtLeast(count) | Count::Between(count, _) if given < count => {
                format!("a minimum of {count}")
            }
            Count::Between(_, count) if given > count => format!("a maximum of {count}"),
            _ => return Ok(Some(parsed)),
        };
        Err(Error::invalid(format_args!("{program}: {:?} requires {wrong} argument(s)", self.name)))
    }
}

/// Options by their long names, and operands.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    values: BTreeMap<&'static str, Vec<String>>,
    pub(crate) operands: Vec<String>,
    pub(crate) wants_help: bool,
}

impl Arguments {
    /// The second list is what stands after the options where those come first.
    pub(crate) fn parse(flags: &[Flag], words: &[String], order: Order) -> Result<(Arguments, Vec<String>)> {
        let mut parsed = Arguments::default();
        let mut rest = words.iter();
        while let Some(word) = rest.as_slice().first() {
            if !word.starts_with('-') || word == "-" {
                if order == Order::First {
                    break;
                }
                parsed.operands.push(word.clone());
                rest.next();
                continue;
            }
            rest.next();
            if word == "--" {
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
            if name == "help" || name == "h" {
                self.wants_help = true;
                return Ok(());
            }
            return Err(Error::invalid(format_args!("flag provided but not defined: -{name}")));
        };
        let value = match (flag.takes, inline) {
            (_, Some(value)) => value,
            (Takes::Nothing, None) => "true".to_owned(),
            (_, None) => rest
                .next()
                .cloned()
                .ok_or_else(|| Error::invalid(format_args!("flag needs an argument: -{name}")))?,
        };
        match flag.takes {
            Takes::Nothing if !is_boolean(&value) => {
                return Err(Error::invalid(format_args!("invalid boolean value {value:?} for -{name}")));
            }
            Takes::Number if value.parse::<i64>().is_err() => {
                return Err(Error::invalid(format_args!(
                    "invalid value {value:?} for flag -{name}: parse error"
                )));
            }
            _ => {}
        }
        self.values.entry(flag.name).or_default().push(value);
        Ok(())
    }

    /// The last value given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.last().map(String::as_str)
    }

    /// The same, where an empty value means none.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !FALSE.contains(&value))
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let parse = |value: &str| {
            value
                .parse()
                .map_err(|_| Error::invalid(format_args!("invalid value {value:?} for flag -{name}")))
        };
        self.given(name).map(parse).transpose()
    }

    /// The first operand. Commands that use it have had their operands counted.
    pub(crate) fn id(&self) -> Result<&str> {
        self.operands
            .first()
            .map(String::as_str)
            .ok_or_else(|| Error::invalid("the container's id is missing"))
    }
}

const TRUE: [&str; 6] = ["true", "1", "t", "T", "True", "TRUE"];
const FALSE: [&str; 6] = ["false", "0", "f", "F", "False", "FALSE"];

fn is_boolean(value: &str) -> bool {
    TRUE.contains(&value) || FALSE.contains(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::switch("force", Some('f'), ""),
        Flag::value("bundle", Some('b'), ""),
        Flag::number("count", None, ""),
    ];

    fn command(count: Count, order: Order) -> Command {
        let run = |_: &super::super::Context, _: &Arguments| Ok(0);
        Command {
            name: "make",
            summary: "makes",
            operands: "<container-id>",
            count,
            flags: FLAGS,
            order,
            run: Run::Plain(run),
        }
    }

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn options_in_every_spelling_and_place() {
        for text in
            ["--bundle /b -f c", "c -b /b --force", "-bundle=/b c --force=true", "--bundle /x -b=/b c -f"]
        {
            let make = command(Count::Exactly(1), Order::Any);
            let parsed = make.parse("p", &words(text)).unwrap().unwrap();
            assert_eq!((parsed.get("bundle"), parsed.is_set("force")), (Some("/b"), true), "{text}");
            assert_eq!(parsed.id().unwrap(), "c", "{text}");
        }
    }

    #[test]
    fn a_program_keeps_its_own_options() {
        let run = command(Count::AtLeast(1), Order::First);
        let parsed = run.parse("p", &words("-f c ls -f --bundle")).unwrap().unwrap();
        assert!(parsed.is_set("force") && parsed.get("bundle").is_none());
        assert_eq!(parsed.operands, words("c ls -f --bundle"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let cases = [
            ("--nope c", "flag provided but not defined: -nope"),
            ("c -b", "flag needs an argument: -b"),
            ("c --count many", "invalid value \"many\" for flag -count: parse error"),
            ("c --count=", "invalid value \"\" for flag -count: parse error"),
            ("c --force=perhaps", "invalid boolean value \"perhaps\" for -force"),
            ("c d", "p: \"make\" requires exactly 1 argument(s)"),
        ];
        for (text, expected) in cases {
            let make = command(Count::Exactly(1), Order::Any);
            assert_eq!(make.parse("p", &words(text)).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_command_explains_itself() {
        let make = command(Count::Exactly(1), Order::Any);
        assert!(make.parse("p", &words("-h")).unwrap().is_none());
        let help = make.help("p");
        assert!(
            help.starts_with(
                "NAME:\n   p make - makes\n\nUSAGE:\n   p make [command options] <container-id>"
            )
        );
        assert!(help.contains("   --bundle value, -b value  \n"));
    }
}
