//! Health checks as they are asked for, and as the shim is told.
//!
//! Docker's checks execute a command in the container. Two more kinds start no process: `HTTP` and `TCP` as the first
//! word of the test, or the labels below for clients that know only Docker's kinds. What becomes of a container that is
//! unhealthy is a label, too. `docs/health.md` tells it to users.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use api::container::{Config, HealthConfig};
use shim::protocol::{Ask, Health, HttpAsk, OnUnhealthy};

use crate::error::{Error, Result};

const HTTP_LABEL: &str = "wharf.health.http";
const TCP_LABEL: &str = "wharf.health.tcp";
const ON_FAILURE_LABEL: &str = "wharf.health.on-failure";

/// Longer paths and names are no probe's.
const MAX_ADDRESS: usize = 2048;

/// A test that makes sense.
#[derive(Debug, PartialEq, Eq)]
enum Test {
    Command(Vec<String>),
    Ask(Ask),
}

/// The test that labels ask for, in the words of a configuration.
pub(super) fn of_labels(labels: Option<&BTreeMap<String, String>>) -> Result<Option<Vec<String>>> {
    let Some(labels) = labels else { return Ok(None) };
    let test = |kind: &str, value: &String| vec![kind.to_owned(), value.clone()];
    match (labels.get(HTTP_LABEL), labels.get(TCP_LABEL)) {
        (Some(_), Some(_)) => Err(Error::invalid(format!(
            "conflicting labels: {HTTP_LABEL} and {TCP_LABEL}; a container has one probe"
        ))),
        (Some(url), None) => Ok(Some(test("HTTP", url))),
        (None, Some(address)) => Ok(Some(test("TCP", address))),
        (None, None) => Ok(None),
    }
}

/// The shortest time there is.
const SHORTEST: i64 = 1_000_000;

/// Checks a container's own health check, in Docker's words where it has any.
pub(super) fn validate(config: &Config) -> Result<()> {
    let Some(check) = &config.healthcheck else { return Ok(()) };
    test(config)?;
    for (name, value) in [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ] {
        if value != 0 && value < SHORTEST {
            return Err(Error::invalid(format!("{name} in Healthcheck cannot be less than 1ms")));
        }
    }
    if check.retries < 0 {
        return Err(Error::invalid("Retries in Healthcheck cannot be negative"));
    }
    Ok(())
}

/// Checks what labels ask for, the image's included.
pub(super) fn validate_labels(config: &Config) -> Result<()> {
    action(config)?;
    match (of_labels(config.labels.as_ref())?, &config.healthcheck) {
        (Some(asked), Some(check)) if check.test == asked => test(config).map(drop),
        _ => Ok(()),
    }
}

/// Whether there is anything to check.
pub(super) fn is_checked(config: &Config) -> bool {
    matches!(test(config), Ok(Some(_)))
}

/// The command of a check as events show it, a lone one with the space before its arguments.
pub(super) fn words(config: &Config) -> String {
    let Ok(Some(Test::Command(command))) = test(config) else { return String::new() };
    match command.split_first() {
        Some((program, arguments)) => format!("{program} {}", arguments.join(" ")),
        None => String::new(),
    }
}

/// What the shim is told: Docker's defaults filled in. There is no probe where an image asks for one that makes no sense.
pub(super) fn for_shim(config: &Config) -> Result<Option<Health>> {
    const SECOND: u64 = 1_000_000_000;
    let test = test(config).unwrap_or_else(|reason| {
        tracing::warn!(%reason, "a container has no health check");
        None
    });
    let (Some(check), Some(test)) = (&config.healthcheck, test) else { return Ok(None) };
    let or = |value: i64, default: u64| match u64::try_from(value) {
        Ok(1..) => value.max(SHORTEST).unsigned_abs(),
        _ => default,
    };
    let (command, ask) = match test {
        Test::Command(command) => (command, None),
        Test::Ask(ask) => (Vec::new(), Some(ask)),
    };
    Ok(Some(Health {
        command,
        interval: or(check.interval, 30 * SECOND),
        timeout: or(check.timeout, 30 * SECOND),
        start_period: or(check.start_period, 0),
        start_interval: or(check.start_interval, 5 * SECOND),
        retries: if check.retries == 0 { 3 } else { u32::try_from(check.retries).unwrap_or(1) },
        ask,
        on_unhealthy: action(config)?,
    }))
}

