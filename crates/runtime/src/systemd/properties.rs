//! Limits in systemd's words.
//!
//! What systemd writes by itself it writes all of again whenever it reloads, so it has to know the same values as the
//! files. -1 and 0 are "no limit". Limits that contradict each other are left to the files, whose refusal says more.
//! See systemd.resource-control(5).

use linux::cgroup::{DeviceAccess, DeviceKind, DeviceRule};
use oci::runtime::{Cpu, Resources};

use super::bus::{Property, Value};
use super::files;
use crate::resources::{PERIOD, io_weight_of, per_second, unified_swap, weight_of};

pub(super) const WEIGHT: &str = "CPUWeight";

/// Whether the container shall run only while nobody else wants to.
pub(super) fn is_idle(resources: &Resources) -> bool {
    let file = resources.unified.get("cpu.idle").map(|text| text.trim() == "1");
    file.unwrap_or_else(|| resources.cpu.as_ref().is_some_and(|cpu| cpu.idle == Some(1)))
}

/// Where all of the tree is v2. Devices are no concern of systemd's there: their program is ours. What is asked of a file by
/// its name is written last, and counts.
pub(super) fn unified(resources: &Resources) -> Vec<Property> {
    let mut properties = of_fields(resources);
    let named = resources.unified.iter().flat_map(|(file, text)| files::properties(file, text));
    for (name, value) in named {
        properties.retain(|(known, _)| known != name);
        properties.push((name.to_owned(), value));
    }
    properties
}

fn of_fields(resources: &Resources) -> Vec<Property> {
    let memory = resources.memory.as_ref();
    let cpu = resources.cpu.as_ref();
    let swap = memory.and_then(|memory| unified_swap(memory).ok().flatten());
    let weight = cpu.and_then(|cpu| cpu.shares).filter(|shares| *shares > 0).map(weight_of);
    // Who is idle no more and has no weight yet has the usual one.
    let weight = weight.or_else(|| (cpu?.idle == Some(0)).then_some(u64::MAX));
    let io_weight = resources.block_io.as_ref().and_then(|block| block.weight).filter(|weight| *weight > 0);
    let set = |list: Option<&String>| list.and_then(|list| bits(list)).map(Value::Bytes);
    let (period, quota) = bandwidth(cpu);
    known([
        ("MemoryMax", memory.and_then(|memory| memory.limit).filter(|limit| *limit != 0).map(or_infinity)),
        ("MemoryLow", memory.and_then(|memory| memory.reservation).filter(|v| *v != 0).map(or_infinity)),
        ("MemorySwapMax", swap.map(|text| Value::Number(text.parse().unwrap_or(u64::MAX)))),
        ("TasksMax", resources.pids.and_then(|pids| pids.limit).map(or_infinity)),
        ("CPUQuotaPeriodUSec", period),
        ("CPUQuotaPerSecUSec", quota),
        (WEIGHT, weight.map(Value::Number)),
        ("AllowedCPUs", set(cpu.map(|cpu| &cpu.cpus))),
        ("AllowedMemoryNodes", set(cpu.map(|cpu| &cpu.mems))),
        ("IOWeight", io_weight.map(|weight| Value::Number(io_weight_of(weight)))),
    ])
}

/// Where there are v1 trees: the words of that time, which say exactly what the files do. Without `devices` nothing is
/// said of them.
pub(super) fn legacy(resources: &Resources, devices: &[DeviceRule]) -> Vec<Property> {
    let memory = resources.memory.as_ref();
    let cpu = resources.cpu.as_ref();
    let shares = cpu.and_then(|cpu| cpu.shares).filter(|shares| *shares > 0);
    let weight = resources.block_io.as_ref().and_then(|block| block.weight).filter(|weight| *weight > 0);
    let (period, quota) = bandwidth(cpu);
    let (policy, list) = match devices {
        [] => (None, None),
        rules => {
            let (policy, list) = device_list(rules);
            (Some(Value::Text(policy.to_owned())), Some(Value::Pairs(list)))
        }
    };
    known([
        ("MemoryLimit", memory.and_then(|memory| memory.limit).filter(|limit| *limit != 0).map(or_infinity)),
        ("TasksMax", resources.pids.and_then(|pids| pids.limit).map(or_infinity)),
        ("CPUShares", shares.map(Value::Number)),
        ("CPUQuotaPeriodUSec", period),
        ("CPUQuotaPerSecUSec", quota),
        ("BlockIOWeight", weight.map(|weight| Value::Number(u64::from(weight)))),
        ("DevicePolicy", policy),
        // An empty list first: what is told of a list is added to it.
        ("DeviceAllow", list.is_some().then(|| Value::Pairs(Vec::new()))),
        ("DeviceAllow", list),
    ])
}

