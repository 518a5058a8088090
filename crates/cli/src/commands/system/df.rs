//! `system df`: what lies on the disk, and how much of it nobody needs.

use std::io::Write as _;

use api::container::{Status, Summary};
use api::system::{BuildCache, DiskUsage};

use crate::commands::container::ls as containers;
use crate::commands::image::ls as images;
use crate::commands::volume::ls as volumes;
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch, text};
use crate::format::{Field, Listing, Row, Style, align, ellipsis, escaped, short_id};
use crate::needs::since;
use crate::session::Session;
use crate::template::{Labels, Prepared, Value};
use crate::tree::Spec;
use crate::units;

pub(crate) const SPEC: Spec =
    Spec::new(&["system df"], &["[OPTIONS]"], "Show how the disk is used", Count::None, flags, run)
        .since(since(25));

fn flags() -> Vec<clap::Arg> {
    vec![
        text("format", "string", crate::commands::inspect::LIST_FORMAT),
        switch("verbose", "Show every image, container and volume").short('v'),
    ]
}

const FIELDS: &[Field] = &[
    ("Active", "ACTIVE"),
    ("Reclaimable", "RECLAIMABLE"),
    ("Size", "SIZE"),
    ("TotalCount", "TOTAL"),
    ("Type", "TYPE"),
];
const LISTING: Listing<'static> = Listing {
    fields: FIELDS,
    table: &["Type", "TotalCount", "Active", "Size", "Reclaimable"],
    quiet: "Type",
    kind: "*formatter.diskUsageImagesContext",
};

const RAW: &str = "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\nreclaimable: {{.Reclaimable}}\n";

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let style = Style::choose(parsed.text("format"), "", false);
    let usage = session.client()?.disk_usage()?;
    if parsed.on("verbose") {
        let text = match &style {
            Style::Table | Style::Quiet => verbose(&usage),
            Style::Json => escaped(&everything(&usage).to_json()),
            Style::Template(text) | Style::TableTemplate(text) => {
                let prepared = Prepared::parse(text)?;
                prepared.render(&everything(&usage)).map_err(|fault| Failure::new(fault.to_string()))?
            }
        };
        std::io::stdout().write_all(text.as_bytes())?;
        return Ok(0);
    }
    let rows: Vec<Row> = summary(&usage).iter().map(Line::row).collect();
    LISTING.print(&style.or_raw(RAW), &rows)
}

struct Line {
    kind: &'static str,
    total: usize,
    active: usize,
    size: i64,
    reclaimable: i64,
    /// Whether it is told how much of the whole that is.
    share: bool,
}

impl Line {
    fn row(&self) -> Row {
        let reclaimable = units::decimal_size_long(self.reclaimable.max(0) as f64);
        let reclaimable = match self.share && self.size > 0 {
            true => format!("{reclaimable} ({}%)", self.reclaimable.max(0) * 100 / self.size),
            false => reclaimable,
        };
        let size = units::decimal_size_long(self.size.max(0) as f64);
        let texts =
            vec![self.active.to_string(), reclaimable, size, self.total.to_string(), self.kind.to_owned()];
        Row { texts, ..Row::default() }
    }
}

fn summary(usage: &DiskUsage) -> [Line; 4] {
    let none = Vec::new();
    let images = usage.images.as_deref().unwrap_or_default();
    // What images with containers hold, with what they share counted once at most.
    let used: i64 = images
        .iter()
        .filter(|image| image.containers > 0)
        .map(|image| image.size - image.shared_size.max(0))
        .sum();
    let containers = usage.containers.as_deref().unwrap_or_default();
    let active = |status: Status| matches!(status, Status::Running | Status::Paused | Status::Restarting);
    let idle: i64 = containers
        .iter()
        .filter(|container| !active(container.state))
        .map(|container| container.size_rw)
        .sum();
    let volumes = usage.volumes.as_deref().unwrap_or_default();
    let data = |free_only: bool| -> i64 {
        let usages = volumes.iter().filter_map(|volume| volume.usage_data.as_ref());
        usages.filter(|usage| !free_only || usage.ref_count == 0).map(|usage| usage.size.max(0)).sum()
    };
    let cache = usage.build_cache.as_ref().unwrap_or(&none);
    let cached = |free_only: bool| -> i64 {
        cache
            .iter()
            .filter(|entry| !free_only || !entry.in_use && !entry.shared)
            .map(|entry| entry.size)
            .sum()
    };
    [
        Line {
            kind: "Images",
            total: images.len(),
            active: images.iter().filter(|image| image.containers > 0).count(),
            size: usage.layers_size,
            reclaimable: usage.layers_size - used,
            share: true,
        },
        Line {
            kind: "Containers",
            total: containers.len(),
            active: containers.iter().filter(|container| active(container.state)).count(),
            size: containers.iter().map(|container| container.size_rw).sum(),
            reclaimable: idle,
            share: true,
        },
        Line {
            kind: "Local Volumes",
            total: volumes.len(),
            active: volumes
                .iter()
                .filter(|volume| volume.usage_data.as_ref().is_some_and(|usage| usage.ref_count > 0))
                .count(),
            size: data(false),
            reclaimable: data(true),
            share: true,
        },
        Line {
            kind: "Build Cache",
            total: cache.len(),
            active: cache.iter().filter(|entry| entry.in_use).count(),
            size: cached(false),
            reclaimable: cached(true),
            share: false,
        },
    ]
}