fn action(config: &Config) -> Result<OnUnhealthy> {
    let label = config.labels.as_ref().and_then(|labels| labels.get(ON_FAILURE_LABEL));
    Ok(match label.map(String::as_str) {
        None | Some("" | "none") => OnUnhealthy::Nothing,
        Some("restart") => OnUnhealthy::Restart,
        Some("stop") => OnUnhealthy::Stop,
        Some("kill") => OnUnhealthy::Kill,
        Some(other) => {
            return Err(Error::invalid(format!(
                "invalid value {other:?} of the label {ON_FAILURE_LABEL}: use none, restart, stop or kill"
            )));
        }
    })
}

fn test(config: &Config) -> Result<Option<Test>> {
    let Some(HealthConfig { test, .. }) = &config.healthcheck else { return Ok(None) };
    let Some((word, rest)) = test.split_first() else { return Ok(None) };
    let one = |kind: &str| match rest {
        [one] if one.len() <= MAX_ADDRESS => Ok(one),
        _ => Err(Error::invalid(format!("{kind} takes one address in Healthcheck"))),
    };
    match word.as_str() {
        "NONE" => Ok(None),
        // Docker takes this, and goes down with the first probe.
        "CMD" if rest.is_empty() => Err(Error::invalid("CMD takes a command in Healthcheck")),
        "CMD" => Ok(Some(Test::Command(rest.to_vec()))),
        "CMD-SHELL" => {
            let default = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
            let shell = config.shell.clone().filter(|shell| !shell.is_empty()).unwrap_or_else(default);
            Ok(Some(Test::Command(shell.into_iter().chain(rest.iter().cloned()).collect())))
        }
        "HTTP" => Ok(Some(Test::Ask(http(one("HTTP")?)?))),
        "TCP" => Ok(Some(Test::Ask(tcp(one("TCP")?)?))),
        other => Err(Error::invalid(format!("Unknown healthcheck type \"{other}\" (expected 'CMD')"))),
    }
}

/// `http://localhost:8080/ready`
fn http(url: &str) -> Result<Ask> {
    let invalid =
        |reason: &str| Error::invalid(format!("invalid address {url:?} of an HTTP health check: {reason}"));
    let rest = url.strip_prefix("http://").ok_or_else(|| invalid("it begins with http://"))?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(invalid("a path has no spaces"));
    }
    let address = address(host, Some(80)).ok_or_else(|| invalid("its host is localhost or an IP address"))?;
    Ok(Ask { address, http: Some(HttpAsk { host: host.to_owned(), path: path.to_owned() }) })
}

/// `5432`, `localhost:5432`
fn tcp(text: &str) -> Result<Ask> {
    let port = text.parse().ok().map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    let address = port.or_else(|| address(text, None)).filter(|address| address.port() != 0);
    let address = address.ok_or_else(|| {
        Error::invalid(format!("invalid address {text:?} of a TCP health check: it is PORT or HOST:PORT, the host localhost or an IP address"))
    })?;
    Ok(Ask { address, http: None })
}

