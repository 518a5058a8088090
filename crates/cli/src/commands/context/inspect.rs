//! `context inspect`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Context, DEFAULT, Store};
use crate::commands::inspect::{FORMAT, show};
use crate::failure::{Failure, Outcome};
use crate::flags::{self, Count, Parsed};
use crate::format::escaped;
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["context inspect"],
    &["[OPTIONS] [CONTEXT] [CONTEXT...]"],
    "Show all that is known about contexts",
    Count::AtLeast(0),
    flags,
    run,
)
.names(Names::Contexts);

fn flags() -> Vec<clap::Arg> {
    vec![flags::text("format", "string", FORMAT).short('f')]
}

/// The members in Docker's order.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    #[serde(flatten)]
    context: &'a Context,
    #[serde(rename = "TLSMaterial")]
    tls_material: BTreeMap<&'static str, Vec<String>>,
    storage: Storage,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Storage {
    metadata_path: String,
    #[serde(rename = "TLSPath")]
    tls_path: String,
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let names = match parsed.arguments() {
        [] => vec![session.context()?],
        names => names.to_vec(),
    };
    show(parsed.text("format"), "context.contextWithTLSListing", &names, |name| {
        let document = if name == DEFAULT { default(session)? } else { stored(session, name)? };
        Ok(escaped(&document).into_bytes())
    })
}

fn default(session: &Session) -> Result<String, Failure> {
    let place = || "<IN MEMORY>".to_owned();
    let storage = Storage { metadata_path: place(), tls_path: place() };
    text(&Document { context: &super::export::default(session)?, tls_material: BTreeMap::new(), storage })
}

fn stored(session: &Session, name: &str) -> Result<String, Failure> {
    let store = Store::new(session);
    let context = store.load(name)?;
    let certificates = store.certificates(name)?;
    let files: Vec<String> = certificates.into_iter().map(|(file, _)| file.to_owned()).collect();
    let tls_material = if files.is_empty() { BTreeMap::new() } else { BTreeMap::from([("docker", files)]) };
    let storage = Storage {
        metadata_path: store.meta(name).display().to_string(),
        tls_path: store.tls(name).display().to_string(),
    };
    text(&Document { context: &context, tls_material, storage })
}

fn text(document: &Document<'_>) -> Result<String, Failure> {
    serde_json::to_string(document).map_err(|error| Failure::new(error.to_string()))
}
