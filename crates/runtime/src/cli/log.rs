//! Where errors go.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use runtime::{Error, Result};

#[derive(Debug)]
pub(crate) struct Log {
    file: Option<File>,
    json: bool,
}

impl Log {
    /// Standard error only.
    pub(crate) fn plain() -> Log {
        Log { file: None, json: false }
    }

    pub(crate) fn open(path: Option<&str>, format: Option<&str>, _debug: bool) -> Result<Log> {
        let json = match format {
            None | Some("" | "text") => false,
            Some("json") => true,
            Some(other) => return Err(Error::invalid(format_args!("invalid log-format: {other}"))),
        };
        let open = |path: &str| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.map_err(|error| Error::other(format_args!("open {path}: {error}")))
        };
        let file = path.filter(|path| !path.is_empty()).map(open).transpose()?;
        Ok(Log { file, json })
    }

    /// Tells of an error, and gives the status to exit with.
    pub(crate) fn report(mut self, error: &Error, status: u8) -> ExitCode {
        let line = if self.json { json_line(error) } else { text_line(error) };
        match &mut self.file {
            Some(file) => {
                // Whoever reads the log reads standard error as well.
                let _log_is_full = writeln!(file, "{line}");
                eprintln!("{error}");
            }
            None => eprintln!("{line}"),
        }
        ExitCode::from(status)
    }
}

fn json_line(error: &Error) -> String {
    serde_json::json!({ "level": "error", "msg": error.to_string(), "time": now() }).to_string()
}

fn text_line(error: &Error) -> String {
    format!("time=\"{}\" level=error msg={:?}", now(), error.to_string())
}

/// RFC 3339, UTC, whole seconds.
pub(crate) fn now() -> String {
    rfc3339(SystemTime::now())
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
