//! That the pages show everything that the lists name.
//!
//! What counts as shown: a route by a request that it answers well, asked in the newest version and in the oldest that
//! has it; a parameter by any request with it; a flag by a line that ends well, unless a pipe reads the command's errors:
//! such a line ends as the pipe does, and what it shows is a refusal. In the lists `!` stands before what can
//! only be shown by its refusal, with the reason in the list, and `+` before what a page has no means for, a terminal, a
//! registry or an authority of its own: a test beside the pages has it in its words.

use std::collections::BTreeSet;

use regex_lite::Regex;

use super::PAGES;
use super::transcript::{Case, Page};
use super::uses::{behind, commands, requests};

const ROUTES: &str = include_str!("routes.list");
const FLAGS: &str = include_str!("flags.list");

/// The tests beside the pages.
const TESTS: [&str; 5] = [
    include_str!("../contexts.rs"),
    include_str!("../images.rs"),
    include_str!("../mistakes.rs"),
    include_str!("../registries.rs"),
    include_str!("../secure_clients.rs"),
];

/// The versions that the engine speaks. What came later is due when the newest moves.
const OLDEST: (u32, u32) = (1, 24);
const NEWEST: (u32, u32) = (1, 51);

fn cases() -> Vec<Case> {
    PAGES.iter().flat_map(|(_, text)| Page::parse(text).cases().cloned().collect::<Vec<_>>()).collect()
}

fn lines(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// `name@1.30`: a name and the version that brought it.
fn since(word: &str) -> (&str, (u32, u32)) {
    let (name, version) = word.split_once('@').unwrap_or((word, "1.24"));
    (name, self::version(version))
}

fn version(text: &str) -> (u32, u32) {
    let numbers = text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    numbers.unwrap_or_else(|| panic!("no version: {text}"))
}

struct Route {
    /// It can't be answered well here.
    refused: bool,
    method: &'static str,
    path: &'static str,
    since: (u32, u32),
    parameters: Vec<&'static str>,
}

impl Route {
    /// All that the engine's versions have.
    fn all() -> Vec<Route> {
        let parse = |line: &'static str| {
            let (refused, line) = line.strip_prefix('!').map_or((false, line), |line| (true, line));
            let mut words = line.split(' ');
            let (method, target) = words.next().zip(words.next()).expect("a method and a path");
            let (path, version) = since(target);
            let known = words.map(since).filter(|(_, version)| *version <= NEWEST);
            let parameters = known.map(|(name, _)| name).collect();
            Route { refused, method, path, since: version.max(OLDEST), parameters }
        };
        lines(ROUTES).map(parse).filter(|route| route.since <= NEWEST).collect()
    }

    /// A name may have slashes, an id has none.
    fn matches(&self, method: &str, path: &str) -> bool {
        let holes = Regex::new(r"\{\w+\}").expect("a constant pattern");
        let any = |hole: &regex_lite::Captures<'_>| if &hole[0] == "{name}" { ".+" } else { "[^/]+" };
        let pattern = format!("^{}$", holes.replace_all(self.path, any));
        self.method == method
            && Regex::new(&pattern).expect("paths have no letters of patterns").is_match(path)
    }
}

