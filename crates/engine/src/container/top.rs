//! The processes of a container, as `ps` would show them. There is no `ps`: `/proc` has it all.

use std::fs;
use std::os::unix::fs::MetadataExt;

use api::container::Top;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::life;
use super::record::Record;
use crate::error::{Error, Result};
use crate::{Engine, spec};

/// Ticks of a second in `/proc/<pid>/stat`; the same on every architecture we run on.
const TICKS: u64 = 100;

impl Engine {
    /// `arguments` as for ps(1): `-ef` (also the default), `aux`, or `-o` with columns.
    pub async fn container_top(&self, wanted: &str, arguments: &str) -> Result<Top> {
        let record = self.container(wanted)?.record();
        life::admit_process(&record)?;
        let columns = columns(arguments)?;
        self.blocking(move |engine| {
            engine.container_event(&record, "top", &[]);
            let mut processes = Vec::new();
            for pid in pids(engine, &record)? {
                // One that ended while we looked is not listed.
                if let Some(process) = Process::read(pid) {
                    processes.push(columns.iter().map(|(column, _)| column.of(&process)).collect());
                }
            }
            Ok(Top { titles: columns.iter().map(|(_, title)| (*title).to_owned()).collect(), processes })
        })
        .await
    }
}

/// The container's processes, on the host.
fn pids(engine: &Engine, record: &Record) -> Result<Vec<i32>> {
    let mut pids = super::stats::cgroup(engine, record)?
        .pids()
        .map_err(|error| Error::failed("cannot list the processes of a container", error))?;
    pids.sort_unstable();
    Ok(pids)
}

/// A column and the title that ps(1) writes above it, which depends on the name it was asked for by.
type Titled = (Column, &'static str);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    User,
    Pid,
    Parent,
    Cpu,
    /// The same share, in the whole percents of `-f`.
    CpuWhole,
    Memory,
    Virtual,
    Resident,
    Terminal,
    State,
    /// With ps(1)'s letters for what else the process is.
    StateFlags,
    Start,
    Time,
    Command,
    Name,
    Uid,
    Gid,
    Nice,
    Threads,
}

impl Column {
    fn parse(name: &str) -> Option<Titled> {
        Some(match name {
            "user" | "uname" => (Column::User, "USER"),
            "euser" => (Column::User, "EUSER"),
            "ruser" => (Column::User, "RUSER"),
            "pid" => (Column::Pid, "PID"),
            "tgid" => (Column::Pid, "TGID"),
            "ppid" => (Column::Parent, "PPID"),
            "c" => (Column::CpuWhole, "C"),
            "%cpu" | "pcpu" => (Column::Cpu, "%CPU"),
            "%mem" | "pmem" => (Column::Memory, "%MEM"),
            "vsz" | "vsize" => (Column::Virtual, "VSZ"),
            "rss" | "rssize" => (Column::Resident, "RSS"),
            "tty" | "tt" => (Column::Terminal, "TT"),
            "tname" => (Column::Terminal, "TTY"),
            "stat" => (Column::StateFlags, "STAT"),
            "state" | "s" => (Column::State, "S"),
            "stime" => (Column::Start, "STIME"),
            "start" => (Column::Start, "STARTED"),
            "start_time" | "bsdstart" => (Column::Start, "START"),
            "time" | "cputime" | "bsdtime" => (Column::Time, "TIME"),
            "cmd" => (Column::Command, "CMD"),
            "args" | "command" => (Column::Command, "COMMAND"),
            "comm" | "ucomm" => (Column::Name, "COMMAND"),
            "ucmd" => (Column::Name, "CMD"),
            "uid" => (Column::Uid, "UID"),
            "euid" => (Column::Uid, "EUID"),
            "gid" => (Column::Gid, "GID"),
            "egid" => (Column::Gid, "EGID"),
            "ni" | "nice" => (Column::Nice, "NI"),
            "nlwp" => (Column::Threads, "NLWP"),
            "thcount" => (Column::Threads, "THCNT"),
            _ => return None,
        })
    }

