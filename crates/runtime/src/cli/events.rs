//! `events`: statistics at an interval and memory running out, one JSON document per line.

use std::time::Duration;

use linux::cgroup::{BlockEntry, Details, MemoryCounter, Pressure, Stats};
use linux::poll::{Interest, Poll, Timer};
use oci::runtime::Status;
use runtime::{Container, Error, Kind, Result};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Context;
use super::arguments::{Arguments, Flag};
use super::log::answer;

const PROCESS: u64 = 0;
const TICK: u64 = 1;
const MEMORY: u64 = 2;

pub(super) const FLAGS: &[Flag] = &[
    Flag::value("interval", None, "set the stats collection interval (default: 5s)"),
    Flag::switch("stats", None, "display the container's stats then exit"),
];

/// One line of output.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

pub(super) fn events(context: &Context, arguments: &Arguments) -> Result<u8> {
    let interval = match arguments.get("interval") {
        None => Duration::from_secs(5),
        Some(text) => parse_interval(text).ok_or_else(|| {
            Error::invalid(format_args!("duration interval must be greater than 0: {text:?}"))
        })?,
    };
    let found = context.store.find(arguments.id()?)?;
    if found.status == Status::Stopped {
        let message = format!("container with id {} is not running", found.container.id());
        return Err(Error::new(Kind::WrongState, message));
    }
    if arguments.is_set("stats") {
        print_stats(&found.container)?;
        return Ok(0);
    }
    follow(&found.container, interval).map(|()| 0)
}

fn follow(container: &Container, interval: Duration) -> Result<()> {
    let error = |error: linux::Error| Error::other(error.to_string());
    let (poll, timer) = (Poll::new().map_err(error)?, Timer::new().map_err(error)?);
    poll.add(container.pidfd(), PROCESS, Interest::READ).map_err(error)?;
    poll.add(&timer, TICK, Interest::READ).map_err(error)?;
    timer.every(interval).map_err(error)?;
    let mut memory = container.cgroup().watch_memory().map_err(error)?;
    if let Some(watch) = &memory {
        let added = if watch.by_change() {
            poll.add_priority(watch, MEMORY)
        } else {
            poll.add(watch, MEMORY, Interest::READ)
        };
        added.map_err(error)?;
    }
    let mut events = Vec::new();
    loop {
        events.clear();
        poll.wait(&mut events, None).map_err(error)?;
        for event in &events {
            match event.token {
                PROCESS => return Ok(()),
                TICK => {
                    timer.take().map_err(error)?;
                    print_stats(container)?;
                }
                _ => {
                    let Some(watch) = &mut memory else { continue };
                    if watch.take(container.cgroup()).map_err(error)? {
                        print(container, "oom", None)?;
                    }
                }
            }
        }
    }
}

fn print(container: &Container, kind: &str, data: Option<Value>) -> Result<()> {
    let event = Event { kind, id: container.id(), data };
    let line = serde_json::to_string(&event).map_err(Error::other)?;
    answer(format_args!("{line}\n"))
}

fn print_stats(container: &Container) -> Result<()> {
    let cgroup = container.cgroup();
    let mut counted = document(&cgroup.stats(), &cgroup.details());
    counted["intel_rdt"] =
        serde_json::to_value(container.shares().unwrap_or_default()).map_err(Error::other)?;
    print(container, "stats", Some(counted))
}

