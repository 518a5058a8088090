//! The program of a container, or one executed in it, checked and in the kernel's terms.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use linux::process::{Limit, Resource};

use crate::credentials::Identity;
use crate::{Error, Result};

#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) args: Vec<CString>,
    /// Without `HOME` unless the configuration sets it.
    pub(crate) env: Vec<CString>,
    pub(crate) directory: PathBuf,
    /// The caller gives it a terminal, whatever the configuration says.
    pub(crate) terminal_given: bool,
    pub(crate) identity: Identity,
    pub(crate) limits: Vec<(Resource, Limit)>,
    /// The process sets its limits itself. The runtime does otherwise, as late as it can; but once a process has
    /// become another user, only who holds `CAP_SYS_RESOURCE` may.
    pub(crate) sets_own_limits: bool,
    pub(crate) oom_score: Option<i32>,
    pub(crate) first_cpus: Option<Vec<usize>>,
    pub(crate) last_cpus: Option<Vec<usize>>,
}

impl Program {
    pub(crate) fn new(process: &oci::runtime::Process) -> Result<Program> {
        if process.args.is_empty() {
            return Err(Error::invalid("args must not be empty"));
        }
        if process.cwd.is_empty() {
            return Err(Error::invalid("Cwd property must not be empty"));
        }
        if !Path::new(&process.cwd).is_absolute() {
            return Err(Error::invalid("Cwd must be an absolute path"));
        }
        if let Some(line) = process.env.iter().find(|line| !line.contains('=')) {
            let message = format_args!("invalid environment variable: missing '=' in {line:?}");
            return Err(Error::invalid(message));
        }
        if process.env.iter().any(|line| line.starts_with('=')) {
            return Err(Error::invalid("invalid environment variable: name cannot be empty"));
        }
        let c_strings = |strings: &[String], field: &str| {
            let convert = |text: &String| {
                let error = |_| Error::invalid(format_args!("process.{field}: {text:?} holds a zero byte"));
                CString::new(text.as_str()).map_err(error)
            };
            strings.iter().map(convert).collect::<Result<Vec<_>>>()
        };
        let limits = process.rlimits.iter().map(|limit| {
            let resource = Resource::parse(&limit.kind)
                .ok_or_else(|| Error::invalid(format_args!("invalid rlimit type: {}", limit.kind)))?;
            Ok((resource, Limit { soft: limit.soft, hard: limit.hard }))
        });
        let cpus = |list: Option<&String>| match list.filter(|list| !list.is_empty()) {
            None => Ok(None),
            Some(list) => linux::process::cpu_list(list).map(Some).ok_or_else(|| {
                Error::invalid(format_args!("execCPUAffinity: {list:?} is not a list of CPUs"))
            }),
        };
        let affinity = process.exec_cpu_affinity.clone().unwrap_or_default();
        Ok(Program {
            args: c_strings(&process.args, "args")?,
            env: c_strings(&unique(&process.env), "env")?,
            directory: PathBuf::from(&process.cwd),
            terminal_given: process.terminal,
            identity: Identity::new(process)?,
            limits: limits.collect::<Result<Vec<_>>>()?,
            sets_own_limits: false,
            oom_score: process.oom_score_adj,
            first_cpus: cpus(affinity.initial.as_ref())?,
            last_cpus: cpus(affinity.last.as_ref())?,
        })
    }

    /// Where the program may lie, as paths of the container: its name if that holds a slash, else by `PATH`, whose relative
    /// entries would depend on the working directory and are passed over.
    pub(crate) fn places(&self) -> impl Iterator<Item = PathBuf> {
        let name = OsStr::from_bytes(self.args[0].as_bytes());
        let named = name.as_bytes().contains(&b'/').then(|| self.directory.join(name));
        let path = if named.is_some() { "" } else { self.variable("PATH").unwrap_or_default() };
        let directories = path.split(':').filter(|directory| directory.starts_with('/') && !name.is_empty());
        named.into_iter().chain(directories.map(move |directory| Path::new(directory).join(name)))
    }

    /// The value of an environment variable.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.env
            .iter()
            .filter_map(|line| line.to_str().ok()?.strip_prefix(name)?.strip_prefix('='))
            .next_back()
    }
}

/// The last value of each variable, in the order of their first appearance.
fn unique(env: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::with_capacity(env.len());
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for line in env {
        let name = line.split('=').next().unwrap_or(line);
        match places.get(name) {
            Some(place) => lines[*place] = line.clone(),
            None => {
                places.insert(name, lines.len());
                lines.push(line.clone());
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_a_name_and_a_value() {
        for (line, expected) in [("PATH", "missing '=' in \"PATH\""), ("=x", "name cannot be empty")] {
            let process = oci::runtime::Process {
                args: vec!["true".to_owned()],
                cwd: "/".to_owned(),
                env: vec![line.to_owned()],
                ..Default::default()
            };
            let message = Program::new(&process).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn the_last_value_of_a_variable_counts() {
        let env = ["A=1", "B=2", "A=3"].map(str::to_owned);
        assert_eq!(unique(&env), ["A=3", "B=2"]);
    }
}
