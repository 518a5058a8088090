//! Values of options: from the command line's words to the JSON that the file would have, and to Go's print.

use serde_json::{Map, Value, json};

use super::Kind;

/// Reads one word of the command line.
pub(super) fn parse(kind: Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Switch => boolean(text).map(Value::Bool),
        Kind::Number => text
            .parse::<i64>()
            .map(|number| json!(number))
            .map_err(|_| format!("strconv.ParseInt: parsing {text:?}: invalid syntax")),
        Kind::Text => Ok(json!(text)),
        Kind::List => Ok(json!([text])),
        Kind::Map => {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            Ok(json!({ name: value }))
        }
        Kind::Maps => {
            let (outer, inner) = text.split_once('=').unwrap_or((text, ""));
            let (name, value) = inner.split_once('=').ok_or_else(|| {
                format!("invalid value {text:?} for map option, should be root-key=key=value")
            })?;
            Ok(json!({ outer: { name: value } }))
        }
        Kind::Runtimes => crate::runtimes::parse(text),
        Kind::Size => size(text).map(|size| json!(size)).ok_or_else(|| format!("invalid size: '{text}'")),
        Kind::Limits => limit(text).ok_or_else(|| format!("invalid ulimit argument: {text}")),
        Kind::Pools => pool(text),
        Kind::Document => Err("it can only be given in the configuration file".to_owned()),
    }
}

/// What `--help` shows behind the name.
pub(super) fn placeholder(kind: Kind) -> &'static str {
    match kind {
        Kind::Switch => "",
        Kind::Number => " int",
        Kind::Text => " string",
        Kind::List => " list",
        Kind::Map => " map",
        Kind::Maps => " mapmap",
        Kind::Runtimes => " runtime",
        Kind::Size => " bytes",
        Kind::Limits => " ulimit",
        Kind::Pools => " pool-options",
        Kind::Document => " json",
    }
}

/// Checks what the file says; the error names Go's types, as dockerd does.
pub(crate) fn fits(kind: Kind, key: &str, value: &Value) -> Result<(), String> {
    let (fits, wanted) = match kind {
        Kind::Switch => (value.is_boolean(), "bool"),
        Kind::Number => (value.is_i64(), "int"),
        Kind::Text => (value.is_string(), "string"),
        Kind::List => (texts(value), "[]string"),
        Kind::Map => (
            value.as_object().is_some_and(|map| map.values().all(|value| !value.is_object())),
            "map[string]string",
        ),
        Kind::Maps => (
            value.as_object().is_some_and(|maps| {
                maps.values().all(|map| map.as_object().is_some_and(|map| map.values().all(Value::is_string)))
            }),
            "map[string]map[string]string",
        ),
        Kind::Size => {
            (value.is_i64() || value.as_str().is_some_and(|text| size(text).is_some()), "opts.MemBytes")
        }
        Kind::Limits | Kind::Document => (value.is_object(), "map"),
        Kind::Runtimes => {
            let inner = value.as_object().into_iter().flatten().find(|(_, runtime)| !runtime.is_object());
            if let Some((name, wrong)) = inner {
                return Err(mistyped(wrong, &format!("{key}.{name}"), "system.Runtime"));
            }
            (value.is_object(), "map[string]system.Runtime")
        }
        Kind::Pools => (value.is_array(), "[]*ipamutils.NetworkToSplit"),
    };
    if fits || value.is_null() { Ok(()) } else { Err(mistyped(value, key, wanted)) }
}

fn mistyped(value: &Value, key: &str, wanted: &str) -> String {
    let found = api::json::kind(value);
    format!("invalid JSON: json: cannot unmarshal {found} into Go struct field Config.{key} of type {wanted}")
}

fn texts(value: &Value) -> bool {
    value.as_array().is_some_and(|list| list.iter().all(Value::is_string))
}

/// As Go's `%v` prints it: what error messages show.
pub(crate) fn go(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(go).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let members: Vec<_> = map.iter().map(|(name, value)| format!("{name}:{}", go(value))).collect();
            format!("map[{}]", members.join(" "))
        }
        other => other.to_string(),
    }
}

