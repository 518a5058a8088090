//! What moved from a container to its endpoint on a network: the hardware address and settings of the interface.
//!
//! Creations of older versions still name them for the whole container. They mean the endpoint on the network that the
//! network mode names, which is made where the request has none. What was moved is told as a warning.

use api::container::{CreateRequest, NetworkingConfig};
use api::network::EndpointSettings;
use api::version::ApiVersion;

use crate::reply::Failure;
use crate::transform::before;

/// The option of an endpoint that holds settings of its interface.
const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

/// Moves both; the warnings are for the answer.
pub(crate) fn to_endpoint(request: &mut CreateRequest, version: ApiVersion) -> Result<Vec<String>, Failure> {
    let moved = [mac_address(request, version)?, sysctls(request, version)?];
    Ok(moved.into_iter().flatten().collect())
}

/// From 1.44 on the address belongs to an endpoint; for later ones than 1.51 the container's is refused elsewhere.
fn mac_address(request: &mut CreateRequest, version: ApiVersion) -> Result<Option<String>, Failure> {
    let address = request.config.mac_address.clone();
    if before(version, 44) || address.is_empty() {
        return Ok(None);
    }
    request.config.mac_address.clear();
    if has_network(&request.host_config.network_mode) {
        let endpoint = main_endpoint(request, version).map_err(|why| {
            Failure::invalid(format!(
                "unable to migrate container-wide MAC address to a specific network: {why}"
            ))
        })?;
        if endpoint.mac_address.is_empty() {
            endpoint.mac_address = address;
        } else if endpoint.mac_address != address {
            return Err(Failure::invalid(
                "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
            ));
        }
    }
    Ok(Some(
        "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."
            .to_owned(),
    ))
}

/// A bridge's or one that somebody made: not the host's, another container's or none.
fn has_network(mode: &str) -> bool {
    !matches!(mode, "host" | "none" | "container") && !mode.starts_with("container:")
}

/// `net.ipv4.conf.eth0.forwarding` sets what there is only when the interface is.
fn sysctls(request: &mut CreateRequest, version: ApiVersion) -> Result<Option<String>, Failure> {
    let mode = &request.host_config.network_mode;
    if mode == "host" || mode.starts_with("container:") {
        return Ok(None);
    }
    let all = &mut request.host_config.sysctls;
    let (mut names, mut settings) = (Vec::new(), Vec::new());
    for (name, value) in all.iter() {
        let parts: Vec<&str> = name.splitn(5, '.').collect();
        let [_, family, kind, interface, setting] = parts[..] else { continue };
        if parts[0] != "net" || !interface.starts_with("eth") {
            continue;
        }
        if !before(version, 48) {
            return Err(Failure::system(format!(
                "interface specific sysctl setting {name:?} must be supplied using driver option '{SYSCTLS}'"
            )));
        }
        if interface != "eth0" {
            return Err(Failure::system(format!(
                "unable to determine network endpoint for sysctl {name}, use driver option '{SYSCTLS}' to set per-interface sysctls"
            )));
        }
        settings.push(format!("net.{family}.{kind}.IFNAME.{setting}={value}"));
        names.push(name.clone());
    }
    let Some(first) = names.first() else { return Ok(None) };
    all.retain(|name, _| !names.contains(name));
    let endpoint = main_endpoint(request, version)
        .map_err(|why| Failure::invalid(format!("unable to find a network for sysctl {first}: {why}")))?;
    let moved = settings.join(",");
    let options = endpoint.driver_opts.get_or_insert_default();
    // What the endpoint says of itself comes last, and counts.
    let theirs = options.get(SYSCTLS).map(|own| format!(",{own}")).unwrap_or_default();
    options.insert(SYSCTLS.to_owned(), format!("{moved}{theirs}"));
    Ok(Some(format!("Migrated sysctl {:?} to DriverOpts{{{SYSCTLS:?}:{moved:?}}}.", names.join(","))))
}

