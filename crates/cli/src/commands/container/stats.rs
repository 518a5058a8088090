//! `container stats`: what containers use, once or continuously.
//!
//! One thread a container reads its samples; the main one draws all of them twice a second. A
//! container that is silent for two seconds shows dashes.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use api::container::{CpuStats, Stats};
use client::{Client, Query};

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch, text};
use crate::format::{Field, Listing, Row, Style, shown_id};
use crate::session::Session;
use crate::tree::{Names, Spec};
use crate::units;

pub(crate) const SPEC: Spec = Spec::new(
    &["container stats", "stats"],
    &["[OPTIONS] [CONTAINER...]"],
    "Show what containers use, live",
    Count::AtLeast(0),
    flags,
    run,
)
.names(Names::RunningContainers);

fn flags() -> Vec<clap::Arg> {
    vec![
        switch("all", "Show all containers, not just those that run").short('a'),
        text("format", "string", crate::commands::inspect::LIST_FORMAT),
        switch("no-stream", "Print one sample and end"),
        switch("no-trunc", "Show all texts in full length"),
    ]
}

const FIELDS: &[Field] = &[
    ("BlockIO", "BLOCK I/O"),
    ("CPUPerc", "CPU %"),
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("MemPerc", "MEM %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("Name", "NAME"),
    ("NetIO", "NET I/O"),
    ("PIDs", "PIDS"),
];
const LISTING: Listing<'static> = Listing {
    fields: FIELDS,
    table: &["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"],
    quiet: "ID",
    kind: "*container.statsContext",
};
const PERIOD: Duration = Duration::from_millis(500);
const STALE: Duration = Duration::from_secs(2);

/// What is known of a container: its last sample and when it came.
#[derive(Default)]
struct Seen {
    sample: Option<(Stats, Instant)>,
    failure: Option<String>,
    ended: bool,
}

/// What asking for one sample brings: a stream may fail, be empty, or hold something else.
type Answer = client::Result<Option<client::Result<Stats>>>;

type Board = Arc<Mutex<BTreeMap<String, Seen>>>;

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let configured =
        if parsed.text("format").is_empty() { session.config()?.text("statsFormat") } else { String::new() };
    let style = Style::choose(parsed.text("format"), &configured, false);
    let client = session.client()?;
    let names = match parsed.arguments() {
        [] => running(client, parsed.on("all"))?,
        names => names.to_vec(),
    };
    let whole = parsed.on("no-trunc");
    if parsed.on("no-stream") {
        let mut rows = Vec::new();
        let mut failures = Vec::new();
        for (name, seen) in once(session, &names)? {
            match (seen.sample, seen.failure) {
                (Some((stats, _)), _) => rows.push(row(&name, &stats, whole)),
                (None, failure) => {
                    failures.push(Failure::new(failure.unwrap_or_else(|| format!("no sample of {name}"))))
                }
            }
        }
        if !failures.is_empty() {
            return Failure::all(failures);
        }
        return LISTING.print(&style, &rows);
    }
    stream(session, &names, parsed, &style)
}

fn running(client: &Client, all: bool) -> Result<Vec<String>, Failure> {
    let containers = client.list_containers(&Query::new().set_if("all", all))?;
    Ok(containers.into_iter().map(|container| container.id).collect())
}

/// A sample takes the engine a second, so all containers are asked at once.
fn once(session: &Session, names: &[String]) -> Result<Vec<(String, Seen)>, Failure> {
    let mut threads = Vec::new();
    for name in names {
        let client = session.another_client()?;
        let asked = name.clone();
        threads.push((
            name.clone(),
            thread::spawn(move || client.container_stats(&asked, false).map(|mut samples| samples.next())),
        ));
    }
    let collect = |(name, thread): (String, thread::JoinHandle<Answer>)| {
        let mut seen = Seen::default();
        match thread.join() {
            Ok(Ok(Some(Ok(stats)))) => seen.sample = Some((stats, Instant::now())),
            Ok(Ok(None)) => {}
            Ok(Err(error) | Ok(Some(Err(error)))) => seen.failure = Some(error.to_string()),
            Err(_) => seen.failure = Some(format!("reading the samples of {name} failed")),
        }
        (name, seen)
    };
    Ok(threads.into_iter().map(collect).collect())
}

fn stream(session: &Session, names: &[String], parsed: &Parsed, style: &Style) -> Outcome {
    let follow_all = parsed.arguments().is_empty();
    let board = Board::default();
    for name in names {
        watch(session, name, &board)?;
    }
    let whole = parsed.on("no-trunc");
    let mut out = std::io::stdout();
    loop {
        thread::sleep(PERIOD);
        if follow_all {
            let known: Vec<String> = lock(&board)?.keys().cloned().collect();
            for name in
                running(session.client()?, parsed.on("all"))?.iter().filter(|name| !known.contains(name))
            {
                watch(session, name, &board)?;
            }
        }
        let (rows, done) = {
            let mut seen = lock(&board)?;
            if follow_all {
                seen.retain(|_, seen| !seen.ended);
            }
            let failures = seen.values().filter_map(|seen| seen.failure.clone()).map(Failure::new);
            let failures: Vec<Failure> = failures.filter(|_| !follow_all).collect();
            if !failures.is_empty() {
                return Failure::all(failures);
            }
            let rows: Vec<Row> = seen.iter().map(|(name, seen)| current(name, seen, whole)).collect();
            (rows, !follow_all && seen.values().all(|seen| seen.ended))
        };
        // Home, and each line cleared to its end, so that nothing flickers.
        let text = LISTING.render(style, &rows)?;
        let text = text.replace('\n', "\x1b[K\n");
        write!(out, "\x1b[H{text}\x1b[J")?;
        out.flush()?;
        if done {
            return Ok(0);
        }
    }
}

