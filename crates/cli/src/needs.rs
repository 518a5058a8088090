//! What an engine has to speak for a command, or for a flag that was given.
//!
//! What a version of the API brought, an older engine passes over without a word: the limit would be none, and what was to
//! be filtered would be removed. So it is refused here, as Docker's client does. Nobody who asks for nothing of the kind
//! pays for it; who does, pays for the question which version is spoken.

use api::version::ApiVersion;

use crate::failure::Failure;
use crate::flags::Parsed;
use crate::session::Session;
use crate::tree::Spec;

/// The version of the API that brought something.
pub(crate) const fn since(minor: u16) -> ApiVersion {
    ApiVersion::new(1, minor)
}

/// Refuses what the engine does not know. One that cannot be asked says nothing: the command itself will tell why.
pub(crate) fn check(session: &Session, spec: &Spec, name: &str, parsed: &Parsed) -> Result<(), Failure> {
    let given = || spec.flags_since.iter().filter(|(flag, _)| parsed.changed(flag));
    if spec.since.is_none() && given().next().is_none() {
        return Ok(());
    }
    let Ok(spoken) = session.client()?.version() else { return Ok(()) };
    let refused = |what: &str, since: ApiVersion| {
        format!("{what} requires API version {since}, but the Docker daemon API version is {spoken}")
    };
    if let Some(since) = spec.since.filter(|since| spoken < *since) {
        return Err(Failure::new(refused(&format!("{} {name}", session.program), since)));
    }
    let unknown = given().filter(|(_, since)| spoken < *since);
    let told: Vec<String> = unknown.map(|(flag, since)| refused(&format!("\"--{flag}\""), *since)).collect();
    if told.is_empty() { Ok(()) } else { Err(Failure::new(told.join("\n"))) }
}

#[cfg(test)]
mod tests {
    use crate::commands;

    #[test]
    fn whatever_has_a_version_is_there() {
        for spec in commands::ALL {
            let flags: Vec<_> = (spec.flags)().iter().map(|flag| flag.get_id().to_string()).collect();
            for (flag, _) in spec.flags_since {
                assert!(flags.iter().any(|known| known == flag), "{:?} has no --{flag}", spec.spellings);
            }
        }
    }
}
