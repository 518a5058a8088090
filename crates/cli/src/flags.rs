//! Flags as Docker users type them, on top of clap.
//!
//! clap tokenizes and validates; this file bends it to the dialect: `--flag=false` for switches, a
//! flag may repeat and the last one wins, commands that take a foreign command line stop at the
//! first argument, and every error is told in the words that scripts know (`unknown flag: --x`).
//! Argument counts are checked here too, because their messages name the command and not a flag.

use std::str::FromStr;

use clap::builder::TypedValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::failure::Failure;

const ARGUMENTS: &str = "ARGUMENTS";

/// How many arguments a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    None,
    Exactly(usize),
    /// The same, told without the command's usage: that is how it always was.
    Plain(usize),
    AtLeast(usize),
    AtMost(usize),
    Between(usize, usize),
}

impl Count {
    /// The complaint about a wrong number, without the command it is about.
    pub(crate) fn complaint(self, given: usize) -> Option<String> {
        let plural = |count: usize| if count == 1 { "argument" } else { "arguments" };
        match self {
            Count::None => (given > 0).then(|| "accepts no arguments".to_owned()),
            Count::Plain(count) => {
                (given != count).then(|| format!("accepts {count} arg(s), received {given}"))
            }
            Count::Exactly(count) => (given != count).then(|| format!("requires {count} {}", plural(count))),
            Count::AtLeast(count) => {
                (given < count).then(|| format!("requires at least {count} {}", plural(count)))
            }
            Count::AtMost(count) => {
                (given > count).then(|| format!("requires at most {count} {}", plural(count)))
            }
            Count::Between(least, most) => (given < least || given > most)
                .then(|| format!("requires at least {least} and at most {most} {}", plural(most))),
        }
    }
}

/// A switch: `--all`, `--all=false`.
pub(crate) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .default_value("false")
        .value_name("")
        .value_parser(parse_bool)
}

/// A switch that is on until `--name=false`.
pub(crate) fn switch_on(name: &'static str, help: &'static str) -> Arg {
    switch(name, help).default_value("true")
}

/// The switch of a feature that Docker had and took away. What it asks for by default is what
/// happens; the opposite is refused where it is used.
pub(crate) fn content_trust() -> Arg {
    switch_on("disable-content-trust", "Does nothing: there is no content trust").hide(true)
}

/// A flag with a value; `kind` is the word that help shows for it.
pub(crate) fn text(name: &'static str, kind: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).value_name(kind).num_args(1).allow_hyphen_values(true)
}

/// A flag that may be given many times.
pub(crate) fn list(name: &'static str, kind: &'static str, help: &'static str) -> Arg {
    text(name, kind, help).action(ArgAction::Append)
}

/// A flag whose value is checked while the command line is read.
pub(crate) fn typed<P>(name: &'static str, kind: &'static str, parser: P, help: &'static str) -> Arg
where
    P: TypedValueParser,
    P::Value: Send + Sync + Clone,
{
    text(name, kind, help).value_parser(parser)
}

/// A whole number, with Go's words when it is not one.
pub(crate) fn integer<T>(name: &'static str, kind: &'static str, help: &'static str) -> Arg
where
    T: FromStr + Clone + Send + Sync + 'static,
{
    typed(name, kind, parse_integer::<T>, help)
}

fn parse_integer<T: FromStr>(text: &str) -> Result<T, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let why = if all_digits { "value out of range" } else { "invalid syntax" };
    text.parse().map_err(|_| format!("strconv.ParseInt: parsing {text:?}: {why}"))
}

/// A number of things, which is never below none.
pub(crate) fn unsigned<T>(name: &'static str, kind: &'static str, help: &'static str) -> Arg
where
    T: FromStr + Clone + Send + Sync + 'static,
{
    typed(name, kind, parse_unsigned::<T>, help)
}

fn parse_unsigned<T: FromStr>(text: &str) -> Result<T, String> {
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let why = if all_digits { "value out of range" } else { "invalid syntax" };
    text.parse().map_err(|_| format!("strconv.ParseUint: parsing {text:?}: {why}"))
}

pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

/// What was typed.
pub(crate) struct Parsed {
    matches: ArgMatches,
    arguments: Vec<String>,
}

impl Parsed {
    pub(crate) fn on(&self, name: &str) -> bool {
        self.matches.get_one::<bool>(name).copied().unwrap_or(false)
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.matches.get_one::<String>(name).map_or("", String::as_str)
    }

    /// The value, when the flag was given at all (an empty value counts).
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.matches.get_one::<String>(name).map(String::as_str)
    }

    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.all(name)
    }

    /// Values of a flag that also takes several at once, separated by commas. An empty one is none.
    pub(crate) fn comma_list(&self, name: &str) -> Vec<String> {
        let given = self.list(name);
        let given = given.iter().filter(|value| !value.is_empty());
        given.flat_map(|value| value.split(',')).map(str::to_owned).collect()
    }

    pub(crate) fn all<T: Clone + Send + Sync + 'static>(&self, name: &str) -> Vec<T> {
        self.matches.get_many::<T>(name).map(|values| values.cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn value<T: Clone + Send + Sync + 'static>(&self, name: &str) -> Option<T> {
        self.matches.get_one::<T>(name).cloned()
    }

    /// Whether the flag stood on the command line.
    pub(crate) fn changed(&self, name: &str) -> bool {
        self.matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine)
    }

    /// Refuses to do what [`content_trust`] cannot.
    pub(crate) fn refuse_content_trust(&self) -> Result<(), Failure> {
        let asked = match self.changed("disable-content-trust") {
            true if self.on("disable-content-trust") => return Ok(()),
            true => "flag --disable-content-trust=false",
            // Docker takes what is neither yes nor no for a yes.
            false => match std::env::var("DOCKER_CONTENT_TRUST") {
                Ok(value) if !value.is_empty() && parse_bool(&value) != Ok(false) => {
                    "variable DOCKER_CONTENT_TRUST"
                }
                _ => return Ok(()),
            },
        };
        Err(Failure::new(format!("unsupported {asked}: there is no content trust")))
    }

    pub(crate) fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// The first argument; commands that ask for it require one.
    pub(crate) fn first(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }
}

