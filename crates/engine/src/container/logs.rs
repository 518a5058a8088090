//! A container's log: where it is written, and reading it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use api::container::LogConfig;
use shim::log::query::Progress;
use shim::log::{Format, Output};
use shim::protocol::{Attachment, Log, LogDriver, LogQuery};

use super::record::Record;
use crate::Engine;
use crate::error::{Error, Result};
use crate::ticket::{Ticket, What};

/// Docker finds out about these options at start only.
const NOT_SET_UP: &str = "failed to create task for container: failed to initialize logging driver";

/// Docker's drivers that this engine does not have; other names could be a plugin's.
const UNSUPPORTED: &[&str] =
    &["awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "journald", "local", "splunk", "syslog"];

/// What is rendered before it is written to a client.
const PIECE: usize = 64 << 10;

impl Engine {
    /// The client gets the log, and live lines if the query follows and the container runs.
    pub async fn container_logs(&self, wanted: &str, mut query: LogQuery) -> Result<Ticket> {
        let container = self.container(wanted)?;
        let record = container.record();
        if !query.stdout && !query.stderr {
            return Err(Error::invalid("must specify at least one of 'stdout' or 'stderr'"));
        }
        if record.host.log_config.kind == "none" {
            return Err(Error::not_implemented("configured logging driver does not support reading"));
        }
        query.multiplexed = !record.config.tty;
        Ok(Ticket { engine: self.clone(), container, what: What::Logs(query) })
    }
}

/// Sends the log of a container that does not run.
pub(super) async fn serve(
    engine: &Engine,
    record: &Record,
    query: LogQuery,
    preface: Vec<u8>,
    socket: OwnedFd,
) -> Result<()> {
    let path = engine.paths().log(record.id.as_str());
    engine
        .blocking(move |_| {
            let mut client = File::from(socket);
            linux::fd::set_nonblocking(&client, false)
                .map_err(|error| Error::failed("cannot send a log", error))?;
            client.write_all(&preface).map_err(|error| Error::failed("cannot send a log", error))?;
            copy(&path, query, &client)
        })
        .await
}

/// Sends the log to a client that attaches to a container that does not run. What is left of the attachment is what
/// comes after the log.
pub(super) async fn replay(
    engine: &Engine,
    record: &Record,
    attachment: &mut Attachment,
    socket: OwnedFd,
) -> Result<OwnedFd> {
    let path = engine.paths().log(record.id.as_str());
    let head = std::mem::take(&mut attachment.preface);
    let query = LogQuery {
        stdout: attachment.stdout,
        stderr: attachment.stderr,
        multiplexed: attachment.multiplexed,
        ..LogQuery::default()
    };
    let wanted = std::mem::take(&mut attachment.replay);
    engine
        .blocking(move |_| {
            let client = File::from(crate::ticket::greet(socket, &head)?);
            if wanted {
                copy(&path, query, &client)?;
            }
            Ok(client.into())
        })
        .await
}

/// Nothing will be added to the log: following would only wait.
fn copy(path: &Path, query: LogQuery, mut client: &File) -> Result<()> {
    let failed = |error| Error::failed("cannot send a log", error);
    if !path.exists() {
        return Ok(());
    }
    let mut output =
        Output::open(path, Format::Json, LogQuery { follow: false, ..query }, 0).map_err(failed)?;
    let mut piece = Vec::with_capacity(PIECE);
    loop {
        piece.clear();
        let progress = output.fill(&mut piece, PIECE, 0).map_err(failed)?;
        client.write_all(&piece).map_err(failed)?;
        if progress != Progress::More {
            return Ok(());
        }
    }
}

/// Checks the driver and its options and turns them into what the shim needs.
pub(super) fn describe(config: &LogConfig, record: &Record, path: PathBuf) -> Result<Log> {
    let options = config.config.clone().unwrap_or_default();
    let driver = match config.kind.as_str() {
        "" | "json-file" => LogDriver::JsonFile,
        "none" => LogDriver::None,
        other if UNSUPPORTED.contains(&other) => {
            return Err(Error::invalid(format!("logger: no log driver named '{other}' is registered")));
        }
        other => {
            // Not found is what clients take for a missing image.
            return Err(Error::invalid(format!(
                "error looking up logging plugin {other}: plugin {other:?} not found"
            )));
        }
    };
    let mut log = Log {
        driver,
        path,
        max_size: None,
        max_files: 1,
        compress: false,
        attributes: BTreeMap::new(),
        remote: None,
    };
    if driver == LogDriver::None {
        return Ok(log);
    }
    for (key, value) in &options {
        apply(&mut log, record, key, value)?;
    }
    if log.compress && (log.max_files < 2 || log.max_size.is_none()) {
        return Err(Error::invalid(
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ));
    }
    Ok(log)
}

fn apply(log: &mut Log, record: &Record, key: &str, value: &str) -> Result<()> {
    let bad = || Error::invalid(format!("invalid value {value:?} for log opt '{key}'"));
    match key {
        "max-size" if value == "-1" => log.max_size = None,
        "max-size" => {
            let invalid = || Error::invalid(format!("{NOT_SET_UP}: invalid size: '{value}'"));
            log.max_size = Some(bytes(value).filter(|size| *size > 0).ok_or_else(invalid)?);
        }
        "max-file" => {
            log.max_files = value
                .parse()
                .ok()
                .filter(|count| *count > 0)
                .ok_or_else(|| Error::invalid(format!("{NOT_SET_UP}: max-file cannot be less than 1")))?;
        }
        "compress" => log.compress = value.parse().map_err(|_| bad())?,
        "labels" => {
            let labels = record.config.labels.clone().unwrap_or_default();
            log.attributes.extend(chosen(value, |key| labels.get(key).cloned()));
        }
        "env" => {
            let env: BTreeMap<&str, &str> =
                record.config.env.iter().flatten().filter_map(|entry| entry.split_once('=')).collect();
            log.attributes.extend(chosen(value, |key| env.get(key).map(|value| (*value).to_owned())));
        }
        "tag" => {
            log.attributes.insert("tag".into(), tag(value, record)?);
        }
        "mode" if value.is_empty() || value == "blocking" => {}
        "mode" if value != "non-blocking" => {
            return Err(Error::invalid(format!("logger: logging mode not supported: {value}")));
        }
        "mode" | "max-buffer-size" | "labels-regex" | "env-regex" => {
            return Err(Error::invalid(format!(
                "log opt '{key}={value}' is not supported by the json-file log driver"
            )));
        }
        _ => return Err(Error::invalid(format!("unknown log opt '{key}' for json-file log driver"))),
    }
    Ok(())
}

fn chosen(keys: &str, value: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    keys.split(',').filter_map(|key| Some((key.trim().to_owned(), value(key.trim())?))).collect()
}

/// `{{.Name}}` and its siblings; other template forms are refused.
fn tag(template: &str, record: &Record) -> Result<String> {
    let id = record.id.as_str();
    let image = record.image.strip_prefix("sha256:").unwrap_or(&record.image);
    let mut text = template.to_owned();
    for (word, value) in [
        ("{{.ID}}", &id[..12]),
        ("{{.FullID}}", id),
        ("{{.Name}}", record.name.as_str()),
        ("{{.ImageID}}", image.get(..12).unwrap_or(image)),
        ("{{.ImageFullID}}", record.image.as_str()),
        ("{{.ImageName}}", record.config.image.as_str()),
        ("{{.DaemonName}}", "docker"),
    ] {
        text = text.replace(word, value);
    }
    if text.contains("{{") {
        return Err(Error::invalid(format!(
            "log tag template {template:?} is not supported: it may use ID, FullID, Name, ImageID, ImageFullID, ImageName and DaemonName"
        )));
    }
    Ok(text)
}

/// Docker's sizes: a number with an optional unit, powers of 1024.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let lower = lower.strip_suffix('i').unwrap_or(lower);
    let (digits, shift) = match lower.as_bytes().last()? {
        b'k' => (&lower[..lower.len() - 1], 10),
        b'm' => (&lower[..lower.len() - 1], 20),
        b'g' => (&lower[..lower.len() - 1], 30),
        b't' => (&lower[..lower.len() - 1], 40),
        _ => (lower, 0),
    };
    let number: f64 = digits.parse().ok()?;
    let bytes = number * (1u64 << shift) as f64;
    (bytes.is_finite() && (0.0..9e18).contains(&bytes)).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::record::tests::record;

    fn described(options: &[(&str, &str)]) -> Result<Log> {
        let config = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut record = record("web");
        record.config.labels = Some(BTreeMap::from([("a".into(), "1".into())]));
        record.config.env = Some(vec!["E=x".into()]);
        describe(&LogConfig { kind: "json-file".into(), config: Some(config) }, &record, "/log".into())
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(bytes("10m"), Some(10 << 20));
        assert_eq!(bytes("1.5kb"), Some(1536));
        assert_eq!(bytes("2GiB"), Some(2 << 30));
        assert_eq!(bytes("7"), Some(7));
        assert_eq!(bytes("ten"), None);
        assert_eq!(bytes(""), None);
    }

    #[test]
    fn rotation_needs_a_size() {
        let log = described(&[("max-size", "1k"), ("max-file", "3"), ("compress", "true")]).unwrap();
        assert_eq!((log.max_size, log.max_files, log.compress), (Some(1024), 3, true));
        assert_eq!(described(&[("max-file", "3")]).unwrap().max_size, None);
        assert!(described(&[("compress", "true")]).is_err());
    }

    #[test]
    fn attributes_come_from_labels_environment_and_tag() {
        let log = described(&[("labels", "a,b"), ("env", "E"), ("tag", "{{.Name}}")]).unwrap();
        let expected = [("E", "x"), ("a", "1"), ("tag", "web")];
        assert!(log.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(expected));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert_eq!(
            described(&[("x", "1")]).unwrap_err().message(),
            "unknown log opt 'x' for json-file log driver"
        );
        assert!(described(&[("tag", "{{range .}}")]).is_err());
    }
}
