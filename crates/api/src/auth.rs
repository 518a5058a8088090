//! Credentials for registries, as they travel with a request.
//!
//! The header `X-Registry-Auth` holds base64url of the JSON below. Docker ignores what it cannot read
//! there (many old clients send `null`), so [`Auth::from_header`] never fails.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose};
use serde::{Deserialize, Serialize};

use crate::json;

/// Body of `POST /auth` and content of `X-Registry-Auth`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Auth {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// Base64 of `username:password`, as in configuration files.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub auth: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub serveraddress: String,
    /// An OAuth refresh token that stands for user and password.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub identitytoken: String,
    /// A bearer token that is sent as it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub registrytoken: String,
}

/// Secrets stay out of logs.
impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth")
            .field("username", &self.username)
            .field("serveraddress", &self.serveraddress)
            .finish_non_exhaustive()
    }
}

impl Auth {
    pub const HEADER: &str = "X-Registry-Auth";

    pub fn from_header(value: &[u8]) -> Self {
        LENIENT
            .decode(value)
            .ok()
            .and_then(|bytes| json::from_slice::<Option<Self>>(&bytes).ok().flatten())
            .unwrap_or_default()
    }

    pub fn to_header(&self) -> String {
        general_purpose::URL_SAFE.encode(serde_json::json!(self).to_string())
    }

    pub fn is_empty(&self) -> bool {
        *self == Self { serveraddress: self.serveraddress.clone(), ..Self::default() }
    }
}

/// With or without padding: both are sent.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Answer to `POST /auth`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AuthResponse {
    pub identity_token: String,
    pub status: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_round_trips_and_nonsense_is_nobody() {
        let auth = Auth { username: "ü?>".into(), password: "p".into(), ..Auth::default() };
        assert_eq!(Auth::from_header(auth.to_header().as_bytes()), auth);
        assert_eq!(Auth::from_header(auth.to_header().trim_end_matches('=').as_bytes()), auth);
        for nonsense in [&b""[..], b"%", b"bnVsbA==", b"W10="] {
            assert!(Auth::from_header(nonsense).is_empty());
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let auth = Auth { password: "hunter2".into(), identitytoken: "tok".into(), ..Auth::default() };
        assert!(!format!("{auth:?}").contains("hunter2") && !format!("{auth:?}").contains("tok"));
    }
}
