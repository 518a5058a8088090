//! The commands, one file each, in folders by what they are about.

pub(crate) mod completion;
pub(crate) mod container;
pub(crate) mod context;
pub(crate) mod image;
pub(crate) mod input;
pub(crate) mod inspect;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod man;
pub(crate) mod network;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod system;
pub(crate) mod version;
pub(crate) mod volume;

use std::io::Write as _;

use crate::failure::{Failure, Outcome};
use crate::flags::Parsed;
use crate::session::Session;
use crate::tree::Spec;
use crate::values::filter;

/// All of them.
pub(crate) const ALL: &[&Spec] = &[
    &container::attach::SPEC,
    &container::commit::SPEC,
    &container::cp::SPEC,
    &container::create::SPEC,
    &container::diff::SPEC,
    &container::exec::SPEC,
    &container::export::SPEC,
    &container::inspect::SPEC,
    &container::kill::SPEC,
    &container::logs::SPEC,
    &container::ls::SPEC,
    &container::pause::SPEC,
    &container::port::SPEC,
    &container::prune::SPEC,
    &container::rename::SPEC,
    &container::restart::SPEC,
    &container::rm::SPEC,
    &container::run::SPEC,
    &container::start::SPEC,
    &container::stats::SPEC,
    &container::stop::SPEC,
    &container::top::SPEC,
    &container::unpause::SPEC,
    &container::update::SPEC,
    &container::wait::SPEC,
    &context::create::SPEC,
    &context::export::SPEC,
    &context::import::SPEC,
    &context::inspect::SPEC,
    &context::ls::SPEC,
    &context::rm::SPEC,
    &context::show::SPEC,
    &context::switch::SPEC,
    &context::update::SPEC,
    &image::history::SPEC,
    &image::import::SPEC,
    &image::inspect::SPEC,
    &image::load::SPEC,
    &image::ls::SPEC,
    &image::prune::SPEC,
    &image::pull::SPEC,
    &image::push::SPEC,
    &image::rm::SPEC,
    &image::save::SPEC,
    &image::search::SPEC,
    &image::tag::SPEC,
    &network::connect::SPEC,
    &network::create::SPEC,
    &network::disconnect::SPEC,
    &network::inspect::SPEC,
    &network::ls::SPEC,
    &network::prune::SPEC,
    &network::rm::SPEC,
    &system::df::SPEC,
    &system::dial_stdio::SPEC,
    &system::events::SPEC,
    &system::info::SPEC,
    &system::prune::SPEC,
    &volume::create::SPEC,
    &volume::inspect::SPEC,
    &volume::ls::SPEC,
    &volume::prune::SPEC,
    &volume::rm::SPEC,
    &volume::update::SPEC,
    &completion::SPEC,
    &inspect::SPEC,
    &login::SPEC,
    &logout::SPEC,
    &man::SPEC,
    &version::SPEC,
];

/// Does something with each of several; what worked is printed as it works, and what failed is
/// told at the end, so that one bad name keeps nobody from the good ones.
pub(crate) fn each(names: &[String], mut act: impl FnMut(&str) -> Result<String, Failure>) -> Outcome {
    let mut failures = Vec::new();
    for name in names {
        match act(name) {
            Ok(line) if line.is_empty() => {}
            Ok(line) => writeln!(std::io::stdout(), "{line}")?,
            Err(failure) => failures.push(failure),
        }
    }
    Failure::all(failures)
}

/// The filters of a prune: those of the command line, and those that the configuration adds to
/// every prune unless the command line says the opposite of it. (The stock client leaves out each
/// label of the configuration whose opposite nobody asks for, against its own documentation: what
/// was to be kept would be removed.)
pub(crate) fn prune_filters(session: &Session, parsed: &Parsed) -> Result<String, Failure> {
    let mut filters = filter::parse(&parsed.list("filter"))?;
    for entry in session.config()?.list("pruneFilters") {
        let Some((key, value)) = entry.split_once('=') else { continue };
        let opposite = if key == "label" { "label!" } else { "label" };
        let said = key.starts_with("label") && filters.values(opposite).any(|known| known == value);
        if !said {
            filters.add(key, value);
        }
    }
    Ok(if filters.is_empty() { String::new() } else { filters.to_json() })
}
