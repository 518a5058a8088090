//! Limits: processors, ulimits, restart policies.

use api::container::{RestartPolicy, Ulimit};

/// The limits that the kernel knows by name.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// `name=soft[:hard]`; -1 is no limit, and the hard limit is the soft one when it is not given.
pub(crate) fn parse_ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, values) = text.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !ULIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    if values.split(':').count() > 2 {
        return Err(format!(
            "too many limit value arguments - {values}, can only have up to two, `soft[:hard]`"
        ));
    }
    // As Go says it.
    let number = |text: &str| {
        text.parse::<i64>().map_err(|_| format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
    };
    let (soft, hard) = match values.split_once(':') {
        Some((soft, hard)) => (number(soft)?, number(hard)?),
        None => (number(values)?, number(values)?),
    };
    if hard != -1 && (soft > hard || soft == -1) {
        return Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"));
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

/// A number of processors, such as `1.5`, in billionths.
pub(crate) fn parse_cpus(text: &str) -> Result<i64, String> {
    let bad = || format!("failed to parse {text} as a rational number");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !plain(whole) || !plain(fraction) {
        return Err(bad());
    }
    if fraction.trim_end_matches('0').len() > 9 {
        return Err("value is too precise".to_owned());
    }
    let padded = format!("{whole}{:0<9}", &fraction[..fraction.len().min(9)]);
    let nano: i64 = padded.parse().map_err(|_| bad())?;
    Ok(if negative { -nano } else { nano })
}

/// `no`, `always`, `unless-stopped`, `on-failure[:max-retries]`.
pub(crate) fn parse_restart(text: &str) -> Result<RestartPolicy, String> {
    if text.is_empty() {
        return Ok(RestartPolicy::default());
    }
    let (name, count) = match text.split_once(':') {
        Some((name, count)) => (name, Some(count)),
        None => (text, None),
    };
    if name.is_empty() {
        return Err(if count.is_some() {
            "invalid restart policy format: no policy provided before colon"
        } else {
            "invalid restart policy format"
        }
        .to_owned());
    }
    let maximum_retry_count = match count {
        None => 0,
        Some(count) => count.parse().map_err(|_| {
            "invalid restart policy format: maximum retry count must be an integer".to_owned()
        })?,
    };
    Ok(RestartPolicy { name: name.to_owned(), maximum_retry_count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulimits() {
        let shown = |text: &str| {
            parse_ulimit(text).map(|limit| format!("{}:{}:{}", limit.name, limit.soft, limit.hard))
        };
        assert_eq!(shown("nofile=1024:2048").unwrap(), "nofile:1024:2048");
        assert_eq!(shown("core=-1").unwrap(), "core:-1:-1");
        assert_eq!(shown("x").unwrap_err(), "invalid ulimit argument: x");
        assert_eq!(shown("x=1").unwrap_err(), "invalid ulimit type: x");
        assert!(shown("nofile=3:2").unwrap_err().contains("3 > 2"));
    }

    #[test]
    fn processors() {
        assert_eq!(parse_cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(parse_cpus(".01"), Ok(10_000_000));
        assert_eq!(parse_cpus("2"), Ok(2_000_000_000));
        assert_eq!(parse_cpus("-1"), Ok(-1_000_000_000));
        assert_eq!(parse_cpus("1.0000000001").unwrap_err(), "value is too precise");
        assert!(parse_cpus("x").is_err() && parse_cpus(".").is_err() && parse_cpus("").is_err());
    }

    #[test]
    fn restart_policies() {
        assert_eq!(
            parse_restart("on-failure:3").unwrap(),
            RestartPolicy { name: "on-failure".into(), maximum_retry_count: 3 }
        );
        assert_eq!(parse_restart("always").unwrap().name, "always");
        assert!(parse_restart(":3").unwrap_err().contains("before colon"));
        assert!(parse_restart("on-failure:x").unwrap_err().contains("must be an integer"));
    }
}
