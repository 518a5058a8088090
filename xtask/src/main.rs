//! `cargo xtask`: the one entry for people who work on Wharf.
//!
//! Each command is a short list of programs to run, in the order a person would type them; the first that fails
//! ends it with that program's exit code. Nothing here is needed to use Wharf.

mod bench;
mod check;
mod guest;
mod packages;
mod run;
mod simulate;
mod soak;
mod test;
mod trial;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask COMMAND [ARGS]

  try              build everything for release and run a container from the embedded image
  dev [ARGS]       build for development and run wharfd in the foreground with these flags
  check            formatting, lints and house rules: what a change must pass before its tests
  test             install what the tests need (Debian packages) and run all of them
  e2e [FILTER]     only the black box tests, against freshly built binaries
  guest [PACKAGE[:FILTER]]... -- PREFIX
                   tests (the black box tests, if no package is named) on another machine, in which PREFIX
                   runs commands: one with cgroup v2 alone and systemd
  soak [--containers N] [--kills N] [--seed N]
                   kills the engine again and again under load, and shows that nothing is lost by it
  simulate [--seed N] [--for TIME]
                   cuts the engine off at any point of a simulated world, for a minute or as long as is asked (2h),
                   and shows the fewest steps that break a promise
  man [DIRECTORY]  write the manual pages (into target/man, if no directory is named)
  bench [ARGS]     the benchmarks; with --peer PREFIX beside the programs that PREFIX reaches
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next();
    let rest: Vec<String> = arguments.collect();
    let outcome = match command.as_deref() {
        Some("try") => trial::run(),
        Some("dev") => trial::develop(&rest),
        Some("check") => check::run(),
        Some("test") => test::all(),
        Some("e2e") => test::black_box(&rest),
        Some("guest") => guest::run(&rest),
        Some("soak") => soak::run(&rest),
        Some("simulate") => simulate::run(&rest),
        Some("man") => trial::manual(&rest),
        Some("bench") => bench::run(&rest),
        Some("help" | "--help" | "-h") | None => {
            print!("{USAGE}");
            return if command.is_some() { ExitCode::SUCCESS } else { ExitCode::from(2) };
        }
        Some(unknown) => {
            eprint!("xtask: there is no command {unknown:?}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::from(failure.code)
        }
    }
}