    fn of(self, process: &Process) -> String {
        match self {
            Column::User => process.user.clone(),
            Column::Pid => process.pid.to_string(),
            Column::Parent => process.parent.to_string(),
            Column::Cpu => format!("{:.1}", process.cpu()),
            Column::CpuWhole => format!("{}", process.cpu() as u64),
            Column::Memory => format!("{:.1}", process.memory()),
            Column::Virtual => (process.virtual_bytes / 1024).to_string(),
            Column::Resident => (process.resident_pages * 4).to_string(),
            Column::Terminal => process.terminal.clone(),
            Column::State => process.state.to_string(),
            Column::StateFlags => process.state_flags(),
            Column::Start => process.start(),
            Column::Time => time(process.used_ticks / TICKS),
            Column::Command => process.command.clone(),
            Column::Name => process.name.clone(),
            Column::Uid => process.uid.to_string(),
            Column::Gid => process.gid.to_string(),
            Column::Nice => process.nice.to_string(),
            Column::Threads => process.threads.to_string(),
        }
    }
}

/// What `-f` shows.
const FULL: [Titled; 8] = [
    (Column::User, "UID"),
    (Column::Pid, "PID"),
    (Column::Parent, "PPID"),
    (Column::CpuWhole, "C"),
    (Column::Start, "STIME"),
    (Column::Terminal, "TTY"),
    (Column::Time, "TIME"),
    (Column::Command, "CMD"),
];

/// What `aux` shows.
const BY_USER: [Titled; 11] = [
    (Column::User, "USER"),
    (Column::Pid, "PID"),
    (Column::Cpu, "%CPU"),
    (Column::Memory, "%MEM"),
    (Column::Virtual, "VSZ"),
    (Column::Resident, "RSS"),
    (Column::Terminal, "TTY"),
    (Column::StateFlags, "STAT"),
    (Column::Start, "START"),
    (Column::Time, "TIME"),
    (Column::Command, "COMMAND"),
];

/// What `-e` shows.
const SHORT: [Titled; 4] =
    [(Column::Pid, "PID"), (Column::Terminal, "TTY"), (Column::Time, "TIME"), (Column::Name, "CMD")];

/// Reads ps(1)'s arguments. What is not understood is refused, since another list would be shown than was asked for.
fn columns(arguments: &str) -> Result<Vec<Titled>> {
    let refuse = || {
        Error::invalid(format!(
            "ps arguments {arguments:?} are not supported: use -ef, aux, or -o with columns"
        ))
    };
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let mut chosen = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let list = match *word {
            "-ef" | "-fe" | "-eF" | "-f" => {
                chosen.extend(FULL);
                continue;
            }
            "aux" | "-aux" | "axu" | "u" => {
                chosen.extend(BY_USER);
                continue;
            }
            "-e" | "-A" | "ax" | "-ax" => {
                chosen.extend(SHORT);
                continue;
            }
            "-o" | "-eo" | "o" | "--format" => rest.next().copied().ok_or_else(refuse)?,
            word => word
                .strip_prefix("--format=")
                .or_else(|| word.strip_prefix("-o"))
                .or_else(|| word.strip_prefix("-eo"))
                .ok_or_else(refuse)?,
        };
        for name in list.split(',').filter(|name| !name.is_empty()) {
            chosen.push(Column::parse(&name.to_ascii_lowercase()).ok_or_else(refuse)?);
        }
    }
    if words.is_empty() {
        chosen.extend(FULL);
    }
    if !chosen.iter().any(|(_, title)| *title == "PID") {
        return Err(Error::system("Couldn't find PID field in ps output"));
    }
    Ok(chosen)
}

/// What `/proc` says of one process.
struct Process {
    pid: i32,
    parent: i32,
    state: char,
    name: String,
    command: String,
    user: String,
    uid: u32,
    gid: u32,
    terminal: String,
    leads_session: bool,
    /// Its terminal's keys send signals to it.
    in_foreground: bool,
    used_ticks: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
    nice: i64,
    threads: u64,
    uptime: f64,
    total_memory: u64,
}

impl Process {
    fn read(pid: i32) -> Option<Process> {
        let directory = format!("/proc/{pid}");
        let stat = fs::read_to_string(format!("{directory}/stat")).ok()?;
        let owner = fs::metadata(&directory).ok()?;
        let command = fs::read(format!("{directory}/cmdline")).ok()?;
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let memory = fs::read_to_string("/proc/meminfo").ok()?;
        Process::parse(pid, &stat, &command, (owner.uid(), owner.gid()), &uptime, &memory)
    }

