//! From a request to a network: everything is checked, and subnets are chosen, before anything is made. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::network::{CreateRequest, Ipam, IpamPool};
use ipnet::IpNet;
use network::address::{Leases, Pool, first, free_subnet, overlap};

use super::record::{Driver, GatewayMode, Network, Subnet, option, parse_flag};
use crate::error::{Error, Result};
use crate::{clock, identity};

const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

/// What a choice of subnets has to know.
pub(super) struct Taken {
    /// By networks of this engine.
    pub(super) networks: Vec<IpNet>,
    /// By routes of the host.
    pub(super) routes: Vec<IpNet>,
}

/// A network that others are configured from: kept as it was asked for.
pub(super) fn configuration(request: CreateRequest) -> Result<Network> {
    check_name(&request.name)?;
    if request.config_from.as_ref().is_some_and(|from| !from.network.is_empty()) {
        return Err(Error::forbidden(
            "a configuration network cannot depend on another configuration network",
        ));
    }
    if request.ingress || request.internal || request.attachable || !request.scope.is_empty() {
        return Err(Error::forbidden(
            "configuration network can only contain network specific fields. Network operator fields like \
             [ ingress | internal | attachable | scope ] are not supported.",
        ));
    }
    let options = request.options.unwrap_or_default();
    let enable_ipv4 = request.enable_ipv4.unwrap_or(true);
    let enable_ipv6 = request.enable_ipv6.unwrap_or(false);
    check_options(&options, false)?;
    let mut ipam = request.ipam.unwrap_or_default();
    check_ipam_driver(&mut ipam)?;
    configured(&ipam, enable_ipv4, enable_ipv6)?;
    Ok(Network {
        id: identity::random(),
        name: request.name,
        created: clock::now(),
        driver: Driver::Null,
        enable_ipv4,
        enable_ipv6,
        internal: false,
        attachable: false,
        options,
        labels: request.labels.unwrap_or_default(),
        ipam,
        subnets: Vec::new(),
        predefined: false,
        config_only: true,
        config_from: String::new(),
    })
}

/// The request with what `from` says filled in, which the request must leave open.
pub(super) fn configured_from(mut request: CreateRequest, from: &Network) -> Result<CreateRequest> {
    if request.options.as_ref().is_some_and(|options| !options.is_empty()) {
        return Err(Error::forbidden(
            "network driver options are not supported if the network depends on a configuration network",
        ));
    }
    let pools =
        request.ipam.as_ref().is_some_and(|ipam| ipam.config.as_ref().is_some_and(|all| !all.is_empty()));
    let labels = request.labels.as_ref().is_some_and(|labels| !labels.is_empty());
    if pools || labels || request.enable_ipv6 == Some(true) {
        return Err(Error::forbidden(
            "user specified configurations are not supported if the network depends on a configuration network",
        ));
    }
    request.enable_ipv4 = Some(from.enable_ipv4);
    request.enable_ipv6 = Some(from.enable_ipv6);
    request.ipam = Some(from.ipam.clone());
    request.options = Some(from.options.clone());
    request.labels = Some(from.labels.clone());
    Ok(request)
}

