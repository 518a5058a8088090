//! The processes of a container, as ps(1) of the host shows them.
//!
//! The few forms that everybody asks for are read from `/proc`, which starts no program and needs none. Anything else is for
//! the host's ps(1), as in Docker.

mod columns;
mod host;
mod process;

use api::container::Top;

use super::life;
use super::record::Record;
use crate::Engine;
use crate::error::{Error, Result};
use columns::Titled;
use process::Process;

/// What is asked for where nothing is.
const DEFAULT: &str = "-ef";

impl Engine {
    /// `arguments` as for ps(1), a word behind each space.
    pub async fn container_top(&self, wanted: &str, arguments: &str) -> Result<Top> {
        let arguments = if arguments.is_empty() { DEFAULT } else { arguments }.to_owned();
        host::admit(&arguments)?;
        let record = self.container(wanted)?.record();
        life::admit_process(&record)?;
        self.blocking(move |engine| {
            let pids = pids(engine, &record)?;
            let top = match columns::of(&arguments) {
                Some(columns) => listed(&columns, &pids)?,
                None => host::asked(engine.effects(), &arguments, &pids)?,
            };
            engine.container_event(&record, "top", &[]);
            Ok(top)
        })
        .await
    }
}

fn listed(columns: &[Titled], pids: &[i32]) -> Result<Top> {
    let titles: Vec<String> = columns.iter().map(|(_, title)| (*title).to_owned()).collect();
    if !titles.iter().any(|title| title == PID) {
        return Err(Error::system(NO_PID));
    }
    // One that ended while we looked is not listed.
    let lines = pids.iter().filter_map(|pid| Process::read(*pid)).map(|process| {
        let (last, before) = columns.split_last()?;
        let mut cells: Vec<String> = before.iter().map(|(column, _)| column.narrow(&process)).collect();
        cells.push(last.0.of(&process));
        Some(row(titles.len(), &words(&cells.join(" "))))
    });
    Ok(Top { processes: lines.flatten().collect(), titles })
}

/// The container's processes, on the host.
fn pids(engine: &Engine, record: &Record) -> Result<Vec<i32>> {
    let mut pids = super::stats::cgroup(engine, record)?
        .pids()
        .map_err(|error| Error::failed("cannot list the processes of a container", error))?;
    pids.sort_unstable();
    Ok(pids)
}

/// The title of the column that tells whose process it is.
const PID: &str = "PID";
const NO_PID: &str = "Couldn't find PID field in ps output";

/// What a line of ps(1) consists of.
fn words(line: &str) -> Vec<&str> {
    line.split([' ', '\t', '\n', '\x0c', '\r']).filter(|word| !word.is_empty()).collect()
}

/// The last column may hold spaces.
fn row(columns: usize, words: &[&str]) -> Vec<String> {
    let (before, last) = words.split_at(words.len().min(columns.saturating_sub(1)));
    before.iter().map(|word| (*word).to_owned()).chain([last.join(" ")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_columns_are_cells_as_a_line_of_ps_has_them() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let top = listed(&columns::of("-o pid,args").unwrap(), &[pid, -1]).unwrap();
        assert_eq!(top.titles, ["PID", "COMMAND"]);
        assert_eq!(top.processes.len(), 1);
        assert_eq!((top.processes[0].len(), top.processes[0][0].as_str()), (2, pid.to_string().as_str()));
        let error = listed(&columns::of("-o comm").unwrap(), &[pid]).unwrap_err();
        assert_eq!(error.message(), NO_PID);
    }

    #[test]
    fn the_last_column_has_what_is_left() {
        assert_eq!(row(2, &words("  7   sh  -c\tx ")), ["7", "sh -c x"]);
        assert_eq!(row(3, &words("7 sh")), ["7", "sh", ""]);
    }
}
