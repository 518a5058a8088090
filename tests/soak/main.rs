//! `cargo xtask soak`: many containers, many kills. See `blackbox::soak`.

use std::process::ExitCode;

use blackbox::soak::{Plan, run};

const USAGE: &str = "Usage: cargo xtask soak [--containers N] [--kills N] [--seed N] [--other DIRECTORY]";

fn main() -> ExitCode {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = now.map_or(1, |now| now.as_secs());
    let mut plan = Plan { containers: 50, kills: 200, seed, other: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next();
        let number = value.as_ref().and_then(|value| value.parse::<u64>().ok());
        match (word.as_str(), number) {
            ("--other", _) if value.is_some() => plan.other = value.map(Into::into),
            ("--containers", Some(value @ 1..=1000)) => plan.containers = value as u16,
            ("--kills", Some(value)) => plan.kills = u32::try_from(value).unwrap_or(u32::MAX),
            ("--seed", Some(value)) => plan.seed = value,
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    eprintln!("soak: {} containers, {} kills, --seed {}", plan.containers, plan.kills, plan.seed);
    let seed = plan.seed;
    let wrong = run(plan);
    for line in &wrong {
        eprintln!("soak: {line}");
    }
    if wrong.is_empty() {
        println!("soak: nothing was lost");
        return ExitCode::SUCCESS;
    }
    eprintln!("soak: {} things went wrong with --seed {seed}", wrong.len());
    ExitCode::FAILURE
}