pub(super) fn network(request: CreateRequest, pools: &[Pool], taken: &Taken) -> Result<Network> {
    check_name(&request.name)?;
    check_driver(&request.driver)?;
    unsupported(&request)?;
    let options = request.options.clone().unwrap_or_default();
    check_options(&options, request.internal)?;
    let flag = |key: &str| options.get(key).and_then(|text| parse_flag(text));
    let enable_ipv4 = request.enable_ipv4.or(flag("com.docker.network.enable_ipv4")).unwrap_or(true);
    let enable_ipv6 = request.enable_ipv6.or(flag("com.docker.network.enable_ipv6")).unwrap_or(false);
    if !enable_ipv4 && !enable_ipv6 {
        return Err(Error::invalid("IPv4 or IPv6 must be enabled"));
    }
    let mut ipam = request.ipam.unwrap_or_default();
    check_ipam_driver(&mut ipam)?;
    let mut subnets = configured(&ipam, enable_ipv4, enable_ipv6)?;
    if subnets.iter().filter(|one| one.subnet.addr().is_ipv4()).count() > 1 {
        return Err(Error::forbidden("bridge driver doesn't support multiple subnets"));
    }
    if subnets.iter().any(|one| taken.networks.iter().any(|other| overlap(&one.subnet, other))) {
        return Err(Error::forbidden(
            "invalid pool request: Pool overlaps with other one on this address space",
        ));
    }
    for (pool, one) in ipam.config.iter().flatten().zip(&subnets) {
        let mode = if one.subnet.addr().is_ipv6() { option::GATEWAY_MODE_V6 } else { option::GATEWAY_MODE };
        let mode = options.get(mode).and_then(|mode| GatewayMode::parse(mode));
        check_addresses(pool, one, mode != Some(GatewayMode::Isolated))?;
    }
    for (v6, enabled) in [(false, enable_ipv4), (true, enable_ipv6)] {
        if enabled && !subnets.iter().any(|one| one.subnet.addr().is_ipv6() == v6) {
            subnets.push(choose(v6, pools, taken)?);
        }
    }
    show(&mut ipam, &subnets);
    Ok(Network {
        id: identity::random(),
        name: request.name,
        created: clock::now(),
        driver: Driver::Bridge,
        enable_ipv4,
        enable_ipv6,
        internal: request.internal,
        attachable: request.attachable,
        options,
        labels: request.labels.unwrap_or_default(),
        ipam,
        subnets,
        predefined: false,
        config_only: false,
        config_from: request.config_from.map(|from| from.network).unwrap_or_default(),
    })
}

fn check_ipam_driver(ipam: &mut Ipam) -> Result<()> {
    if ipam.driver.is_empty() {
        ipam.driver = "default".into();
    }
    if ipam.driver == "default" {
        return Ok(());
    }
    Err(Error::not_found(format!("plugin {:?} not found", ipam.driver)))
}

fn check_name(name: &str) -> Result<()> {
    if PREDEFINED.contains(&name) || name == "default" {
        return Err(Error::forbidden(format!("operation is not permitted on predefined {name} network ")));
    }
    // Files are named by ids: any name will do.
    if name.trim().is_empty() {
        return Err(Error::invalid("invalid name: name is empty"));
    }
    Ok(())
}

fn check_driver(driver: &str) -> Result<()> {
    match driver {
        "" | "default" | "bridge" => Ok(()),
        "host" | "null" => {
            Err(Error::forbidden(format!("only one instance of {driver:?} network is allowed")))
        }
        "overlay" => Err(Error::unavailable(
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
        )),
        "macvlan" | "ipvlan" => Err(Error::not_implemented(format!(
            "the network driver {driver:?} is not supported by this engine"
        ))),
        other => Err(Error::not_found(format!("plugin {other:?} not found"))),
    }
}

fn unsupported(request: &CreateRequest) -> Result<()> {
    let refused = [
        (request.ingress, "Ingress network can only be global scope network"),
        (
            !["", "local"].contains(&request.scope.as_str()),
            "cannot create a swarm scoped network when swarm is not active",
        ),
    ];
    match refused.iter().find(|(asked, _)| *asked) {
        Some((_, reason)) => Err(Error::invalid(*reason)),
        None => Ok(()),
    }
}

/// Options of the bridge driver: those that mean something have to make sense, and those that would mean something and
/// are not known here are refused. Anything else is kept and means nothing, as with Docker.
fn check_options(options: &BTreeMap<String, String>, internal: bool) -> Result<()> {
    for (key, value) in options {
        let valid = match key.as_str() {
            option::NAME => is_interface_name(value),
            option::PREFIX => is_interface_name(value) && value.len() <= 11,
            option::ICC
            | option::MASQUERADE
            | option::INHIBIT
            | "com.docker.network.enable_ipv4"
            | "com.docker.network.enable_ipv6" => parse_flag(value).is_some(),
            option::MTU => value.parse::<u32>().is_ok_and(|mtu| mtu == 0 || (68..=65535).contains(&mtu)),
            option::HOST_BINDING | option::SOURCE_V4 => value.parse::<std::net::Ipv4Addr>().is_ok(),
            option::SOURCE_V6 => value.parse::<std::net::Ipv6Addr>().is_ok(),
            option::GATEWAY_MODE | option::GATEWAY_MODE_V6 => match GatewayMode::parse(value) {
                Some(GatewayMode::Isolated) if !internal => {
                    return Err(Error::invalid(
                        "gateway mode 'isolated' can only be used for an internal network",
                    ));
                }
                mode => mode.is_some(),
            },
            option::DEFAULT if parse_flag(value) == Some(false) => true,
            option::DEFAULT => return Err(unknown_option(key, value)),
            _ if key.starts_with("com.docker.network.bridge.") => return Err(unknown_option(key, value)),
            _ => true,
        };
        if !valid {
            return Err(Error::invalid(match key.as_str() {
                option::MTU => unreadable(key, value, "Atoi"),
                option::ICC | option::MASQUERADE | option::INHIBIT => unreadable(key, value, "ParseBool"),
                option::GATEWAY_MODE | option::GATEWAY_MODE_V6 => {
                    format!("failed to parse {key} value: {value} (unknown gateway mode {value})")
                }
                _ => format!("invalid value for network option {key}: {value:?}"),
            }));
        }
    }
    Ok(())
}

