//! What `/proc` says of one process, in the words of ps(1).

use std::fs;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::spec;

/// Ticks of a second in `/proc/<pid>/stat`; the same on every architecture we run on.
pub(super) const TICKS: u64 = 100;

pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) state: char,
    pub(super) name: String,
    pub(super) command: String,
    pub(super) user: String,
    pub(super) real_user: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) terminal: String,
    leads_session: bool,
    /// Its terminal's keys send signals to it.
    in_foreground: bool,
    has_locked_memory: bool,
    pub(super) used_ticks: u64,
    start_ticks: u64,
    pub(super) virtual_bytes: u64,
    pub(super) resident_pages: u64,
    pub(super) nice: i64,
    pub(super) threads: u64,
    uptime: f64,
    total_memory: u64,
}

/// The files that a process is read from.
struct Files<'a> {
    stat: &'a str,
    status: &'a str,
    command: &'a [u8],
    uptime: &'a str,
    memory: &'a str,
}

impl Process {
    pub(super) fn read(pid: i32) -> Option<Process> {
        let file = |name: &str| fs::read(format!("/proc/{pid}/{name}")).ok();
        let text = |name: &str| Some(String::from_utf8_lossy(&file(name)?).into_owned());
        let files = Files {
            stat: &text("stat")?,
            status: &text("status")?,
            command: &file("cmdline")?,
            uptime: &fs::read_to_string("/proc/uptime").ok()?,
            memory: &fs::read_to_string("/proc/meminfo").ok()?,
        };
        Process::parse(pid, &files)
    }

    /// proc_pid_stat(5): the name stands in parentheses and may contain anything, parentheses included.
    fn parse(pid: i32, files: &Files<'_>) -> Option<Process> {
        let (before, after) = files.stat.split_at(files.stat.rfind(')')?);
        let fields: Vec<&str> = after[1..].split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let ids = |title: &str| -> Option<Vec<u32>> {
            value(files.status, title)?.split_whitespace().map(|id| id.parse().ok()).collect()
        };
        let (users, groups) = (ids("Uid:")?, ids("Gid:")?);
        let state = fields.first()?.chars().next()?;
        let ended = if state == 'Z' { " <defunct>" } else { "" };
        let name = shown(before.split_once('(')?.1);
        let words: Vec<_> = files
            .command
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty())
            .map(|word| shown(&String::from_utf8_lossy(word)))
            .collect();
        let device: i64 = fields.get(4)?.parse().ok()?;
        Some(Process {
            pid,
            state,
            parent: fields.get(1)?.parse().ok()?,
            // The kernel's own processes have no arguments, and neither has one that has ended.
            command: if words.is_empty() { format!("[{name}]{ended}") } else { words.join(" ") },
            name: format!("{name}{ended}"),
            user: user(*users.get(1)?),
            real_user: user(*users.first()?),
            uid: *users.get(1)?,
            gid: *groups.get(1)?,
            terminal: terminal(device),
            leads_session: fields.get(3)?.parse() == Ok(pid),
            in_foreground: fields.get(2)? == fields.get(5)?,
            has_locked_memory: value(files.status, "VmLck:").is_some_and(|text| text != "0 kB"),
            used_ticks: number(11)? + number(12)?,
            nice: fields.get(16)?.parse().ok()?,
            threads: number(17)?,
            start_ticks: number(19)?,
            virtual_bytes: number(20)?,
            resident_pages: number(21)?,
            uptime: files.uptime.split_whitespace().next()?.parse().ok()?,
            total_memory: value(files.memory, "MemTotal:")?.trim_end_matches(" kB").parse::<u64>().ok()?
                * 1024,
        })
    }

    /// Tenths of a percent of one processor over the process's life.
    pub(super) fn cpu(&self) -> u64 {
        let lived = (self.uptime - self.start_ticks as f64 / TICKS as f64) as u64;
        (self.used_ticks * 1000 / TICKS).checked_div(lived).unwrap_or(0)
    }

    /// Tenths of a percent.
    pub(super) fn memory(&self) -> u64 {
        self.resident_pages * 4096 * 1000 / self.total_memory.max(1)
    }

    pub(super) fn state_flags(&self) -> String {
        let flags = [
            (self.nice < 0, '<'),
            (self.nice > 0, 'N'),
            (self.has_locked_memory, 'L'),
            (self.leads_session, 's'),
            (self.threads > 1, 'l'),
            (self.in_foreground, '+'),
        ];
        let set = flags.iter().filter(|(set, _)| *set).map(|(_, letter)| *letter);
        [self.state].into_iter().chain(set).collect()
    }

    /// The hour of today, else the day of this year, else the year.
    pub(super) fn start(&self) -> String {
        let ago = (self.uptime - self.start_ticks as f64 / TICKS as f64).max(0.0) as i64;
        let now = Timestamp::now();
        let Ok(started) = Timestamp::from_second(now.as_second() - ago) else { return "?".into() };
        let [now, started] = [now, started].map(|moment| moment.to_zoned(TimeZone::system()));
        let form = match started.date() {
            day if day == now.date() => "%H:%M",
            day if day.year() == now.date().year() => "%b%d",
            _ => "%Y",
        };
        started.strftime(form).to_string()
    }
}

