//! `logout`.

use std::io::Write as _;

use crate::credentials::{self, HUB};
use crate::failure::Outcome;
use crate::flags::{Count, Parsed};
use crate::session::Session;
use crate::tree::Spec;

pub(crate) const SPEC: Spec =
    Spec::new(&["logout"], &["[SERVER]"], "Log out from a registry", Count::AtMost(1), Vec::new, run)
        .details("Log out from a registry: from Docker Hub if no server is named.");

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    credentials::warn_of_environment();
    let server = parsed.first();
    let registry = if server.is_empty() { HUB } else { credentials::canonical(server) };
    let mut config = session.config()?.clone();
    let mut out = std::io::stdout();
    writeln!(out, "Removing login credentials for {registry}")?;
    if let Ok(Some(_)) = credentials::find(&config, registry) {
        credentials::erase(&mut config, registry)?;
    }
    Ok(0)
}
