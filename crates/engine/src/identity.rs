//! Ids, each with a kind of its own, so that one can never be passed as another: 32 random bytes in hex.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// A fresh one from the kernel's random source.
            pub fn random() -> $name {
                $name(random())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first twelve characters, as lists show them.
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotAnIdentity;

            fn from_str(text: &str) -> Result<$name, NotAnIdentity> {
                if valid(text) { Ok($name(text.to_owned())) } else { Err(NotAnIdentity(text.to_owned())) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnIdentity;

            fn try_from(text: String) -> Result<$name, NotAnIdentity> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

identity!(
    /// Of a container.
    ContainerId
);
identity!(
    /// Of a process that `exec` started beside a container's own.
    ExecId
);

/// What was given in place of 64 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("not an id of 64 hex digits: {0:?}")]
pub struct NotAnIdentity(String);

fn valid(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// 64 hex digits whose first twelve are not all decimal: a short id must never read as a number.
pub(crate) fn random() -> String {
    loop {
        let text = hex::encode(linux::random::bytes::<32>());
        if !text.as_bytes()[..12].iter().all(u8::is_ascii_digit) {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked_at_the_border() {
        let id = ContainerId::random();
        assert_eq!(id.as_str().parse::<ContainerId>().unwrap(), id);
        assert!("abc".parse::<ContainerId>().is_err());
        assert!("G".repeat(64).parse::<ContainerId>().is_err());
        assert!(serde_json::from_str::<ContainerId>("\"../../etc\"").is_err());
    }
}
