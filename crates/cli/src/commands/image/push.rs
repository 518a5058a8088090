//! `image push`.

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
    &["image push", "push"],
    &["[OPTIONS] NAME[:TAG]"],
    "Send an image to a registry",
    Count::Exactly(1),
    flags,
    run,
)
.names(Names::Images)
.flags_since(&[("platform", since(46))]);

fn flags() -> Vec<clap::Arg> {
    vec![
        switch("all-tags", "Send every tag of the repository").short('a'),
        content_trust(),
        text("platform", "string", "Platform to send, for images with several"),
        switch("quiet", "Print only the name of what was sent").short('q'),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    parsed.refuse_content_trust()?;
    let name = parsed.first();
    let (repository, tag) = reference::split(name);
    if parsed.on("all-tags") && !tag.is_empty() {
        return Err(Failure::new("tag can't be used with --all-tags/-a"));
    }
    if name.contains('@') {
        return Err(Failure::new("cannot push a digest reference"));
    }
    reference::check(name).map_err(Failure::new)?;
    let tag = match (parsed.on("all-tags"), tag) {
        (true, _) => "",
        (false, "") => {
            if !parsed.on("quiet") {
                crate::print("Using default tag: latest\n")?;
            }
            "latest"
        }
        (false, tag) => tag,
    };
    let auth = credentials::for_image(session.config()?, name)?;
    let platform = match platform(parsed) {
        none if none.is_empty() => none,
        text => super::save::invalid(super::save::platform_json(&text))?,
    };
    let messages = session.client()?.push(repository, tag, &platform, &auth)?;
    if parsed.on("quiet") {
        progress::swallow(messages)?;
        let full = if tag.is_empty() { repository.to_owned() } else { format!("{repository}:{tag}") };
        crate::print(&format!("{}\n", reference::normalized(&full)))?;
    } else {
        progress::show(messages, &mut std::io::stdout(), terminal::stdout_is_terminal())?;
    }
    Ok(0)
}