/// Everything that lies there, for templates and as JSON.
fn everything(usage: &DiskUsage) -> Value {
    let all = |fields: &'static [Field], rows: Vec<Row>| {
        let listing = Listing { fields, table: &[], quiet: "", kind: "" };
        Value::list(rows.iter().map(|row| listing.value(row)))
    };
    let images = usage.images.iter().flatten().map(|image| images::first_row(image, true)).collect();
    let containers = usage.containers.iter().flatten().map(|container| container_row(container, true));
    let volumes = usage.volumes.iter().flatten().map(volumes::row);
    let cache = usage.build_cache.iter().flatten().map(cache_row);
    let members = [
        ("Images", all(images::FIELDS, images)),
        ("Containers", all(containers::FIELDS, containers.collect())),
        ("Volumes", all(volumes::FIELDS, volumes.collect())),
        ("BuildCache", all(CACHE_FIELDS, cache.collect())),
    ];
    Value::object(members.map(|(name, value)| (name.to_owned(), value)), Labels::None)
        .called("*formatter.diskUsageContext")
}

/// Here the image's share of a container's size is not told: it is the image's.
fn container_row(container: &Summary, whole: bool) -> Row {
    let mut row = containers::row(container, whole);
    row.texts[12] = units::decimal_size(container.size_rw as f64);
    row
}

const CACHE_FIELDS: &[Field] = &[
    ("CacheType", "CACHE TYPE"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("Description", "DESCRIPTION"),
    ("ID", "CACHE ID"),
    ("InUse", "IN USE"),
    ("LastUsedAt", "LAST USED AT"),
    ("LastUsedSince", "LAST USED"),
    ("Parent", "PARENT"),
    ("Shared", "SHARED"),
    ("Size", "SIZE"),
    ("UsageCount", "USAGE"),
];

fn cache_row(entry: &BuildCache) -> Row {
    let time = |time: Option<&str>| time.and_then(units::parse_time);
    let (created, used) = (time(Some(&entry.created_at)), time(entry.last_used_at.as_deref()));
    let texts = vec![
        entry.kind.clone(),
        created.map(units::local_time).unwrap_or_default(),
        created.map(units::ago).unwrap_or_default(),
        entry.description.clone(),
        ellipsis(short_id(&entry.id), 12),
        entry.in_use.to_string(),
        used.map(units::local_time).unwrap_or_default(),
        used.map(units::ago).unwrap_or_default(),
        entry.parents.join(", "),
        entry.shared.to_string(),
        units::decimal_size(entry.size as f64),
        entry.usage_count.to_string(),
    ];
    Row { texts, ..Row::default() }
}

fn verbose(usage: &DiskUsage) -> String {
    let mut text = String::from("Images space usage:\n\n");
    let header = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let pick =
        |row: &Row, fields: &[usize]| fields.iter().map(|at| row.texts[*at].clone()).collect::<Vec<_>>();
    let mut lines = vec![header(&[
        "REPOSITORY",
        "TAG",
        "IMAGE ID",
        "CREATED",
        "SIZE",
        "SHARED SIZE",
        "UNIQUE SIZE",
        "CONTAINERS",
    ])];
    for image in usage.images.iter().flatten() {
        lines.push(pick(&images::first_row(image, false), &[5, 8, 4, 2, 7, 6, 9, 0]));
    }
    text.push_str(&align(&lines));
    text.push_str("\nContainers space usage:\n\n");
    let mut lines = vec![header(&[
        "CONTAINER ID",
        "IMAGE",
        "COMMAND",
        "LOCAL VOLUMES",
        "SIZE",
        "CREATED",
        "STATUS",
        "NAMES",
    ])];
    for container in usage.containers.iter().flatten() {
        lines.push(pick(&container_row(container, false), &[2, 3, 0, 5, 12, 11, 14, 7]));
    }
    text.push_str(&align(&lines));
    text.push_str("\nLocal Volumes space usage:\n\n");
    let mut lines = vec![header(&["VOLUME NAME", "LINKS", "SIZE"])];
    lines.extend(usage.volumes.iter().flatten().map(|volume| pick(&volumes::row(volume), &[6, 4, 8])));
    text.push_str(&align(&lines));
    let cache = usage.build_cache.as_deref().unwrap_or_default();
    let total: i64 = cache.iter().map(|entry| entry.size).sum();
    text.push_str(&format!("\nBuild cache usage: {}\n\n", units::decimal_size(total as f64)));
    let mut lines =
        vec![header(&["CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED"])];
    lines.extend(cache.iter().map(|entry| pick(&cache_row(entry), &[4, 0, 10, 2, 7, 11, 9])));
    text.push_str(&align(&lines));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_needs_is_counted() {
        let mut usage = DiskUsage { layers_size: 1000, ..DiskUsage::default() };
        let image =
            |containers, size| api::image::Summary { containers, size, shared_size: 0, ..Default::default() };
        usage.images = Some(vec![image(1, 600), image(0, 400)]);
        let rows: Vec<Row> = summary(&usage).iter().map(Line::row).collect();
        let text = LISTING.render(&Style::Table, &rows).unwrap();
        assert_eq!(text.lines().next().unwrap(), "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE");
        assert_eq!(text.lines().nth(1).unwrap(), "Images          2         1         1kB       400B (40%)");
        assert_eq!(text.lines().nth(4).unwrap(), "Build Cache     0         0         0B        0B");
        let text = LISTING.render(&Style::choose("raw", "", false).or_raw(RAW), &rows).unwrap();
        assert!(
            text.starts_with(
                "type: Images\ntotal: 2\nactive: 1\nsize: 1kB\nreclaimable: 400B (40%)\n\ntype: "
            )
        );
    }
}
