//! The options of the `fluentd` driver. By `tls://` the server is held against the system's authorities.

use std::path::PathBuf;
use std::time::Duration;

use shim::protocol::{Collector, Endpoint, Fluentd, Tls};

use super::Told;
use super::address::{Url, endpoints};
use super::options::{Options, Read, Units, boolean, millis, size, text, unsigned};
use super::subject::{DEFAULT_TAG, Subject};
use crate::duration;

pub(super) const OPTIONS: &[&str] = &[
    "env",
    "env-regex",
    "labels",
    "labels-regex",
    "tag",
    "fluentd-address",
    "fluentd-async",
    "fluentd-async-reconnect-interval",
    "fluentd-buffer-limit",
    "fluentd-max-retries",
    "fluentd-request-ack",
    "fluentd-retry-wait",
    "fluentd-sub-second-precision",
    "fluentd-write-timeout",
];

const PORT: u16 = 24224;
const BUFFER_LIMIT: u64 = 1 << 20;
const RETRY_WAIT: Duration = Duration::from_secs(1);
const MAX_RETRIES: u32 = i32::MAX.cast_unsigned();
const RECONNECT: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(10);

#[derive(Debug, PartialEq, Eq)]
enum Address {
    Socket(PathBuf),
    Tcp(String, u16),
    Tls(String, u16),
}

pub(super) fn check(options: &Options) -> Read<()> {
    address(options)?;
    terms(options).map(drop)
}

pub(super) fn describe(subject: &Subject<'_>) -> Read<Told> {
    let (endpoints, tls) = match address(subject.options)? {
        Address::Socket(path) => (vec![Endpoint::Unix(path)], None),
        Address::Tcp(host, port) => (endpoints("tcp", &host, port)?, None),
        Address::Tls(host, port) => {
            let endpoints = endpoints("tcp", &host, port)?;
            let program = subject.host.tls.to_owned();
            let (authority, certificate, key) = (None, None, None);
            (endpoints, Some(Tls { program, server: host, authority, certificate, key, verify: true }))
        }
    };
    let mut fields = subject.attributes(str::to_owned)?;
    fields.entry("container_id".into()).or_insert_with(|| subject.id().to_owned());
    fields.entry("container_name".into()).or_insert_with(|| format!("/{}", subject.record.name));
    let told = Fluentd { tag: subject.tag(DEFAULT_TAG)?, fields, ..terms(subject.options)? };
    Ok(Told { collector: Collector::Fluentd(told), endpoints, tls })
}

fn terms(options: &Options) -> Read<Fluentd> {
    let buffer_limit = text(options, "fluentd-buffer-limit");
    let retry_wait = text(options, "fluentd-retry-wait");
    let max_retries = text(options, "fluentd-max-retries");
    let switch = |key: &str| text(options, key).map_or(Ok(false), boolean);
    Ok(Fluentd {
        buffer_limit: buffer_limit.map_or(Ok(BUFFER_LIMIT), |text| size(text, Units::Binary))?,
        retry_wait: millis(retry_wait.map_or(Ok(RETRY_WAIT), duration::parse)?),
        max_retries: match max_retries {
            Some(text) => u32::try_from(unsigned(text)?).unwrap_or(u32::MAX),
            None => MAX_RETRIES,
        },
        asynchronous: switch("fluentd-async")?,
        reconnect_interval: reconnect_interval(options)?,
        sub_second: switch("fluentd-sub-second-precision")?,
        request_ack: switch("fluentd-request-ack")?,
        write_timeout: write_timeout(options)?,
        ..Fluentd::default()
    })
}

fn reconnect_interval(options: &Options) -> Read<u64> {
    const KEY: &str = "fluentd-async-reconnect-interval";
    let Some(given) = text(options, KEY) else { return Ok(0) };
    let interval = duration::parse(given).map_err(|error| format!("invalid value for {KEY}: {error}"))?;
    if !interval.is_zero() && !RECONNECT.contains(&interval) {
        let shown = duration::shown(interval);
        return Err(format!("invalid value for {KEY}: value ({shown:?}) must be between 100ms and 10s"));
    }
    Ok(millis(interval))
}

fn write_timeout(options: &Options) -> Read<u64> {
    const KEY: &str = "fluentd-write-timeout";
    let Some(given) = text(options, KEY) else { return Ok(0) };
    let invalid = |error| format!("invalid value for {KEY}: value must be a duration: {error}");
    if given.strip_prefix('-').is_some_and(|rest| duration::parse(rest).is_ok()) {
        return Err(format!("invalid value for {KEY}: value must be a duration that is non-negative"));
    }
    duration::parse(given).map(millis).map_err(invalid)
}

fn address(options: &Options) -> Read<Address> {
    let Some(given) = text(options, "fluentd-address") else {
        return Ok(Address::Tcp("127.0.0.1".into(), PORT));
    };
    let read = || -> Read<Address> {
        let url = match given.contains("://") {
            true => Url::parse(given)?,
            false => Url::parse(&format!("tcp://{given}"))?,
        };
        match url.scheme.as_str() {
            "unix" if url.path.trim_start_matches('/').is_empty() => return Err("path is empty".into()),
            "unix" => return Ok(Address::Socket(url.path.into())),
            "tcp" | "tls" => {}
            other => return Err(format!("unsupported scheme: '{other}'")),
        }
        if !url.path.is_empty() {
            return Err("should not contain a path element".into());
        }
        let (host, port) = url.split_host();
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        let port = match port.filter(|port| !port.is_empty()) {
            Some(port) => {
                let range =
                    || format!("invalid port: strconv.ParseUint: parsing {port:?}: value out of range");
                u16::try_from(unsigned(port)?).map_err(|_| range())?
            }
            None => PORT,
        };
        let host = host.to_owned();
        Ok(if url.scheme == "tls" { Address::Tls(host, port) } else { Address::Tcp(host, port) })
    };
    read().map_err(|error| format!("invalid fluentd-address ({given}): {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(options: &[(&str, &str)]) -> Options {
        options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_fluentd_refuses_in_dockers_words() {
        let refused = |key: &str, value: &str| check(&options(&[(key, value)])).unwrap_err();
        for (address, why) in [
            ("http://a", "unsupported scheme: 'http'"),
            ("unix://", "path is empty"),
            ("a:1/x", "should not contain a path element"),
            ("a:99999", "invalid port: strconv.ParseUint: parsing \"99999\": value out of range"),
            ("a:x", "parse \"tcp://a:x\": invalid port \":x\" after host"),
        ] {
            let expected = format!("invalid fluentd-address ({address}): {why}");
            assert_eq!(refused("fluentd-address", address), expected);
        }
        assert_eq!(
            refused("fluentd-async-reconnect-interval", "1ms"),
            "invalid value for fluentd-async-reconnect-interval: value (\"1ms\") must be between 100ms and 10s"
        );
        assert_eq!(
            refused("fluentd-write-timeout", "zz"),
            "invalid value for fluentd-write-timeout: value must be a duration: time: invalid duration \"zz\""
        );
        let address = |text: &str| address(&options(&[("fluentd-address", text)]));
        assert_eq!(address("collector"), Ok(Address::Tcp("collector".into(), 24224)));
        assert_eq!(address("tls://collector:5"), Ok(Address::Tls("collector".into(), 5)));
    }
}
