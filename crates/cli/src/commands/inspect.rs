//! `inspect` for anything that has a name, and the showing that all inspect commands share.

use std::io::Write as _;

use client::Client;

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch, text};
use crate::json;
use crate::session::Session;
use crate::template::Prepared;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["inspect"],
    &["[OPTIONS] NAME|ID [NAME|ID...]"],
    "Show all that is known about containers, images and others",
    Count::AtLeast(1),
    flags,
    run,
)
.names(Names::Anything);

/// What `--format` takes where one object is shown.
pub(crate) const FORMAT: &str =
    "How to show it: 'json' for JSON on one line, or a Go template for the text to show";
/// What `--format` takes where many are listed.
pub(crate) const LIST_FORMAT: &str = "How to show them: 'table' for columns, 'table TEMPLATE' for columns of your own, 'json' for JSON lines, or a Go template for the text of a line";

fn flags() -> Vec<clap::Arg> {
    vec![
        text("format", "string", FORMAT).short('f'),
        switch("size", "Show sizes too, of containers").short('s'),
        text("type", "string", "What it is: container, image, network or volume"),
    ]
}

const KINDS: [&str; 4] = ["container", "image", "network", "volume"];
/// What Docker's message lists.
const ALL_KINDS: &str = "\"config\", \"container\", \"image\", \"network\", \"node\", \"plugin\", \"secret\", \"service\", \"task\", \"volume\"";
const LEGACY_KINDS: [&str; 6] = ["config", "node", "plugin", "secret", "service", "task"];

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let kind = parsed.text("type");
    if parsed.changed("type") && kind.is_empty() {
        return Err(Failure::new(format!("type is empty: must be one of {ALL_KINDS}")));
    }
    if LEGACY_KINDS.contains(&kind) {
        return Err(Failure::new(format!(
            "unsupported flag --type={kind}: there is no such thing in this engine"
        )));
    }
    if !kind.is_empty() && !KINDS.contains(&kind) {
        return Err(Failure::new(format!("unknown type: {kind:?}: must be one of {ALL_KINDS}")));
    }
    let client = session.client()?;
    show(parsed.text("format"), "", parsed.arguments(), |name| find(client, kind, name, parsed.on("size")))
}

/// Asks for every kind of thing until one is known by the name.
fn find(client: &Client, kind: &str, name: &str, size: bool) -> Result<Vec<u8>, Failure> {
    let wanted = KINDS.iter().filter(|known| kind.is_empty() || **known == kind);
    for known in wanted {
        let found = match *known {
            "container" => client.inspect_container_raw(name, size),
            "image" => client.inspect_image_raw(name, ""),
            "network" => client.inspect_network_raw(name, false),
            _ => client.inspect_volume_raw(name),
        };
        match found {
            // Not every name can be the name of everything: `a/b` is no container.
            Err(error) if kind.is_empty() && matches!(error.status(), Some(400 | 404)) => {}
            found => {
                let found = found?;
                if size && *known != "container" {
                    writeln!(std::io::stderr(), "WARNING: --size ignored for {known}")?;
                }
                return Ok(found);
            }
        }
    }
    Err(Failure::new(format!("Error: No such object: {name}")))
}

/// Shows what is found under each name: an array of all, or what the template makes of each. What
/// is not found or cannot be rendered is told at the end and makes the command fail. `kind` is what Go
/// calls the type of those that Docker knows by their type alone.
pub(crate) fn show(
    format: &str,
    kind: &'static str,
    names: &[String],
    mut find: impl FnMut(&str) -> Result<Vec<u8>, Failure>,
) -> Outcome {
    let template = match format {
        "" | "json" => None,
        text => Some(Prepared::parse(text).map_err(|fault| Failure::from(fault).with_code(64))?),
    };
    let mut documents = Vec::new();
    let mut failures = Vec::new();
    for name in names {
        let found = find(name).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| Failure::new("the engine's answer is not UTF-8"))
        });
        match found {
            Ok(document) => documents.push(document),
            Err(failure) => failures.push(failure),
        }
    }
    let mut out = std::io::stdout().lock();
    match &template {
        Some(prepared) => {
            let mut text = String::new();
            for document in &documents {
                match prepared.render_document(document, kind) {
                    Ok(rendered) => text.extend([rendered.as_str(), "\n"]),
                    Err(failure) => failures.push(failure),
                }
            }
            // Nothing is an empty line.
            out.write_all(if text.is_empty() { "\n" } else { &text }.as_bytes())?;
        }
        None if format == "json" => {
            let trimmed: Vec<&str> = documents.iter().map(|document| document.trim()).collect();
            writeln!(out, "[{}]", trimmed.join(","))?;
        }
        None if documents.is_empty() => writeln!(out, "[]")?,
        None => {
            let indented: Vec<String> =
                documents.iter().map(|document| json::indent(document, "    ")).collect();
            writeln!(out, "[\n    {}\n]", indented.join(",\n    "))?;
        }
    }
    drop(out);
    Failure::all(failures)
}
