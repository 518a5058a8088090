//! What one word of the command line must look like beyond its kind.
//!
//! dockerd checks these where they are said, and names the flag; the same values in the file are checked with
//! everything else, when both are put together.

use std::net::IpAddr;

use crate::host::Host;

pub(super) fn check(key: &str, text: &str) -> Result<(), String> {
    match key {
        "labels" => label(text).map(drop),
        // Whether there will be TLS decides only about the port.
        "hosts" => Host::parse(text, false).map(drop),
        "registry-mirrors" => engine::check_mirror(text).map_err(|error| error.to_string()),
        "dns" => address(text, || format!("invalid string being converted to IP address: {text}")),
        "host-gateway-ips" => address(text, || format!("ParseAddr({text:?}): unable to parse IP")),
        "ip" => address(text, || format!("failed to parse IP: {text:?}")),
        "default-ulimits" => ulimit(text),
        _ => Ok(()),
    }
}

/// Name and value of a label of the engine.
pub(crate) fn label(text: &str) -> Result<(&str, &str), String> {
    text.split_once('=').ok_or_else(|| format!("bad attribute format: {text}"))
}

fn address(text: &str, wrong: impl Fn() -> String) -> Result<(), String> {
    text.parse::<IpAddr>().map(drop).map_err(|_| wrong())
}

fn ulimit(text: &str) -> Result<(), String> {
    let limits = text.split_once('=').and_then(|(_, limits)| limits.split_once(':'));
    match limits.map(|(soft, hard)| (soft.parse::<i64>(), hard.parse::<i64>())) {
        Some((Ok(soft), Ok(hard))) if hard != -1 && soft > hard => {
            Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"))
        }
        _ => Ok(()),
    }
}