/// In the shape that readers of runc's events know: most of what is zero or not counted is left out.
fn document(stats: &Stats, details: &Details) -> Value {
    let hugetlb: Map<String, Value> = stats
        .hugepages
        .iter()
        .map(|(size, s)| {
            let usage = json!({ "usage": s.usage, "max": s.max_usage });
            (size.clone(), with(json!({ "failcnt": s.failures }), usage))
        })
        .collect();
    json!({
        "cpu": with(
            json!({
                "usage": with(
                    json!({
                        "percpu_kernel": details.kernel_per_cpu, "percpu_user": details.user_per_cpu,
                        "kernel": stats.cpu.system, "user": stats.cpu.user,
                    }),
                    json!({ "total": stats.cpu.total, "percpu": stats.cpu.per_cpu }),
                ),
                "throttling": with(json!({}), json!({
                    "periods": stats.cpu.periods, "throttledPeriods": stats.cpu.throttled_periods,
                    "throttledTime": stats.cpu.throttled_time,
                })),
            }),
            json!({ "psi": pressure(details.cpu_pressure.as_ref()) }),
        ),
        "cpuset": cpuset(details),
        "memory": with(
            json!({
                "usage": memory(&MemoryCounter {
                    limit: stats.memory.limit, usage: stats.memory.usage, max_usage: stats.memory.max_usage,
                    failures: stats.memory.failures,
                }),
                "swap": memory(&details.swap),
                "kernel": memory(&details.kernel),
                "kernelTCP": memory(&details.kernel_tcp),
            }),
            json!({
                "cache": stats.memory.details.get("cache").or(stats.memory.details.get("file")),
                "raw": stats.memory.details,
                "psi": pressure(details.memory_pressure.as_ref()),
            }),
        ),
        "pids": with(json!({}), json!({ "current": stats.pids.current, "limit": stats.pids.limit })),
        "blkio": with(json!({}), json!({
            "ioServiceBytesRecursive": block(&stats.block.bytes),
            "ioServicedRecursive": block(&stats.block.operations),
            "psi": pressure(details.io_pressure.as_ref()),
        })),
        "hugetlb": hugetlb,
        "intel_rdt": {},
        "network_interfaces": null,
    })
}

/// The first object with those members of the second that say something.
fn with(mut object: Value, others: Value) -> Value {
    let says = |value: &Value| match value {
        Value::Null => false,
        Value::Number(number) => number.as_u64() != Some(0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(_) => true,
    };
    if let (Value::Object(members), Value::Object(others)) = (&mut object, others) {
        members.extend(others.into_iter().filter(|(_, value)| says(value)));
    }
    object
}

fn memory(counter: &MemoryCounter) -> Value {
    let MemoryCounter { limit, usage, max_usage, failures } = counter;
    with(json!({ "limit": limit, "failcnt": failures }), json!({ "usage": usage, "max": max_usage }))
}

fn cpuset(details: &Details) -> Value {
    let mut value = with(json!({}), json!({ "cpus": details.cpuset.cpus, "mems": details.cpuset.mems }));
    for (name, number) in &details.cpuset.switches {
        value[*name] = json!(number);
    }
    value
}

fn pressure(pressure: Option<&Pressure>) -> Value {
    let stall = |stall: &linux::cgroup::Stall| {
        let [ten, sixty, many] = stall.averages;
        json!({ "avg10": ten, "avg60": sixty, "avg300": many, "total": stall.total })
    };
    pressure.map_or(Value::Null, |p| json!({ "some": stall(&p.some), "full": stall(&p.full) }))
}

/// Operations begin with a capital, as the files of v1 have them.
fn block(list: &[BlockEntry]) -> Vec<Value> {
    let entry = |e: &BlockEntry| {
        let (first, rest) = e.operation.split_at_checked(1).unwrap_or_default();
        let operation = format!("{}{rest}", first.to_ascii_uppercase());
        with(json!({}), json!({ "major": e.major, "minor": e.minor, "op": operation, "value": e.value }))
    };
    list.iter().map(entry).collect()
}

/// `5s`, `500ms`, `1m30s`.
fn parse_interval(text: &str) -> Option<Duration> {
    let nanoseconds = u64::try_from(moment::duration::parse(text).ok()?).ok()?;
    Some(Duration::from_nanos(nanoseconds)).filter(|interval| !interval.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_counted_is_left_out() {
        let document = document(&Stats::default(), &Details::default());
        assert_eq!(
            document["cpu"],
            json!({ "throttling": {}, "usage": { "kernel": 0, "percpu_kernel": [], "percpu_user": [], "user": 0 } })
        );
        assert_eq!(document["memory"]["swap"], json!({ "limit": 0, "failcnt": 0 }));
        assert_eq!((&document["pids"], &document["blkio"]), (&json!({}), &json!({})));
        assert!(document["memory"].get("psi").is_none(), "{document}");
    }

    #[test]
    fn intervals_as_go_writes_them() {
        assert_eq!(parse_interval("5s"), Some(Duration::from_secs(5)));
        assert_eq!(parse_interval("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_interval("1.5ms"), Some(Duration::from_micros(1500)));
        for text in ["", "5", "0s", "5x", "s"] {
            assert_eq!(parse_interval(text), None, "{text}");
        }
    }
}
