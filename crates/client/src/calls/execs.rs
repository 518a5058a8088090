//! Execs.

use api::exec::{CreateRequest, CreateResponse, ID, Inspect, START, StartRequest};

use super::containers::size;
use crate::client::{Offered, from_json, to_json};
use crate::query::{named, segment};
use crate::{Client, Error, Hijacked, Query, Result};

impl Client {
    /// The id of a new exec.
    pub fn create_exec(&self, container: &str, request: &CreateRequest) -> Result<String> {
        self.post(&of(container)?, &Query::new(), request).and_then(made)
    }

    /// Makes an exec, starts it and joins its streams: in one request where the engine knows how, and then its exit code
    /// comes behind framed output.
    pub fn run_exec(
        &self,
        container: &str,
        create: &CreateRequest,
        start: &StartRequest,
    ) -> Result<(String, Hijacked)> {
        let start_now = String::from_utf8_lossy(&to_json(start)?).into_owned();
        let (offered, id) = self.offer(&of(container)?, &[(START.to_owned(), start_now)], create, ID)?;
        match offered {
            Offered::Taken(streams) => Ok((id.unwrap_or_default(), streams)),
            Offered::Answered(body) => {
                let id = made(from_json(&body)?)?;
                let streams = self.start_exec(&id, start)?;
                Ok((id, streams))
            }
        }
    }

    /// Starts the process and joins its streams.
    pub fn start_exec(&self, id: &str, request: &StartRequest) -> Result<Hijacked> {
        self.hijack(&format!("/exec/{}/start", segment(id)), &Query::new(), Some(request))
    }

    /// Starts the process and leaves it alone.
    pub fn start_exec_detached(&self, id: &str, request: &StartRequest) -> Result<()> {
        self.call_with("POST", &format!("/exec/{}/start", segment(id)), &Query::new(), &[], Some(request))
            .map(drop)
    }

    pub fn inspect_exec(&self, id: &str) -> Result<Inspect> {
        self.get(&format!("/exec/{}/json", segment(id)), &Query::new())
    }

    pub fn resize_exec(&self, id: &str, rows: u16, columns: u16) -> Result<()> {
        self.tell(&format!("/exec/{}/resize", segment(id)), &size(rows, columns))
    }
}

/// Where execs of a container are made.
fn of(container: &str) -> Result<String> {
    Ok(format!("/containers/{}/exec", named("container", container.trim_start_matches('/'))?))
}

fn made(response: CreateResponse) -> Result<String> {
    match response.id.is_empty() {
        true => Err(Error::Protocol("exec ID empty".to_owned())),
        false => Ok(response.id),
    }
}
