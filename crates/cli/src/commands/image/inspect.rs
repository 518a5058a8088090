//! `image inspect`.

use crate::commands::inspect::{FORMAT, show};
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, text};
use crate::needs::since;
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["image inspect"],
    &["[OPTIONS] IMAGE [IMAGE...]"],
    "Show all that is known about images",
    Count::AtLeast(1),
    flags,
    run,
)
.names(Names::Images)
.flags_since(&[("platform", since(49))]);

fn flags() -> Vec<clap::Arg> {
    vec![
        text("format", "string", FORMAT).short('f'),
        text("platform", "string", "Platform to show, for images with several"),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let platform = match parsed.text("platform") {
        "" => String::new(),
        text => super::save::platform_json(text)?,
    };
    let client = session.client()?;
    show(parsed.text("format"), "", parsed.arguments(), |name| {
        if name.is_empty() {
            return Err(Failure::new("Error: No such image: "));
        }
        client.inspect_image_raw(name, &platform).map_err(Failure::from)
    })
}
