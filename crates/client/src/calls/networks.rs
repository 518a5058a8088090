//! Networks.

use api::network::{ConnectRequest, CreateRequest, CreateResponse, DisconnectRequest, Inspect, PruneReport};

use crate::client::from_json;
use crate::query::named;
use crate::{Client, Query, Result};

fn of(id: &str, what: &str) -> Result<String> {
    Ok(format!("/networks/{}{what}", named("network", id)?))
}

impl Client {
    pub fn list_networks(&self, filters: &str) -> Result<Vec<Inspect>> {
        self.get("/networks", &Query::new().set_filled("filters", filters))
    }

    pub fn inspect_network_raw(&self, id: &str, verbose: bool) -> Result<Vec<u8>> {
        let query = Query::new().set_filled("verbose", if verbose { "true" } else { "" });
        self.call("GET", &of(id, "")?, &query)
    }

    pub fn create_network(&self, request: &CreateRequest) -> Result<CreateResponse> {
        self.post("/networks/create", &Query::new(), request)
    }

    pub fn remove_network(&self, id: &str) -> Result<()> {
        self.call("DELETE", &of(id, "")?, &Query::new()).map(drop)
    }

    pub fn connect_network(&self, id: &str, request: &ConnectRequest) -> Result<()> {
        named("container", &request.container)?;
        self.call_with("POST", &of(id, "/connect")?, &Query::new(), &[], Some(request)).map(drop)
    }

    pub fn disconnect_network(&self, id: &str, request: &DisconnectRequest) -> Result<()> {
        named("container", &request.container)?;
        self.call_with("POST", &of(id, "/disconnect")?, &Query::new(), &[], Some(request)).map(drop)
    }

    pub fn prune_networks(&self, filters: &str) -> Result<PruneReport> {
        from_json(&self.call("POST", "/networks/prune", &Query::new().set_filled("filters", filters))?)
    }
}
