//! `network connect`.

use api::network::{ConnectRequest, EndpointIpam, EndpointSettings};

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, integer, list, text};
use crate::session::Session;
use crate::tree::{Names, Spec};
use crate::values::env;

pub(crate) const SPEC: Spec = Spec::new(
    &["network connect"],
    &["[OPTIONS] NETWORK CONTAINER"],
    "Connect a container to a network",
    Count::Exactly(2),
    flags,
    run,
)
.names(Names::NetworkAndContainer);

fn flags() -> Vec<clap::Arg> {
    vec![
        list("alias", "strings", "Further name of the container in the network"),
        list("driver-opt", "strings", "Option of the network's driver (key=value)"),
        integer::<i64>(
            "gw-priority",
            "int",
            "The network with the highest number provides the default gateway",
        ),
        text("ip", "string", "IPv4 address (for example \"172.30.100.104\")"),
        text("ip6", "string", "IPv6 address (for example \"2001:db8::33\")"),
        list("link", "list", "Container to know by a name"),
        list("link-local-ip", "strings", "Link-local address"),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let [name, container] = parsed.arguments() else {
        return Err(Failure::new("a network and a container are required"));
    };
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let options = parsed.comma_list("driver-opt");
    if options.iter().any(|option| !option.contains('=')) {
        return Err(Failure::new("invalid key/value pair format in driver options"));
    }
    let endpoint = EndpointSettings {
        ipam_config: Some(EndpointIpam {
            ipv4_address: parsed.text("ip").to_owned(),
            ipv6_address: parsed.text("ip6").to_owned(),
            link_local_ips: parsed.comma_list("link-local-ip"),
        }),
        links: some(parsed.list("link")),
        aliases: some(parsed.comma_list("alias")),
        driver_opts: (!options.is_empty()).then(|| env::pairs(&options)),
        gw_priority: parsed.value("gw-priority").unwrap_or(0),
        ..EndpointSettings::default()
    };
    let request = ConnectRequest { container: container.clone(), endpoint_config: Some(endpoint) };
    session.client()?.connect_network(name, &request)?;
    Ok(0)
}
