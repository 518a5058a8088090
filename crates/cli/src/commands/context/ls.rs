//! `context ls`.

use std::io::Write as _;

use super::{DEFAULT, DEFAULT_DESCRIPTION, Store};
use crate::failure::Outcome;
use crate::flags::{Count, Parsed, switch, text};
use crate::format::{Field, Listing, Row, Style, ellipsis, natural};
use crate::session::Session;
use crate::template::Value;
use crate::tree::Spec;

pub(crate) const SPEC: Spec =
    Spec::new(&["context ls", "context list"], &["[OPTIONS]"], "List contexts", Count::None, flags, run);

fn flags() -> Vec<clap::Arg> {
    vec![
        text("format", "string", crate::commands::inspect::LIST_FORMAT),
        switch("quiet", "Show only names").short('q'),
    ]
}

const FIELDS: &[Field] = &[
    ("Current", "CURRENT"),
    ("Description", "DESCRIPTION"),
    ("DockerEndpoint", "DOCKER ENDPOINT"),
    ("Error", "ERROR"),
    ("Name", "NAME"),
];

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let current = session.context()?;
    let style = Style::choose(parsed.text("format"), "", parsed.on("quiet"));
    let mark = |name: &str| match name == current && matches!(style, Style::Table | Style::TableTemplate(_)) {
        true => format!("{name} *"),
        false => name.to_owned(),
    };
    let row = |name: &str, description: &str, host: &str, error: &str| Row {
        typed: vec![("Current", Value::Bool(name == current))],
        texts: vec![
            (name == current).to_string(),
            ellipsis(description, 60),
            host.to_owned(),
            ellipsis(error, 45),
            mark(name),
        ],
        ..Row::default()
    };
    let host = session.default_engine()?.host;
    let mut contexts = vec![(DEFAULT.to_owned(), row(DEFAULT, DEFAULT_DESCRIPTION, &host, ""))];
    let store = Store::new(session);
    for context in store.list()? {
        let row = row(&context.name, &context.metadata.description, context.docker_host(), "");
        contexts.push((context.name, row));
    }
    // One that is in force without being there has a line, too.
    if !contexts.iter().any(|(name, _)| *name == current)
        && let Err(failure) = store.load(&current)
    {
        contexts.push((current.clone(), row(&current, "", "", &failure.message)));
    }
    contexts.sort_by(|(one, _), (other, _)| natural(one, other));
    let rows: Vec<Row> = contexts.into_iter().map(|(_, row)| row).collect();
    let table = ["Name", "Description", "DockerEndpoint", "Error"];
    Listing { fields: FIELDS, table: &table, quiet: "Name", kind: "*formatter.clientContextContext" }
        .print(&style, &rows)?;
    if let Some(variable) = super::overriding_variable() {
        writeln!(
            std::io::stderr(),
            "Warning: {variable} environment variable overrides the active context. To use a context, either set the global --context flag, or unset {variable} environment variable."
        )?;
    }
    Ok(0)
}
