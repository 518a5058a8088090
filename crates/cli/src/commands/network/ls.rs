//! `network ls`.

use crate::failure::Outcome;
use crate::flags::{Count, Parsed, switch, text, typed};
use crate::format::{Field, Listing, Row, Style, label_list, natural, shown_id};
use crate::session::Session;
use crate::tree::Spec;
use crate::values::filter;

pub(crate) const SPEC: Spec =
    Spec::new(&["network ls", "network list"], &["[OPTIONS]"], "List networks", Count::None, flags, run);

fn flags() -> Vec<clap::Arg> {
    vec![
        typed(
            "filter",
            "filter",
            filter::argument,
            "Show only networks that match (for example \"driver=bridge\")",
        )
        .short('f')
        .action(clap::ArgAction::Append),
        text("format", "string", crate::commands::inspect::LIST_FORMAT),
        switch("no-trunc", "Show all texts in full length"),
        switch("quiet", "Show only IDs").short('q'),
    ]
}

const LISTING: Listing<'static> = Listing {
    fields: FIELDS,
    table: &["ID", "Name", "Driver", "Scope"],
    quiet: "ID",
    kind: "*network.networkContext",
};
const FIELDS: &[Field] = &[
    ("CreatedAt", "CREATED AT"),
    ("Driver", "DRIVER"),
    ("ID", "NETWORK ID"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("Name", "NAME"),
    ("Scope", "SCOPE"),
];

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let quiet = parsed.on("quiet");
    let format = parsed.text("format");
    let configured =
        if format.is_empty() && !quiet { session.config()?.text("networksFormat") } else { String::new() };
    let style = Style::choose(format, &configured, quiet).or_raw(match quiet {
        true => "network_id: {{.ID}}",
        false => "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n",
    });
    let mut networks = session.client()?.list_networks(&filter::to_query(&parsed.list("filter"))?)?;
    networks.sort_by(|one, other| natural(&one.name, &other.name));
    let whole = parsed.on("no-trunc");
    let rows: Vec<Row> = networks
        .into_iter()
        .map(|network| {
            let texts = vec![
                network.created.replace('T', " ").replace('Z', " +0000 UTC"),
                network.driver,
                shown_id(&network.id, whole),
                network.enable_ipv4.to_string(),
                network.enable_ipv6.to_string(),
                network.internal.to_string(),
                label_list(&network.labels),
                network.name,
                network.scope,
            ];
            Row { texts, labels: network.labels, ..Row::default() }
        })
        .collect();
    LISTING.print(&style, &rows)
}
