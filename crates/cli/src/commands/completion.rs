//! `completion`: a script for the shell, which asks this program what can come next.
//!
//! Commands and flags come from the tree; names of containers, images and the like from the engine,
//! which is not started for that: where nobody listens, there is nothing to complete.

use std::io::Write as _;

use client::{Client, Query};

use super::context;
use crate::failure::{Failure, Outcome};
use crate::flags::{self, Count, Parsed};
use crate::session::Session;
use crate::tree::{self, Found, Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["completion"],
    &["bash|zsh|fish"],
    "Print a script that lets a shell complete command lines",
    Count::Exactly(1),
    Vec::new,
    run,
)
.hidden();

/// The word that asks for completions: everything after it is the line so far.
pub(crate) const ASK: &str = "__complete";

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let script = match parsed.first() {
        "bash" => BASH,
        "zsh" => ZSH,
        "fish" => FISH,
        shell => {
            return Err(Failure::new(format!(
                "there is no completion for {shell:?}: bash, zsh and fish are known"
            )));
        }
    };
    std::io::stdout().write_all(script.replace("PROGRAM", session.program).as_bytes())?;
    Ok(0)
}

const BASH: &str = r#"_PROGRAM_complete() {
    local IFS=$'\n'
    COMPREPLY=($(PROGRAM __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    [[ ${#COMPREPLY[@]} -eq 0 ]] && compopt -o default
}
complete -F _PROGRAM_complete PROGRAM
"#;

const ZSH: &str = r#"#compdef PROGRAM
_PROGRAM() {
    local -a found
    found=("${(@f)$(PROGRAM __complete "${words[@]:1:$((CURRENT-1))}" 2>/dev/null)}")
    if [[ -n "${found[*]}" ]]; then compadd -a found; else _files; fi
}
compdef _PROGRAM PROGRAM
"#;

const FISH: &str = r"complete -c PROGRAM -a '(PROGRAM __complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
";

/// Prints what can stand in the place of the last word.
pub(crate) fn complete(session: &Session, words: &[String]) -> Outcome {
    let (last, before) = match words.split_last() {
        Some((last, before)) => (last.as_str(), before),
        None => ("", words),
    };
    let mut candidates = candidates(session, before, last);
    candidates.retain(|candidate| candidate.starts_with(last));
    candidates.sort();
    candidates.dedup();
    let mut out = std::io::stdout().lock();
    for candidate in candidates {
        writeln!(out, "{candidate}")?;
    }
    Ok(0)
}

fn candidates(session: &Session, before: &[String], last: &str) -> Vec<String> {
    match tree::find(before) {
        (Found::Command(spec, _), used) => arguments(session, spec, &before[used..], last),
        (Found::Group(group), _) => {
            tree::members(group.name).iter().map(|(name, _)| (*name).to_owned()).collect()
        }
        (Found::Nothing, 0) => {
            let groups = tree::GROUPS.iter().map(|group| group.name);
            groups.chain(tree::tops().iter().map(|(name, _)| *name)).map(str::to_owned).collect()
        }
        (Found::Nothing, _) => Vec::new(),
    }
}

fn arguments(session: &Session, spec: &Spec, line: &[String], last: &str) -> Vec<String> {
    let command = flags::command((spec.flags)(), spec.stop);
    if last.starts_with('-') {
        let visible = command.get_arguments().filter(|arg| !arg.is_hide_set());
        return visible.filter_map(clap::Arg::get_long).map(|long| format!("--{long}")).collect();
    }
    let named = line.iter().filter(|word| !word.starts_with('-')).count();
    // The command within a container is not ours to guess.
    if spec.stop && named > 0 {
        return Vec::new();
    }
    session.quiet_client().and_then(|client| names(session, &client, spec.names).ok()).unwrap_or_default()
}

fn names(session: &Session, client: &Client, names: Names) -> Result<Vec<String>, Failure> {
    let containers = |all: bool| -> Result<Vec<String>, Failure> {
        let containers = client.list_containers(&Query::new().set_if("all", all))?;
        Ok(containers
            .into_iter()
            .flat_map(|container| container.names)
            .map(|name| name.trim_start_matches('/').to_owned())
            .collect())
    };
    Ok(match names {
        Names::Nothing | Names::Files => Vec::new(),
        Names::Containers => containers(true)?,
        Names::RunningContainers => containers(false)?,
        Names::Images => client
            .list_images(&Query::new())?
            .into_iter()
            .flat_map(|image| image.repo_tags.unwrap_or_default())
            .collect(),
        Names::Networks => client.list_networks("")?.into_iter().map(|network| network.name).collect(),
        Names::Volumes => client.list_volumes("")?.volumes.into_iter().map(|volume| volume.name).collect(),
        Names::Contexts => {
            context::Store::new(session).list()?.into_iter().map(|context| context.name).collect()
        }
    })
}
