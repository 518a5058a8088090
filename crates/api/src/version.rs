//! API versions: what this engine speaks, and how the two ends agree.
//!
//! Paths carry `/v<major>.<minor>`; without it the newest version is meant. A client asks
//! `HEAD /_ping`, reads the `Api-Version` header and uses the older of that and its own newest.
//!
//! ```text
//!   OLDEST ───────────── NEWEST ───── SERVED
//!    1.24     announced   1.51   named   1.56
//! ```
//!
//! What is announced is Docker 28's, so that whatever works with that is not shown anything new. A request that names a newer
//! version, because its author fixed one or because the client asks nobody, is served in that version's shape as long as
//! we know it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The release of Docker whose behaviour is spoken; what `Version` says to clients that compare.
pub const ENGINE: &str = "28.5.2";
/// The newest version that this engine announces, and that a path without a version means.
pub const NEWEST: ApiVersion = ApiVersion::new(1, 51);
/// The newest version that a request may name. Refusals name it and not [`NEWEST`]: a client that is told the maximum goes
/// on with the older of that and its own newest, which by then is one that it knows better than ours.
pub const SERVED: ApiVersion = ApiVersion::new(1, 56);
/// The oldest version this engine speaks.
pub const OLDEST: ApiVersion = ApiVersion::new(1, 24);

/// Headers that every response carries, and their fixed values.
pub const HEADERS: [(&str, &str); 4] = [
    ("Api-Version", "1.51"),
    ("Docker-Experimental", "false"),
    ("Ostype", "linux"),
    ("Server", "Docker/28.5.2 (linux)"),
];

/// A version of the Engine API, ordered by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApiVersion {
    pub major: u16,
    pub minor: u16,
}

impl ApiVersion {
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// Whether a request of this version may be served; the error is Docker's sentence.
    pub fn check(self) -> Result<Self, String> {
        if self < OLDEST {
            Err(format!(
                "client version {self} is too old. Minimum supported API version is {OLDEST}, \
                 please upgrade your client to a newer version"
            ))
        } else if self > SERVED {
            Err(format!("client version {self} is too new. Maximum supported API version is {SERVED}"))
        } else {
            Ok(self)
        }
    }

    /// The version both ends speak, given what the server's ping said.
    pub fn negotiate(self, server: Option<Self>) -> Self {
        server.map_or(self, |server| self.min(server))
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAVersion(pub String);

impl fmt::Display for NotAVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid API version: {:?}", self.0)
    }
}

impl std::error::Error for NotAVersion {}

impl FromStr for ApiVersion {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let number = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => digits.parse::<u16>().ok(),
            false => None,
        };
        let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
        match (number(major), number(minor)) {
            (Some(major), Some(minor)) => Ok(Self { major, minor }),
            _ => Err(NotAVersion(text.to_owned())),
        }
    }
}

impl TryFrom<String> for ApiVersion {
    type Error = NotAVersion;

    fn try_from(text: String) -> Result<Self, NotAVersion> {
        text.parse()
    }
}

impl From<ApiVersion> for String {
    fn from(version: ApiVersion) -> Self {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let version = |text: &str| text.parse::<ApiVersion>().unwrap();
        assert!(version("1.9") < version("1.24"));
        assert!(version("1.51") == NEWEST);
        assert!("1.x".parse::<ApiVersion>().is_err());
        assert!("1.+2".parse::<ApiVersion>().is_err());
        assert!("".parse::<ApiVersion>().is_err());
    }

    #[test]
    fn too_old_and_too_new_are_told_in_dockers_words() {
        assert_eq!(
            ApiVersion::new(1, 23).check().unwrap_err(),
            "client version 1.23 is too old. Minimum supported API version is 1.24, \
             please upgrade your client to a newer version"
        );
        assert_eq!(
            ApiVersion::new(1, 99).check().unwrap_err(),
            "client version 1.99 is too new. Maximum supported API version is 1.56"
        );
        assert!(SERVED.check().is_ok() && NEWEST < SERVED);
    }

    #[test]
    fn headers_carry_the_constants() {
        assert_eq!(HEADERS[0].1, NEWEST.to_string());
        assert_eq!(HEADERS[3].1, format!("Docker/{ENGINE} (linux)"));
    }

    #[test]
    fn both_ends_take_the_older() {
        assert_eq!(NEWEST.negotiate(Some(ApiVersion::new(1, 41))), ApiVersion::new(1, 41));
        assert_eq!(NEWEST.negotiate(Some(ApiVersion::new(1, 56))), NEWEST);
        assert_eq!(NEWEST.negotiate(None), NEWEST);
    }
}
