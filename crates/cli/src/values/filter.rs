//! Filters of lists: `--filter key=value`, many times.

use api::filters::Filters;

use crate::failure::Failure;

/// The filters as the engine takes them; empty without any.
pub(crate) fn to_query(filters: &[String]) -> Result<String, Failure> {
    let filters = parse(filters)?;
    Ok(if filters.is_empty() { String::new() } else { filters.to_json() })
}

pub(crate) fn parse(entries: &[String]) -> Result<Filters, Failure> {
    let mut filters = Filters::default();
    for entry in entries.iter().filter(|entry| !entry.is_empty()) {
        let (key, value) = check(entry).map_err(Failure::new)?;
        filters.add(key, value);
    }
    Ok(filters)
}

fn check(entry: &str) -> Result<(String, String), String> {
    let (key, value) = entry
        .split_once('=')
        .ok_or_else(|| "invalid argument: a filter must be of the form key=value".to_owned())?;
    Ok((key.trim().to_lowercase(), value.trim().to_owned()))
}

/// For the command line: a filter without `=` is a wrong flag.
pub(crate) fn argument(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains('=') {
        return Ok(text.to_owned());
    }
    Err("bad format of filter (expected name=value)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_become_json() {
        let text = to_query(&["Label=a=b".to_owned(), "status = running".to_owned()]).unwrap();
        assert_eq!(text, r#"{"label":{"a=b":true},"status":{"running":true}}"#);
        assert_eq!(to_query(&[]).unwrap(), "");
        assert_eq!(argument("nonsense").unwrap_err(), "bad format of filter (expected name=value)");
    }
}
