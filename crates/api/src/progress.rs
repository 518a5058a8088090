//! The lines of a pull, push, load, import or build, as they are told while it runs.
//!
//! One JSON object per line, each ended by CRLF. Once the first line is out the HTTP status is 200 for
//! good, so a failure is the last line.

use serde::{Deserialize, Serialize};

use crate::omit;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Message {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stream: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_detail: Option<Detail>,
    /// The bar, drawn by the server for clients that cannot.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub progress: String,
    /// A layer's short digest, or a tag.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
    /// The same text again, for clients of the first days.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Detail {
    #[serde(skip_serializing_if = "omit::zero")]
    pub current: i64,
    #[serde(skip_serializing_if = "omit::zero")]
    pub total: i64,
    #[serde(skip_serializing_if = "omit::zero")]
    pub start: i64,
    #[serde(skip_serializing_if = "omit::zero")]
    pub hidecounts: bool,
    /// Bytes unless it says something else.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub units: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorDetail {
    #[serde(skip_serializing_if = "omit::zero")]
    pub code: i64,
    pub message: String,
}

impl Message {
    pub fn status(text: impl Into<String>) -> Self {
        Self { status: text.into(), ..Self::default() }
    }

    /// A step of one item; Docker sends the empty detail too.
    pub fn step(id: impl Into<String>, status: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            status: status.into(),
            progress_detail: Some(Detail::default()),
            ..Self::default()
        }
    }

    pub fn stream(text: impl Into<String>) -> Self {
        Self { stream: text.into(), ..Self::default() }
    }

    pub fn error(text: impl Into<String>) -> Self {
        let message: String = text.into();
        Self {
            error: message.clone(),
            error_detail: Some(ErrorDetail { code: 0, message }),
            ..Self::default()
        }
    }

    /// The line as it is sent.
    pub fn to_line(&self) -> Vec<u8> {
        // Strings, numbers and parsed JSON only: this cannot fail.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.extend(b"\r\n");
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_crlf_and_leave_out_what_is_not_said() {
        assert_eq!(Message::status("Importing").to_line(), b"{\"status\":\"Importing\"}\r\n");
        assert_eq!(
            Message::error("no").to_line(),
            b"{\"errorDetail\":{\"message\":\"no\"},\"error\":\"no\"}\r\n"
        );
        let step = Message::step("abc", "Pulling fs layer");
        assert_eq!(
            serde_json::to_string(&step).unwrap(),
            r#"{"status":"Pulling fs layer","progressDetail":{},"id":"abc"}"#
        );
    }
}