#[test]
fn every_route_is_shown() {
    let mut missing = Vec::new();
    let cases = cases();
    let all = Route::all();
    let asked: Vec<_> =
        cases.iter().flat_map(|case| requests(&case.line).into_iter().map(move |one| (case, one))).collect();
    for route in &all {
        let ours: Vec<_> = asked
            .iter()
            // A fixed path is never another route's name.
            .filter(|(_, one)| {
                let first = all.iter().filter(|route| route.matches(&one.method, &one.path));
                first
                    .min_by_key(|route| route.path.matches('{').count())
                    .is_some_and(|best| best.path == route.path)
                    && route.method == one.method
            })
            .collect();
        let name = format!("{} {}", route.method, route.path);
        for due in [route.since, NEWEST] {
            let shown = ours.iter().any(|(case, one)| {
                let well = ["200", "201", "204", "304", "101"]
                    .iter()
                    .any(|status| case.answer.contains(&format!("HTTP/1.1 {status}")));
                let asks = |asked: &Option<String>| asked.as_deref().map_or(NEWEST, version) == due;
                (well || route.refused) && one.versions.iter().any(asks)
            });
            if !shown {
                missing.push(format!("{name} in version {}.{}", due.0, due.1));
            }
        }
        for parameter in &route.parameters {
            if !ours.iter().any(|(_, one)| one.query.iter().any(|name| name == parameter)) {
                missing.push(format!("{name}: {parameter}"));
            }
        }
    }
    missing.dedup();
    assert!(missing.is_empty(), "no page shows:\n{}", missing.join("\n"));
}

struct Command {
    names: Vec<&'static str>,
    flags: Vec<Flag>,
}

struct Flag {
    refused: bool,
    /// A test beside the pages has it.
    elsewhere: bool,
    /// `--all`, and `-a` if there is a short form.
    names: Vec<&'static str>,
    takes_value: bool,
}

impl Command {
    fn all() -> Vec<Command> {
        let mut all: Vec<Command> = Vec::new();
        for line in lines(FLAGS) {
            match line.strip_prefix("  ") {
                Some(flags) => {
                    all.last_mut().expect("a command").flags.extend(flags.split(' ').map(Flag::parse))
                }
                None => all.push(Command { names: line.split(", ").collect(), flags: Vec::new() }),
            }
        }
        all
    }

    /// The flags of a command line that begins behind the command's name.
    fn flags_in(&self, words: &[String]) -> Vec<&Flag> {
        // What stands behind these commands' first argument belongs to the container.
        let ends = ["run", "create", "exec"].iter().any(|name| self.names.contains(name));
        let mut found = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" || ends && !word.starts_with('-') {
                break;
            }
            let long = word.starts_with("--");
            let (name, inline) =
                word.split_once('=').map_or((word.as_str(), false), |(name, _)| (name, true));
            if long {
                let Some(flag) = self.flags.iter().find(|flag| flag.names.contains(&name)) else { continue };
                found.push(flag);
                if flag.takes_value && !inline {
                    words.next();
                }
            } else if let Some(letters) = name.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                for (at, letter) in letters.char_indices() {
                    let short = format!("-{letter}");
                    let Some(flag) = self.flags.iter().find(|flag| flag.names.contains(&short.as_str()))
                    else {
                        break;
                    };
                    found.push(flag);
                    if flag.takes_value {
                        if at + letter.len_utf8() == letters.len() && !inline {
                            words.next();
                        }
                        break;
                    }
                }
            }
        }
        found
    }
}

impl Flag {
    fn parse(word: &'static str) -> Flag {
        let (refused, word) = word.strip_prefix('!').map_or((false, word), |word| (true, word));
        let (elsewhere, word) = word.strip_prefix('+').map_or((false, word), |word| (true, word));
        let (names, takes_value) = word.strip_suffix('=').map_or((word, false), |names| (names, true));
        Flag { refused, elsewhere, names: names.split(',').collect(), takes_value }
    }

    /// Whether a line of the tests has it and its command.
    fn is_tested(&self, command: &Command) -> bool {
        let has_flag = |line: &str| self.names.iter().any(|name| has_word(line, name));
        // Any command may stand behind the flags of none.
        let words = command.names.iter().filter_map(|name| name.rsplit(' ').next());
        let has_command = |line: &str| words.clone().any(|word| word == ROOT || has_word(line, word));
        TESTS.iter().flat_map(|test| test.lines()).any(|line| has_flag(line) && has_command(line))
    }

    fn name(&self) -> &'static str {
        self.names.last().copied().unwrap_or_default()
    }
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|letter: char| !letter.is_alphanumeric() && letter != '-').any(|one| one == word)
}

/// What the flags before any command belong to.
const ROOT: &str = "docker";

