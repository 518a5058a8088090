//! A container's log: where it goes, and reading it.
//!
//! ```text
//!   create ─▶ validate      driver and options, as far as Docker looks at them then
//!   start  ─▶ describe      all of it, names looked up; the shim does the rest
//!   logs   ─▶ serve         by the shim while it runs, from here afterwards
//! ```
//!
//! `json-file` and `local` are read where they were written. A driver that sends elsewhere has a cache beside, which
//! `docker logs` reads (Docker's dual logging); with `cache-disabled`, and under `none`, there is nothing to read.

mod address;
mod file;
mod fluentd;
mod functions;
mod gelf;
mod journald;
mod options;
mod subject;
mod syslog;

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use api::container::LogConfig;
use shim::chunks;
use shim::log::query::Progress;
use shim::log::{Format, Output};
use shim::protocol::{Attachment, Collector, Endpoint, Log, LogDriver, LogQuery, Remote, Tls};

use super::record::Record;
use super::refusals;
use crate::Engine;
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::ticket::{Preface, Ticket, What};
use options::{Options, Read, Units};
use subject::Subject;

const NOT_READABLE: &str = "configured logging driver does not support reading";

/// Docker's drivers that this engine does not have; other names could be a plugin's.
const UNSUPPORTED: &[&str] = &["awslogs", "etwlogs", "gcplogs", "splunk"];

/// Options of any driver.
const COMMON: &[&str] =
    &["mode", "max-buffer-size", "cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"];

/// What may wait for a collector in non-blocking mode.
const DEFAULT_BUFFER: u64 = 1 << 20;

/// What is rendered before it is written to a client.
const PIECE: usize = 64 << 10;

/// A driver of Docker's that this engine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    JsonFile,
    Local,
    None,
    Journald,
    Syslog,
    Gelf,
    Fluentd,
}

/// What the host has for logs.
#[derive(Clone, Copy)]
struct Host<'a> {
    name: &'a str,
    /// The program that speaks TLS.
    tls: &'a Path,
}

/// What a driver that sends is told at start.
struct Told {
    collector: Collector,
    endpoints: Vec<Endpoint>,
    tls: Option<Tls>,
}

impl Engine {
    /// The client gets the log, and live lines if the query follows and the container runs.
    pub async fn container_logs(&self, wanted: &str, mut query: LogQuery) -> Result<Ticket> {
        let container = self.container(wanted)?;
        let record = container.record();
        if !query.stdout && !query.stderr {
            return Err(Error::invalid("must specify at least one of 'stdout' or 'stderr'"));
        }
        let Some((path, _)) = kept(self.paths(), &record) else {
            return Err(Error::not_implemented(NOT_READABLE));
        };
        if !record.state.is_running() && !path.exists() {
            // A driver that could not begin has kept nothing: better to say why.
            let record = record.clone();
            self.blocking(move |engine| options_of(engine, &record).map(drop).map_err(Error::system)).await?;
        }
        query.multiplexed = !record.config.tty;
        Ok(Ticket { engine: self.clone(), container, what: What::Logs(query) })
    }
}

/// The names of the drivers, as `info` lists them.
pub(crate) fn drivers() -> Vec<String> {
    ["fluentd", "gelf", "journald", "json-file", "local", "syslog"].map(str::to_owned).to_vec()
}

/// The file that a container's log is kept in, and its format.
pub(super) fn kept(paths: &Paths, record: &Record) -> Option<(PathBuf, Format)> {
    let id = record.id.as_str();
    let config = &record.host.log_config;
    match Driver::named(&config.kind).ok()? {
        Driver::JsonFile => Some((paths.log(id), Format::Json)),
        Driver::Local => Some((paths.local_log(id), Format::Local)),
        Driver::None => None,
        _ => {
            let cache = file::cache(config.config.as_ref()?).ok().flatten();
            cache.map(|_| (paths.cached_log(id), Format::Local))
        }
    }
}

/// What `inspect` shows as the log's path: Docker tells json-file's only.
pub(super) fn shown_path(paths: &Paths, record: &Record) -> Option<PathBuf> {
    let is_json = Driver::named(&record.host.log_config.kind).is_ok_and(|driver| driver == Driver::JsonFile);
    is_json.then(|| paths.log(record.id.as_str()))
}

