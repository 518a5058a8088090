//! `image tag`.

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed};
use crate::session::Session;
use crate::tree::{Names, Spec};
use crate::values::reference;

pub(crate) const SPEC: Spec = Spec::new(
    &["image tag", "tag"],
    &["SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]"],
    "Give an image a further name",
    Count::Exactly(2),
    Vec::new,
    run,
)
.stop()
.names(Names::Images);

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let [source, target] = parsed.arguments() else { return Err(Failure::new("two names are required")) };
    if !reference::is_id(source) {
        reference::check(source).map_err(|why| misfit(source, &why))?;
    }
    if target.contains('@') {
        return Err(Failure::new(
            "Error response from daemon: refusing to create a tag with a digest reference",
        ));
    }
    let (repository, tag) = reference::split_tag(target);
    session.client()?.tag_image(source, repository, tag).map_err(|error| match &error {
        client::Error::Api { message, .. } if message.starts_with("invalid reference format") => {
            misfit(target, message)
        }
        _ => Failure::from(error),
    })?;
    Ok(0)
}

fn misfit(name: &str, why: &str) -> Failure {
    Failure::new(format!("Error parsing reference: {name:?} is not a valid repository/tag: {why}"))
}