/// As Go says it.
fn unreadable(key: &str, value: &str, function: &str) -> String {
    format!("failed to parse {key} value: {value} (strconv.{function}: parsing {value:?}: invalid syntax)")
}

fn unknown_option(key: &str, value: &str) -> Error {
    Error::invalid(format!("the network option {key}={value} is not supported"))
}

pub(super) fn is_interface_name(name: &str) -> bool {
    let printable = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
    (1..16).contains(&name.len()) && name.bytes().all(printable) && name != "." && name != ".."
}

/// The subnets that the request names. All that is wrong with them is told at once.
fn configured(ipam: &Ipam, enable_ipv4: bool, enable_ipv6: bool) -> Result<Vec<Subnet>> {
    let mut problems = Vec::new();
    let mut subnets: Vec<Subnet> = Vec::new();
    for pool in ipam.config.iter().flatten() {
        match subnet(pool) {
            Ok(Some(one)) => {
                let v6 = one.subnet.addr().is_ipv6();
                let family = if v6 { "IPv6" } else { "IPv4" };
                if !(if v6 { enable_ipv6 } else { enable_ipv4 }) {
                    problems.push(format!(
                        "{family} subnet {} is configured, but {family} is not enabled",
                        one.subnet
                    ));
                }
                if subnets.iter().any(|other| overlap(&one.subnet, &other.subnet)) {
                    problems.push(format!("subnet {} overlaps another one of this network", one.subnet));
                }
                subnets.push(one);
            }
            // Only a gateway or a range, without a subnet: nothing to hold on to.
            Ok(None) => problems
                .push("a subnet is needed to configure a gateway, a range or auxiliary addresses".into()),
            Err(more) => problems.extend(more),
        }
    }
    if problems.is_empty() {
        return Ok(subnets);
    }
    Err(Error::invalid(format!("invalid network config:\n{}", problems.join("\n"))))
}

fn subnet(pool: &IpamPool) -> Result<Option<Subnet>, Vec<String>> {
    if pool.subnet.is_empty() {
        let nothing =
            pool.gateway.is_empty() && pool.ip_range.is_empty() && pool.auxiliary_addresses.is_empty();
        return if nothing {
            Err(vec!["invalid subnet : invalid CIDR block notation".into()])
        } else {
            Ok(None)
        };
    }
    let Ok(subnet) = pool.subnet.parse::<IpNet>() else {
        return Err(vec![format!("invalid subnet {}: invalid CIDR block notation", pool.subnet)]);
    };
    let mut problems = Vec::new();
    if subnet.trunc() != subnet {
        problems.push(format!("invalid subnet {subnet}: it should be {}", subnet.trunc()));
    }
    let range = range(&pool.ip_range, subnet, &mut problems);
    let mut address = |kind: &str, text: &str| match text.parse::<IpAddr>() {
        Err(_) => {
            problems.push(format!("invalid {kind} {text}: invalid address"));
            None
        }
        Ok(address) if !subnet.contains(&address) => {
            problems.push(format!(
                "invalid {kind} {address}: parent subnet {subnet} doesn't contain this address"
            ));
            None
        }
        Ok(address) => Some(address),
    };
    let gateway = match pool.gateway.as_str() {
        "" => Some(first(subnet, range)),
        text => address("gateway", text),
    };
    let reserved: Vec<IpAddr> =
        pool.auxiliary_addresses.values().filter_map(|text| address("auxiliary address", text)).collect();
    match gateway {
        Some(gateway) if problems.is_empty() => {
            Ok(Some(Subnet { subnet, range, gateway, router: None, reserved, chosen: true }))
        }
        _ => Err(problems),
    }
}