/// Why a command line was not understood.
#[derive(Debug)]
pub(crate) enum Misread {
    /// `--help` was asked for; the old short form is announced as such.
    Help { short: bool },
    /// The message for a person.
    Error(String),
}

/// The clap command for a set of flags. `stop` ends the flags at the first argument.
pub(crate) fn command(flags: Vec<Arg>, stop: bool) -> Command {
    let arguments = Arg::new(ARGUMENTS).num_args(0..).action(ArgAction::Append).trailing_var_arg(stop);
    let short_help_is_free = !flags.iter().any(|flag| flag.get_short() == Some('h'));
    let help = Arg::new("help").long("help").action(ArgAction::SetTrue).hide(true).help("Print this help");
    let mut command = Command::new("wharf")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .args(flags)
        .arg(help)
        .arg(arguments);
    if short_help_is_free {
        command = command.arg(Arg::new("short help").short('h').action(ArgAction::SetTrue).hide(true));
    }
    command
}

/// Reads a command line.
pub(crate) fn parse(mut command: Command, line: &[String]) -> Result<Parsed, Misread> {
    // Help wins over whatever else is wrong, as long as it comes before it.
    let matches = command.try_get_matches_from_mut(line).map_err(|error| {
        if line.first().is_some_and(|word| word == "--help") {
            return Misread::Help { short: false };
        }
        Misread::Error(complaint(&command, &error, line))
    })?;
    let flag = |name: &str| matches!(matches.try_get_one::<bool>(name), Ok(Some(true)));
    if flag("help") || flag("short help") {
        return Err(Misread::Help { short: !flag("help") });
    }
    let arguments = matches.get_many::<String>(ARGUMENTS).map(|values| values.cloned().collect());
    Ok(Parsed { arguments: arguments.unwrap_or_default(), matches })
}

/// A clap error in the words of Docker's flag parser.
fn complaint(command: &Command, error: &clap::Error, line: &[String]) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let flag = context(ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::UnknownArgument => unknown(&flag, line),
        ErrorKind::InvalidValue | ErrorKind::NoEquals if context(ContextKind::InvalidValue).is_empty() => {
            missing_value(command, &flag, line)
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue | ErrorKind::TooManyValues => {
            let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            let value = context(ContextKind::InvalidValue);
            format!("invalid argument {value:?} for {:?} flag: {why}", display(command, &flag, line))
        }
        _ => error.to_string().trim().to_owned(),
    }
}

fn unknown(flag: &str, line: &[String]) -> String {
    if flag.starts_with("--") {
        return format!("unknown flag: {flag}");
    }
    let letter = flag.trim_start_matches('-').chars().next().unwrap_or('?');
    let word = line
        .iter()
        .find(|word| word.starts_with('-') && !word.starts_with("--") && word.contains(letter))
        .map_or(flag, String::as_str);
    // What follows the letter within the word is what the parser would have read next.
    let from = word.find(letter).unwrap_or(1);
    format!("unknown shorthand flag: {letter:?} in -{}", &word[from..])
}

fn missing_value(command: &Command, flag: &str, line: &[String]) -> String {
    let last = line.last().map_or("", String::as_str);
    match last.strip_prefix('-') {
        Some(letters) if !letters.starts_with('-') => {
            let letter = letters.chars().last().unwrap_or('?');
            format!("flag needs an argument: {letter:?} in -{letters}")
        }
        _ => {
            let name = find(command, flag).unwrap_or(flag.trim_start_matches('-'));
            format!("flag needs an argument: --{}", typed_alias(command, name, line).unwrap_or(name))
        }
    }
}

/// `-m, --memory` for clap's `--memory <bytes>`; another name of the flag as it was typed.
fn display(command: &Command, flag: &str, line: &[String]) -> String {
    let Some(name) = find(command, flag) else { return flag.to_owned() };
    if let Some(alias) = typed_alias(command, name, line) {
        return format!("--{alias}");
    }
    let short = command.get_arguments().find(|arg| arg.get_long() == Some(name)).and_then(Arg::get_short);
    match short {
        Some(letter) => format!("-{letter}, --{name}"),
        None => format!("--{name}"),
    }
}

