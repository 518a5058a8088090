//! The host's ps(1): what it is given, and what of its output is the container's.

use std::io;
use std::sync::LazyLock;

use api::container::Top;
use regex_lite::Regex;

use super::{NO_PID, PID, row, words};
use crate::effects::Effects;
use crate::error::{Error, Result};

const PROGRAM: &str = "ps";

/// What has the title `PID` and is no process would choose the rows.
static TITLED: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\s+(\S*)=\s*(PID\S*)").ok());

/// Refuses to call another column by the name that rows are chosen by.
pub(super) fn admit(arguments: &str) -> Result<()> {
    let Some(titled) = &*TITLED else { return Ok(()) };
    match titled.captures_iter(arguments).find(|found| &found[1] != "pid") {
        Some(found) => {
            Err(Error::system(format!("specifying \"{}={}\" is not allowed", &found[1], &found[2])))
        }
        None => Ok(()),
    }
}

/// Asks about these processes alone where the arguments allow that, which not all do.
pub(super) fn asked(effects: &dyn Effects, arguments: &str, pids: &[i32]) -> Result<Top> {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let only = format!("-q{}", pids.iter().map(i32::to_string).collect::<Vec<_>>().join(","));
    let narrow: Vec<&str> = arguments.iter().copied().chain([only.as_str()]).collect();
    let said = match ask(effects, &narrow) {
        Ok(said) => said,
        Err(_) => ask(effects, &arguments).map_err(Error::system)?,
    };
    chosen(&said, pids)
}

/// How the program ended is not known (nobody waits for children of this process): who has shown no process has failed, and
/// may have said why.
fn ask(effects: &dyn Effects, arguments: &[&str]) -> Result<String, String> {
    let said = effects.program(PROGRAM, arguments).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("{PROGRAM}: exec: {PROGRAM:?}: executable file not found in $PATH")
        }
        _ => format!("{PROGRAM}: {error}"),
    })?;
    let output = String::from_utf8_lossy(&said.output);
    let errors = String::from_utf8_lossy(&said.errors);
    let has_titles = output.lines().next().is_some_and(|line| words(line).contains(&PID));
    match errors.lines().next().unwrap_or_default() {
        _ if output.lines().nth(1).is_some() => Ok(output.into_owned()),
        "" if !output.is_empty() && !has_titles => Ok(output.into_owned()),
        "" => Err(format!("{PROGRAM}: exit status 1")),
        reason => Err(format!("{PROGRAM}: {reason}")),
    }
}

/// The rows of these processes. A thread's, which some forms show below its process, has no number.
fn chosen(said: &str, pids: &[i32]) -> Result<Top> {
    let mut lines = said.split('\n');
    let titles = words(lines.next().unwrap_or_default());
    let place = titles.iter().position(|title| *title == PID).ok_or_else(|| Error::system(NO_PID))?;
    let mut processes = Vec::new();
    let mut ours = false;
    for line in lines {
        let cells = words(line);
        let Some(pid) = cells.get(place) else { continue };
        if *pid != "-" {
            let pid: i32 = api::number::parse(pid, "Atoi")
                .map_err(|reason| Error::system(format!("Unexpected pid '{pid}': {reason}")))?;
            ours = pids.contains(&pid);
        }
        if ours {
            processes.push(row(titles.len(), &cells));
        }
    }
    Ok(Top { titles: titles.iter().map(|title| (*title).to_owned()).collect(), processes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kernel;

    #[test]
    fn no_other_column_is_called_pid() {
        assert!(["-ef", "-o pid=PID", "-o ppid=X,pid"].iter().all(|arguments| admit(arguments).is_ok()));
        let error = admit("-o ppid= PID,pid").unwrap_err();
        assert_eq!(error.message(), "specifying \"ppid=PID,pid\" is not allowed");
    }

    #[test]
    fn rows_are_those_of_the_processes_and_of_their_threads() {
        let said = "  PID TTY  CMD\n   7 ?  sh  -c x\n   - -  -\n   8 ?  other\n   - -  -\n\n";
        let top = chosen(said, &[7]).unwrap();
        assert_eq!(top.titles, ["PID", "TTY", "CMD"]);
        assert_eq!(top.processes, [["7", "?", "sh -c x"], ["-", "-", "-"]]);
        let error = |said: &str| chosen(said, &[7]).unwrap_err().to_string();
        assert_eq!(error("USER\nroot\n"), NO_PID);
        assert_eq!(error("PID\nx\n"), "Unexpected pid 'x': strconv.Atoi: parsing \"x\": invalid syntax");
    }

    #[test]
    fn the_program_is_asked_again_where_it_can_not_be_asked_of_processes_alone() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let asked = |arguments: &str| asked(&Kernel, arguments, &[pid]);
        for arguments in ["-o pid,lwp", "-eLf", "axf -o pid"] {
            let top = asked(arguments).unwrap();
            assert!(top.processes.iter().any(|row| row.contains(&pid.to_string())), "{arguments}: {top:?}");
        }
        assert_eq!(asked("-e -o comm").unwrap_err().to_string(), NO_PID);
        assert_eq!(asked("--version").unwrap_err().to_string(), NO_PID);
        assert_eq!(asked("--nonsense").unwrap_err().to_string(), "ps: error: unknown gnu long option");
    }
}