/// Sends the log of a container that does not run.
pub(super) async fn serve(
    engine: &Engine,
    record: &Record,
    query: LogQuery,
    preface: Preface,
    socket: OwnedFd,
) -> Result<()> {
    let kept = kept(engine.paths(), record);
    let (preface, chunked) = preface.choose(true);
    let query = LogQuery { chunked, ..query };
    engine
        .blocking(move |_| {
            let mut client = File::from(socket);
            linux::fd::set_nonblocking(&client, false)
                .map_err(|error| Error::failed("cannot send a log", error))?;
            client.write_all(&preface).map_err(|error| Error::failed("cannot send a log", error))?;
            copy(kept, query, &client)
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
    let kept = kept(engine.paths(), record);
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
                copy(kept, query, &client)?;
            }
            Ok(client.into())
        })
        .await
}

/// Nothing will be added to the log: following would only wait.
fn copy(kept: Option<(PathBuf, Format)>, query: LogQuery, mut client: &File) -> Result<()> {
    let failed = |error| Error::failed("cannot send a log", error);
    let chunked = query.chunked;
    if let Some((path, format)) = kept.filter(|(path, _)| path.exists()) {
        let query = LogQuery { follow: false, ..query };
        let mut output = Output::open(&path, format, query, 0).map_err(failed)?;
        let mut piece = Vec::with_capacity(PIECE);
        let mut progress = Progress::More;
        while progress == Progress::More {
            piece.clear();
            progress = output.fill(&mut piece, PIECE, 0).map_err(failed)?;
            if chunked {
                chunks::frame(&mut piece, 0);
            }
            client.write_all(&piece).map_err(failed)?;
        }
    }
    client.write_all(if chunked { chunks::END } else { b"" }).map_err(failed)
}

/// Checks what Docker checks when a container is made, and of the engine's own defaults: the rest is found out at start.
pub fn validate(kind: &str, options: &BTreeMap<String, String>) -> Result<()> {
    check(kind, options).map_err(Error::invalid)
}

fn check(kind: &str, options: &Options) -> Read<()> {
    if kind == "none" {
        return Ok(());
    }
    let mode = options.get("mode").map_or("", String::as_str);
    if !matches!(mode, "" | "blocking" | "non-blocking") {
        return Err(format!("logger: logging mode not supported: {mode}"));
    }
    if let Some(size) = options.get("max-buffer-size") {
        if mode != "non-blocking" {
            return Err("logger: max-buffer-size option is only supported with 'mode=non-blocking'".into());
        }
        options::size(size, Units::Binary)
            .map_err(|error| format!("error parsing option max-buffer-size: {error}"))?;
    }
    file::cache(options)?;
    let driver = Driver::named(kind)?;
    let own = driver.options();
    let unknown = options.keys().find(|key| !COMMON.contains(&key.as_str()) && !own.contains(&key.as_str()));
    if let Some(key) = unknown {
        return Err(match driver {
            Driver::Local => format!("unknown log opt '{key}' for log driver local"),
            Driver::Gelf => format!("unknown log opt {key:?} for gelf log driver"),
            _ => format!("unknown log opt '{key}' for {kind} log driver"),
        });
    }
    match driver {
        Driver::Syslog => syslog::check(options),
        Driver::Gelf => gelf::check(options),
        Driver::Fluentd => fluentd::check(options),
        Driver::JsonFile | Driver::Local | Driver::None | Driver::Journald => Ok(()),
    }
}

/// What a container's driver is told by its options.
fn options_of(engine: &Engine, record: &Record) -> Read<Log> {
    let host = Host { name: &engine.shared().host.hostname, tls: &engine.config().tls };
    read(engine.paths(), host, record)
}

/// What the shim needs, when the container starts.
pub(super) fn describe(engine: &Engine, record: &Record) -> Result<Log> {
    let log = options_of(engine, record).map_err(|error| Error::system(refusals::no_logging(error)))?;
    if let (LogDriver::Local, Some(directory)) = (log.driver, log.path.parent()) {
        let made = DirBuilder::new().mode(0o700).recursive(true).create(directory);
        made.map_err(|error| Error::failed(format!("cannot make {}", directory.display()), error))?;
    }
    Ok(log)
}

