//! `volume ls`.

use api::volume::Volume;

use crate::failure::Outcome;
use crate::flags::{Count, Parsed, switch, text, typed};
use crate::format::{Field, Listing, Row, Style, label_list, natural};
use crate::needs::since;
use crate::session::Session;
use crate::tree::Spec;
use crate::units;
use crate::values::filter;

pub(crate) const SPEC: Spec =
    Spec::new(&["volume ls", "volume list"], &["[OPTIONS]"], "List volumes", Count::None, flags, run)
        .flags_since(&[("cluster", since(42))]);

fn flags() -> Vec<clap::Arg> {
    vec![
        switch("cluster", "Show only volumes of a swarm").hide(true),
        typed(
            "filter",
            "filter",
            filter::argument,
            "Show only volumes that match (for example \"dangling=true\")",
        )
        .short('f')
        .action(clap::ArgAction::Append),
        text("format", "string", crate::commands::inspect::LIST_FORMAT),
        switch("quiet", "Show only names").short('q'),
    ]
}

pub(crate) const FIELDS: &[Field] = &[
    ("Availability", "AVAILABILITY"),
    ("Driver", "DRIVER"),
    ("Group", "GROUP"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Name", "VOLUME NAME"),
    ("Scope", "SCOPE"),
    ("Size", "SIZE"),
    ("Status", "STATUS"),
];

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let quiet = parsed.on("quiet");
    let format = parsed.text("format");
    let configured =
        if format.is_empty() && !quiet { session.config()?.text("volumesFormat") } else { String::new() };
    let style = Style::choose(format, &configured, quiet).or_raw(if quiet {
        "name: {{.Name}}"
    } else {
        "name: {{.Name}}\ndriver: {{.Driver}}\n"
    });
    let mut volumes = session.client()?.list_volumes(&filter::to_query(&parsed.list("filter"))?)?.volumes;
    volumes.sort_by(|one, other| natural(&one.name, &other.name));
    // Volumes of a swarm are a subset of them, and this engine has none.
    let cluster = parsed.on("cluster");
    let rows: Vec<Row> = volumes.iter().filter(|_| !cluster).map(row).collect();
    let table: &[&str] = match cluster {
        true => &["Name", "Group", "Driver", "Availability", "Status"],
        false => &["Driver", "Name"],
    };
    Listing { fields: FIELDS, table, quiet: "Name", kind: "*formatter.volumeContext" }.print(&style, &rows)
}

pub(crate) fn row(volume: &Volume) -> Row {
    let not = || "N/A".to_owned();
    let labels = volume.labels.clone().unwrap_or_default();
    let texts = vec![
        not(),
        volume.driver.clone(),
        not(),
        label_list(&labels),
        volume.usage_data.as_ref().map_or_else(not, |usage| usage.ref_count.to_string()),
        volume.mountpoint.clone(),
        volume.name.clone(),
        volume.scope.clone(),
        volume.usage_data.as_ref().map_or_else(not, |usage| units::decimal_size_long(usage.size as f64)),
        not(),
    ];
    Row { texts, labels, ..Row::default() }
}
