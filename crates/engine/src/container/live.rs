//! The way to a container's shim.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use shim::protocol::{CHUNKS, Reply as Answer, Request};

use super::refusals;
use super::stream::EventStream;
use crate::effects::Shim;
use crate::error::{Error, Result};

/// A container that has a shim.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) shim: Arc<dyn Shim>,
    /// The container's first process, on the host.
    pub(crate) pid: i32,
    /// The protocol that the shim speaks: it may be older than the engine.
    pub(super) version: u32,
}

impl Live {
    /// Whether the shim writes bodies in chunks where that is asked for.
    pub(super) fn writes_chunks(&self) -> bool {
        self.version >= CHUNKS
    }

    /// Asks the shim and gives its refusal Docker's kinds.
    pub(crate) fn request(
        &self,
        request: &Request,
        descriptors: &[OwnedFd],
    ) -> Result<(Answer, Vec<OwnedFd>)> {
        match self.answer(request, descriptors)? {
            (Answer::Failed(failure), _) => Err(refusals::of_request(failure)),
            answer => Ok(answer),
        }
    }

    /// Asks the shim; its refusal is an answer, too.
    pub(super) fn answer(
        &self,
        request: &Request,
        descriptors: &[OwnedFd],
    ) -> Result<(Answer, Vec<OwnedFd>)> {
        let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        self.shim
            .request(request, &borrowed)
            .map_err(|error| Error::failed("cannot reach the container's shim", error))
    }
}

/// A shim and the stream of its events.
pub(super) struct Connected {
    pub(super) live: Live,
    pub(super) events: EventStream,
}
