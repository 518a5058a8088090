//! The same work on Wharf and on a peer, in turn, in one run.
//!
//! Both sides are driven by a shell that stands ready on their side, so that what is measured is the command that a
//! person would type and nothing around it. Samples alternate (Wharf, peer, Wharf, …): whatever else the machine
//! does, it does to both. Medians are printed, and their ratio.
//!
//! ```text
//! cargo xtask bench                             Wharf alone
//! cargo xtask bench --peer "PREFIX..."          beside a Docker in which `PREFIX docker ps` works
//! cargo xtask bench --rounds 30 --only run      more samples of fewer rows
//! cargo xtask bench --crowd 500                 rows about many containers, too (minutes)
//! cargo xtask bench --log 5                     rows about a log of so many GiB, too (minutes, and room on the disk)
//! cargo xtask bench --bundles --runtime PATH    runtimes alone, beside runc, crun and that program
//! ```

mod bundles;
mod crowd;
mod floor;
mod logs;
mod processes;
mod report;
mod rows;
mod shell;

use std::process::ExitCode;

use crate::floor::Work;
use crate::report::Report;
use crate::rows::Bench;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, kind] = &words[..]
        && flag == "--floor"
        && let Some(work) = Work::by_name(kind)
    {
        return match work.measure() {
            Ok(value) => {
                println!("{value}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let options = match Options::parse(words.into_iter()) {
        Ok(options) => options,
        Err(message) => {
            eprintln!(
                "bench: {message}\nUsage: bench [--peer PREFIX] [--rounds N] [--only TEXT] [--crowd N] \
                 [--log GIB] [--bundles] [--runtime PATH]..."
            );
            return ExitCode::from(2);
        }
    };
    if options.bundles {
        print!("{}", bundles::compare(&options));
        return ExitCode::SUCCESS;
    }
    if options.peer.is_none() {
        eprintln!("bench: no --peer given: Wharf is measured alone, there are no ratios");
    }
    let mut report = Report::default();
    Bench::new(&options).run(&mut report);
    print!("{report}");
    if options.peer.is_some() {
        print!("\n{}", bundles::compare(&options));
    }
    ExitCode::SUCCESS
}

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    /// A command that runs its arguments beside the peer.
    peer: Option<String>,
    rounds: usize,
    /// Only rows whose name contains this.
    only: Option<String>,
    /// How many containers stand while what many of them cost is measured.
    crowd: Option<usize>,
    /// How many GiB a log has in which something is looked for.
    log: Option<u64>,
    /// Only runtimes by themselves.
    bundles: bool,
    /// Programs of other runtimes, beside those that are found where the peer is.
    runtimes: Vec<String>,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Options {
            peer: None,
            rounds: 15,
            only: None,
            crowd: None,
            log: None,
            bundles: false,
            runtimes: Vec::new(),
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--peer" => options.peer = Some(value()?),
                "--rounds" => {
                    options.rounds = value()?.parse().map_err(|error| format!("--rounds: {error}"))?;
                }
                "--crowd" => {
                    let crowd = value()?.parse().map_err(|error| format!("--crowd: {error}"))?;
                    options.crowd = Some(crowd);
                }
                "--log" => {
                    options.log = Some(value()?.parse().map_err(|error| format!("--log: {error}"))?);
                }
                "--bundles" => options.bundles = true,
                "--runtime" => options.runtimes.push(value()?),
                "--only" => options.only = Some(value()?),
                _ => return Err(format!("unknown option {word}")),
            }
        }
        if options.rounds == 0 {
            return Err("--rounds must be at least 1".into());
        }
        Ok(options)
    }
}