/// The endpoint on the network that the network mode names.
fn main_endpoint(
    request: &mut CreateRequest,
    version: ApiVersion,
) -> Result<&mut EndpointSettings, &'static str> {
    let mode = match request.host_config.network_mode.as_str() {
        "" | "default" => "bridge",
        mode => mode,
    };
    let NetworkingConfig { endpoints_config: all, .. } = request.networking_config.get_or_insert_default();
    let is_default = mode == "bridge" && all.contains_key("default");
    let name = match all.keys().next() {
        None => mode.to_owned(),
        // They name one endpoint only, whichever it is.
        Some(one) if before(version, 44) => one.clone(),
        Some(_) if all.contains_key(mode) => mode.to_owned(),
        Some(_) if is_default => "default".to_owned(),
        Some(_) => {
            return Err(
                "HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks",
            );
        }
    };
    Ok(all.entry(name).or_default().get_or_insert_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: &str = "02:00:00:00:00:09";

    fn moved(text: &str, minor: u16) -> Result<(CreateRequest, Vec<String>), String> {
        let mut request: CreateRequest = api::json::from_slice(text.as_bytes()).unwrap();
        let warnings = to_endpoint(&mut request, ApiVersion::new(1, minor))
            .map_err(|failure| failure.message.into_owned())?;
        Ok((request, warnings))
    }

    fn endpoint<'a>(request: &'a CreateRequest, name: &str) -> &'a EndpointSettings {
        request.networking_config.as_ref().unwrap().endpoints_config[name].as_ref().unwrap()
    }

    #[test]
    fn a_hardware_address_is_the_main_endpoints() {
        let (request, warnings) = moved(&format!(r#"{{"MacAddress":"{MAC}"}}"#), 44).unwrap();
        assert_eq!(
            (endpoint(&request, "bridge").mac_address.as_str(), request.config.mac_address.as_str()),
            (MAC, "")
        );
        assert!(warnings[0].starts_with("The container-wide MacAddress field is now deprecated."));
        let default = format!(
            r#"{{"MacAddress":"{MAC}","NetworkingConfig":{{"EndpointsConfig":{{"default":{{}}}}}}}}"#
        );
        assert_eq!(endpoint(&moved(&default, 44).unwrap().0, "default").mac_address, MAC);
        let host = format!(r#"{{"MacAddress":"{MAC}","HostConfig":{{"NetworkMode":"host"}}}}"#);
        let (request, warnings) = moved(&host, 44).unwrap();
        assert!(request.networking_config.is_none() && warnings.len() == 1);
        // Older versions have it as it was.
        assert_eq!(moved(&host, 43).unwrap().0.config.mac_address, MAC);
    }

    #[test]
    fn an_address_without_its_network_is_refused() {
        let with = |mode: &str, settings: &str| {
            let text = format!(
                r#"{{"MacAddress":"{MAC}","HostConfig":{{"NetworkMode":"{mode}"}},"NetworkingConfig":{{"EndpointsConfig":{{"one":{settings}}}}}}}"#
            );
            moved(&text, 44)
        };
        assert!(with("one", "{}").is_ok() && with("one", &format!(r#"{{"MacAddress":"{MAC}"}}"#)).is_ok());
        assert!(with("two", "{}").unwrap_err().starts_with("unable to migrate container-wide MAC address"));
        assert!(with("one", r#"{"MacAddress":"02:00:00:00:00:01"}"#).unwrap_err().contains("must match"));
    }

    #[test]
    fn settings_of_the_interface_are_its_endpoints() {
        let text = r#"{"HostConfig":{"Sysctls":{"net.ipv4.conf.eth0.forwarding":"1","net.ipv4.ip_forward":"0"}},
            "NetworkingConfig":{"EndpointsConfig":{"bridge":{"DriverOpts":{"com.docker.network.endpoint.sysctls":"net.ipv4.conf.IFNAME.a=2"}}}}}"#;
        let (request, warnings) = moved(text, 47).unwrap();
        assert_eq!(request.host_config.sysctls.len(), 1);
        assert_eq!(
            endpoint(&request, "bridge").driver_opts.as_ref().unwrap()[SYSCTLS],
            "net.ipv4.conf.IFNAME.forwarding=1,net.ipv4.conf.IFNAME.a=2"
        );
        assert_eq!(
            warnings,
            [
                r#"Migrated sysctl "net.ipv4.conf.eth0.forwarding" to DriverOpts{"com.docker.network.endpoint.sysctls":"net.ipv4.conf.IFNAME.forwarding=1"}."#
            ]
        );
        assert!(moved(text, 48).unwrap_err().starts_with("interface specific sysctl setting"));
        assert!(
            moved(&text.replace("eth0", "eth1"), 47)
                .unwrap_err()
                .starts_with("unable to determine network endpoint")
        );
        let host = text.replace(r#"{"Sysctls""#, r#"{"NetworkMode":"host","Sysctls""#);
        assert_eq!(moved(&host, 48).unwrap().0.host_config.sysctls.len(), 2);
    }
}