/// As dockerd shows what a flag said: by what its type prints, not as the file would have it.
pub(crate) fn shown(kind: Kind, key: &str, value: &Value) -> String {
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_i64).unwrap_or_default();
    match (kind, value) {
        (Kind::Size, Value::Number(bytes)) => binary(bytes.as_f64().unwrap_or_default()),
        (Kind::Limits, Value::Object(limits)) => {
            let limits = limits
                .iter()
                .map(|(name, limit)| format!("{name}={}:{}", number(limit, "Soft"), number(limit, "Hard")));
            format!("[{}]", limits.collect::<Vec<_>>().join(" "))
        }
        (Kind::Pools, Value::Array(pools)) => {
            let pools = pools.iter().map(|pool| {
                let base = pool.get("base").and_then(Value::as_str).unwrap_or_default();
                format!("{base} {}", number(pool, "size"))
            });
            pools.collect::<Vec<_>>().join(",")
        }
        (_, Value::String(url)) if matches!(key, "http-proxy" | "https-proxy") => match url.split_once("://")
        {
            Some((scheme, rest)) => match rest.rsplit_once('@') {
                Some((_, host)) => format!("{scheme}://xxxxx:xxxxx@{host}"),
                None => url.clone(),
            },
            None => url.clone(),
        },
        _ => go(value),
    }
}

/// `16MiB`, `1.5GiB`.
fn binary(mut bytes: f64) -> String {
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].iter();
    let mut unit = units.next();
    while bytes >= 1024.0 && units.len() > 0 {
        bytes /= 1024.0;
        unit = units.next();
    }
    // Four significant digits, without zeros at the end: Go's %.4g.
    let digits = match bytes {
        bytes if bytes >= 1000.0 => 0,
        bytes if bytes >= 100.0 => 1,
        bytes if bytes >= 10.0 => 2,
        _ => 3,
    };
    let number = format!("{bytes:.digits$}");
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => &number,
    };
    format!("{number}{}", unit.unwrap_or(&""))
}

fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

/// `67108864`, `64m`, `64MiB`, `1.5g`.
pub(crate) fn size(text: &str) -> Option<i64> {
    size::parse(text, size::Units::Binary).ok().filter(|bytes| *bytes >= 0)
}

fn limit(text: &str) -> Option<Value> {
    let (name, limits) = text.split_once('=')?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard): (i64, i64) = (soft.parse().ok()?, hard.parse().ok()?);
    Some(json!({ name: { "Name": name, "Hard": hard, "Soft": soft } }))
}

fn pool(text: &str) -> Result<Value, String> {
    let mut pool = Map::new();
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("base", base)) => pool.insert("base".to_owned(), json!(base)),
            Some(("size", size)) => {
                let size: u8 =
                    size.parse().map_err(|_| format!("invalid size value: {size:?} (must be integer)"))?;
                pool.insert("size".to_owned(), json!(size))
            }
            Some(_) => return Err(format!("invalid field '{part}' must be base or size")),
            None => return Err(format!("invalid field '{part}' must be a key=value pair")),
        };
    }
    Ok(json!([pool]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("64m"), Some(64 << 20));
        assert_eq!(size("64MiB"), Some(64 << 20));
        assert_eq!(size("1.5g"), Some(3 << 29));
        assert_eq!(size("1024"), Some(1024));
        assert_eq!((size("x"), size("5q"), size("")), (None, None, None));
    }

    #[test]
    fn gos_print() {
        assert_eq!(go(&json!(["a", "b"])), "[a b]");
        assert_eq!(go(&json!({"a": true, "b": 1})), "map[a:true b:1]");
    }

    #[test]
    fn what_flags_said_is_shown_as_dockerd_shows_it() {
        assert_eq!(shown(Kind::Size, "default-shm-size", &json!(16 << 20)), "16MiB");
        assert_eq!(binary(1.5 * 1024.0 * 1024.0 * 1024.0), "1.5GiB");
        assert_eq!((binary(512.0), binary(1000.0 * 1024.0)), ("512B".to_owned(), "1000KiB".to_owned()));
        let limits = parse(Kind::Limits, "nofile=2").unwrap();
        assert_eq!(shown(Kind::Limits, "default-ulimits", &limits), "[nofile=2:2]");
        let pools = parse(Kind::Pools, "base=11.0.0.0/8,size=24").unwrap();
        assert_eq!(shown(Kind::Pools, "default-address-pools", &pools), "11.0.0.0/8 24");
        let proxy = shown(Kind::Text, "http-proxy", &json!("http://me:secret@proxy:1"));
        assert_eq!(proxy, "http://xxxxx:xxxxx@proxy:1");
    }

    #[test]
    fn types_of_the_file_are_checked() {
        assert_eq!(
            fits(Kind::Number, "mtu", &json!("x")).unwrap_err(),
            "invalid JSON: json: cannot unmarshal string into Go struct field Config.mtu of type int"
        );
        assert!(
            fits(Kind::List, "dns", &json!(["a"])).is_ok() && fits(Kind::List, "dns", &json!([1])).is_err()
        );
        assert!(fits(Kind::Size, "default-shm-size", &json!("64m")).is_ok());
    }
}
