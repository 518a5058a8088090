//! Error kinds and their HTTP status: the one table both ends share.
//!
//! Every failure of the engine is one of a few kinds; the words are for people, the kind is for
//! programs. The kind travels as the HTTP status and the words as `{"message": "…"}`.

use serde::{Deserialize, Serialize};

/// What went wrong, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request makes no sense, whatever the state of the engine.
    InvalidParameter,
    Unauthorized,
    Forbidden,
    NotFound,
    /// The request makes sense but not in the present state.
    Conflict,
    /// There is nothing to do: the wished state is already there.
    NotModified,
    /// It may work later, or after set-up.
    Unavailable,
    NotImplemented,
    /// The caller went away or cancelled.
    Cancelled,
    /// Everything else: the host, the kernel, a bug.
    System,
}

impl ErrorKind {
    const TABLE: [(Self, u16); 10] = [
        (Self::InvalidParameter, 400),
        (Self::Unauthorized, 401),
        (Self::Forbidden, 403),
        (Self::NotFound, 404),
        (Self::Conflict, 409),
        (Self::NotModified, 304),
        (Self::Unavailable, 503),
        (Self::NotImplemented, 501),
        (Self::System, 500),
        (Self::Cancelled, 500),
    ];

    pub fn status(self) -> u16 {
        Self::TABLE.iter().find(|(kind, _)| *kind == self).map_or(500, |(_, status)| *status)
    }

    /// The kind that a client understands from a status; unknown statuses are [`Self::System`].
    pub fn from_status(status: u16) -> Self {
        Self::TABLE.iter().find(|(_, known)| *known == status).map_or(Self::System, |(kind, _)| *kind)
    }
}

/// The body of every error response.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_kind_agree() {
        for (kind, status) in ErrorKind::TABLE {
            assert_eq!(kind.status(), status);
            if kind != ErrorKind::Cancelled {
                assert_eq!(ErrorKind::from_status(status), kind);
            }
        }
        assert_eq!(ErrorKind::from_status(418), ErrorKind::System);
    }
}