/// `localhost`, an IPv4 address or an IPv6 one in brackets, with a port where there is no default.
fn address(text: &str, default: Option<u16>) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (text, default?),
    };
    let ip = match host {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => host.trim_matches(['[', ']']).parse().ok()?,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(test: &[&str]) -> Config {
        let test = test.iter().map(|word| (*word).to_owned()).collect();
        Config {
            healthcheck: Some(HealthConfig { test, retries: 5, ..Default::default() }),
            ..Config::default()
        }
    }

    #[test]
    fn a_shell_line_runs_in_the_images_shell() {
        let mut config = config(&["CMD-SHELL", "exit 0"]);
        let check = for_shim(&config).unwrap().unwrap();
        assert_eq!(check.command, ["/bin/sh", "-c", "exit 0"]);
        assert_eq!((check.interval, check.retries), (30_000_000_000, 5));
        config.shell = Some(vec!["/bin/bash".into(), "-c".into()]);
        assert_eq!(for_shim(&config).unwrap().unwrap().command[0], "/bin/bash");
        assert!(for_shim(&self::config(&["NONE"])).unwrap().is_none());
    }

    #[test]
    fn addresses_of_probes() {
        let asked = |test: &[&str]| for_shim(&config(test)).map(|health| health.unwrap().ask.unwrap());
        let http = asked(&["HTTP", "http://localhost:8080/ready?deep=1"]).unwrap();
        assert_eq!(http.address, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(http.http, Some(HttpAsk { host: "localhost:8080".into(), path: "/ready?deep=1".into() }));
        assert_eq!(asked(&["HTTP", "http://10.0.0.1"]).unwrap().address, "10.0.0.1:80".parse().unwrap());
        assert_eq!(asked(&["HTTP", "http://[::1]/x"]).unwrap().address, "[::1]:80".parse().unwrap());
        assert_eq!(asked(&["TCP", "5432"]).unwrap().address, "127.0.0.1:5432".parse().unwrap());
        assert_eq!(asked(&["TCP", "[::1]:22"]).unwrap().address, "[::1]:22".parse().unwrap());
        for wrong in [
            &["HTTP", "https://localhost/"][..],
            &["HTTP", "http://example.com/"],
            &["HTTP", "http://localhost/a b"],
            &["HTTP"],
            &["TCP", "0"],
            &["TCP", "localhost"],
            &["TCP", "1", "2"],
        ] {
            assert!(validate(&config(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn labels_say_what_stock_clients_cannot() {
        let labels = |all: &[(&str, &str)]| -> BTreeMap<String, String> {
            all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let http = labels(&[(HTTP_LABEL, "http://localhost/")]);
        assert_eq!(of_labels(Some(&http)).unwrap().unwrap(), ["HTTP", "http://localhost/"]);
        assert!(of_labels(Some(&labels(&[(HTTP_LABEL, "x"), (TCP_LABEL, "1")]))).is_err());
        let mut config = config(&["CMD", "true"]);
        config.labels = Some(labels(&[(ON_FAILURE_LABEL, "restart")]));
        assert_eq!(for_shim(&config).unwrap().unwrap().on_unhealthy, OnUnhealthy::Restart);
        config.labels = Some(labels(&[(ON_FAILURE_LABEL, "dance")]));
        assert!(validate_labels(&config).unwrap_err().message().contains("use none, restart, stop or kill"));
        let mut config = self::config(&["TCP", "nowhere"]);
        assert!(validate_labels(&config).is_ok());
        config.labels = Some(labels(&[(TCP_LABEL, "nowhere")]));
        assert!(validate_labels(&config).unwrap_err().message().contains("invalid address"));
    }

    #[test]
    fn what_an_image_asks_for_is_done_as_far_as_it_makes_sense() {
        for nonsense in [&["DANCE", "x"][..], &[""], &["CMD"], &["HTTP", "x"]] {
            assert!(for_shim(&config(nonsense)).unwrap().is_none());
            assert!(!is_checked(&config(nonsense)));
        }
        let mut config = config(&["CMD", "true"]);
        config.healthcheck =
            config.healthcheck.map(|check| HealthConfig { interval: 5, timeout: -1, retries: -5, ..check });
        let check = for_shim(&config).unwrap().unwrap();
        assert_eq!((check.interval, check.timeout, check.retries), (1_000_000, 30_000_000_000, 1));
    }

    #[test]
    fn times_have_a_least_value() {
        let check = HealthConfig { interval: 5, ..HealthConfig::default() };
        let config = Config { healthcheck: Some(check), ..Config::default() };
        assert_eq!(
            validate(&config).unwrap_err().message(),
            "Interval in Healthcheck cannot be less than 1ms"
        );
        assert!(validate(&self::config(&["CMD"])).is_err());
        assert!(validate(&self::config(&["CMD-SHELL", "echo $0", "name"])).is_ok());
        assert!(
            validate(&self::config(&["DANCE"])).unwrap_err().message().contains("Unknown healthcheck type")
        );
    }
}
