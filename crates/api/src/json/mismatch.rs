//! What is told of a value that is of another kind than its place asks for, in the words of Go's decoder: the kind, the
//! place and Go's name of what belongs there, as far as one can be told from ours.

use std::fmt::Display;

use serde::de::Error as _;
use serde_json::{Error, Value};

const VALUE: &str = " into Go value of type ";
const FIELD: &str = " into Go struct field .";

/// What Go calls a value's kind.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A value that does not become a `wanted`.
pub(super) fn mismatch(value: &Value, wanted: impl Display) -> Error {
    Error::custom(format!("json: cannot unmarshal {}{VALUE}{wanted}", kind(value)))
}

/// A number that is too large or has a fraction.
pub(super) fn unfit(number: &serde_json::Number, wanted: &str) -> Error {
    Error::custom(format!("json: cannot unmarshal number {number}{VALUE}{wanted}"))
}

/// The same error, seen from what the value is in: a member's name or an item's number comes before its place.
pub(super) fn within(place: impl Display, error: Error) -> Error {
    let text = error.to_string();
    // Go writes places as JSON pointers with points for slashes.
    let place = place.to_string().replace('~', "~0").replace('/', "~1");
    if let Some((what, below)) = text.split_once(FIELD) {
        Error::custom(format!("{what}{FIELD}{place}.{below}"))
    } else if let Some((what, wanted)) = text.split_once(VALUE) {
        Error::custom(format!("{what}{FIELD}{place} of type {wanted}"))
    } else {
        error
    }
}