    /// proc_pid_stat(5): the name stands in parentheses and may contain anything, parentheses included.
    fn parse(
        pid: i32,
        stat: &str,
        command: &[u8],
        owner: (u32, u32),
        uptime: &str,
        memory: &str,
    ) -> Option<Process> {
        let (before, after) = stat.split_at(stat.rfind(')')?);
        let name = before.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = after[1..].split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let words: Vec<_> = command
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty())
            .map(String::from_utf8_lossy)
            .collect();
        let device: i64 = fields.get(4)?.parse().ok()?;
        Some(Process {
            pid,
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            // The kernel's own processes have no arguments.
            command: if words.is_empty() { format!("[{name}]") } else { words.join(" ") },
            name,
            user: user(owner.0),
            uid: owner.0,
            gid: owner.1,
            terminal: terminal(device),
            leads_session: fields.get(3)?.parse() == Ok(pid),
            in_foreground: fields.get(2)? == fields.get(5)?,
            used_ticks: number(11)? + number(12)?,
            nice: fields.get(16)?.parse().ok()?,
            threads: number(17)?,
            start_ticks: number(19)?,
            virtual_bytes: number(20)?,
            resident_pages: number(21)?,
            uptime: uptime.split_whitespace().next()?.parse().ok()?,
            total_memory: memory
                .lines()
                .find_map(|line| line.strip_prefix("MemTotal:"))?
                .trim()
                .trim_end_matches(" kB")
                .parse::<u64>()
                .ok()?
                * 1024,
        })
    }

    /// Percent of one processor over the process's life.
    fn cpu(&self) -> f64 {
        let lived = self.uptime - self.start_ticks as f64 / TICKS as f64;
        if lived > 0.0 { self.used_ticks as f64 / TICKS as f64 / lived * 100.0 } else { 0.0 }
    }

    fn memory(&self) -> f64 {
        (self.resident_pages * 4096) as f64 / self.total_memory.max(1) as f64 * 100.0
    }

    fn state_flags(&self) -> String {
        let flags = [
            (self.nice < 0, '<'),
            (self.nice > 0, 'N'),
            (self.leads_session, 's'),
            (self.threads > 1, 'l'),
            (self.in_foreground, '+'),
        ];
        let set = flags.iter().filter(|(set, _)| *set).map(|(_, letter)| *letter);
        [self.state].into_iter().chain(set).collect()
    }

    /// The hour of today, else the day.
    fn start(&self) -> String {
        let ago = (self.uptime - self.start_ticks as f64 / TICKS as f64).max(0.0) as i64;
        let now = Timestamp::now();
        let Ok(started) = Timestamp::from_second(now.as_second() - ago) else { return "?".into() };
        let form = if ago < 24 * 3600 { "%H:%M" } else { "%b%d" };
        started.to_zoned(TimeZone::system()).strftime(form).to_string()
    }
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

fn time(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_ps() {
        let titles = |arguments: &str| {
            columns(arguments).unwrap().iter().map(|(_, title)| *title).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(titles(""), "UID PID PPID C STIME TTY TIME CMD");
        assert_eq!(titles("-ef"), titles(""));
        assert_eq!(titles("-e"), "PID TTY TIME CMD");
        assert_eq!(titles("aux"), "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND");
        assert_eq!(titles("-o pid,comm,args,cmd"), "PID COMMAND COMMAND CMD");
        assert_eq!(titles("-eo user,pid,%cpu"), "USER PID %CPU");
        assert_eq!(columns("-o comm").unwrap_err().message(), "Couldn't find PID field in ps output");
        assert!(columns("--sort=rss").is_err());
    }

    #[test]
    fn a_name_may_look_like_anything() {
        let stat = "7 (a) b (c) S 1 7 7 34816 7 0 0 0 0 0 150 50 0 0 20 0 3 0 1000 4096000 250 0";
        let process =
            Process::parse(7, stat, b"sh\0-c\0", (0, 0), "100.0 0", "MemTotal:  1024 kB\n").unwrap();
        assert_eq!((process.name.as_str(), process.parent, process.threads), ("a) b (c", 1, 3));
        assert_eq!(process.command, "sh -c");
        assert_eq!(process.terminal, "pts/0");
        assert_eq!(Column::Time.of(&process), "00:00:02");
        assert_eq!(Column::Cpu.of(&process), "2.2");
        assert_eq!(
            (Column::State.of(&process), Column::StateFlags.of(&process)),
            ("S".into(), "Ssl+".into())
        );
        let background = stat.replace("34816 7", "0 -1").replace("20 0 3", "20 5 1");
        let process = Process::parse(7, &background, b"", (0, 0), "100.0 0", "MemTotal:  1024 kB\n").unwrap();
        assert_eq!(Column::StateFlags.of(&process), "SNs");
    }

    #[test]
    fn this_process_is_readable() {
        let own = Process::read(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.resident_pages > 0);
    }
}
