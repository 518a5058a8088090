//! The engine in a simulated world, cut off at any point and opened again, and everything looked at between.
//!
//! Everything of the engine is the real thing: its decisions, its tasks, its records, its restore, the shim's decisions and
//! its journal. Simulated is what they have an effect on: processes, network, cgroups, mounts, time ([`world`]). A run
//! follows from its seed; a failing one is shown with the fewest steps that still fail.
//!
//! `cargo xtask simulate` runs it for as long as one likes.
//!
//! Only a debug build has the points at which an engine can be cut off.
#![cfg(debug_assertions)]

mod checks;
mod clients;
mod fate;
mod network;
mod random;
mod rules;
mod run;
mod shim;
mod steps;
mod waits;
mod world;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use api::container::WaitCondition;
use run::{Failure, Report, run, run_cut_off, steps};
use steps::{Step, What, Wish};
use world::Mistake;

/// Steps of one run. Long enough for several engines, short enough to be understood when it fails.
const STEPS: usize = 80;

/// Seeds of each of the four tests that try the same ones each time: about a minute for all on two processors.
const SEEDS: u64 = 220;

/// Runs that are tried to find a shorter one that fails, too.
const SHORTER: usize = 400;

/// Leaves out steps as long as it still fails.
fn shortened(seed: u64, steps: &[Step], failure: Failure, mistake: Option<Mistake>) -> (Vec<Step>, Failure) {
    let mut steps = steps[..=failure.step.min(steps.len() - 1)].to_vec();
    let mut failure = failure;
    let (mut left, mut size) = (SHORTER, steps.len() / 2);
    while size > 0 {
        let mut at = 0;
        while at < steps.len() && left > 0 {
            left -= 1;
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            match run(seed, &fewer, mistake) {
                Err(other) if !fewer.is_empty() => {
                    fewer.truncate(other.step + 1);
                    (steps, failure) = (fewer, other);
                }
                _ => at += size,
            }
        }
        size /= 2;
    }
    (steps, failure)
}

fn simulate(seed: u64) -> Report {
    let all = steps(seed, STEPS);
    run(seed, &all, None).unwrap_or_else(|failure| {
        let first = failure.message.clone();
        let (fewest, failure) = shortened(seed, &all, failure, None);
        let listed: String = fewest.iter().map(|step| format!("  {:?} {:?}\n", step.what, step.trouble)).collect();
        panic!(
            "seed {seed}: {first}\n\nthe fewest steps that fail:\n{listed}\n{}\n\nthe end of their trace:\n{}\n\
             again: cargo xtask simulate --seed {seed}",
            failure.message, failure.trace
        )
    })
}

/// A seed that nobody has tried.
fn new_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    random::Random::new(now.as_nanos() as u64).next() % 1_000_000_000
}

/// Seeds that are always tried: a change is never refused by chance. Tests of a crate run side by side, so there are some.
macro_rules! always_tried {
    ($($name:ident: $seeds:expr),* $(,)?) => {$(
        #[test]
        fn $name() {
            for seed in $seeds {
                simulate(seed);
            }
        }
    )*};
}

always_tried! {
    seeds_that_are_always_tried_first: 1..=SEEDS,
    seeds_that_are_always_tried_second: SEEDS + 1..=2 * SEEDS,
    seeds_that_are_always_tried_third: 2 * SEEDS + 1..=3 * SEEDS,
    seeds_that_are_always_tried_fourth: 3 * SEEDS + 1..=4 * SEEDS,
}

#[test]
fn a_seed_comes_to_the_same_each_time() {
    let all = steps(7, STEPS);
    let one = run(7, &all, None).unwrap();
    assert_eq!(one, run(7, &all, None).unwrap());
    assert!(one.points > 300 && one.engines > 3, "{one:?}");
}

