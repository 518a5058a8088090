//! Streams of JSON documents, and by which name and in which shape a client gets them.
//!
//! ```text
//!   application/json        until 1.51, whatever is accepted      {…}\n
//!   application/jsonl       from 1.52 on; also the default        {…}\n
//!   application/x-ndjson    the same by its older name            {…}\n
//!   application/json-seq    RFC 7464                              RS {…}\n
//! ```
//!
//! Logs come as documents only from 1.54 on, and for who asks; events always do.
//!
//! `Accept` chooses as [RFC 9110] has it: the greatest weight wins, among equals the more exact range, and then the order of
//! the table.
//!
//! [RFC 9110]: https://www.rfc-editor.org/rfc/rfc9110#name-accept

use bytes::Bytes;
use hyper::header::ACCEPT;
use serde::Serialize;

use crate::call::Call;
use crate::reply::{Failure, JSON};

const OFFERS: [Records; 3] = [Records::Lines, Records::OldLines, Records::Sequence];
/// How exact a range is that is a name.
const EXACT: u8 = 3;
/// Begins a document of a sequence.
const RECORD_SEPARATOR: u8 = 0x1e;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Records {
    /// One document after the other, under the name of one.
    Plain,
    Lines,
    OldLines,
    Sequence,
}

impl Records {
    /// What the client of a call is to get.
    pub(crate) fn wanted(call: &Call) -> Records {
        if call.before(52) {
            return Records::Plain;
        }
        Records::chosen(accepted(call))
    }

    /// What the client of a log is to get, where it asks for documents rather than output: by `format=json`, or by a name
    /// in `Accept` that only streams of documents have. Before 1.54 nobody can.
    pub(crate) fn of_log(call: &Call) -> Result<Option<Records>, Failure> {
        if call.before(54) {
            return Ok(None);
        }
        match call.query.text("format") {
            "" => {}
            "json" => return Ok(Some(Records::wanted(call))),
            other => {
                return Err(Failure::invalid(format!(
                    "invalid format: {other:?}: logs come as they are, or as json"
                )));
            }
        }
        Ok(Records::named(accepted(call)))
    }

    /// The best of what is named in full.
    fn named<'a>(ranges: impl Iterator<Item = &'a str>) -> Option<Records> {
        let names = |text: &str| OFFERS.iter().any(|offer| exactness(range(text).0, *offer) == Some(EXACT));
        let named: Vec<&str> = ranges.filter(|text| names(text) && range(text).1 > 0.0).collect();
        (!named.is_empty()).then(|| Records::chosen(named.into_iter()))
    }

    fn chosen<'a>(ranges: impl Iterator<Item = &'a str>) -> Records {
        let ranges: Vec<(&str, f32)> = ranges.map(range).collect();
        let rank = |offer: Records| {
            let fits = ranges.iter().filter_map(|(range, weight)| Some((exactness(range, offer)?, *weight)));
            // What the most exact range says of it, counts.
            fits.max_by_key(|(exactness, _)| *exactness).filter(|(_, weight)| *weight > 0.0)
        };
        let mut best = (Records::Lines, (0.0, 0));
        for offer in OFFERS {
            if let Some((exactness, weight)) = rank(offer)
                && (weight, exactness) > best.1
            {
                best = (offer, (weight, exactness));
            }
        }
        best.0
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Records::Plain => JSON,
            Records::Lines => "application/jsonl",
            Records::OldLines => "application/x-ndjson",
            Records::Sequence => "application/json-seq",
        }
    }

    /// One document as it goes over the wire.
    pub(crate) fn record<T: Serialize>(self, document: &T) -> Bytes {
        // Strings and numbers only: this cannot fail.
        let line = api::json::to_vec(document).unwrap_or_default();
        match self {
            Records::Sequence => [&[RECORD_SEPARATOR], &line[..]].concat().into(),
            Records::Plain | Records::Lines | Records::OldLines => line.into(),
        }
    }
}

/// The media ranges of `Accept`.
fn accepted(call: &Call) -> impl Iterator<Item = &str> {
    let lines = call.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(','))
}

/// A media range and its weight; one whose weight is no number is as good as any.
fn range(text: &str) -> (&str, f32) {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    (range, weight.and_then(|weight| weight.parse().ok()).unwrap_or(1.0))
}

fn exactness(range: &str, offer: Records) -> Option<u8> {
    match range.to_ascii_lowercase().as_str() {
        "*/*" => Some(1),
        "application/*" => Some(2),
        exact if exact == offer.content_type() => Some(EXACT),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_choose_the_shape() {
        let chosen = |accept: &str| Records::chosen(accept.split(','));
        for (accept, records) in [
            ("", Records::Lines),
            ("*/*", Records::Lines),
            ("text/html", Records::Lines),
            ("application/x-ndjson", Records::OldLines),
            ("application/json-seq", Records::Sequence),
            ("application/jsonl;q=0.5, application/json-seq", Records::Sequence),
            ("application/json-seq;q=0.1, */*;q=0.9", Records::Lines),
            ("application/jsonl;q=0, */*", Records::OldLines),
            ("Application/X-NDJSON; q=0.8, application/jsonl; q=0.3", Records::OldLines),
        ] {
            assert_eq!(chosen(accept), records, "{accept}");
        }
    }

    #[test]
    fn a_log_comes_as_documents_for_who_names_them() {
        let named = |accept: &str| Records::named(accept.split(','));
        for (accept, records) in [
            ("", None),
            ("*/*", None),
            ("application/*", None),
            ("application/json", None),
            ("application/jsonl;q=0", None),
            ("application/vnd.docker.raw-stream, application/jsonl", Some(Records::Lines)),
            ("*/*, application/json-seq;q=0.1", Some(Records::Sequence)),
            ("application/jsonl;q=0.1, application/x-ndjson;q=0.2", Some(Records::OldLines)),
        ] {
            assert_eq!(named(accept), records, "{accept}");
        }
    }

    #[test]
    fn documents_are_lines() {
        assert_eq!(Records::Lines.record(&1), "1\n");
        assert_eq!(Records::Sequence.record(&1), "\u{1e}1\n");
    }
}
