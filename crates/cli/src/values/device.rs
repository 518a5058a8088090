//! Devices: `HOST[:CONTAINER][:rwm]`, throttles and weights of block devices.

use api::container::{DeviceMapping, ThrottleDevice, WeightDevice};

use crate::units;

/// Whether a value names a device by CDI: `vendor.example/class=name`.
pub(crate) fn is_cdi(text: &str) -> bool {
    let Some((kind, name)) = text.split_once('=') else { return false };
    !text.starts_with('/')
        && !name.is_empty()
        && kind.split_once('/').is_some_and(|(vendor, class)| !vendor.is_empty() && !class.is_empty())
}

pub(crate) fn parse(text: &str) -> Result<DeviceMapping, String> {
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 || parts[0].is_empty() {
        return Err(format!("bad format for path: {text}"));
    }
    let (host, container, permissions) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, second] if is_permissions(second) => (host, host, second),
        [host, container] => (host, container, "rwm"),
        [host, container, permissions] if is_permissions(permissions) => (host, container, permissions),
        [_, _, permissions] => return Err(format!("bad mode specified: {permissions}")),
        _ => return Err(format!("bad format for path: {text}")),
    };
    if !container.starts_with('/') {
        return Err(format!("{container} is not an absolute path"));
    }
    Ok(DeviceMapping {
        path_on_host: host.to_owned(),
        path_in_container: container.to_owned(),
        cgroup_permissions: permissions.to_owned(),
    })
}

fn is_permissions(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| b"rwm".contains(&byte))
        && text.bytes().enumerate().all(|(at, byte)| !text.as_bytes()[..at].contains(&byte))
}

pub(crate) fn parse_cgroup_rule(text: &str) -> Result<String, String> {
    let bad = || format!("invalid device cgroup format '{text}'");
    let parts: Vec<&str> = text.split(' ').collect();
    let [kind, numbers, permissions] = parts[..] else { return Err(bad()) };
    let number =
        |text: &str| text == "*" || (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    let numbers = numbers.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor));
    let accesses =
        (1..=3).contains(&permissions.len()) && permissions.bytes().all(|byte| b"rwm".contains(&byte));
    if !matches!(kind, "a" | "b" | "c") || !numbers || !accesses {
        return Err(bad());
    }
    Ok(text.to_owned())
}

fn path_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((path, _)) if !path.starts_with("/dev/") => Err(format!("bad format for device path: {text}")),
        Some((path, value)) if !value.is_empty() && !value.contains(':') => {
            Ok((path.to_owned(), value.to_owned()))
        }
        _ => Err(format!("bad format: {text}")),
    }
}

pub(crate) fn parse_bps(text: &str) -> Result<ThrottleDevice, String> {
    let (path, value) = path_and_value(text)?;
    let rate = units::parse_bytes(&value).map_err(|_| {
        format!("invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb")
    })?;
    Ok(ThrottleDevice { path, rate: rate.unsigned_abs() })
}

pub(crate) fn parse_iops(text: &str) -> Result<ThrottleDevice, String> {
    let (path, value) = path_and_value(text)?;
    let rate = value.parse().map_err(|_| {
        format!("invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive integer")
    })?;
    Ok(ThrottleDevice { path, rate })
}

pub(crate) fn parse_weight(text: &str) -> Result<WeightDevice, String> {
    let (path, value) = path_and_value(text)?;
    match value.parse() {
        Ok(weight) if weight == 0 || (10..=1000).contains(&weight) => Ok(WeightDevice { path, weight }),
        _ => Err(format!("invalid weight for device: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_one_to_three_parts() {
        let shown = |text: &str| {
            parse(text).map(|device| {
                format!("{} {} {}", device.path_on_host, device.path_in_container, device.cgroup_permissions)
            })
        };
        assert_eq!(shown("/dev/a").unwrap(), "/dev/a /dev/a rwm");
        assert_eq!(shown("/dev/a:r").unwrap(), "/dev/a /dev/a r");
        assert_eq!(shown("/dev/a:/dev/b").unwrap(), "/dev/a /dev/b rwm");
        assert_eq!(shown("/dev/a:/dev/b:rw").unwrap(), "/dev/a /dev/b rw");
        assert_eq!(shown("/dev/a:/dev/b:rr").unwrap_err(), "bad mode specified: rr");
        assert!(shown("a:b:r:x").is_err() && shown("").is_err());
        assert_eq!(shown("/dev/a:b").unwrap_err(), "b is not an absolute path");
        assert!(is_cdi("vendor.com/class=name") && !is_cdi("/dev/a=b/c"));
    }

    #[test]
    fn rates_and_weights() {
        assert_eq!(parse_bps("/dev/sda:1mb").unwrap().rate, 1 << 20);
        assert_eq!(parse_iops("/dev/sda:100").unwrap().rate, 100);
        assert!(parse_iops("/dev/sda:1k").is_err() && parse_bps("sda:1").is_err());
        assert_eq!(parse_weight("/dev/sda:500").unwrap().weight, 500);
        assert_eq!(parse_weight("/dev/sda:5").unwrap_err(), "invalid weight for device: /dev/sda:5");
        assert!(parse_cgroup_rule("c 42:* rmw").is_ok() && parse_cgroup_rule("c 42:1 rr").is_ok());
        assert!(parse_cgroup_rule("c 42 rmw").is_err() && parse_cgroup_rule("c 42:1 rwmr").is_err());
    }
}
