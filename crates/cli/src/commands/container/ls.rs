//! `container ls`, better known as `ps`.

use std::io::Write as _;

use api::container::{Port, Summary};
use client::Query;

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, integer, switch, text, typed};
use crate::format::{Field, Listing, Row, Style, ellipsis, label_list, short_id, shown_id};
use crate::session::Session;
use crate::template::{Kind, Prepared, Value};
use crate::tree::Spec;
use crate::units;
use crate::values::filter;

pub(crate) const SPEC: Spec = Spec::new(
    &["container ls", "container list", "container ps", "ps"],
    &["[OPTIONS]"],
    "List containers",
    Count::None,
    flags,
    run,
);

fn flags() -> Vec<clap::Arg> {
    vec![
        switch("all", "Show all containers, not just those that run").short('a'),
        typed("filter", "filter", filter::argument, "Show only containers that match")
            .short('f')
            .action(clap::ArgAction::Append),
        text("format", "string", crate::commands::inspect::LIST_FORMAT),
        integer::<i64>("last", "int", "Show that many of the newest containers, running or not")
            .short('n')
            .default_value("-1"),
        switch("latest", "Show the newest container, running or not").short('l'),
        switch("no-trunc", "Show all texts in full length"),
        switch("quiet", "Show only IDs").short('q'),
        switch("size", "Show the sizes of files").short('s'),
    ]
}

pub(crate) const FIELDS: &[Field] = &[
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Labels", "LABELS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Mounts", "MOUNTS"),
    ("Names", "NAMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
    ("Ports", "PORTS"),
    ("RunningFor", "CREATED"),
    ("Size", "SIZE"),
    ("State", "STATE"),
    ("Status", "STATUS"),
];
/// What Docker calls a row.
const KIND: &str = "*formatter.ContainerContext";
const RAW: &str = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n";
const RAW_WITH_SIZE: &str = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\nsize: {{.Size}}\n";
const TABLE: &[&str] = &["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names", "Size"];

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let format = parsed.text("format");
    let quiet = parsed.on("quiet");
    let configured =
        if format.is_empty() && !quiet { session.config()?.text("psFormat") } else { String::new() };
    let mut style = Style::choose(format, &configured, quiet);
    if quiet && !format.is_empty() {
        writeln!(
            std::io::stderr(),
            "WARNING: Ignoring custom format, because both --format and --quiet are set."
        )?;
        // Only the raw form has something to say about a list of IDs.
        if format != "raw" {
            style = Style::Quiet;
        }
    }
    style = style.or_raw(match (quiet, parsed.on("size")) {
        (true, _) => "container_id: {{.ID}}",
        (_, true) => RAW_WITH_SIZE,
        _ => RAW,
    });
    let asked = if format.is_empty() { configured.as_str() } else { format };
    if !parsed.on("size") && !asked.is_empty() {
        try_out(asked)?;
    }
    let mentioned = style.mentions("Size") && format.trim() != "json" && !parsed.changed("size");
    let size = parsed.on("size") || mentioned;
    let last = match parsed.value::<i64>("last").unwrap_or(-1) {
        -1 if parsed.on("latest") => 1,
        last => last,
    };
    let query = Query::new()
        .set_if("all", parsed.on("all"))
        .set_filled("limit", &if last > 0 { last.to_string() } else { String::new() })
        .set_if("size", size)
        .set_filled("filters", &filter::to_query(&parsed.list("filter"))?);
    let containers = session.client()?.list_containers(&query)?;
    let whole = parsed.on("no-trunc");
    if style == Style::Quiet {
        let ids: String =
            containers.iter().map(|container| format!("{}\n", shown_id(&container.id, whole))).collect();
        std::io::stdout().write_all(ids.as_bytes())?;
        return Ok(0);
    }
    let rows: Vec<Row> = containers.iter().map(|container| row(container, whole)).collect();
    let table = if parsed.on("size") { TABLE } else { &TABLE[..TABLE.len() - 1] };
    Listing { fields: FIELDS, table, quiet: "ID", kind: KIND }.print(&style, &rows)
}

/// Docker looks whether a template asks for sizes before it looks at anything else, and has words of its
/// own for one that can't be used. It takes the text as it was typed, with `table` in front.
fn try_out(format: &str) -> Result<(), Failure> {
    let prepared = Prepared::parse(format)
        .map_err(|fault| Failure::new(format!("failed to parse template: {fault}")))?;
    let listing = Listing { fields: FIELDS, table: &[], quiet: "", kind: KIND };
    let nothing = Row { texts: vec![String::new(); FIELDS.len()], ..Row::default() };
    let rendered = prepared.render(&listing.value(&nothing));
    rendered.map_err(|fault| Failure::new(format!("failed to execute template: {fault}")))?;
    Ok(())
}

pub(crate) fn row(container: &Summary, whole: bool) -> Row {
    let command = match whole {
        true => container.command.clone(),
        false => ellipsis(&container.command, 20),
    };
    let volumes = container.mounts.iter().filter(|mount| mount.driver == "local").count();
    let networks: Vec<&str> = container.network_settings.networks.keys().map(String::as_str).collect();
    let platform =
        container.image_manifest_descriptor.as_ref().and_then(|descriptor| descriptor.platform.as_ref());
    let platform = platform.map(|platform| format!("{}/{}", platform.os, platform.architecture));
    let texts = vec![
        format!("{command:?}"),
        units::local_time(container.created),
        shown_id(&container.id, whole),
        image(container, whole),
        label_list(&container.labels),
        volumes.to_string(),
        mounts(container, whole),
        names(container, whole),
        networks.join(","),
        platform.clone().unwrap_or_default(),
        ports(&container.ports),
        units::ago(container.created),
        size(container),
        container.state.to_string(),
        container.status.clone(),
    ];
    let typed = match platform {
        Some(_) => Vec::new(),
        None => vec![("Platform", Value::Null(Kind::Pointer))],
    };
    Row { texts, labels: container.labels.clone(), typed }
}

