//! Where errors, warnings and the steps of a start are told.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::process::ExitCode;

use runtime::{Error, Result};

#[derive(Debug)]
pub(crate) struct Log {
    file: Option<File>,
    json: bool,
    debug: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Error,
    Warning,
    Debug,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Debug => "debug",
        }
    }
}

/// What a command answers, on standard output. Who reads it may stop early, as `head` does: that ends us as it ends the
/// other programs there.
pub(crate) fn answer(text: impl Display) -> Result<()> {
    /// As of a program that SIGPIPE ended.
    const STOPPED: i32 = 128 + 13;
    let mut out = std::io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(STOPPED),
        other => other.map_err(|error| Error::of_file("write", "standard output", &error)),
    }
}

/// The same of a document, over several lines.
pub(crate) fn answer_with(document: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(document).map_err(Error::other)?;
    answer(format_args!("{text}\n"))
}

impl Log {
    /// Standard error only.
    pub(crate) fn plain() -> Log {
        Log { file: None, json: false, debug: false }
    }

    pub(crate) fn open(path: Option<&str>, format: Option<&str>, debug: bool) -> Result<Log> {
        let json = match format {
            None | Some("" | "text") => false,
            Some("json") => true,
            Some(other) => return Err(Error::invalid(format_args!("invalid log-format: {other}"))),
        };
        let open = |path: &str| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.map_err(|error| Error::of_file("open", path, &error))
        };
        let file = path.filter(|path| !path.is_empty()).map(open).transpose()?;
        Ok(Log { file, json, debug })
    }

    /// Tells of an error, and gives the status to exit with.
    pub(crate) fn report(self, error: &Error, status: u8) -> ExitCode {
        self.tell(Level::Error, error);
        if self.file.is_some() {
            // Whoever reads the log reads standard error as well.
            let _closed = writeln!(std::io::stderr(), "{error}");
        }
        ExitCode::from(status)
    }

    /// Something is not as it was asked for, and the command goes on.
    pub(crate) fn warn(&self, message: impl Display) {
        self.tell(Level::Warning, message);
    }

    /// A step, told where `--debug` asks for it.
    pub(crate) fn debug(&self, message: impl Display) {
        if self.debug {
            self.tell(Level::Debug, message);
        }
    }

    fn tell(&self, level: Level, message: impl Display) {
        let message = message.to_string();
        let line = if self.json { json_line(level, &message) } else { text_line(level, &message) };
        let _log_is_full = match &self.file {
            Some(file) => writeln!(&*file, "{line}"),
            None => writeln!(std::io::stderr(), "{line}"),
        };
    }
}

fn json_line(level: Level, message: &str) -> String {
    serde_json::json!({ "level": level.name(), "msg": message, "time": whole_seconds() }).to_string()
}

fn text_line(level: Level, message: &str) -> String {
    format!("time=\"{}\" level={} msg={message:?}", whole_seconds(), level.name())
}

/// RFC 3339, UTC, with nanoseconds.
pub(crate) fn now() -> String {
    moment::format(linux::ambient::wall_clock())
}

fn whole_seconds() -> String {
    let now = now();
    let whole = now.split_once('.').map_or(now.as_str(), |(whole, _)| whole);
    format!("{whole}Z")
}
