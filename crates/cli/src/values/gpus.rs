//! GPUs: `all`, a number, or `count=…,device=…,driver=…,capabilities=…,options=…`; and devices that
//! are named by CDI.

use std::collections::BTreeMap;

use api::container::DeviceRequest;

use super::csv;

/// A value of `--gpus`. The capability `gpu` goes without saying.
pub(crate) fn parse(text: &str) -> Result<DeviceRequest, String> {
    let mut request = DeviceRequest::default();
    let mut seen: Vec<String> = Vec::new();
    for field in csv(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, value),
            None => ("count", field.as_str()),
        };
        if seen.iter().any(|known| known == key) {
            return Err(format!("gpu request key '{key}' can be specified only once"));
        }
        seen.push(key.to_owned());
        let list = |value: &str| value.split(',').map(str::to_owned).collect::<Vec<String>>();
        match key {
            "count" => request.count = count(value)?,
            "driver" => value.clone_into(&mut request.driver),
            "device" => request.device_ids = Some(list(value)),
            "capabilities" => {
                let mut capabilities = list(value);
                capabilities.push("gpu".to_owned());
                request.capabilities = Some(vec![capabilities]);
            }
            "options" => {
                let options = csv(value)?;
                request.options = Some(super::env::pairs(&options));
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if request.device_ids.is_none() && !seen.iter().any(|key| key == "count") {
        request.count = 1;
    }
    request.capabilities.get_or_insert_with(|| vec![vec!["gpu".to_owned()]]);
    request.options.get_or_insert_with(BTreeMap::new);
    Ok(request)
}

fn count(text: &str) -> Result<i64, String> {
    match text {
        "all" => Ok(-1),
        text => text.parse().map_err(|_| {
            format!("invalid count ({text}): value must be either \"all\" or an integer: invalid syntax")
        }),
    }
}

/// Devices by their CDI names.
pub(crate) fn by_name(names: Vec<String>) -> DeviceRequest {
    DeviceRequest { driver: "cdi".to_owned(), device_ids: Some(names), ..DeviceRequest::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_counted_or_named() {
        assert_eq!(parse("all").unwrap().count, -1);
        assert_eq!(parse("2").unwrap().count, 2);
        assert_eq!(parse("driver=nvidia").unwrap().count, 1);
        let request = parse(r#""device=0,1",capabilities=utility,options=a=b"#).unwrap();
        assert_eq!(request.count, 0);
        assert_eq!(request.device_ids.unwrap(), ["0", "1"]);
        assert_eq!(request.capabilities.unwrap(), [["utility", "gpu"]]);
        assert_eq!(request.options.unwrap()["a"], "b");
        assert!(parse("x").unwrap_err().starts_with("invalid count (x)"));
        assert_eq!(parse("1,count=2").unwrap_err(), "gpu request key 'count' can be specified only once");
        assert_eq!(parse("x=1").unwrap_err(), "unexpected key 'x' in 'x=1'");
    }
}
