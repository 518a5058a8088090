//! Volumes.

use api::volume::{CreateRequest, List, PruneReport, Volume};

use crate::client::from_json;
use crate::query::named;
use crate::{Client, Query, Result};

fn of(name: &str) -> Result<String> {
    Ok(format!("/volumes/{}", named("volume", name)?))
}

impl Client {
    pub fn list_volumes(&self, filters: &str) -> Result<List> {
        self.get("/volumes", &Query::new().set_filled("filters", filters))
    }

    pub fn inspect_volume_raw(&self, name: &str) -> Result<Vec<u8>> {
        self.call("GET", &of(name)?, &Query::new())
    }

    pub fn create_volume(&self, request: &CreateRequest) -> Result<Volume> {
        self.post("/volumes/create", &Query::new(), request)
    }

    pub fn remove_volume(&self, name: &str, force: bool) -> Result<()> {
        self.call("DELETE", &of(name)?, &Query::new().set_if("force", force)).map(drop)
    }

    pub fn prune_volumes(&self, filters: &str) -> Result<PruneReport> {
        from_json(&self.call("POST", "/volumes/prune", &Query::new().set_filled("filters", filters))?)
    }
}
