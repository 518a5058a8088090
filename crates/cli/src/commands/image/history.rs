//! `image history`.

use crate::failure::Outcome;
use crate::flags::{Count, Parsed, switch, switch_on, text};
use crate::format::{Field, Listing, Row, Style, ellipsis, shown_id};
use crate::needs::since;
use crate::session::Session;
use crate::tree::{Names, Spec};
use crate::units;

pub(crate) const SPEC: Spec = Spec::new(
    &["image history", "history"],
    &["[OPTIONS] IMAGE"],
    "Show what an image was made of",
    Count::Exactly(1),
    flags,
    run,
)
.names(Names::Images)
.flags_since(&[("platform", since(48))]);

fn flags() -> Vec<clap::Arg> {
    vec![
        text("format", "string", crate::commands::inspect::LIST_FORMAT),
        switch_on("human", "Show sizes and times in words").short('H'),
        switch("no-trunc", "Show all texts in full length"),
        text("platform", "string", "Platform to show, for images with several"),
        switch("quiet", "Show only IDs").short('q'),
    ]
}

const FIELDS: &[Field] = &[
    ("Comment", "COMMENT"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("CreatedSince", "CREATED"),
    ("ID", "IMAGE"),
    ("Size", "SIZE"),
];

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let platform = match parsed.text("platform") {
        "" => String::new(),
        text => super::save::invalid(super::save::platform_json(text))?,
    };
    let (human, whole) = (parsed.on("human"), parsed.on("no-trunc"));
    let lines = session.client()?.image_history(parsed.first(), &platform)?;
    let rows: Vec<Row> = lines
        .iter()
        .map(|line| {
            let words = line.created_by.replace('\t', " ");
            let texts = vec![
                line.comment.clone(),
                iso_time(line.created),
                if whole { words } else { ellipsis(&words, 45) },
                if human { units::ago(line.created) } else { iso_time(line.created) },
                shown_id(&line.id, whole || line.id == "<missing>"),
                if human { units::decimal_size(line.size as f64) } else { line.size.to_string() },
            ];
            Row { texts, ..Row::default() }
        })
        .collect();
    let created = if human { "CreatedSince" } else { "CreatedAt" };
    let table = ["ID", created, "CreatedBy", "Size", "Comment"];
    let style = Style::choose(parsed.text("format"), "", parsed.on("quiet"));
    Listing { fields: FIELDS, table: &table, quiet: "ID", kind: "*image.historyContext" }.print(&style, &rows)
}

fn iso_time(unix: i64) -> String {
    let Ok(timestamp) = jiff::Timestamp::from_second(unix) else { return String::new() };
    timestamp
        .to_zoned(crate::zone::local())
        .strftime("%Y-%m-%dT%H:%M:%S%:z")
        .to_string()
        .replace("+00:00", "Z")
}
