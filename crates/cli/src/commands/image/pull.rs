//! `image pull`, and the fetching that `run` and `create` do.

use std::io::Write;

use api::auth::Auth;

use crate::commands::container::create::platform;
use crate::commands::progress;
use crate::credentials;
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, content_trust, switch, text};
use crate::needs::since;
use crate::session::Session;
use crate::terminal;
use crate::tree::{Names, Spec};
use crate::values::reference;

pub(crate) const SPEC: Spec = Spec::new(
    &["image pull", "pull"],
    &["[OPTIONS] NAME[:TAG|@DIGEST]"],
    "Fetch an image from a registry",
    Count::Exactly(1),
    flags,
    run,
)
.names(Names::Images)
.flags_since(&[("platform", since(32))]);

fn flags() -> Vec<clap::Arg> {
    vec![
        switch("all-tags", "Fetch every tag of the repository").short('a'),
        content_trust(),
        text("platform", "string", "Platform to fetch, for images with several"),
        switch("quiet", "Print only the name of what was fetched").short('q'),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    parsed.refuse_content_trust()?;
    let name = parsed.first();
    let (repository, tag) = reference::split(name);
    let (wanted, quiet) = (parsed.on("all-tags"), parsed.on("quiet"));
    if wanted && !tag.is_empty() {
        return Err(Failure::new("tag can't be used with --all-tags/-a"));
    }
    reference::check(name).map_err(Failure::new)?;
    let mut out = std::io::stdout();
    if !wanted && tag.is_empty() && !quiet {
        writeln!(out, "Using default tag: latest")?;
    }
    let full = if wanted { repository.to_owned() } else { reference::with_default_tag(name) };
    let auth = credentials::offered(session.config()?, &full);
    fetch(session, &full, &platform(parsed), &auth, quiet, &mut out, terminal::stdout_is_terminal())?;
    writeln!(out, "{}", reference::normalized(&full))?;
    Ok(0)
}

/// Fetches an image and shows how it goes. A name without a tag means all tags.
pub(crate) fn fetch(
    session: &Session,
    name: &str,
    platform: &str,
    auth: &Auth,
    quiet: bool,
    out: &mut dyn Write,
    fancy: bool,
) -> Result<(), Failure> {
    let (repository, tag) = reference::split(name);
    let messages = session.client()?.pull(repository, tag, platform, auth)?;
    if quiet { progress::swallow(messages) } else { progress::show(messages, out, fancy) }
}
