//! `context inspect`.

use serde_json::{Value, json};

use super::{DEFAULT, Store};
use crate::commands::inspect::{FORMAT, show};
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, text};
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
    vec![text("format", "string", FORMAT).short('f')]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let names = match parsed.arguments() {
        [] => vec![session.context()?],
        names => names.to_vec(),
    };
    show(parsed.text("format"), &names, |name| {
        let document = if name == DEFAULT { default(session)? } else { stored(session, name)? };
        Ok(document.to_string().into_bytes())
    })
}

fn default(session: &Session) -> Result<Value, Failure> {
    Ok(json!({
        "Name": DEFAULT,
        "Metadata": {},
        "Endpoints": { "docker": { "Host": session.host()?, "SkipTLSVerify": false } },
        "TLSMaterial": {},
        "Storage": { "MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>" },
    }))
}

fn stored(session: &Session, name: &str) -> Result<Value, Failure> {
    let store = Store::new(session);
    let context = store.load(name)?;
    let mut document = serde_json::to_value(&context).map_err(|error| Failure::new(error.to_string()))?;
    let mut material = json!({});
    let files = std::fs::read_dir(store.tls(name).join("docker")).into_iter().flatten().flatten();
    let mut files: Vec<String> =
        files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    files.sort();
    if !files.is_empty() {
        material["docker"] = files.into();
    }
    document["TLSMaterial"] = material;
    document["Storage"] = json!({
        "MetadataPath": store.meta(name).display().to_string(),
        "TLSPath": store.tls(name).display().to_string(),
    });
    Ok(document)
}
