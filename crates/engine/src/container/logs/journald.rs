//! The options of the `journald` driver, and the fields that it gives each record.
//!
//! Docker reads such a log back from the journal; here the cache is read, as for all drivers that send.

use shim::protocol::{Collector, Endpoint};

use super::Told;
use super::options::Read;
use super::subject::{DEFAULT_TAG, Subject};

pub(super) const OPTIONS: &[&str] = &["labels", "labels-regex", "env", "env-regex", "tag"];

const SOCKET: &str = "/run/systemd/journal/socket";

pub(super) fn describe(subject: &Subject<'_>) -> Read<Told> {
    let tag = subject.tag(DEFAULT_TAG)?;
    let mut fields = subject.attributes(field)?;
    let own = [
        ("CONTAINER_ID", subject.short_id()),
        ("CONTAINER_ID_FULL", subject.id()),
        ("CONTAINER_NAME", &subject.record.name),
        ("CONTAINER_TAG", &tag),
        ("IMAGE_NAME", &subject.record.config.image),
        ("SYSLOG_IDENTIFIER", &tag),
    ];
    for (name, value) in own {
        fields.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    fields.remove("");
    let endpoints = vec![Endpoint::Unixgram(SOCKET.into())];
    Ok(Told { collector: Collector::Journald { fields }, endpoints, tls: None })
}

/// A name that the journal takes: capitals, digits and underscores, the first of them no underscore.
fn field(key: &str) -> String {
    let letters = key.chars().map(|letter| match letter.to_ascii_uppercase() {
        letter @ ('A'..='Z' | '0'..='9') => letter,
        _ => '_',
    });
    letters.skip_while(|letter| *letter == '_').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journal_fields_have_names_that_it_takes() {
        assert_eq!(field("__com.example-label 1"), "COM_EXAMPLE_LABEL_1");
    }
}
