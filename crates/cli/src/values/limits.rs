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

/// A number of processors in billionths: `1.5`, `15e-1` or `3/2`.
pub(crate) fn parse_cpus(text: &str) -> Result<i64, String> {
    let bad = || format!("failed to parse {text} as a rational number");
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let (above, below) = match digits.split_once('/') {
        Some((above, below)) => ((whole(above).ok_or_else(bad)?, 0), whole(below).ok_or_else(bad)?),
        None => (decimal(digits).ok_or_else(bad)?, 1),
    };
    let (number, exponent) = above;
    // In billionths.
    let scale = |number: i128, power: i32| number.checked_mul(10i128.checked_pow(power.unsigned_abs())?);
    let (number, below) = match exponent.checked_add(9).ok_or_else(bad)? {
        power @ 0.. => (scale(number, power).ok_or_else(bad)?, below),
        power => (number, scale(below, power).ok_or_else(bad)?),
    };
    if below == 0 {
        return Err(bad());
    }
    if number % below != 0 {
        return Err("value is too precise".to_owned());
    }
    let nano = i64::try_from(number / below).map_err(|_| bad())?;
    Ok(if negative { -nano } else { nano })
}

fn whole(text: &str) -> Option<i128> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Digits with a point and an exponent, as a whole number and the power of ten that it is to be multiplied by.
fn decimal(text: &str) -> Option<(i128, i32)> {
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse().ok()?),
        None => (text, 0),
    };
    let (before, behind) = digits.split_once('.').unwrap_or((digits, ""));
    let behind = behind.trim_end_matches('0');
    let number = whole(&format!("{before}{behind}")).or_else(|| digits.contains('0').then_some(0))?;
    Some((number, i32::checked_sub(exponent, i32::try_from(behind.len()).ok()?)?))
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
        for (text, billionths) in
            [("15e-1", 1_500_000_000), ("3/2", 1_500_000_000), ("0.0", 0), ("1E1", 10_000_000_000)]
        {
            assert_eq!(parse_cpus(text), Ok(billionths), "{text}");
        }
        for text in ["1.0000000001", "1/3", "1e-10"] {
            assert_eq!(parse_cpus(text).unwrap_err(), "value is too precise", "{text}");
        }
        for text in ["x", ".", "", "1/0", "1e", "--1", "1e99999999999", "1e40", "1/-2"] {
            assert_eq!(parse_cpus(text).unwrap_err(), format!("failed to parse {text} as a rational number"));
        }
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