pub(crate) fn names(container: &Summary, whole: bool) -> String {
    let names = container.names.iter().map(|name| name.strip_prefix('/').unwrap_or(name));
    // A name with a slash within is a link's: it belongs to another container.
    let own: Vec<&str> = names.filter(|name| whole || !name.contains('/')).collect();
    own.join(",")
}

pub(crate) fn image(container: &Summary, whole: bool) -> String {
    if container.image.is_empty() {
        return "<no image>".to_owned();
    }
    if whole {
        return container.image.clone();
    }
    // An image whose name is gone is listed by its id.
    if container.image == container.image_id || container.image.starts_with("sha256:") {
        return short_id(&container.image).to_owned();
    }
    match container.image.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => container.image.clone(),
    }
}

fn mounts(container: &Summary, whole: bool) -> String {
    let names =
        container.mounts.iter().map(|mount| if mount.name.is_empty() { &mount.source } else { &mount.name });
    names.map(|name| if whole { name.clone() } else { ellipsis(name, 15) }).collect::<Vec<_>>().join(",")
}

pub(crate) fn size(container: &Summary) -> String {
    let own = units::decimal_size(container.size_rw as f64);
    match container.size_root_fs > 0 {
        true => format!("{own} (virtual {})", units::decimal_size(container.size_root_fs as f64)),
        false => own,
    }
}

/// Ports: first the exposed ones and those that have the same number on the host, with neighbours
/// as one range, then those that have another.
fn ports(ports: &[Port]) -> String {
    let mut ports: Vec<&Port> = ports.iter().collect();
    ports.sort_by_key(|port| (port.private_port, &port.ip, port.public_port, &port.kind));
    let mut ranges: Vec<Range> = Vec::new();
    let mut closed = Vec::new();
    let mut mapped = Vec::new();
    for port in ports {
        if !port.ip.is_empty() && port.public_port != port.private_port {
            mapped.push(format!(
                "{}:{}->{}/{}",
                host(&port.ip),
                port.public_port,
                port.private_port,
                port.kind
            ));
            continue;
        }
        let next =
            Range { ip: &port.ip, kind: &port.kind, first: port.private_port, last: port.private_port };
        match ranges.iter_mut().find(|range| range.ip == next.ip && range.kind == next.kind) {
            None => ranges.push(next),
            Some(range) if range.last.checked_add(1) == Some(next.first) => range.last = next.last,
            Some(range) => closed.push(std::mem::replace(range, next).show()),
        }
    }
    closed.extend(ranges.iter().map(Range::show));
    closed.extend(mapped);
    closed.join(", ")
}

struct Range<'a> {
    ip: &'a str,
    kind: &'a str,
    first: u16,
    last: u16,
}

impl Range<'_> {
    fn show(&self) -> String {
        let ports = match self.first == self.last {
            true => self.first.to_string(),
            false => format!("{}-{}", self.first, self.last),
        };
        match self.ip {
            "" => format!("{ports}/{}", self.kind),
            ip => format!("{}:{ports}->{ports}/{}", host(ip), self.kind),
        }
    }
}

fn host(ip: &str) -> String {
    if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ip: &str, private: u16, public: u16, kind: &str) -> Port {
        Port { ip: ip.to_owned(), private_port: private, public_port: public, kind: kind.to_owned() }
    }

    #[test]
    fn ports_are_shown_as_ranges() {
        let all = "0.0.0.0";
        assert_eq!(
            ports(&[
                port(all, 81, 81, "tcp"),
                port(all, 80, 80, "tcp"),
                port(all, 82, 9000, "tcp"),
                port("", 99, 0, "udp")
            ]),
            "0.0.0.0:80-81->80-81/tcp, 99/udp, 0.0.0.0:9000->82/tcp"
        );
        assert_eq!(
            ports(&[port("", 53, 0, "udp"), port("", 54, 0, "udp"), port("", 443, 0, "tcp")]),
            "53-54/udp, 443/tcp"
        );
        assert_eq!(ports(&[]), "");
    }

    #[test]
    fn texts_of_a_row() {
        let container = Summary {
            id: "0123456789abcdef".into(),
            names: vec!["/web".into(), "/other/alias".into()],
            image: "sha256:aabbccddeeff00112233".into(),
            image_id: "sha256:aabbccddeeff00112233".into(),
            command: "sh -c 'while true; do sleep 1; done'".into(),
            size_rw: 1000,
            size_root_fs: 2_000_000,
            ..Summary::default()
        };
        let texts = row(&container, false).texts;
        assert_eq!(texts[0], "\"sh -c 'while true; …\"");
        assert_eq!(
            (texts[2].as_str(), texts[3].as_str(), texts[7].as_str()),
            ("0123456789ab", "aabbccddeeff", "web")
        );
        assert_eq!(texts[12], "1kB (virtual 2MB)");
        assert_eq!(row(&container, true).texts[7], "web,other/alias");
    }
}