fn read(paths: &Paths, host: Host<'_>, record: &Record) -> Read<Log> {
    let config: &LogConfig = &record.host.log_config;
    let none = Options::new();
    let options = config.config.as_ref().unwrap_or(&none);
    let driver = Driver::named(&config.kind)?;
    let (path, format) = match kept(paths, record) {
        Some((path, format)) => (path, Some(format)),
        None => (PathBuf::new(), None),
    };
    let subject = Subject { record, host, log_path: path.to_string_lossy().into_owned(), options };
    let (rotation, attributes, told) = match driver {
        Driver::None => (None, BTreeMap::new(), None),
        Driver::JsonFile => (Some(file::json_file(options)?), json_attributes(&subject)?, None),
        Driver::Local => (Some(file::local(options)?), BTreeMap::new(), None),
        Driver::Journald => (file::cache(options)?, BTreeMap::new(), Some(journald::describe(&subject)?)),
        Driver::Syslog => (file::cache(options)?, BTreeMap::new(), Some(syslog::describe(&subject)?)),
        Driver::Gelf => (file::cache(options)?, BTreeMap::new(), Some(gelf::describe(&subject)?)),
        Driver::Fluentd => (file::cache(options)?, BTreeMap::new(), Some(fluentd::describe(&subject)?)),
    };
    let rotation = rotation.unwrap_or(file::Rotation { max_size: None, max_files: 1, compress: false });
    let buffer = buffer(options)?;
    Ok(Log {
        driver: match format {
            None => LogDriver::None,
            Some(Format::Json) => LogDriver::JsonFile,
            Some(Format::Local) => LogDriver::Local,
        },
        path,
        max_size: rotation.max_size,
        max_files: rotation.max_files,
        compress: rotation.compress,
        attributes,
        remote: told
            .map(|Told { collector, endpoints, tls }| Box::new(Remote { collector, endpoints, tls, buffer })),
    })
}

/// A json-file tells its tag only where one was asked for.
fn json_attributes(subject: &Subject<'_>) -> Read<BTreeMap<String, String>> {
    let mut attributes = subject.attributes(str::to_owned)?;
    let tag = subject.tag("")?;
    if !tag.is_empty() {
        attributes.insert("tag".into(), tag);
    }
    Ok(attributes)
}

/// How much may wait for a collector before it is dropped; `None`: the container waits. Files need no such thing:
/// writing them waits for nobody.
fn buffer(options: &Options) -> Read<Option<u64>> {
    if options.get("mode").is_none_or(|mode| mode != "non-blocking") {
        return Ok(None);
    }
    let size =
        options.get("max-buffer-size").map_or(Ok(DEFAULT_BUFFER), |size| options::size(size, Units::Binary));
    size.map(Some)
}

impl Driver {
    fn named(name: &str) -> Read<Driver> {
        Ok(match name {
            "" | "json-file" => Driver::JsonFile,
            "local" => Driver::Local,
            "none" => Driver::None,
            "journald" => Driver::Journald,
            "syslog" => Driver::Syslog,
            "gelf" => Driver::Gelf,
            "fluentd" => Driver::Fluentd,
            other if UNSUPPORTED.contains(&other) => {
                return Err(format!("logger: no log driver named '{other}' is registered"));
            }
            // Not found is what clients take for a missing image, so it is no such error.
            other => {
                return Err(format!("error looking up logging plugin {other}: plugin {other:?} not found"));
            }
        })
    }

    /// Its own, beside those that all have.
    fn options(self) -> &'static [&'static str] {
        match self {
            Driver::JsonFile => file::JSON_FILE,
            Driver::Local => file::LOCAL,
            Driver::None => &[],
            Driver::Journald => journald::OPTIONS,
            Driver::Syslog => syslog::OPTIONS,
            Driver::Gelf => gelf::OPTIONS,
            Driver::Fluentd => fluentd::OPTIONS,
        }
    }
}