fn typed_alias<'a>(command: &'a Command, name: &str, line: &[String]) -> Option<&'a str> {
    let flag = command.get_arguments().find(|arg| arg.get_long() == Some(name))?;
    let is_typed = |alias: &str| {
        let typed =
            |word: &String| word.strip_prefix("--").and_then(|word| word.split('=').next()) == Some(alias);
        line.iter().any(typed)
    };
    flag.get_all_aliases()?.into_iter().find(|alias| is_typed(alias))
}

fn find<'a>(command: &'a Command, flag: &str) -> Option<&'a str> {
    let word = flag.split([' ', '=', '[']).next()?.trim_start_matches('-');
    command.get_arguments().filter_map(Arg::get_long).find(|long| *long == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> Vec<Arg> {
        vec![
            switch("all", "").short('a'),
            switch_on("sig-proxy", ""),
            switch("tty", "").short('t'),
            text("name", "string", ""),
            list("env", "list", "").short('e'),
            integer::<i64>("memory-swap", "bytes", "").short('m'),
        ]
    }

    fn read(stop: bool, line: &str) -> Result<Parsed, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(command(flags(), stop), &words).map_err(|misread| match misread {
            Misread::Help { short } => format!("help {short}"),
            Misread::Error(text) => text,
        })
    }

    fn error(line: &str) -> String {
        read(true, line).err().unwrap_or_default()
    }

    #[test]
    fn switches_take_a_value_only_with_an_equals_sign() {
        let parsed = read(false, "-at --sig-proxy=false x").unwrap();
        assert!(parsed.on("all") && parsed.on("tty") && !parsed.on("sig-proxy"));
        assert_eq!(parsed.arguments(), ["x"]);
        assert!(read(false, "").unwrap().on("sig-proxy"));
        assert!(!read(false, "--all=false").unwrap().on("all"));
        assert!(!read(false, "").unwrap().changed("all"));
    }

    #[test]
    fn a_foreign_command_line_keeps_its_flags() {
        let parsed = read(true, "-e A=1 -eB image -t --name x --help").unwrap();
        assert_eq!(parsed.list("env"), ["A=1", "B"]);
        assert_eq!(parsed.arguments(), ["image", "-t", "--name", "x", "--help"]);
        assert!(!parsed.on("tty"));
        let parsed = read(false, "image -t").unwrap();
        assert!(parsed.on("tty"));
    }

    #[test]
    fn values_may_look_like_flags_and_the_last_one_wins() {
        let parsed = read(true, "-m -1 --name --all --name=b").unwrap();
        assert_eq!(parsed.value::<i64>("memory-swap"), Some(-1));
        assert_eq!(parsed.text("name"), "b");
        assert!(!parsed.on("all"));
        assert_eq!(read(true, "--name=").unwrap().given("name"), Some(""));
        assert_eq!(read(true, "").unwrap().given("name"), None);
        assert_eq!(read(true, "--env a,b --env= --env=c").unwrap().comma_list("env"), ["a", "b", "c"]);
    }

    #[test]
    fn double_dash_and_dash_are_no_flags() {
        assert_eq!(read(false, "-- -a").unwrap().arguments(), ["-a"]);
        assert_eq!(read(false, "- x").unwrap().arguments(), ["-", "x"]);
    }

    #[test]
    fn complaints_use_the_words_of_docker() {
        assert_eq!(error("--foo"), "unknown flag: --foo");
        assert_eq!(error("-xy"), "unknown shorthand flag: 'x' in -xy");
        assert_eq!(error("-ax"), "unknown shorthand flag: 'x' in -x");
        assert_eq!(error("--name"), "flag needs an argument: --name");
        assert_eq!(error("-m"), "flag needs an argument: 'm' in -m");
        assert_eq!(
            error("--all=maybe"),
            "invalid argument \"maybe\" for \"-a, --all\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax"
        );
        assert_eq!(
            error("-m x"),
            "invalid argument \"x\" for \"-m, --memory-swap\" flag: strconv.ParseInt: parsing \"x\": invalid syntax"
        );
    }

    #[test]
    fn help_is_asked_for_before_an_argument() {
        assert_eq!(error("--help"), "help false");
        assert_eq!(error("-h"), "help true");
    }

    #[test]
    fn counts_complain_in_sentences() {
        assert_eq!(Count::None.complaint(1).unwrap(), "accepts no arguments");
        assert_eq!(Count::Exactly(2).complaint(1).unwrap(), "requires 2 arguments");
        assert_eq!(Count::AtLeast(1).complaint(0).unwrap(), "requires at least 1 argument");
        assert_eq!(Count::AtMost(1).complaint(2).unwrap(), "requires at most 1 argument");
        assert_eq!(Count::Between(1, 2).complaint(0).unwrap(), "requires at least 1 and at most 2 arguments");
        assert_eq!(Count::Between(1, 2).complaint(2), None);
    }
}