/// The gateway's address and those that are kept free are each somebody's, and nobody else's. `gateway`: there is one.
fn check_addresses(pool: &IpamPool, subnet: &Subnet, gateway: bool) -> Result<()> {
    const IN_USE: &str = "Address already in use";
    let mut leases = Leases::new(subnet.subnet, subnet.range);
    let named = &pool.gateway;
    let problem = match named.as_str() {
        _ if !gateway => None,
        "" => leases.take_lowest().is_none().then_some("no available addresses on this pool"),
        _ => (!leases.take(subnet.gateway)).then_some(IN_USE),
    };
    if let Some(problem) = problem {
        return Err(Error::system(format!("failed to allocate gateway ({named}): {problem}")));
    }
    let twice = (pool.auxiliary_addresses.iter())
        .find(|(_, text)| !text.parse().is_ok_and(|address| leases.take(address)));
    match twice {
        Some((name, text)) => {
            Err(Error::system(format!("failed to allocate secondary ip address ({name}:{text}): {IN_USE}")))
        }
        None => Ok(()),
    }
}

fn range(text: &str, subnet: IpNet, problems: &mut Vec<String>) -> Option<IpNet> {
    if text.is_empty() {
        return None;
    }
    let Ok(range) = text.parse::<IpNet>() else {
        problems.push(format!("invalid ip-range {text}: invalid CIDR block notation"));
        return None;
    };
    if range.prefix_len() < subnet.prefix_len() {
        problems
            .push(format!("invalid ip-range {range}: CIDR block is bigger than its parent subnet {subnet}"));
    } else if range.trunc() != range {
        problems.push(format!("invalid ip-range {range}: it should be {}", range.trunc()));
    } else if !subnet.contains(&range) {
        problems.push(format!("invalid ip-range {range}: parent subnet {subnet} doesn't contain ip-range"));
    }
    Some(range)
}

/// A subnet that nobody asked for by name.
pub(super) fn choose(v6: bool, pools: &[Pool], taken: &Taken) -> Result<Subnet> {
    let all: Vec<IpNet> = taken.networks.iter().chain(&taken.routes).copied().collect();
    let subnet = free_subnet(pools, v6, &all)
        .ok_or_else(|| Error::invalid("all predefined address pools have been fully subnetted"))?;
    Ok(Subnet {
        subnet,
        range: None,
        gateway: first(subnet, None),
        router: None,
        reserved: Vec::new(),
        chosen: false,
    })
}

