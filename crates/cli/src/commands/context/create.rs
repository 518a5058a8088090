//! `context create`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use client::{Certificates, Client, Host, Options};

use super::{Context, DEFAULT, DEFAULT_DESCRIPTION, Endpoint, Reached, Store, check_name};
use crate::failure::{Failure, Outcome, doing};
use crate::flags::{Count, Parsed, parse_bool, text, typed};
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
    let from = match parsed.given("from") {
        Some(from) => Some(from.to_owned()),
        None if parsed.changed("docker") => None,
        // Of the one in force there can be one more.
        None => Some(session.context()?),
    };
    let (mut context, certificates) = match from {
        Some(from) => copy(session, &store, &from)?,
        None => {
            let described = Described::read(session, &store, settings(parsed))?;
            let endpoints = BTreeMap::from([("docker".to_owned(), described.endpoint)]);
            (Context { endpoints, ..Context::default() }, described.certificates)
        }
    };
    name.clone_into(&mut context.name);
    if !parsed.text("description").is_empty() {
        parsed.text("description").clone_into(&mut context.metadata.description);
    }
    store.save(&context, &certificates)?;
    writeln!(std::io::stdout(), "{name}")?;
    writeln!(std::io::stderr(), "Successfully created context \"{name}\"")?;
    Ok(0)
}

/// The value of `--docker`: `key=value,…`.
pub(super) fn check_settings(text: &str) -> Result<String, String> {
    if let Some(field) = csv(text)?.iter().find(|field| !field.contains('=')) {
        return Err(format!("{field} must be formatted as key=value"));
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
    pub(super) endpoint: Endpoint,
    pub(super) certificates: Vec<(&'static str, Vec<u8>)>,
}

impl Described {
    pub(super) fn read(
        session: &Session,
        store: &Store,
        mut settings: BTreeMap<String, String>,
    ) -> Result<Described, Failure> {
        if let Some(from) = settings.remove("from") {
            let (context, certificates) = copy(session, store, &from).map_err(misfit)?;
            let endpoint = context.endpoints.get("docker").cloned().unwrap_or_default();
            return Ok(Described { endpoint, certificates });
        }
        let host = settings.remove("host").unwrap_or_default();
        let [authority, certificate, key] =
            ["ca", "cert", "key"].map(|name| settings.remove(name).map(PathBuf::from));
        let skip_tls_verify = match settings.remove("skip-tls-verify") {
            Some(value) => parse_bool(&value)
                .map_err(|_| misfit(format!("skip-tls-verify: parsing {value:?}: invalid syntax")))?,
            None => false,
        };
        if let Some(key) = settings.keys().next() {
            return Err(misfit(format!("unrecognized config key: {key}")));
        }
        let mut certificates = Vec::new();
        for (path, file) in [(&authority, "ca.pem"), (&certificate, "cert.pem"), (&key, "key.pem")] {
            if let Some(path) = path {
                let bytes = fs::read(path).map_err(doing("open", path.display()));
                certificates.push((file, bytes.map_err(|failure| misfit(failure.message))?));
            }
        }
        let reached = Reached {
            host: host.clone(),
            tls: (!certificates.is_empty()).then_some(Certificates {
                authority,
                identity: certificate.zip(key),
                verify: !skip_tls_verify,
            }),
        };
        // Without a host it is the one of this machine.
        if !host.is_empty() {
            check(reached)?;
        }
        Ok(Described { endpoint: Endpoint { host, skip_tls_verify }, certificates })
    }
}

fn misfit(why: impl std::fmt::Display) -> Failure {
    Failure::new(format!("unable to create docker endpoint config: {why}"))
}

/// Whether an engine could be reached like this, if it were there.
fn check(reached: Reached) -> Result<(), Failure> {
    let Reached { host, tls } = reached;
    if !host.contains("://") {
        return Err(misfit(format!(
            "unable to apply docker endpoint options: unable to parse docker host `{host}`"
        )));
    }
    let host = Host::parse(&host, tls.is_some())?;
    let options = Options { host, tls, version: None, headers: Vec::new(), user_agent: String::new() };
    Client::new(options).map(drop).map_err(|error| match error {
        client::Error::Certificates(why) => misfit(format!("invalid docker endpoint options: {why}")),
        error => error.into(),
    })
}

/// A context, and what must be written beside another one like it.
type Copied = (Context, Vec<(&'static str, Vec<u8>)>);

fn copy(session: &Session, store: &Store, from: &str) -> Result<Copied, Failure> {
    if from != DEFAULT {
        return Ok((store.load(from)?, store.certificates(from)?));
    }
    let mut context = super::export::default(session)?;
    DEFAULT_DESCRIPTION.clone_into(&mut context.metadata.description);
    let Some(tls) = session.default_engine()?.tls else { return Ok((context, Vec::new())) };
    let (certificate, key) = tls.identity.unzip();
    let mut certificates = Vec::new();
    for (path, file) in [(tls.authority, "ca.pem"), (certificate, "cert.pem"), (key, "key.pem")] {
        if let Some(path) = path {
            certificates.push((file, fs::read(&path).map_err(doing("open", path.display()))?));
        }
    }
    Ok((context, certificates))
}