/// What stands behind this title, which begins a line.
fn value<'a>(text: &'a str, title: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(title)).map(str::trim)
}

/// What would end a line, or do something to a terminal, is not shown.
fn shown(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

/// Names of the host: `ps` would print them, too.
fn user(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    spec::user_name(uid, &passwd).unwrap_or_else(|| uid.to_string())
}

/// tty_nr of proc_pid_stat(5).
fn terminal(device: i64) -> String {
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
    match major {
        0 => "?".into(),
        136..=143 => format!("pts/{}", minor + (major - 136) * 256),
        4 => format!("tty{minor}"),
        _ => format!("{major}:{minor}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::columns::Column;
    use super::*;

    const STAT: &str = "7 (a) b (c) S 1 7 7 34816 7 0 0 0 0 0 150 50 0 0 20 0 3 0 1000 4096000 250 0";

    fn parse(stat: &str, command: &[u8], locked: &str) -> Process {
        let status = format!("Name:\ta\nUid:\t0\t4000000\t0\t0\nGid:\t0\t8\t0\t0\nVmLck:\t{locked:>8} kB\n");
        let (uptime, memory) = ("100.0 0", "MemTotal:  1024 kB\n");
        Process::parse(7, &Files { stat, status: &status, command, uptime, memory }).unwrap()
    }

    #[test]
    fn a_name_may_look_like_anything() {
        let process = parse(STAT, b"sh\0-c\0a\nb\0", "0");
        assert_eq!((process.name.as_str(), process.parent, process.threads), ("a) b (c", 1, 3));
        assert_eq!(process.command, "sh -c a?b");
        assert_eq!(process.terminal, "pts/0");
        assert_eq!((process.user.as_str(), process.real_user.as_str()), ("4000000", "root"));
        assert_eq!((process.uid, process.gid), (4_000_000, 8));
        assert_eq!(Column::Time.of(&process), "00:00:02");
        assert_eq!(Column::Cpu.of(&process), "2.2");
        assert_eq!(
            (Column::State.of(&process), Column::StateFlags.of(&process)),
            ("S".into(), "Ssl+".into())
        );
    }

    #[test]
    fn what_else_a_process_is_has_letters() {
        let background = STAT.replace("34816 7", "0 -1").replace("20 0 3", "20 5 1");
        assert_eq!(parse(&background, b"", "4").state_flags(), "SNLs");
        let ended = parse(&STAT.replace(" S 1", " Z 1"), b"", "0");
        assert_eq!(
            (ended.command.as_str(), ended.name.as_str()),
            ("[a) b (c] <defunct>", "a) b (c <defunct>")
        );
    }

    #[test]
    fn this_process_is_readable() {
        let own = Process::read(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.resident_pages > 0);
    }
}
