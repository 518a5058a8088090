//! What a shim refuses, in Docker's words and with the exit codes that clients go by.

use std::fmt::Display;

use shim::LaunchError;
use shim::protocol::{Failure, FailureKind};

use crate::error::{Error, ErrorKind};

/// Introduces why a container could not be started.
const NO_TASK: &str = "failed to create task for container";

/// A failed start, and the exit code that stands for it.
pub(super) fn of_start(error: LaunchError) -> (i32, Error) {
    let failure = match error {
        LaunchError::Refused(failure) => failure,
        LaunchError::Io(error) => {
            return (128, Error::failed(format!("{NO_TASK}: cannot start its shim"), error));
        }
    };
    let (code, kind) = match failure.kind {
        FailureKind::NotFound | FailureKind::WrongType => (127, ErrorKind::InvalidParameter),
        FailureKind::NotExecutable => (126, ErrorKind::InvalidParameter),
        // Docker takes a missing file for a missing command here, and clients see its code.
        FailureKind::Logging if failure.message.contains("no such file or directory") => {
            (127, ErrorKind::System)
        }
        _ => (128, ErrorKind::System),
    };
    (code, Error::new(kind, told(&failure)))
}

/// Why a start failed.
pub(super) fn told(failure: &Failure) -> String {
    if failure.kind == FailureKind::Logging {
        return no_logging(&failure.message);
    }
    let own = "runc create failed: unable to start container process: ";
    let introduction = if failure.verbatim { "" } else { own };
    format!(
        "{NO_TASK}: failed to create shim task: OCI runtime create failed: {introduction}{}",
        failure.told()
    )
}

pub(super) fn no_logging(why: impl Display) -> String {
    format!("{NO_TASK}: failed to initialize logging driver: {why}")
}

/// Of a request to a running container.
pub(super) fn of_request(failure: Failure) -> Error {
    let kind = match failure.kind {
        FailureKind::Conflict => ErrorKind::Conflict,
        FailureKind::Invalid
        | FailureKind::NotFound
        | FailureKind::NotExecutable
        | FailureKind::WrongType => ErrorKind::InvalidParameter,
        FailureKind::Logging | FailureKind::Other => ErrorKind::System,
    };
    Error::new(kind, failure.told())
}
