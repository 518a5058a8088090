//! The addresses of an engine that is named, by the system's name service.
//!
//! The client is linked without shared libraries (it starts in two thirds of the time), and so without the modules that
//! `/etc/nsswitch.conf` names: mDNS, the resolver of systemd, a directory. `getent(1)`, a part of the C library's own
//! package, has them all. It is started only for a name; an address is parsed here.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::process::{Command, Stdio};

/// Where to connect, in the order in which the name service prefers it.
pub(crate) fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Some(address) = parse(host, port)? {
        return Ok(vec![address]);
    }
    let failed = |why: String| io::Error::new(io::ErrorKind::NotFound, format!("lookup {host}: {why}"));
    let asked = Command::new("getent")
        .args(["ahosts", "--", host])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(format!("cannot start getent, which asks the name service: {error}")))?;
    let answer = String::from_utf8_lossy(&asked.stdout);
    let found = told(&answer, port);
    if !found.is_empty() {
        return Ok(found);
    }
    // getent(1): 2 is a name that nobody knows.
    Err(failed(match asked.status.code() {
        Some(0 | 2) => "no such host".to_owned(),
        _ => format!("getent failed: {}", String::from_utf8_lossy(&asked.stderr).trim()),
    }))
}

/// One line for each address and type of socket: `192.0.2.1  STREAM name`.
fn told(answer: &str, port: u16) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for word in answer.lines().filter_map(|line| line.split_whitespace().next()) {
        if let Ok(Some(address)) = parse(word, port)
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

/// An address, with the interface that a link-local one needs (RFC 4007, section 11: `fe80::1%eth0`); `None`: a name.
fn parse(host: &str, port: u16) -> io::Result<Option<SocketAddr>> {
    let Some((address, zone)) = host.split_once('%') else {
        return Ok(host.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, port)));
    };
    let Ok(address) = address.parse() else { return Ok(None) };
    let scope = match zone.parse() {
        Ok(number) => number,
        Err(_) => index(zone).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("{host}: no network interface is named {zone:?}"))
        })?,
    };
    Ok(Some(SocketAddrV6::new(address, port, 0, scope).into()))
}

/// The number of a network interface (`sysfs`, `Documentation/ABI/testing/sysfs-class-net`).
fn index(name: &str) -> Option<u32> {
    // A name is one component of a path (`dev_valid_name` in the kernel).
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return None;
    }
    std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_no_name_service() {
        assert_eq!(addresses("192.0.2.7", 80).unwrap(), ["192.0.2.7:80".parse().unwrap()]);
        assert_eq!(addresses("2001:db8::7", 80).unwrap(), ["[2001:db8::7]:80".parse().unwrap()]);
    }

    #[test]
    fn a_link_local_address_names_its_interface() {
        let lo = SocketAddrV6::new("fe80::1".parse().unwrap(), 80, 0, 1);
        assert_eq!(parse("fe80::1%lo", 80).unwrap(), Some(lo.into()));
        assert_eq!(parse("fe80::1%1", 80).unwrap(), Some(lo.into()));
        let unknown = parse("fe80::1%nowhere", 80).unwrap_err();
        assert_eq!(unknown.to_string(), "fe80::1%nowhere: no network interface is named \"nowhere\"");
        assert!(parse("fe80::1%../lo", 80).is_err());
    }

    #[test]
    fn each_address_counts_once() {
        let answer = "::1             STREAM localhost\n::1             DGRAM  \n127.0.0.1       STREAM \n";
        assert_eq!(told(answer, 1), ["[::1]:1".parse().unwrap(), "127.0.0.1:1".parse().unwrap()]);
    }

    #[test]
    fn the_name_service_knows_this_machine() {
        let found = addresses("localhost", 80).unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
    }

    #[test]
    fn a_name_that_nobody_knows_is_said() {
        // RFC 2606: `.invalid` never exists; a resolver that can't be reached gives the same end.
        let error = addresses("nobody.invalid", 80).unwrap_err();
        assert!(error.to_string().starts_with("lookup nobody.invalid: "), "{error}");
        assert!(addresses("-s", 80).is_err());
    }
}
