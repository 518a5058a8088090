//! Execs.

use api::exec::{CreateRequest, CreateResponse, Inspect, StartRequest};

use super::containers::size;
use crate::query::segment;
use crate::{Client, Hijacked, Query, Result};

impl Client {
    pub fn create_exec(&self, container: &str, request: &CreateRequest) -> Result<CreateResponse> {
        self.post(
            &format!("/containers/{}/exec", segment(container.trim_start_matches('/'))),
            &Query::new(),
            request,
        )
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
