//! Where errors, warnings and the steps of a start are told.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

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
            eprintln!("{error}");
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

/// RFC 3339, UTC.
pub(crate) fn now() -> String {
    rfc3339(SystemTime::now())
}

fn whole_seconds() -> String {
    let now = now();
    let whole = now.split_once('.').map_or(now.as_str(), |(whole, _)| whole);
    format!("{whole}Z")
}

pub(crate) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days as i64);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z", since.subsec_nanos())
}

/// The date of a day counted from 1970-01-01, by the proleptic Gregorian calendar: years start in March, so that
/// the leap day is the last.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_as_people_write_them() {
        let at = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(at(4_107_542_399), "2100-02-28T23:59:59.000000000Z");
    }
}
