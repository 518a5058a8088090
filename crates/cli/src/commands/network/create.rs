//! `network create`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::IpAddr;

use api::network::{ConfigReference, CreateRequest, Ipam, IpamPool};

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, list, switch, switch_on, text, typed};
use crate::needs::since;
use crate::session::Session;
use crate::tree::Spec;
use crate::values::env;

pub(crate) const SPEC: Spec =
    Spec::new(&["network create"], &["[OPTIONS] NETWORK"], "Create a network", Count::Exactly(1), flags, run)
        .flags_since(&[
            ("attachable", since(25)),
            ("config-from", since(30)),
            ("config-only", since(30)),
            ("ingress", since(29)),
            ("scope", since(30)),
        ]);

fn flags() -> Vec<clap::Arg> {
    vec![
        switch("attachable", "Let containers join by hand, for networks of a swarm"),
        list("aux-address", "map", "Address that a driver uses for itself (name=address)"),
        text("config-from", "string", "Network to copy the configuration from"),
        switch("config-only", "Make a network that is only a configuration for others"),
        text("driver", "string", "Driver of the network").short('d').default_value("bridge"),
        list("gateway", "strings", "Gateway of the subnet"),
        switch("ingress", "Make the network that publishes ports of a swarm"),
        switch("internal", "Let nobody in or out"),
        list("ip-range", "strings", "Part of the subnet to give addresses from"),
        text("ipam-driver", "string", "Driver that gives out addresses").default_value("default"),
        list("ipam-opt", "map", "Option of the driver that gives out addresses (key=value)"),
        switch_on("ipv4", "Give out IPv4 addresses"),
        switch("ipv6", "Give out IPv6 addresses"),
        typed("label", "list", env::check_label, "Label of the network (key=value)")
            .action(clap::ArgAction::Append),
        list("opt", "map", "Option of the driver (key=value)").short('o'),
        text("scope", "string", "How far the network reaches"),
        list("subnet", "strings", "Subnet in CIDR form"),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let config_from = parsed.text("config-from");
    let request = CreateRequest {
        name: parsed.first().to_owned(),
        driver: parsed.text("driver").to_owned(),
        scope: parsed.text("scope").to_owned(),
        enable_ipv4: parsed.changed("ipv4").then(|| parsed.on("ipv4")),
        enable_ipv6: parsed.changed("ipv6").then(|| parsed.on("ipv6")),
        ipam: Some(Ipam {
            driver: parsed.text("ipam-driver").to_owned(),
            options: Some(env::pairs(&parsed.list("ipam-opt"))),
            config: Some(pools(parsed)?),
        }),
        internal: parsed.on("internal"),
        attachable: parsed.on("attachable"),
        ingress: parsed.on("ingress"),
        config_only: parsed.on("config-only"),
        config_from: (!config_from.is_empty()).then(|| ConfigReference { network: config_from.to_owned() }),
        options: Some(env::pairs(&parsed.list("opt"))),
        labels: Some(env::pairs(&parsed.list("label"))),
        ..CreateRequest::default()
    };
    let created = session.client()?.create_network(&request)?;
    if !created.warning.is_empty() {
        writeln!(std::io::stderr(), "WARNING: {}", created.warning)?;
    }
    writeln!(std::io::stdout(), "{}", created.id)?;
    Ok(0)
}

fn pools(parsed: &Parsed) -> Result<Vec<IpamPool>, Failure> {
    let auxiliary = env::pairs(&parsed.list("aux-address"));
    arrange(
        &parsed.comma_list("subnet"),
        &parsed.comma_list("ip-range"),
        &parsed.comma_list("gateway"),
        auxiliary,
    )
    .map_err(Failure::new)
}

/// Gives every range, gateway and address to the subnet that contains it.
fn arrange(
    subnets: &[String],
    ranges: &[String],
    gateways: &[String],
    auxiliary: BTreeMap<String, String>,
) -> Result<Vec<IpamPool>, String> {
    if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
        return Err("every ip-range or gateway must have a corresponding subnet".to_owned());
    }
    let mut pools: Vec<IpamPool> = Vec::new();
    for subnet in subnets {
        for known in &pools {
            // What is no subnet at all is for the engine to refuse.
            if let (Ok(known), Ok(new)) = (Subnet::parse(&known.subnet), Subnet::parse(subnet))
                && (known.contains(new.address) || new.contains(known.address))
            {
                return Err("multiple overlapping subnet configuration is not supported".to_owned());
            }
        }
        pools.push(IpamPool { subnet: subnet.clone(), ..IpamPool::default() });
    }
    let home = |pools: &[IpamPool], address: IpAddr| {
        pools.iter().position(|pool| Subnet::parse(&pool.subnet).is_ok_and(|subnet| subnet.contains(address)))
    };
    for range in ranges {
        let at = home(&pools, Subnet::parse(range)?.address)
            .ok_or_else(|| format!("no matching subnet for range {range}"))?;
        if !pools[at].ip_range.is_empty() {
            return Err(format!(
                "cannot configure multiple ranges ({range}, {}) on the same subnet ({})",
                pools[at].ip_range, pools[at].subnet
            ));
        }
        pools[at].ip_range.clone_from(range);
    }
    for gateway in gateways {
        let address =
            gateway.parse().map_err(|_| format!("invalid gateway {gateway}: it is not an IP address"))?;
        let at = home(&pools, address).ok_or_else(|| format!("no matching subnet for gateway {gateway}"))?;
        if !pools[at].gateway.is_empty() {
            return Err(format!(
                "cannot configure multiple gateways ({gateway}, {}) for the same subnet ({})",
                pools[at].gateway, pools[at].subnet
            ));
        }
        pools[at].gateway.clone_from(gateway);
    }
    for (name, address) in auxiliary {
        let parsed =
            address.parse().map_err(|_| format!("invalid aux-address {address}: it is not an IP address"))?;
        let at =
            home(&pools, parsed).ok_or_else(|| format!("no matching subnet for aux-address {address}"))?;
        pools[at].auxiliary_addresses.insert(name, address);
    }
    Ok(pools)
}