/// Docker's sizes: a number with an optional unit, powers of 1024.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    options::size(text.trim(), Units::Binary).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::record::tests::record;

    fn options(options: &[(&str, &str)]) -> Options {
        options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn described(kind: &str, given: &[(&str, &str)]) -> Read<Log> {
        let mut record = record("web");
        record.host.log_config = LogConfig { kind: kind.into(), config: Some(options(given)) };
        let paths = Paths::new("/data", "/run");
        read(&paths, Host { name: "box", tls: Path::new("/wharf-tls") }, &record)
    }

    #[test]
    fn what_is_not_known_is_refused_in_dockers_words() {
        let refused = |kind: &str, given: &[(&str, &str)]| check(kind, &options(given)).unwrap_err();
        assert_eq!(refused("json-file", &[("x", "1")]), "unknown log opt 'x' for json-file log driver");
        assert_eq!(refused("local", &[("tag", "1")]), "unknown log opt 'tag' for log driver local");
        assert_eq!(refused("json-file", &[("mode", "odd")]), "logger: logging mode not supported: odd");
        assert_eq!(
            refused("json-file", &[("max-buffer-size", "4k")]),
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'"
        );
        assert_eq!(
            refused("json-file", &[("max-buffer-size", "zz"), ("mode", "non-blocking")]),
            "error parsing option max-buffer-size: invalid size: 'zz'"
        );
        assert_eq!(
            refused("nonesuch", &[]),
            "error looking up logging plugin nonesuch: plugin \"nonesuch\" not found"
        );
        assert_eq!(refused("splunk", &[]), "logger: no log driver named 'splunk' is registered");
        check("none", &options(&[("x", "1")])).unwrap();
        // Docker finds out about these at start.
        check("json-file", &options(&[("max-size", "zz"), ("tag", "{{")])).unwrap();
    }

    #[test]
    fn what_is_sent_is_kept_as_well_unless_told_otherwise() {
        let address = ("syslog-address", "udp://127.0.0.1:5");
        let log = described("syslog", &[address]).unwrap();
        assert!(log.path.ends_with("container-cached.log") && log.driver == LogDriver::Local);
        let remote = log.remote.unwrap();
        assert_eq!(remote.endpoints, [Endpoint::Udp("127.0.0.1:5".parse().unwrap())]);
        assert_eq!(remote.buffer, None);
        let lossy = [address, ("cache-disabled", "1"), ("mode", "non-blocking"), ("max-buffer-size", "4k")];
        let log = described("syslog", &lossy).unwrap();
        assert_eq!((log.driver, log.remote.unwrap().buffer), (LogDriver::None, Some(4096)));
    }

    #[test]
    fn what_goes_through_tls_is_told_whom_to_believe() {
        let tls = |given: &[(&str, &str)]| {
            let address = ("syslog-address", "tcp+tls://127.0.0.1:5");
            let given = [&[address], given].concat();
            let remote = described("syslog", &given).unwrap().remote.unwrap();
            assert_eq!(remote.endpoints, [Endpoint::Tcp("127.0.0.1:5".parse().unwrap())]);
            let Collector::Syslog(told) = remote.collector else { panic!("it is a syslog") };
            (remote.tls.unwrap(), told.counted)
        };
        let plain = Tls {
            program: "/wharf-tls".into(),
            server: "127.0.0.1".into(),
            authority: None,
            certificate: None,
            key: None,
            verify: true,
        };
        assert_eq!(tls(&[]), (plain.clone(), false));
        let files = [("syslog-tls-ca-cert", "/ca"), ("syslog-tls-cert", "/c"), ("syslog-tls-key", "/k")];
        let with = Tls {
            authority: Some("/ca".into()),
            certificate: Some("/c".into()),
            key: Some("/k".into()),
            ..plain.clone()
        };
        assert_eq!(tls(&files), (with, false));
        // Whatever it says, as in Docker.
        let skip = [("syslog-tls-skip-verify", "false"), ("syslog-format", "rfc5424")];
        assert_eq!(tls(&skip), (Tls { verify: false, ..plain.clone() }, true));
        let remote = described("fluentd", &[("fluentd-address", "tls://127.0.0.1")]).unwrap().remote.unwrap();
        assert_eq!(remote.tls, Some(plain));
        // Without TLS, the files do not matter.
        let remote =
            described("syslog", &[("syslog-address", "tcp://127.0.0.1:5"), files[0]]).unwrap().remote;
        assert_eq!(remote.unwrap().tls, None);
    }

    #[test]
    fn files_are_where_docker_has_them() {
        assert!(described("json-file", &[]).unwrap().path.to_string_lossy().ends_with("-json.log"));
        assert!(described("local", &[]).unwrap().path.ends_with("local-logs/container.log"));
        assert_eq!(described("none", &[]).unwrap().driver, LogDriver::None);
        let log = described("json-file", &[("tag", "{{.Name}}")]).unwrap();
        assert_eq!(log.attributes.get("tag").map(String::as_str), Some("web"));
        assert!(described("json-file", &[]).unwrap().attributes.is_empty());
    }
}
