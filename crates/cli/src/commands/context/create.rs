//! `context create`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;

use client::Host;

use super::{Context, DEFAULT, Endpoint, Metadata, Store, check_name};
use crate::failure::{Failure, Outcome, doing};
use crate::flags::{Count, Parsed, text, typed};
use crate::session::Session;
use crate::tree::Spec;
use crate::values::csv;

pub(crate) const SPEC: Spec =
    Spec::new(&["context create"], &["[OPTIONS] CONTEXT"], "Give an engine a name", Count::Exactly(1), flags, run).details(
        "Give an engine a name\n\nThe engine is described with --docker:\n\nfrom             Context to copy the engine from\nhost             Address of the engine\nca               Certificate of the authority that the engine's must come from\ncert             Certificate to show to the engine\nkey              Key of the certificate\nskip-tls-verify  Do not check who the engine is",
    );

fn flags() -> Vec<clap::Arg> {
    vec![
        text("description", "string", "What it is"),
        typed("docker", "stringToString", check_settings, "The engine (host=…,ca=…,cert=…,key=…)"),
        text("from", "string", "Context to copy"),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let store = Store::new(session);
    let name = parsed.first();
    check_name(name)?;
    if store.exists(name) {
        return Err(Failure::new(format!("context {name:?} already exists")));
    }
    let mut settings = settings(parsed);
    if let Some(from) = parsed.given("from") {
        settings.entry("from".to_owned()).or_insert_with(|| from.to_owned());
    }
    let description = parsed.text("description").to_owned();
    let described = Described::read(session, &store, settings)?;
    store.save(&described.context(name, description), &described.certificates)?;
    writeln!(std::io::stdout(), "{name}")?;
    writeln!(std::io::stderr(), "Successfully created context \"{name}\"")?;
    Ok(0)
}

/// The value of `--docker`: `key=value,…`.
pub(super) fn check_settings(text: &str) -> Result<String, String> {
    for field in csv(text)? {
        if !field.is_empty() && !field.contains('=') {
            return Err(format!("{field} must be formatted as key=value"));
        }
    }
    Ok(text.to_owned())
}

pub(super) fn settings(parsed: &Parsed) -> BTreeMap<String, String> {
    let fields = csv(parsed.text("docker")).unwrap_or_default();
    let pairs = fields.iter().filter_map(|field| field.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// An engine as flags describe it.
pub(super) struct Described {
    endpoint: Endpoint,
    pub(super) certificates: Vec<(&'static str, Vec<u8>)>,
}

impl Described {
    pub(super) fn read(
        session: &Session,
        store: &Store,
        mut settings: BTreeMap<String, String>,
    ) -> Result<Described, Failure> {
        let (host, mut certificates, mut skip) = match settings.remove("from") {
            Some(from) if from != DEFAULT => copy(store, &from)?,
            Some(_) => (session.host()?, Vec::new(), false),
            None => (String::new(), Vec::new(), false),
        };
        let host = settings.remove("host").unwrap_or(host);
        if host.is_empty() {
            return Err(Failure::new("docker endpoint configuration is required"));
        }
        for (key, file) in [("ca", "ca.pem"), ("cert", "cert.pem"), ("key", "key.pem")] {
            if let Some(path) = settings.remove(key) {
                certificates.push((file, fs::read(&path).map_err(doing("open", &path))?));
            }
        }
        if let Some(value) = settings.remove("skip-tls-verify") {
            skip = value == "true" || value == "1";
        }
        if let Some(key) = settings.keys().next() {
            return Err(Failure::new(format!(
                "unable to create docker endpoint config: unrecognized config key: {key}"
            )));
        }
        Host::parse(&host, !certificates.is_empty())?;
        Ok(Described { endpoint: Endpoint { host, skip_tls_verify: skip }, certificates })
    }

    pub(super) fn context(&self, name: &str, description: String) -> Context {
        Context {
            name: name.to_owned(),
            metadata: Metadata { description, ..Metadata::default() },
            endpoints: BTreeMap::from([("docker".to_owned(), self.endpoint.clone())]),
            ..Context::default()
        }
    }
}

type Copied = (String, Vec<(&'static str, Vec<u8>)>, bool);

fn copy(store: &Store, from: &str) -> Result<Copied, Failure> {
    let reached = store.load(from)?.endpoint()?;
    let mut certificates = Vec::new();
    let skip = reached.tls.as_ref().is_some_and(|tls| !tls.verify);
    if let Some(tls) = reached.tls {
        let identity = tls.identity.map(|(cert, key)| [("cert.pem", cert), ("key.pem", key)]);
        let files =
            tls.authority.map(|path| ("ca.pem", path)).into_iter().chain(identity.into_iter().flatten());
        for (name, path) in files {
            certificates.push((name, fs::read(&path).map_err(doing("open", path.display()))?));
        }
    }
    Ok((reached.host, certificates, skip))
}