/// A life in which everything happens that steps can ask for.
fn scenario() -> Vec<Step> {
    use What::*;
    let wish = |network, shared_memory| Wish {
        policy: ("always", 0),
        auto_remove: false,
        network,
        port: Some(8080),
        volume: true,
        shared_memory,
        checked: false,
    };
    let thrown_away = Wish { policy: ("no", 0), auto_remove: true, port: None, ..wish("bridge", false) };
    let all = [
        CreateNetwork("front"),
        CreateNetwork("rear"),
        Create("anna", wish("front", true)),
        Wait("anna", WaitCondition::NextExit),
        Start("anna"),
        Connect("rear", "anna"),
        Exec("anna"),
        Pause("anna"),
        Unpause("anna"),
        Limit("anna", 20),
        Update("anna", ("on-failure", 5)),
        Commit("anna"),
        Disconnect("front", "anna"),
        Connect("front", "anna"),
        Disconnect("rear", "anna"),
        Disconnect("front", "anna"),
        Connect("front", "anna"),
        Rename("anna", "bert"),
        Ends("bert", 1),
        Pass(Duration::from_secs(2)),
        Restart("bert", 0),
        Wait("bert", WaitCondition::NextExit),
        Wait("bert", WaitCondition::Removed),
        ShimDies("bert"),
        Pass(Duration::from_secs(2)),
        Stop("bert", 0),
        Start("bert"),
        Create("cora", thrown_away),
        Start("cora"),
        Reopen,
        Ends("cora", 0),
        Kill("bert", "KILL"),
        Start("bert"),
        Create("dirk", wish("bridge", false)),
        Prune,
        Remove("bert", true),
        RemoveNetwork("rear"),
    ];
    // Seeds by which no start fails, and nothing ends before its shim is killed.
    all.into_iter().zip(6..).map(|(what, seed)| Step { seed, what, trouble: None }).collect()
}

#[test]
fn the_scenario_comes_to_every_point_that_chance_comes_to() {
    let whole = run(1, &scenario(), None).unwrap();
    assert_eq!(whole.refused, 0, "the scenario does what it says:\n{}", whole.trace);
    for seed in 1..=20 {
        let undisturbed = steps(seed, STEPS).into_iter().map(|step| Step { trouble: None, ..step });
        let passed = run(seed, &undisturbed.collect::<Vec<_>>(), None).unwrap().passed;
        let new: Vec<_> = passed.difference(&whole.passed).collect();
        assert!(new.is_empty(), "the scenario does not come to {new:?}");
    }
}

/// Cuts the scenario's engine off at each of these points in turn, until there are no more.
fn cut_off_at_each(points: impl Iterator<Item = u64>) {
    let scenario = scenario();
    for point in points {
        let came_so_far =
            run_cut_off(1, &scenario, point).unwrap_or_else(|Failure { message, trace, .. }| {
                panic!("cut off at point {point}: {message}\n\nthe end of the trace:\n{trace}")
            });
        if !came_so_far {
            assert!(point > 300, "the scenario has {point} points");
            return;
        }
    }
}

/// Each place at which an engine can be cut off is tried, not only those that chance comes to.
#[test]
fn an_engine_may_be_cut_off_at_every_odd_point() {
    cut_off_at_each((1..).step_by(2));
}

#[test]
fn an_engine_may_be_cut_off_at_every_even_point() {
    cut_off_at_each((2..).step_by(2));
}

/// A rule that is broken on purpose is found, or else the search is worth nothing.
#[test]
fn mistakes_are_found() {
    let found = |mistake, words: &str| {
        let found = (1..200).find_map(|seed| run(seed, &steps(seed, STEPS), Some(mistake)).err());
        let failure = found.unwrap_or_else(|| panic!("nobody notices {mistake:?}"));
        assert!(failure.message.contains(words), "{mistake:?} is taken for {}", failure.message);
    };
    found(Mistake::OneRestartTooMany, "Docker's rules");
    found(Mistake::PortsStayPublished, "the firewall");
    found(Mistake::CgroupsStay, "cgroup");
    found(Mistake::ShimsAreLost, "");
    found(Mistake::StartsAreToldTwice, "events tell of");
    found(Mistake::StartsAreForgotten, "events tell of");
    found(Mistake::ExecCodesAreWrong, "execs of");
}

/// What `cargo xtask simulate` runs.
#[test]
#[ignore = "for as long as one likes"]
fn as_long_as_asked() {
    let variable = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = variable("WHARF_SIMULATION_SEED") {
        println!("seed {seed}: {:?}", simulate(seed));
        return;
    }
    let seconds = variable("WHARF_SIMULATION_SECONDS").unwrap_or(60);
    let (began, mut runs, mut told) = (Instant::now(), 0u64, Instant::now());
    let (mut points, mut engines) = (0, 0);
    while began.elapsed() < Duration::from_secs(seconds) {
        let report = simulate(new_seed());
        runs += 1;
        points += report.points;
        engines += u64::from(report.engines);
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            println!("{runs} runs, {engines} engines, {points} points");
        }
    }
    println!("{runs} runs of {STEPS} steps, {engines} engines, {points} points, and nothing is broken");
}