fn known<const N: usize>(properties: [(&str, Option<Value>); N]) -> Vec<Property> {
    properties.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

pub(super) fn or_infinity(value: i64) -> Value {
    Value::Number(if value > 0 { value as u64 } else { u64::MAX })
}

/// The period, and microseconds of CPU per second.
fn bandwidth(cpu: Option<&Cpu>) -> (Option<Value>, Option<Value>) {
    let period = cpu.and_then(|cpu| cpu.period).filter(|period| *period > 0);
    let quota = cpu.and_then(|cpu| cpu.quota).filter(|quota| *quota != 0);
    (period.map(Value::Number), quota.map(|quota| quota_per_second(quota, period.unwrap_or(PERIOD))))
}

pub(super) fn quota_per_second(quota: i64, period: u64) -> Value {
    Value::Number(per_second(quota, period).unwrap_or(u64::MAX))
}

/// Rules that override each other as a policy and a list of what is allowed, which is all that systemd knows. What is
/// denied alone in what is otherwise open cannot be said: then systemd is told that nothing is allowed.
fn device_list(rules: &[DeviceRule]) -> (&'static str, Vec<(String, String)>) {
    let mut open = false;
    let mut list: Vec<DeviceRule> = Vec::new();
    for rule in rules {
        if rule.kind == DeviceKind::All {
            open = rule.allow;
            list.clear();
            continue;
        }
        let same = |known: &&mut DeviceRule| {
            (known.kind, known.major, known.minor) == (rule.kind, rule.major, rule.minor)
        };
        match (rule.allow, list.iter_mut().find(same)) {
            (true, Some(known)) => known.access = with(known.access, rule.access),
            (true, None) => list.push(*rule),
            (false, _) if open => return ("strict", Vec::new()),
            (false, Some(known)) => known.access = without(known.access, rule.access),
            (false, None) => {}
        }
    }
    if open {
        return ("auto", Vec::new());
    }
    let named = list.iter().filter(|rule| !rule.access.letters().is_empty());
    ("strict", named.filter_map(|rule| Some((device_name(rule)?, rule.access.letters()))).collect())
}

/// `char-*`, `char-136` or `/dev/char/1:3`. There is no name for one minor number of every major one.
fn device_name(rule: &DeviceRule) -> Option<String> {
    let kind = match rule.kind {
        DeviceKind::Block => "block",
        DeviceKind::Character | DeviceKind::All => "char",
    };
    match (rule.major, rule.minor) {
        (None, None) => Some(format!("{kind}-*")),
        (Some(major), None) => Some(format!("{kind}-{major}")),
        (Some(major), Some(minor)) => Some(format!("/dev/{kind}/{major}:{minor}")),
        (None, Some(_)) => None,
    }
}

fn with(one: DeviceAccess, other: DeviceAccess) -> DeviceAccess {
    DeviceAccess {
        read: one.read || other.read,
        write: one.write || other.write,
        make: one.make || other.make,
    }
}

fn without(one: DeviceAccess, other: DeviceAccess) -> DeviceAccess {
    DeviceAccess {
        read: one.read && !other.read,
        write: one.write && !other.write,
        make: one.make && !other.make,
    }
}

/// `0-2,5` as a set of bits, the lowest first: what systemd calls a CPU set. None for an empty or a wrong list.
pub(super) fn bits(list: &str) -> Option<Vec<u8>> {
    /// More CPUs than Linux can have.
    const MOST: usize = 1 << 16;
    let mut bytes = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        for number in first..=last.min(MOST) {
            if bytes.len() <= number / 8 {
                bytes.resize(number / 8 + 1, 0);
            }
            bytes[number / 8] |= 1 << (number % 8);
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Resources {
        serde_json::from_str(json).unwrap()
    }

    fn expect(told: Vec<Property>, expected: &[(&str, Value)]) {
        let expected: Vec<_> =
            expected.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn limits_of_v2() {
        let resources = parse(
            r#"{"memory":{"limit":1048576},"cpu":{"quota":33333,"period":100000},"pids":{"limit":-1}}"#,
        );
        let expected = [
            ("MemoryMax", Value::Number(1 << 20)),
            ("TasksMax", Value::Number(u64::MAX)),
            ("CPUQuotaPeriodUSec", Value::Number(100_000)),
            ("CPUQuotaPerSecUSec", Value::Number(340_000)),
        ];
        expect(unified(&resources), &expected);
        let resources = parse(
            r#"{"memory":{"limit":1048576,"swap":3145728},"cpu":{"shares":1024,"cpus":"0,2-3"},"blockIO":{"weight":1000}}"#,
        );
        let expected = [
            ("MemoryMax", Value::Number(1 << 20)),
            ("MemorySwapMax", Value::Number(2 << 20)),
            ("CPUWeight", Value::Number(100)),
            ("AllowedCPUs", Value::Bytes(vec![0b1101])),
            ("IOWeight", Value::Number(10_000)),
        ];
        expect(unified(&resources), &expected);
    }

    #[test]
    fn what_is_asked_of_a_file_counts() {
        let resources = parse(
            r#"{"pids":{"limit":20},"memory":{"limit":1048576},"cpu":{"idle":1},
                "unified":{"pids.max":"99","memory.high":"max","cpu.max":"5000","cpu.idle":"0"}}"#,
        );
        let expected = [
            ("MemoryMax", Value::Number(1 << 20)),
            ("CPUQuotaPeriodUSec", Value::Number(100_000)),
            ("CPUQuotaPerSecUSec", Value::Number(50_000)),
            ("MemoryHigh", Value::Number(u64::MAX)),
            ("TasksMax", Value::Number(99)),
        ];
        expect(unified(&resources), &expected);
        assert!(!is_idle(&resources));
        assert!(
            is_idle(&parse(r#"{"cpu":{"idle":1}}"#)) && is_idle(&parse(r#"{"unified":{"cpu.idle":"1"}}"#))
        );
    }

    #[test]
    fn limits_of_v1() {
        let resources = parse(
            r#"{"memory":{"limit":-1,"swap":3145728},"cpu":{"shares":512,"cpus":"0"},"blockIO":{"weight":500},
                "pids":{"limit":7}}"#,
        );
        let expected = [
            ("MemoryLimit", Value::Number(u64::MAX)),
            ("TasksMax", Value::Number(7)),
            ("CPUShares", Value::Number(512)),
            ("BlockIOWeight", Value::Number(500)),
        ];
        expect(legacy(&resources, &[]), &expected);
    }

    #[test]
    fn devices_as_a_list() {
        let told = |json: &str| {
            let (policy, list) = device_list(&crate::resources::device_rules(&parse(json)).unwrap());
            let list: Vec<String> = list.iter().map(|(name, access)| format!("{name} {access}")).collect();
            format!("{policy}: {}", list.join(", "))
        };
        let always = "char-* m, block-* m, /dev/char/1:3 rwm, /dev/char/1:5 rwm, /dev/char/1:7 rwm, \
                      /dev/char/1:8 rwm, /dev/char/1:9 rwm, /dev/char/5:0 rwm, /dev/char/5:2 rwm, \
                       char-136 rwm, /dev/char/10:200 rwm";
        assert_eq!(told("{}"), format!("strict: {always}"));
        let list = told(
            r#"{"devices":[{"allow":false},{"allow":true,"type":"b","major":8,"minor":0,"access":"r"},
                {"allow":true,"type":"b","major":8,"minor":0,"access":"w"},
                {"allow":true,"type":"b","major":9,"access":"rw"},{"allow":false,"type":"b","major":9,"access":"w"}]}"#,
        );
        assert_eq!(list, format!("strict: /dev/block/8:0 rw, block-9 r, {always}"));
        assert_eq!(told(r#"{"devices":[{"allow":true}]}"#), "auto: ");
        let but_one = r#"{"devices":[{"allow":true},{"allow":false,"type":"c","major":1,"minor":11}]}"#;
        assert_eq!(told(but_one), "strict: ");
    }

    #[test]
    fn lists_of_processors_are_sets_of_bits() {
        assert_eq!(bits("1,8-9"), Some(vec![0b10, 0b11]));
        assert_eq!(bits(""), None);
        assert_eq!(bits("x"), None);
        assert!(bits("0-99999999999").is_some_and(|bytes| bytes.len() < 10_000), "bounded");
    }
}
