//! Files of v2 that `linux.resources.unified` names, in systemd's words.
//!
//! Systemd has no word for most of them. Those are written to the files alone, and it leaves them there.

use super::bus::Value;
use super::properties::{WEIGHT, bits, quota_per_second};
use crate::resources::PERIOD;

/// What systemd calls it; nothing where it has no word, or the text makes no sense: the file refuses that, and says more.
pub(super) fn properties(file: &str, text: &str) -> Vec<(&'static str, Value)> {
    let text = text.trim();
    let named = match file {
        "cpu.max" => return bandwidth(text),
        "cpu.weight" => (WEIGHT, number(text)),
        "cpuset.cpus" => ("AllowedCPUs", bits(text).map(Value::Bytes)),
        "cpuset.mems" => ("AllowedMemoryNodes", bits(text).map(Value::Bytes)),
        "io.weight" => ("IOWeight", number(text.strip_prefix("default").unwrap_or(text).trim())),
        "memory.high" => ("MemoryHigh", amount(text)),
        "memory.low" => ("MemoryLow", amount(text)),
        "memory.max" => ("MemoryMax", amount(text)),
        "memory.min" => ("MemoryMin", amount(text)),
        "memory.swap.max" => ("MemorySwapMax", amount(text)),
        "pids.max" => ("TasksMax", amount(text)),
        _ => return Vec::new(),
    };
    named.1.map(|value| (named.0, value)).into_iter().collect()
}

fn number(text: &str) -> Option<Value> {
    text.parse().ok().map(Value::Number)
}

fn amount(text: &str) -> Option<Value> {
    if text == "max" { Some(Value::Number(u64::MAX)) } else { number(text) }
}

/// A quota, or `max`, and a period in microseconds that may be missing.
fn bandwidth(text: &str) -> Vec<(&'static str, Value)> {
    let (quota, period) = text.split_once(' ').map_or((text, None), |(quota, period)| (quota, Some(period)));
    let quota = if quota == "max" { Some(-1) } else { quota.parse::<i64>().ok().filter(|quota| *quota > 0) };
    let period =
        period.map_or(Some(PERIOD), |period| period.trim().parse().ok().filter(|period| *period > 0));
    match (quota, period) {
        (Some(quota), Some(period)) => vec![
            ("CPUQuotaPeriodUSec", Value::Number(period)),
            ("CPUQuotaPerSecUSec", quota_per_second(quota, period)),
        ],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_words() {
        let told = |file, text| properties(file, text);
        assert_eq!(told("memory.max", "4096\n"), [("MemoryMax", Value::Number(4096))]);
        assert_eq!(told("memory.swap.max", "max"), [("MemorySwapMax", Value::Number(u64::MAX))]);
        assert_eq!(told("cpuset.cpus", "0,2"), [("AllowedCPUs", Value::Bytes(vec![0b101]))]);
        assert_eq!(told("io.weight", "default 200"), [("IOWeight", Value::Number(200))]);
        assert_eq!(told("cpu.max", "max 50000")[1], ("CPUQuotaPerSecUSec", Value::Number(u64::MAX)));
        assert_eq!(told("cpu.max", "20000 50000")[1], ("CPUQuotaPerSecUSec", Value::Number(400_000)));
        for (file, text) in
            [("memory.max", "much"), ("cpu.max", "0 0"), ("cpu.max", ""), ("memory.oom.group", "1")]
        {
            assert_eq!(told(file, text), [], "{file}");
        }
    }
}
