//! What a command has at hand: the global flags, the configuration, the engine.
//!
//! All of it is looked up when it is first needed. The engine's address comes from, in this order:
//! `--context`, `-H`, `WHARF_HOST` or `DOCKER_HOST`, `DOCKER_CONTEXT`, the current context of the
//! configuration, and the default socket. Only on the default socket is an engine started by
//! itself: an address that somebody chose is theirs to serve.

use std::cell::OnceCell;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Arg;
use client::{Certificates, Client, Host, Options};

use crate::autostart;
use crate::commands::context::{self, Reached};
use crate::config::Config;
use crate::failure::{Failure, doing};
use crate::flags::{Parsed, list, switch, text};
use crate::values::csv;

/// Where an engine of this host listens.
pub(crate) const DEFAULT_SOCKET: &str = "/run/wharf.sock";
/// The release of Docker whose command line this is.
pub(crate) const RELEASE: &str = api::version::ENGINE;

pub(crate) fn global_flags() -> Vec<Arg> {
    vec![
        text("config", "string", "Directory of the client's configuration files"),
        text(
            "context",
            "string",
            "Context whose engine to talk to (instead of DOCKER_HOST and the current context)",
        )
        .short('c'),
        switch("debug", "Say more about what goes wrong").short('D'),
        list("host", "list", "Socket of the engine to talk to").short('H'),
        text("log-level", "string", "How much to log: \"debug\", \"info\", \"warn\", \"error\" or \"fatal\"")
            .short('l')
            .default_value("info"),
        switch("tls", "Talk TLS; --tlsverify implies it"),
        text("tlscacert", "string", "Certificate of the authority that the server's must come from"),
        text("tlscert", "string", "Certificate to show to the server"),
        text("tlskey", "string", "Key of the certificate to show"),
        switch("tlsverify", "Talk TLS and check who the server is"),
        switch("version", "Print the version and quit").short('v'),
    ]
}

/// The global flags, read.
pub(crate) struct Globals {
    config: Option<PathBuf>,
    context: Option<String>,
    host: Option<String>,
    debug: bool,
    tls: Option<bool>,
    tls_verify: Option<bool>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Globals {
    pub(crate) fn read(parsed: &Parsed) -> Result<Globals, Failure> {
        let path = |name: &str| parsed.given(name).map(PathBuf::from);
        let switch = |name: &str| parsed.changed(name).then(|| parsed.on(name));
        let mut hosts = parsed.list("host");
        let context = parsed.given("context").filter(|name| !name.is_empty()).map(str::to_owned);
        if context.is_some() && !hosts.is_empty() {
            return Err(Failure::new("conflicting options: cannot specify both --host and --context"));
        }
        let level = parsed.text("log-level").to_lowercase();
        if !matches!(
            level.as_str(),
            "panic" | "fatal" | "error" | "warn" | "warning" | "info" | "debug" | "trace"
        ) {
            return Err(Failure::new(format!("Unable to parse logging level: {}", parsed.text("log-level"))));
        }
        Ok(Globals {
            config: path("config"),
            context,
            host: hosts.pop(),
            debug: parsed.on("debug"),
            tls: switch("tls"),
            tls_verify: switch("tlsverify"),
            ca: path("tlscacert"),
            cert: path("tlscert"),
            key: path("tlskey"),
        })
    }
}

pub(crate) struct Session {
    /// The name this program was called by.
    pub(crate) program: &'static str,
    globals: Globals,
    config: OnceCell<Config>,
    client: OnceCell<Client>,
}

/// An engine's address and why it was chosen.
struct Chosen {
    host: String,
    tls: Option<Certificates>,
    /// Nobody chose: an engine may be started here.
    default: bool,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Session {
    pub(crate) fn new(program: &'static str, globals: Globals) -> Session {
        Session { program, globals, config: OnceCell::new(), client: OnceCell::new() }
    }

    pub(crate) fn debug(&self) -> bool {
        self.globals.debug
    }

    /// The configuration directory; it need not exist.
    pub(crate) fn config_directory(&self) -> PathBuf {
        if let Some(path) = &self.globals.config {
            return path.clone();
        }
        match variable("DOCKER_CONFIG") {
            Some(path) => PathBuf::from(path),
            None => PathBuf::from(variable("HOME").unwrap_or_else(|| "/root".to_owned())).join(".docker"),
        }
    }

    pub(crate) fn config(&self) -> Result<&Config, Failure> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let (config, complaint) = Config::load(&self.config_directory().join("config.json"));
        if let Some(complaint) = complaint {
            writeln!(std::io::stderr(), "WARNING: {complaint}")?;
        }
        Ok(self.config.get_or_init(|| config))
    }

    /// The name of the context in force.
    pub(crate) fn context(&self) -> Result<String, Failure> {
        if let Some(name) = &self.globals.context {
            return Ok(name.clone());
        }
        if self.globals.host.is_some() || host_variable().is_some() {
            return Ok(context::DEFAULT.to_owned());
        }
        if let Some(name) = variable("DOCKER_CONTEXT") {
            return Ok(name);
        }
        let current = self.config()?.text("currentContext");
        Ok(if current.is_empty() { context::DEFAULT.to_owned() } else { current })
    }

    /// The engine's address, for those who show it.
    pub(crate) fn host(&self) -> Result<String, Failure> {
        Ok(self.choose()?.host)
    }