/// The flags before the command, and what follows them.
fn before<'a, 'w>(all: &'a [Command], words: &'w [String]) -> (Vec<&'a Flag>, &'w [String]) {
    let Some(root) = all.iter().find(|command| command.names.contains(&ROOT)) else {
        return (Vec::new(), words);
    };
    let mut count = 0;
    while let Some(word) = words.get(count).filter(|word| word.starts_with('-')) {
        let takes = |flag: &Flag| flag.takes_value && flag.names.contains(&word.as_str());
        count += if root.flags.iter().any(takes) { 2 } else { 1 };
    }
    let (flags, rest) = words.split_at(count.min(words.len()));
    (root.flags_in(flags), rest)
}

#[test]
fn every_flag_is_shown() {
    let all = Command::all();
    let mut shown = BTreeSet::new();
    for case in cases() {
        let well = !case.answer.contains("(exit ") && !case.line.contains("2>&1 |");
        let found = commands(&case.line);
        let mut lines: Vec<Vec<String>> =
            behind(&found, "docker").into_iter().map(<[String]>::to_vec).collect();
        // `made FORMAT FLAG...` creates a container with these flags.
        for words in behind(&found, "made") {
            lines.push([&["create".to_owned()], words.get(1..).unwrap_or_default()].concat());
        }
        for words in lines {
            let (flags, words) = before(&all, &words);
            shown.extend(flags.into_iter().map(|flag| (ROOT, flag.name(), well)));
            let Some((command, rest)) = named(&all, words) else { continue };
            if well {
                shown.insert((command.names[0], "", well));
            }
            shown
                .extend(command.flags_in(rest).into_iter().map(|flag| (command.names[0], flag.name(), well)));
        }
    }
    let mut missing = Vec::new();
    for command in &all {
        let name = command.names[0];
        // Where every flag is refused, so is the command.
        let all_are = |what: fn(&Flag) -> bool| !command.flags.is_empty() && command.flags.iter().all(what);
        let elsewhere = name == ROOT || all_are(|flag| flag.elsewhere);
        if !all_are(|flag| flag.refused) && !elsewhere && !shown.contains(&(name, "", true)) {
            missing.push(name.to_owned());
        }
        for flag in &command.flags {
            let [well, refused] = [true, false].map(|well| shown.contains(&(name, flag.name(), well)));
            match (flag.refused, well, refused) {
                _ if flag.elsewhere && flag.is_tested(command) => {}
                (false, true, _) | (true, false, true) => {}
                (true, true, _) => missing.push(format!("{name} {}: it is not refused", flag.name())),
                _ => missing.push(format!("{name} {}", flag.name())),
            }
        }
    }
    assert!(missing.is_empty(), "no page shows:\n{}", missing.join("\n"));
}

/// The command that these words name, and the words behind its name.
fn named<'a, 'w>(all: &'a [Command], words: &'w [String]) -> Option<(&'a Command, &'w [String])> {
    [2, 1].into_iter().find_map(|count| {
        let name = words.get(..count)?.join(" ");
        let command = all.iter().find(|command| command.names.contains(&name.as_str()))?;
        Some((command, &words[count..]))
    })
}

#[test]
fn flags_are_told_from_what_belongs_to_the_container() {
    let all = Command::all();
    let used = |line: &str| {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (command, rest) = named(&all, &words).expect("a command");
        command.flags_in(rest).iter().map(|flag| flag.name()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(used("run -itv a:b --name=x --rm busybox ls -l"), "--interactive --tty --volume --name --rm");
    assert_eq!(used("container ls x --all -n 2"), "--all --last");
    let line: Vec<String> = "-H x --debug ps -a".split(' ').map(str::to_owned).collect();
    let (flags, rest) = before(&all, &line);
    assert_eq!(flags.iter().map(|flag| flag.name()).collect::<Vec<_>>(), ["--host", "--debug"]);
    assert_eq!(rest, ["ps", "-a"]);
}
