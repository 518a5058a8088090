//! The typed calls, by noun: one function per endpoint, named after what it does.

mod containers;
mod execs;
mod images;
mod networks;
mod system;
mod volumes;

pub use containers::{AttachOptions, LogOptions, RemoveOptions, Waiting};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::from_json;
use crate::{Client, Query, Result};

impl Client {
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str, query: &Query) -> Result<T> {
        from_json(&self.call("GET", path, query)?)
    }

    pub(crate) fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Query,
        body: &B,
    ) -> Result<T> {
        from_json(&self.call_with("POST", path, query, &[], Some(body))?)
    }

    /// A POST whose answer says nothing.
    pub(crate) fn tell(&self, path: &str, query: &Query) -> Result<()> {
        self.call("POST", path, query).map(drop)
    }
}