    /// The engine. It is started when nobody listens on the default socket.
    pub(crate) fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = self.connect(true)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Another client for another thread or a second connection.
    pub(crate) fn another_client(&self) -> Result<Client, Failure> {
        let client = self.connect(false)?;
        client.adopt_version(&self.client()?.version()?.to_string())?;
        Ok(client)
    }

    /// The engine if it runs, for those who only help with typing.
    pub(crate) fn quiet_client(&self) -> Option<Client> {
        self.connect(false).ok()
    }

    fn connect(&self, start: bool) -> Result<Client, Failure> {
        let chosen = self.choose()?;
        let host = Host::parse(&chosen.host, chosen.tls.is_some()).map_err(|error| match error {
            client::Error::Address(why) if why.starts_with("ssh ") => {
                Failure::new(format!("Failed to initialize: {why}"))
            }
            error => unresolved(error),
        })?;
        let connection = if start && chosen.default { autostart::ensure(&host)? } else { None };
        let options = Options {
            host,
            tls: chosen.tls,
            version: variable("DOCKER_API_VERSION"),
            headers: self.headers()?,
            user_agent: format!("Docker-Client/{RELEASE} (linux)"),
        };
        let client = Client::new(options)?;
        if let Some(connection) = connection {
            client.adopt_connection(connection);
        }
        Ok(client)
    }

    /// Those of the environment stand in place of the configuration's.
    fn headers(&self) -> Result<Vec<(String, String)>, Failure> {
        let mut headers = match variable("DOCKER_CUSTOM_HEADERS") {
            Some(text) => custom_headers(&text)?,
            None => self.config()?.headers(),
        };
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case("user-agent"));
        match headers.iter().find(|(name, _)| !name.bytes().all(is_of_a_token)) {
            Some((name, _)) => Err(Failure::new(format!("net/http: invalid header field name {name:?}"))),
            None => Ok(headers),
        }
    }

    fn choose(&self) -> Result<Chosen, Failure> {
        let name = self.context()?;
        if name != context::DEFAULT {
            let context = context::Store::new(self).load(&name).map_err(unresolved)?;
            let Reached { mut host, tls } = context.endpoint()?;
            if host.is_empty() {
                host = format!("unix://{DEFAULT_SOCKET}");
            }
            return Ok(Chosen { host, tls, default: false });
        }
        self.choose_default()
    }

    /// The engine of the context `default`, whichever is in force.
    pub(crate) fn default_engine(&self) -> Result<Reached, Failure> {
        let Chosen { host, tls, .. } = self.choose_default()?;
        Ok(Reached { host, tls })
    }

    fn choose_default(&self) -> Result<Chosen, Failure> {
        let explicit = self.globals.host.clone().or_else(host_variable);
        let default = explicit.is_none();
        let host = explicit.unwrap_or_else(|| format!("unix://{DEFAULT_SOCKET}"));
        Ok(Chosen { host, tls: self.certificates()?, default })
    }

    /// Certificates by flags, `DOCKER_TLS_VERIFY`, `DOCKER_TLS` and `DOCKER_CERT_PATH`.
    fn certificates(&self) -> Result<Option<Certificates>, Failure> {
        let globals = &self.globals;
        let verify = globals.tls_verify.unwrap_or_else(|| variable("DOCKER_TLS_VERIFY").is_some());
        let tls = globals.tls.unwrap_or_else(|| variable("DOCKER_TLS").is_some());
        if !verify && !tls {
            return Ok(None);
        }
        let directory = variable("DOCKER_CERT_PATH").map_or_else(|| self.config_directory(), PathBuf::from);
        let file = |given: &Option<PathBuf>, name: &str| match given {
            Some(path) => Some(path.clone()),
            None => Some(directory.join(name)).filter(|path| path.exists()),
        };
        let identity = file(&globals.cert, "cert.pem").zip(file(&globals.key, "key.pem"));
        let authority = globals.ca.clone().unwrap_or_else(|| directory.join("ca.pem"));
        if let Err(error) = std::fs::metadata(&authority) {
            return Err(unresolved(doing("open", authority.display())(error).message));
        }
        Ok(Some(Certificates { authority: Some(authority), identity, verify }))
    }
}

/// `name=value,"name=a,b"`; of several with one name the last counts.
fn custom_headers(text: &str) -> Result<Vec<(String, String)>, Failure> {
    let bad = |act: &str, why: &str| {
        let what = "custom headers from DOCKER_CUSTOM_HEADERS environment variable";
        Failure::new(format!("Failed to initialize: failed to {act} {what}: {why}"))
    };
    let fields =
        csv(text).map_err(|_| bad("parse", "value must be formatted as comma-separated key=value pairs"))?;
    let mut headers: Vec<(String, String)> = Vec::new();
    for pair in fields {
        let (name, value) = pair.split_once('=').unwrap_or((&pair, ""));
        let name = name.trim();
        if name.is_empty() {
            return Err(bad("set", &format!("value contains a key=value pair with an empty key: '{pair}'")));
        }
        if !pair.contains('=') {
            return Err(bad("set", &format!("missing \"=\" in key=value pair: '{pair}'")));
        }
        headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        headers.push((name.to_owned(), value.to_owned()));
    }
    Ok(headers)
}

/// RFC 9110, 5.6.2.
fn is_of_a_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn unresolved(why: impl std::fmt::Display) -> Failure {
    Failure::new(format!("Failed to initialize: unable to resolve docker endpoint: {why}"))
}

fn host_variable() -> Option<String> {
    variable("WHARF_HOST").or_else(|| variable("DOCKER_HOST"))
}
