//! The tree of commands: what each is called, takes and does.
//!
//! Every command is one [`Spec`], written in the file of its command. A command has one home in a
//! management group and often a short spelling at the top (`container ls`, `ps`), so a spec lists
//! all its spellings and the tree is only a search through them. Nothing is built before it is
//! known which command was meant: the flags of the others cost nothing.

use api::version::ApiVersion;
use clap::Arg;

use crate::commands;
use crate::failure::Outcome;
use crate::flags::{Count, Parsed};
use crate::session::Session;

/// One command.
pub(crate) struct Spec {
    /// All spellings; the first is the command's home.
    pub(crate) spellings: &'static [&'static str],
    /// What follows the name in the usage line; alternatives on lines of their own.
    pub(crate) usage: &'static [&'static str],
    /// One line for lists.
    pub(crate) summary: &'static str,
    /// More for the command's own help; the summary without it.
    pub(crate) details: &'static str,
    pub(crate) count: Count,
    /// Whether flags end at the first argument, because a foreign command line follows.
    pub(crate) stop: bool,
    pub(crate) hidden: bool,
    /// What the arguments name, for completion.
    pub(crate) names: Names,
    /// The version of the API that brought it; none where each has it.
    pub(crate) since: Option<ApiVersion>,
    /// Those that brought some of its flags.
    pub(crate) flags_since: &'static [(&'static str, ApiVersion)],
    pub(crate) flags: fn() -> Vec<Arg>,
    pub(crate) run: fn(&Session, &Parsed) -> Outcome,
}

impl Spec {
    /// The values that most commands share.
    pub(crate) const fn new(
        spellings: &'static [&'static str],
        usage: &'static [&'static str],
        summary: &'static str,
        count: Count,
        flags: fn() -> Vec<Arg>,
        run: fn(&Session, &Parsed) -> Outcome,
    ) -> Spec {
        Spec {
            spellings,
            usage,
            summary,
            details: "",
            count,
            stop: false,
            hidden: false,
            names: Names::Nothing,
            since: None,
            flags_since: &[],
            flags,
            run,
        }
    }

    /// What it is called first in a group, or at the top: an alias is told by that name.
    fn home(&self, group: Option<&str>) -> String {
        let mut spellings = self.spellings.iter();
        let here = |name: &&&str| name.split_once(' ').map(|(group, _)| group) == group;
        spellings.find(here).or(self.spellings.first()).map_or_else(String::new, |name| (*name).to_owned())
    }

    pub(crate) const fn details(self, details: &'static str) -> Spec {
        Spec { details, ..self }
    }

    pub(crate) const fn stop(self) -> Spec {
        Spec { stop: true, ..self }
    }

    pub(crate) const fn hidden(self) -> Spec {
        Spec { hidden: true, ..self }
    }

    pub(crate) const fn names(self, names: Names) -> Spec {
        Spec { names, ..self }
    }

    pub(crate) const fn since(self, version: ApiVersion) -> Spec {
        Spec { since: Some(version), ..self }
    }

    pub(crate) const fn flags_since(self, flags: &'static [(&'static str, ApiVersion)]) -> Spec {
        Spec { flags_since: flags, ..self }
    }
}

/// What can stand for a command's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    Nothing,
    Files,
    Containers,
    RunningContainers,
    PausedContainers,
    StoppedContainers,
    /// A path of ours, or one in a container.
    ContainersThenFiles,
    Images,
    Networks,
    /// A network, then a container.
    NetworkAndContainer,
    Volumes,
    Contexts,
    /// Whatever has a name.
    Anything,
}

/// A word that only groups commands.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
}

pub(crate) const GROUPS: &[Group] = &[
    Group { name: "container", summary: "Work with containers" },
    Group { name: "context", summary: "Work with contexts" },
    Group { name: "image", summary: "Work with images" },
    Group { name: "network", summary: "Work with networks" },
    Group { name: "system", summary: "Look after the engine" },
    Group { name: "volume", summary: "Work with volumes" },
];

/// The commands that most people need first, in the order in which help shows them.
pub(crate) const COMMON: &[&str] =
    &["run", "exec", "ps", "pull", "push", "images", "login", "logout", "search", "version", "info"];

/// What a command line's first words mean.
pub(crate) enum Found {
    Command(&'static Spec, String),
    Group(&'static Group),
    Nothing,
}

/// Finds the command at the front of the words; the rest are its own. Also returns how many words
/// the name took.
pub(crate) fn find(words: &[String]) -> (Found, usize) {
    let Some(first) = words.first() else { return (Found::Nothing, 0) };
    if let Some(group) = GROUPS.iter().find(|group| group.name == first) {
        let Some(second) = words.get(1).filter(|word| !word.starts_with('-')) else {
            return (Found::Group(group), 1);
        };
        let name = format!("{first} {second}");
        return match spec(&name) {
            Some(spec) => (Found::Command(spec, spec.home(Some(first))), 2),
            None => (Found::Nothing, 2),
        };
    }
    match spec(first) {
        Some(spec) => (Found::Command(spec, spec.home(None)), 1),
        None => (Found::Nothing, 1),
    }
}

pub(crate) fn spec(name: &str) -> Option<&'static Spec> {
    commands::ALL.iter().copied().find(|spec| spec.spellings.contains(&name))
}

/// The commands of a group by their names within it, sorted.
pub(crate) fn members(group: &str) -> Vec<(&'static str, &'static Spec)> {
    let prefix = format!("{group} ");
    let mut members: Vec<_> = commands::ALL
        .iter()
        .filter(|spec| !spec.hidden)
        .filter_map(|spec| {
            spec.spellings.first().and_then(|home| home.strip_prefix(&prefix)).map(|name| (name, *spec))
        })
        .collect();
    members.sort_by_key(|(name, _)| *name);
    members
}

/// The commands at the top by their first top spelling, sorted.
pub(crate) fn tops() -> Vec<(&'static str, &'static Spec)> {
    let mut tops: Vec<_> = commands::ALL
        .iter()
        .filter(|spec| !spec.hidden)
        .filter_map(|spec| spec.spellings.iter().find(|name| !name.contains(' ')).map(|name| (*name, *spec)))
        .collect();
    tops.sort_by_key(|(name, _)| *name);
    tops
}
