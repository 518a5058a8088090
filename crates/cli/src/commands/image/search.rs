//! `search`: asks a registry, through the engine, for images by a word.

use crate::credentials;
use crate::failure::Outcome;
use crate::flags::{Count, Parsed, integer, switch, text, typed};
use crate::format::{Field, Listing, Row, Style, ellipsis};
use crate::session::Session;
use crate::tree::Spec;
use crate::values::filter;

pub(crate) const SPEC: Spec = Spec::new(
    &["search"],
    &["[OPTIONS] TERM"],
    "Look for images in a registry",
    Count::Exactly(1),
    flags,
    run,
);

fn flags() -> Vec<clap::Arg> {
    vec![
        typed("filter", "filter", filter::argument, "Show only images that match")
            .short('f')
            .action(clap::ArgAction::Append),
        text("format", "string", "How to show them: a Go template for the text of a line"),
        integer::<i64>("limit", "int", "Show at most so many"),
        switch("no-trunc", "Show all texts in full length"),
    ]
}

const FIELDS: &[Field] = &[
    ("Description", "DESCRIPTION"),
    ("IsAutomated", "AUTOMATED"),
    ("IsOfficial", "OFFICIAL"),
    ("Name", "NAME"),
    ("StarCount", "STARS"),
];

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let term = parsed.first();
    let filters = filter::to_query(&parsed.list("filter"))?;
    let auth = credentials::offered(session.config()?, term);
    // No limit is the engine's own; so is less than none.
    let limit = parsed.value::<i64>("limit").unwrap_or(0).max(0);
    let found = session.client()?.search_images(term, limit, &filters, &auth)?;
    let style = Style::choose(parsed.text("format"), "", false);
    let whole = parsed.on("no-trunc");
    let mark = |on: bool| match (&style, on) {
        (Style::Json, on) => on.to_string(),
        (_, true) => "[OK]".to_owned(),
        (_, false) => String::new(),
    };
    let rows: Vec<Row> = found
        .iter()
        .map(|image| {
            let description = image.description.replace(['\n', '\r'], " ");
            let texts = vec![
                if whole { description } else { ellipsis(&description, 45) },
                mark(image.is_automated),
                mark(image.is_official),
                image.name.clone(),
                image.star_count.to_string(),
            ];
            Row { texts, ..Row::default() }
        })
        .collect();
    let table = ["Name", "Description", "StarCount", "IsOfficial"];
    Listing { fields: FIELDS, table: &table, quiet: "Name", kind: "*registry.searchContext" }
        .print(&style, &rows)
}
