//! `context create`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;

use client::Host;

use super::{Context, DEFAULT, Endpoint, Metadata, Store, check_name};
use crate::failure::{Failure, Outcome, doing};
use crate::flags::{Count, Parsed, text};
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
        text("docker", "stringToString", "The engine (host=…,ca=…,cert=…,key=…)"),
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
    let mut settings = BTreeMap::new();
    for field in csv(parsed.text("docker")).map_err(Failure::new)?.iter().filter(|field| !field.is_empty()) {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| Failure::new(format!("{field} must be formatted as key=value")))?;
        settings.insert(key.to_owned(), value.to_owned());
    }
    let from = settings.remove("from").or_else(|| parsed.given("from").map(str::to_owned));
    let (host, mut certificates, mut skip) = match from {
        Some(from) if from != DEFAULT => copy(&store, &from)?,
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
    let context = Context {
        name: name.to_owned(),
        metadata: Metadata { description: parsed.text("description").to_owned(), ..Metadata::default() },
        endpoints: BTreeMap::from([("docker".to_owned(), Endpoint { host, skip_tls_verify: skip })]),
        ..Context::default()
    };
    store.save(&context, &certificates)?;
    writeln!(std::io::stdout(), "{name}")?;
    writeln!(std::io::stderr(), "Successfully created context \"{name}\"")?;
    Ok(0)
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
