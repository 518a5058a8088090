//! Columns of ps(1) that `/proc` answers exactly.

use super::process::{Process, TICKS};

/// A column and the title that ps(1) writes above it, which depends on the name it was asked for by.
pub(super) type Titled = (Column, &'static str);

/// What a name of a user is cut to where another column follows.
const USER_WIDTH: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    User,
    /// Whom it was started as, which a program with the set-user-ID bit does not change.
    RealUser,
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
    /// Minutes and seconds, as in BSD.
    Minutes,
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
            "ruser" => (Column::RealUser, "RUSER"),
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
            "start_time" => (Column::Start, "START"),
            "time" | "cputime" => (Column::Time, "TIME"),
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

    pub(super) fn of(self, process: &Process) -> String {
        match self {
            Column::User => process.user.clone(),
            Column::RealUser => process.real_user.clone(),
            Column::Pid => process.pid.to_string(),
            Column::Parent => process.parent.to_string(),
            Column::Cpu => tenths(process.cpu()),
            Column::CpuWhole => (process.cpu() / 10).min(99).to_string(),
            Column::Memory => tenths(process.memory().min(999)),
            Column::Virtual => (process.virtual_bytes / 1024).to_string(),
            Column::Resident => (process.resident_pages * 4).to_string(),
            Column::Terminal => process.terminal.clone(),
            Column::State => process.state.to_string(),
            Column::StateFlags => process.state_flags(),
            Column::Start => process.start(),
            Column::Time => time(process.used_ticks / TICKS),
            Column::Minutes => minutes(process.used_ticks / TICKS),
            Column::Command => process.command.clone(),
            Column::Name => process.name.clone(),
            Column::Uid => process.uid.to_string(),
            Column::Gid => process.gid.to_string(),
            Column::Nice => process.nice.to_string(),
            Column::Threads => process.threads.to_string(),
        }
    }

    /// The same in its width, since another column follows.
    pub(super) fn narrow(self, process: &Process) -> String {
        let text = self.of(process);
        match self {
            Column::User | Column::RealUser if text.chars().count() > USER_WIDTH => {
                text.chars().take(USER_WIDTH - 1).chain(['+']).collect()
            }
            _ => text,
        }
    }
}

/// What `-ef` shows.
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
    (Column::Minutes, "TIME"),
    (Column::Command, "COMMAND"),
];

/// The columns of a form that is known in full; any other is ps(1)'s own business.
pub(super) fn of(arguments: &str) -> Option<Vec<Titled>> {
    let list = match arguments.split_once(' ') {
        None => match arguments {
            "-ef" => return Some(FULL.to_vec()),
            "aux" => return Some(BY_USER.to_vec()),
            word => word.strip_prefix("-eo").or_else(|| word.strip_prefix("-o"))?,
        },
        Some(("-o" | "-eo", list)) => list,
        Some(_) => return None,
    };
    list.split(',').map(Column::parse).collect()
}

/// Tenths of a percent. There is no room for them in what is large.
fn tenths(share: u64) -> String {
    if share > 999 { (share / 10).to_string() } else { format!("{}.{}", share / 10, share % 10) }
}

fn time(seconds: u64) -> String {
    let days = seconds / 86400;
    let ahead = if days > 0 { format!("{days}-") } else { String::new() };
    format!("{ahead}{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

fn minutes(seconds: u64) -> String {
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_that_are_known_in_full() {
        let titles = |arguments: &str| {
            of(arguments).map(|columns| columns.iter().map(|(_, title)| *title).collect::<Vec<_>>().join(" "))
        };
        let is = |arguments: &str, text: &str| assert_eq!(titles(arguments).as_deref(), Some(text));
        is("-ef", "UID PID PPID C STIME TTY TIME CMD");
        is("aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND");
        is("-o pid,comm,args,cmd", "PID COMMAND COMMAND CMD");
        is("-eo user,pid,%cpu", "USER PID %CPU");
        is("-opid", "PID");
        let others = [
            "-e",
            "auxww",
            "-A -o pid",
            "-o pid --sort=rss",
            "-o pid=X",
            "-o PID",
            "-o pid,",
            "-eLf",
            "aux ",
        ];
        assert!(others.iter().all(|arguments| of(arguments).is_none()));
    }

    #[test]
    fn amounts_are_written_as_ps_does() {
        assert_eq!((tenths(7), tenths(999), tenths(1234)), ("0.7".into(), "99.9".into(), "123".into()));
        assert_eq!((time(3723), time(90_061)), ("01:02:03".into(), "1-01:01:01".into()));
        assert_eq!((minutes(3), minutes(6001)), ("0:03".into(), "100:01".into()));
    }
}
