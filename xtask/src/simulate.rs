//! `simulate`: the engine in a simulated world, cut off at any point and opened again. See
//! `crates/engine/tests/simulation`.

use std::process::Command;

use crate::run::{Failure, Outcome, execute, root};

/// Without a seed new ones are tried, for a minute or as long as is asked.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let mut variables = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let value = arguments.next().map(String::as_str).unwrap_or_default();
        match argument.as_str() {
            "--seed" => variables.push(("WHARF_SIMULATION_SEED", number(argument, value)?)),
            "--for" => variables.push(("WHARF_SIMULATION_SECONDS", seconds(argument, value)?)),
            _ => return Err(Failure::new(format!("simulate does not know {argument:?}"))),
        }
    }
    let test =
        ["test", "--quiet", "--package", "engine", "--test", "simulation", "--", "--ignored", "--nocapture"];
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.args(test).envs(variables).current_dir(root());
    execute(command)
}

fn number(option: &str, text: &str) -> Result<String, Failure> {
    let number = text.parse::<u64>().map_err(|_| Failure::new(format!("{option} needs a number")))?;
    Ok(number.to_string())
}

/// `90`, `90s`, `10m`, `2h`.
fn seconds(option: &str, text: &str) -> Result<String, Failure> {
    let (digits, unit) = match text.find(|character: char| !character.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(Failure::new(format!("{option} needs a time: 90s, 10m, 2h"))),
    };
    let number =
        digits.parse::<u64>().map_err(|_| Failure::new(format!("{option} needs a time: 90s, 10m, 2h")))?;
    Ok((number * factor).to_string())
}
