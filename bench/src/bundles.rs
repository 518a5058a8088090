//! OCI runtimes by themselves: ours, runc, crun and whoever else is named, with one bundle, in one run.
//!
//! All of them run where the peer runs, on copies of the same bundle on disk; each round takes every runtime in turn. Work is
//! done warm and cold (the kernel's caches of files, directories and inodes dropped before each sample), by one and by two
//! at once; and all of it in up to two worlds:
//!
//! - *the host's cgroups*. Controllers that a hybrid has left on v2 are mounted as v1, in a mount namespace and for the run
//!   alone: crun refuses to work beside them.
//! - *v2 alone*, where the host has v1 as well: a mount namespace in which `/sys/fs/cgroup` is the unified hierarchy.
//!
//! Peak memory is that of one process, as the kernel tells who waits for it (`ru_maxrss`); pages of its file count, also those
//! that it shares with others.

mod place;

use std::time::Duration;

use crate::Options;
use crate::bundles::place::{Cgroups, Place, Runtime};
use crate::report::{Comparison, Comparisons, median};

/// One runtime does the work once, with a container of this name: the line for the shell.
type Line = fn(&Runtime, &str) -> String;

const WORK: [(&str, Line); 3] = [
    ("`run`", |runtime, id| format!("{runtime} run -b $bundle {id}")),
    ("`create`, `start`, `delete -f`", |runtime, id| {
        format!("{runtime} create -b $bundle {id} && {runtime} start {id} && {runtime} delete -f {id}")
    }),
    ("`exec`", |runtime, _| format!("{runtime} exec {} true", runtime.standing())),
];

/// The commands whose memory is looked at, with what comes before and after.
const MEMORY: [(&str, Line); 4] = [
    ("`run`", |runtime, id| format!("$peak {runtime} run -b $bundle {id}")),
    ("`create`", |runtime, id| format!("$peak {runtime} create -b $bundle {id} && {runtime} delete -f {id}")),
    ("`start`", |runtime, id| {
        format!("{runtime} create -b $bundle {id} && $peak {runtime} start {id} && {runtime} delete -f {id}")
    }),
    ("`exec`", |runtime, _| format!("$peak {runtime} exec {} true", runtime.standing())),
];

/// How often the memory of a command is looked at; the largest counts.
const LOOKS: usize = 3;

/// The table of all rows that are wanted.
pub(crate) fn compare(options: &Options) -> Comparisons {
    let mut table = Comparisons::default();
    let prefix = options.peer.as_deref().unwrap_or("env");
    for cgroups in [Cgroups::Host, Cgroups::Unified] {
        let Some(mut place) = Place::new(prefix, cgroups, &options.runtimes) else { continue };
        table.columns = place.runtimes().iter().map(|runtime| runtime.name.clone()).collect();
        times(&mut table, &mut place, options);
        memory(&mut table, &mut place, options);
        if cgroups == Cgroups::Host {
            sizes(&mut table, &mut place, options);
        }
    }
    table
}

fn times(table: &mut Comparisons, place: &mut Place, options: &Options) {
    for (work, line) in WORK {
        for (warmth, cold) in [("warm", false), ("cold", true)] {
            for (crowd, at_once) in [("", 1), (", two at once", 2)] {
                let name = format!("{work}, {warmth}{crowd}, {}", place.cgroups());
                if !options.wants(&name) {
                    continue;
                }
                let values = medians(place, options.rounds, &name, |place, runtime| {
                    if cold {
                        place.cool();
                    }
                    place.time(&together(runtime, line, at_once))
                });
                table.add(Comparison { name, unit: "ms", values });
            }
        }
    }
}

/// How often a runtime may fail at a row that it has done once.
const SLIPS: usize = 3;

/// A runtime at one row.
struct Runner {
    runtime: Runtime,
    samples: Vec<Duration>,
    slips: usize,
}

impl Runner {
    fn is_able(&self) -> bool {
        self.slips == 0 || (!self.samples.is_empty() && self.slips < SLIPS)
    }

    /// Does the work once more. What has failed leaves nothing behind, and is told.
    fn go(
        &mut self,
        place: &mut Place,
        name: &str,
        work: &impl Fn(&mut Place, &Runtime) -> Option<Duration>,
    ) {
        match work(place, &self.runtime) {
            Some(took) => self.samples.push(took),
            None => {
                place.clear(&self.runtime);
                self.slips += 1;
                let what = if self.is_able() { "has failed at this once" } else { "does not do this here" };
                eprintln!("{} {what}: {name}", self.runtime.name);
            }
        }
    }
}

/// All runtimes in turn, as often as wanted. Before, each does it once: that warms what may be warm, and who can't do it
/// here is left out, as is who fails at it again and again.
fn medians(
    place: &mut Place,
    rounds: usize,
    name: &str,
    work: impl Fn(&mut Place, &Runtime) -> Option<Duration>,
) -> Vec<Option<f64>> {
    let runner = |runtime: &Runtime| Runner { runtime: runtime.clone(), samples: Vec::new(), slips: 0 };
    let mut runners: Vec<Runner> = place.runtimes().iter().map(runner).collect();
    for runner in &mut runners {
        runner.go(place, name, &work);
    }
    for _ in 0..rounds {
        for runner in runners.iter_mut().filter(|runner| runner.is_able()) {
            runner.go(place, name, &work);
        }
    }
    let middle = |runner: &mut Runner| {
        let able = runner.is_able();
        // The first was for the warmth.
        runner.samples.drain(..runner.samples.len().min(1));
        (able && !runner.samples.is_empty()).then(|| median(&mut runner.samples))
    };
    runners.iter_mut().map(middle).collect()
}

/// The work as often as wanted at the same time; it has succeeded when all have.
fn together(runtime: &Runtime, line: Line, at_once: usize) -> String {
    let start = |number: usize| format!("{{ {}; }} & p{number}=$!; ", line(runtime, &format!("c{number}")));
    let wait = |number: usize| format!("wait $p{number}");
    match at_once {
        1 => line(runtime, "c1"),
        _ => {
            let waits: Vec<String> = (1..=at_once).map(wait).collect();
            (1..=at_once).map(start).collect::<String>() + &waits.join(" && ")
        }
    }
}

fn memory(table: &mut Comparisons, place: &mut Place, options: &Options) {
    for (command, line) in MEMORY {
        let name = format!("peak memory of {command}, {}", place.cgroups());
        if !options.wants(&name) {
            continue;
        }
        let runtimes = place.runtimes().to_vec();
        let values = runtimes
            .iter()
            .map(|runtime| (0..LOOKS).filter_map(|_| place.peak(&line(runtime, "c1"))).reduce(f64::max))
            .collect();
        table.add(Comparison { name, unit: "KiB", values });
    }
}

fn sizes(table: &mut Comparisons, place: &mut Place, options: &Options) {
    let name = "size of the program, without its libraries".to_owned();
    if !options.wants(&name) {
        return;
    }
    let runtimes = place.runtimes().to_vec();
    let values = runtimes
        .iter()
        .map(|runtime| {
            let line = format!("stat -Lc %s $(command -v {})", runtime.name);
            place.number(&line).map(|bytes| bytes / 1024.0)
        })
        .collect();
    table.add(Comparison { name, unit: "KiB", values });
}
