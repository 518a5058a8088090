//! `image ls`, better known as `images`.

use std::io::Write as _;

use api::image::Summary;
use client::Query;

use crate::failure::Outcome;
use crate::flags::{Count, Parsed, switch, text, typed};
use crate::format::{Field, Listing, Row, Style, shown_id};
use crate::needs::since;
use crate::session::Session;
use crate::tree::{Names, Spec};
use crate::units;
use crate::values::filter;
use crate::values::reference;

pub(crate) const SPEC: Spec = Spec::new(
    &["image ls", "image list", "images"],
    &["[OPTIONS] [REPOSITORY[:TAG]]"],
    "List images",
    Count::AtMost(1),
    flags,
    run,
)
.names(Names::Images)
.flags_since(&[("tree", since(47))]);

fn flags() -> Vec<clap::Arg> {
    vec![
        switch("all", "Show intermediate images too").short('a'),
        switch("digests", "Show digests"),
        typed("filter", "filter", filter::argument, "Show only images that match")
            .short('f')
            .action(clap::ArgAction::Append),
        text("format", "string", crate::commands::inspect::LIST_FORMAT),
        switch("no-trunc", "Show all texts in full length"),
        switch("quiet", "Show only IDs").short('q'),
        switch("tree", "Show images with all their names and who uses them"),
    ]
}

pub(crate) const FIELDS: &[Field] = &[
    ("Containers", "CONTAINERS"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("SharedSize", "SHARED SIZE"),
    ("Size", "SIZE"),
    ("Tag", "TAG"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "SIZE"),
];

const RAW: &str = "repository: {{.Repository}}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";
const RAW_WITH_DIGEST: &str = "repository: {{.Repository}}\ntag: {{.Tag}}\ndigest: {{.Digest}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let mut filters = filter::parse(&parsed.list("filter"))?;
    if let Some(name) = parsed.arguments().first().filter(|name| !name.is_empty()) {
        filters.add("reference", name.as_str());
    }
    if parsed.on("tree") {
        let filters = if filters.is_empty() { String::new() } else { filters.to_json() };
        return super::tree::run(session, parsed, &filters);
    }
    let quiet = parsed.on("quiet");
    let format = parsed.text("format");
    let configured =
        if format.is_empty() && !quiet { session.config()?.text("imagesFormat") } else { String::new() };
    let style = Style::choose(format, &configured, quiet).or_raw(match (quiet, parsed.on("digests")) {
        (true, _) => "image_id: {{.ID}}",
        (_, true) => RAW_WITH_DIGEST,
        _ => RAW,
    });
    let filters = if filters.is_empty() { String::new() } else { filters.to_json() };
    let query = Query::new().set_if("all", parsed.on("all")).set_filled("filters", &filters);
    let images = session.client()?.list_images(&query)?;
    let whole = parsed.on("no-trunc");
    let digests = parsed.on("digests") || style.mentions("Digest") && style != Style::Json;
    let rows: Vec<Row> = images.iter().flat_map(|image| rows(image, whole, digests, quiet)).collect();
    let table: &[&str] = match parsed.on("digests") {
        true => &["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"],
        false => &["Repository", "Tag", "ID", "CreatedSince", "Size"],
    };
    Listing { fields: FIELDS, table, quiet: "ID", kind: "*formatter.imageContext" }.print(&style, &rows)?;
    std::io::stdout().flush()?;
    Ok(0)
}

/// An image has a row for each of its names; an ID list has one for each image and name.
pub(crate) fn rows(image: &Summary, whole: bool, digests: bool, quiet: bool) -> Vec<Row> {
    let none = || "<none>".to_owned();
    let tags = image.repo_tags.iter().flatten().filter(|name| *name != "<none>:<none>");
    let tags: Vec<(&str, &str)> = tags.map(|name| reference::split_tag(name)).collect();
    let known = image.repo_digests.iter().flatten().filter(|name| !name.starts_with("<none>@"));
    let known: Vec<(&str, &str)> = known.filter_map(|name| name.split_once('@')).collect();
    if quiet && tags.is_empty() {
        return vec![row(image, whole, none(), none(), none())];
    }
    let mut rows = Vec::new();
    for (repository, tag) in &tags {
        let own: Vec<&str> =
            known.iter().filter(|(name, _)| name == repository).map(|(_, digest)| *digest).collect();
        if own.is_empty() || !digests {
            rows.push(row(
                image,
                whole,
                (*repository).to_owned(),
                (*tag).to_owned(),
                own.first().map_or_else(none, |digest| (*digest).to_owned()),
            ));
        }
        if digests {
            rows.extend(own.iter().map(|digest| {
                row(image, whole, (*repository).to_owned(), (*tag).to_owned(), (*digest).to_owned())
            }));
        }
    }
    // Names that have a digest and no tag.
    for (repository, digest) in
        known.iter().filter(|(name, _)| !tags.iter().any(|(tagged, _)| tagged == name))
    {
        rows.push(row(image, whole, (*repository).to_owned(), none(), (*digest).to_owned()));
    }
    if rows.is_empty() {
        rows.push(row(image, whole, none(), none(), none()));
    }
    rows
}

/// The row of an image's first name, where it counts once.
pub(crate) fn first_row(image: &Summary, whole: bool) -> Row {
    let name = image.repo_tags.iter().flatten().find(|name| *name != "<none>:<none>");
    let (repository, tag) = name.map_or(("<none>", "<none>"), |name| reference::split_tag(name));
    row(image, whole, repository.to_owned(), tag.to_owned(), String::new())
}

fn row(image: &Summary, whole: bool, repository: String, tag: String, digest: String) -> Row {
    let optional =
        |number: i64| if number < 0 { "N/A".to_owned() } else { units::decimal_size_long(number as f64) };
    let unique = if image.shared_size < 0 { -1 } else { image.size - image.shared_size };
    let texts = vec![
        if image.containers < 0 { "N/A".to_owned() } else { image.containers.to_string() },
        units::local_time(image.created),
        units::ago(image.created),
        digest,
        shown_id(&image.id, whole),
        repository,
        optional(image.shared_size),
        units::decimal_size(image.size as f64),
        tag,
        optional(unique),
        units::decimal_size_long(image.size as f64),
    ];
    Row { texts, labels: image.labels.clone().unwrap_or_default(), ..Row::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(image: &Summary, digests: bool) -> Vec<String> {
        rows(image, false, digests, false)
            .iter()
            .map(|row| format!("{} {} {}", row.texts[5], row.texts[8], row.texts[3]))
            .collect()
    }

    #[test]
    fn every_name_has_a_row() {
        let mut image = Summary { id: "sha256:0011".into(), ..Summary::default() };
        assert_eq!(names(&image, false), ["<none> <none> <none>"]);
        image.repo_tags = Some(vec!["a:1".into(), "host:5000/b:2".into()]);
        image.repo_digests = Some(vec!["a@sha256:aa".into(), "c@sha256:cc".into()]);
        assert_eq!(names(&image, true), ["a 1 sha256:aa", "host:5000/b 2 <none>", "c <none> sha256:cc"]);
        assert_eq!(rows(&image, false, false, true).len(), 3);
    }
}