/// Chosen subnets stand in the configuration like named ones.
pub(super) fn show(ipam: &mut Ipam, subnets: &[Subnet]) {
    let chosen = subnets.iter().filter(|one| !one.chosen).map(|one| IpamPool {
        subnet: one.subnet.to_string(),
        gateway: one.gateway.to_string(),
        ..IpamPool::default()
    });
    ipam.config.get_or_insert_default().extend(chosen);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str, pools: &[(&str, &str, &str)]) -> CreateRequest {
        let pool = |(subnet, range, gateway): &(&str, &str, &str)| IpamPool {
            subnet: (*subnet).into(),
            ip_range: (*range).into(),
            gateway: (*gateway).into(),
            auxiliary_addresses: BTreeMap::new(),
        };
        let ipam = Ipam { config: Some(pools.iter().map(pool).collect()), ..Ipam::default() };
        CreateRequest { name: name.into(), ipam: Some(ipam), ..CreateRequest::default() }
    }

    fn make(request: CreateRequest) -> Result<Network> {
        let taken = Taken {
            networks: vec!["172.17.0.0/16".parse().unwrap()],
            routes: vec!["172.18.0.0/24".parse().unwrap()],
        };
        let mut pools = network::address::default_pools();
        pools.push(network::address::local_pool("test"));
        super::network(request, &pools, &taken)
    }

    fn refused(request: CreateRequest) -> String {
        make(request).unwrap_err().to_string()
    }

    #[test]
    fn subnets_are_chosen_around_what_is_taken() {
        let network = make(CreateRequest { name: "backend".into(), ..CreateRequest::default() }).unwrap();
        assert_eq!(network.subnets[0].subnet.to_string(), "172.19.0.0/16");
        let config = network.ipam.config.unwrap();
        assert_eq!((config[0].subnet.as_str(), config[0].gateway.as_str()), ("172.19.0.0/16", "172.19.0.1"));
        assert_eq!(network.ipam.driver, "default");
        let six = CreateRequest { name: "six".into(), enable_ipv6: Some(true), ..CreateRequest::default() };
        assert!(make(six).unwrap().subnets[1].subnet.to_string().starts_with("fd"));
    }

    #[test]
    fn named_subnets_are_shown_as_they_were_named() {
        let network = make(request("gold", &[("10.99.0.0/24", "", "")])).unwrap();
        let config = network.ipam.config.unwrap();
        assert_eq!(
            (config[0].subnet.as_str(), config[0].gateway.as_str(), config.len()),
            ("10.99.0.0/24", "", 1)
        );
        assert_eq!(network.subnets[0].gateway.to_string(), "10.99.0.1");
    }

    #[test]
    fn subnets_that_make_no_sense() {
        let with = |pool| refused(request("n", &[pool])).replace("invalid network config:\n", "");
        assert_eq!(with(("10.0.0.1/24", "", "")), "invalid subnet 10.0.0.1/24: it should be 10.0.0.0/24");
        assert_eq!(with(("10.0.0.0", "", "")), "invalid subnet 10.0.0.0: invalid CIDR block notation");
        assert_eq!(
            with(("10.0.0.0/24", "10.0.0.0/16", "")),
            "invalid ip-range 10.0.0.0/16: CIDR block is bigger than its parent subnet 10.0.0.0/24"
        );
        assert_eq!(
            with(("10.0.0.0/24", "10.0.1.0/28", "")),
            "invalid ip-range 10.0.1.0/28: parent subnet 10.0.0.0/24 doesn't contain ip-range"
        );
        assert_eq!(
            with(("10.0.0.0/24", "", "10.0.1.1")),
            "invalid gateway 10.0.1.1: parent subnet 10.0.0.0/24 doesn't contain this address"
        );
        assert!(with(("fd00::/64", "", "")).contains("IPv6 is not enabled"));
        assert_eq!(
            refused(request("n", &[("172.17.5.0/24", "", "")])),
            "invalid pool request: Pool overlaps with other one on this address space"
        );
        // A route of the host does not refuse what is asked for by name.
        make(request("n", &[("172.18.0.0/24", "", "")])).unwrap();
    }

    #[test]
    fn the_gateway_is_the_first_of_the_range() {
        let gateway = |subnet: &str, range: &str| {
            let request = CreateRequest { enable_ipv6: Some(true), ..request("n", &[(subnet, range, "")]) };
            make(request).unwrap().subnets[0].gateway.to_string()
        };
        assert_eq!(gateway("10.0.0.0/24", "10.0.0.64/26"), "10.0.0.64");
        assert_eq!(gateway("10.0.0.0/24", "10.0.0.0/26"), "10.0.0.1");
        assert_eq!(gateway("fd00::/64", "fd00::100/120"), "fd00::100");
        assert_eq!(
            refused(request("n", &[("10.0.0.0/24", "10.0.0.255/32", "")])),
            "failed to allocate gateway (): no available addresses on this pool"
        );
    }

    #[test]
    fn an_address_has_one_owner() {
        let with = |subnet: &str, gateway: &str, auxiliary: &[(&str, &str)]| {
            let mut request = request("n", &[(subnet, "", gateway)]);
            request.enable_ipv6 = Some(true);
            let pool = &mut request.ipam.as_mut().unwrap().config.as_mut().unwrap()[0];
            pool.auxiliary_addresses =
                auxiliary.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
            request
        };
        for (subnet, gateway) in
            [("10.0.0.0/24", "10.0.0.255"), ("10.0.0.0/24", "10.0.0.0"), ("fd00::/64", "fd00::")]
        {
            let told = format!("failed to allocate gateway ({gateway}): Address already in use");
            assert_eq!(refused(with(subnet, gateway, &[])), told);
        }
        for (subnet, gateway, taken) in [
            ("10.0.0.0/24", "", "10.0.0.1"),
            ("10.0.0.0/24", "10.0.0.7", "10.0.0.7"),
            ("10.0.0.0/24", "", "10.0.0.255"),
            ("fd00::/64", "", "fd00::1"),
            ("fd00::/64", "fd00::7", "fd00::7"),
        ] {
            let told = format!("failed to allocate secondary ip address (x:{taken}): Address already in use");
            assert_eq!(refused(with(subnet, gateway, &[("x", taken)])), told);
        }
        let twice = with("10.0.0.0/24", "", &[("x", "10.0.0.9"), ("y", "10.0.0.9")]);
        assert!(refused(twice).contains("(y:10.0.0.9)"));
        make(with("fd00::/64", "fd00::ffff:ffff:ffff:ffff", &[])).unwrap();
        make(with("10.0.0.0/31", "10.0.0.0", &[("x", "10.0.0.1")])).unwrap();
        // An isolated bridge has no address that could be in the way.
        let mut isolated = with("10.0.0.0/24", "", &[("x", "10.0.0.1")]);
        isolated.internal = true;
        isolated.options = Some([(option::GATEWAY_MODE.to_owned(), "isolated".to_owned())].into());
        make(isolated).unwrap();
    }

    #[test]
    fn configurations_are_taken_over_whole() {
        let request =
            |name: &str| CreateRequest { config_only: true, ..request(name, &[("10.7.0.0/24", "", "")]) };
        let mut base = request("base");
        base.options = Some([(option::MTU.to_owned(), "1400".to_owned())].into());
        base.labels = Some([("a".to_owned(), "b".to_owned())].into());
        let base = configuration(base).unwrap();
        assert!(base.config_only && base.driver == Driver::Null && base.subnets.is_empty());
        let plain = |name: &str| CreateRequest { name: name.into(), ..CreateRequest::default() };
        let network = make(configured_from(plain("n"), &base).unwrap()).unwrap();
        assert_eq!((network.mtu(), network.subnets.len(), network.labels.len()), (Some(1400), 1, 1));
        let refused = |request| configured_from(request, &base).unwrap_err().to_string();
        assert!(
            refused(super::tests::request("n", &[("10.8.0.0/24", "", "")])).starts_with("user specified")
        );
        let options = Some([("a".to_owned(), "b".to_owned())].into());
        assert!(refused(CreateRequest { options, ..plain("n") }).starts_with("network driver options"));
        let internal = CreateRequest { internal: true, ..request("base") };
        assert!(configuration(internal).unwrap_err().to_string().contains("[ ingress | internal"));
    }

    #[test]
    fn names_drivers_and_options() {
        let named = |name: &str| refused(request(name, &[]));
        assert_eq!(named("host"), "operation is not permitted on predefined host network ");
        assert_eq!(named(" "), "invalid name: name is empty");
        make(request("a b", &[])).unwrap();
        let driver = |driver: &str| refused(CreateRequest { driver: driver.into(), ..request("n", &[]) });
        assert_eq!(driver("null"), "only one instance of \"null\" network is allowed");
        assert_eq!(driver("weave"), "plugin \"weave\" not found");
        let with = |key: &str, value: &str| {
            let options = [(key.to_owned(), value.to_owned())].into();
            make(CreateRequest { options: Some(options), ..request("n", &[]) })
        };
        assert!(with(option::MTU, "large").is_err());
        assert!(with(option::NAME, "a/b").is_err());
        assert_eq!(
            with(option::GATEWAY_MODE, "foo").unwrap_err().to_string(),
            "failed to parse com.docker.network.bridge.gateway_mode_ipv4 value: foo (unknown gateway mode foo)"
        );
        assert_eq!(
            with(option::GATEWAY_MODE, "isolated").unwrap_err().to_string(),
            "gateway mode 'isolated' can only be used for an internal network"
        );
        assert_eq!(with(option::GATEWAY_MODE, "routed").unwrap().gateway_mode(false), GatewayMode::Routed);
        assert_eq!(with(option::NAME, "gold0").unwrap().bridge_name(), "gold0");
        assert_eq!(with(option::MTU, "1400").unwrap().mtu(), Some(1400));
        with("com.example.anything", "x").unwrap();
    }
}