fn lock(board: &Board) -> Result<std::sync::MutexGuard<'_, BTreeMap<String, Seen>>, Failure> {
    board.lock().map_err(|_| Failure::new("a reader of samples failed"))
}

fn watch(session: &Session, name: &str, board: &Board) -> Result<(), Failure> {
    lock(board)?.insert(name.to_owned(), Seen::default());
    let client = session.another_client()?;
    let (name, board) = (name.to_owned(), board.clone());
    thread::spawn(move || {
        let tell = |change: &dyn Fn(&mut Seen)| {
            if let Ok(mut board) = board.lock() {
                change(board.entry(name.clone()).or_default());
            }
        };
        let failed = |error: client::Error| tell(&|seen| seen.failure = Some(error.to_string()));
        match client.container_stats(&name, true) {
            Err(error) => failed(error),
            Ok(samples) => {
                for sample in samples {
                    match sample {
                        Ok(stats) => tell(&|seen| seen.sample = Some((stats.clone(), Instant::now()))),
                        Err(error) => {
                            failed(error);
                            break;
                        }
                    }
                }
            }
        }
        tell(&|seen| seen.ended = true);
    });
    Ok(())
}

fn current(name: &str, seen: &Seen, whole: bool) -> Row {
    match &seen.sample {
        Some((stats, when)) if when.elapsed() < STALE => row(name, stats, whole),
        sample => {
            let dash = || "--".to_owned();
            let stats = sample.as_ref().map(|(stats, _)| stats);
            let id = stats.map_or_else(dash, |stats| shown_id(&stats.id, whole));
            let shown = stats.map_or_else(dash, |stats| stats.name.trim_start_matches('/').to_owned());
            let texts = vec![
                "-- / --".to_owned(),
                dash(),
                name.to_owned(),
                id,
                dash(),
                "-- / --".to_owned(),
                shown,
                "-- / --".to_owned(),
                dash(),
            ];
            Row { texts, ..Row::default() }
        }
    }
}

fn row(name: &str, stats: &Stats, whole: bool) -> Row {
    let memory = &stats.memory_stats;
    let used = used_memory(stats);
    let percent = if memory.limit == 0 { 0.0 } else { used as f64 / memory.limit as f64 * 100.0 };
    let (received, sent) = stats
        .networks
        .values()
        .fold((0, 0), |(rx, tx), network| (rx + network.rx_bytes, tx + network.tx_bytes));
    let (read, written) = block_io(stats);
    let size = |bytes: u64| units::decimal_size(bytes as f64);
    let texts = vec![
        format!("{} / {}", size(read), size(written)),
        format!("{:.2}%", cpu_percent(&stats.precpu_stats, &stats.cpu_stats)),
        name.to_owned(),
        shown_id(&stats.id, whole),
        format!("{percent:.2}%"),
        format!("{} / {}", units::binary_size(used as f64), units::binary_size(memory.limit as f64)),
        stats.name.trim_start_matches('/').to_owned(),
        format!("{} / {}", size(received), size(sent)),
        stats.pids_stats.current.to_string(),
    ];
    Row { texts, ..Row::default() }
}

fn cpu_percent(before: &CpuStats, now: &CpuStats) -> f64 {
    let own = now.cpu_usage.total_usage as f64 - before.cpu_usage.total_usage as f64;
    let host = now.system_cpu_usage as f64 - before.system_cpu_usage as f64;
    let processors = match now.online_cpus {
        0 => now.cpu_usage.percpu_usage.len() as f64,
        count => f64::from(count),
    };
    if own > 0.0 && host > 0.0 { own / host * processors * 100.0 } else { 0.0 }
}

/// Memory without the file cache that could be dropped at once.
fn used_memory(stats: &Stats) -> u64 {
    let memory = &stats.memory_stats;
    let cache = memory.stats.get("total_inactive_file").or_else(|| memory.stats.get("inactive_file"));
    match cache {
        Some(cache) if *cache < memory.usage => memory.usage - cache,
        _ => memory.usage,
    }
}

fn block_io(stats: &Stats) -> (u64, u64) {
    let entries = stats.blkio_stats.io_service_bytes_recursive.iter().flatten();
    entries.fold((0, 0), |(read, written), entry| match entry.op.chars().next() {
        Some('r' | 'R') => (read + entry.value, written),
        Some('w' | 'W') => (read, written + entry.value),
        _ => (read, written),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_becomes_a_row() {
        let mut stats = Stats { id: "0123456789abcdef".into(), name: "/web".into(), ..Stats::default() };
        stats.cpu_stats.cpu_usage.total_usage = 300;
        stats.cpu_stats.system_cpu_usage = 2000;
        stats.cpu_stats.online_cpus = 2;
        stats.precpu_stats.cpu_usage.total_usage = 100;
        stats.precpu_stats.system_cpu_usage = 1000;
        stats.memory_stats.usage = 3 << 20;
        stats.memory_stats.limit = 4 << 20;
        stats.memory_stats.stats.insert("inactive_file".into(), 1 << 20);
        stats.pids_stats.current = 7;
        let text = LISTING.render(&Style::Table, &[row("web", &stats, false)]).unwrap();
        assert_eq!(
            text.lines().nth(1).unwrap(),
            "0123456789ab   web       40.00%    2MiB / 4MiB         50.00%    0B / 0B   0B / 0B     7"
        );
    }

    #[test]
    fn silence_is_shown_as_dashes() {
        assert_eq!(current("x", &Seen::default(), false).texts[1], "--");
    }
}