struct Subnet {
    address: IpAddr,
    length: u32,
}

impl Subnet {
    fn parse(text: &str) -> Result<Subnet, String> {
        let bad = || format!("invalid CIDR address: {text}");
        let (address, length) = text.split_once('/').ok_or_else(bad)?;
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let length: u32 = length.parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if length > most { Err(bad()) } else { Ok(Subnet { address, length }) }
    }

    fn contains(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
            IpAddr::V6(address) => (u128::from(address), 128),
        };
        let ((own, family), (other, other_family)) = (bits(self.address), bits(address));
        family == other_family && (self.length == 0 || (own ^ other) >> (128 - self.length) == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arranged(subnets: &[&str], ranges: &[&str], gateways: &[&str]) -> Result<Vec<IpamPool>, String> {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        arrange(&owned(subnets), &owned(ranges), &owned(gateways), BTreeMap::new())
    }

    #[test]
    fn everything_finds_its_subnet() {
        let pools =
            arranged(&["10.1.0.0/16", "fd00::/64"], &["10.1.2.0/24"], &["fd00::1", "10.1.0.1"]).unwrap();
        assert_eq!((pools[0].ip_range.as_str(), pools[0].gateway.as_str()), ("10.1.2.0/24", "10.1.0.1"));
        assert_eq!(pools[1].gateway, "fd00::1");
    }

    #[test]
    fn what_finds_none_is_told() {
        assert_eq!(
            arranged(&[], &["10.0.0.0/8"], &[]).unwrap_err(),
            "every ip-range or gateway must have a corresponding subnet"
        );
        assert_eq!(
            arranged(&["10.1.0.0/16"], &[], &["10.2.0.1"]).unwrap_err(),
            "no matching subnet for gateway 10.2.0.1"
        );
        assert!(arranged(&["10.1.0.0/16", "10.1.1.0/24"], &[], &[]).unwrap_err().contains("overlapping"));
        assert_eq!(
            arranged(&["10.1.0.0/16"], &["10.1.0.0"], &[]).unwrap_err(),
            "invalid CIDR address: 10.1.0.0"
        );
        assert_eq!(arranged(&["nonsense"], &[], &[]).unwrap()[0].subnet, "nonsense");
    }
}
