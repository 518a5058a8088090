//! Networks.

use api::network::{ConnectRequest, CreateRequest, CreateResponse, DisconnectRequest, Inspect, PruneReport};

use crate::client::from_json;
use crate::query::segment;
use crate::{Client, Query, Result};

impl Client {
    pub fn list_networks(&self, filters: &str) -> Result<Vec<Inspect>> {
        self.get("/networks", &Query::new().set_filled("filters", filters))
    }

    pub fn inspect_network_raw(&self, id: &str, verbose: bool) -> Result<Vec<u8>> {
        let query = Query::new().set_filled("verbose", if verbose { "true" } else { "" });
        self.call("GET", &format!("/networks/{}", segment(id)), &query)
    }

    pub fn create_network(&self, request: &CreateRequest) -> Result<CreateResponse> {
        self.post("/networks/create", &Query::new(), request)
    }

    pub fn remove_network(&self, id: &str) -> Result<()> {
        self.call("DELETE", &format!("/networks/{}", segment(id)), &Query::new()).map(drop)
    }

    pub fn connect_network(&self, id: &str, request: &ConnectRequest) -> Result<()> {
        let path = format!("/networks/{}/connect", segment(id));
        self.call_with("POST", &path, &Query::new(), &[], Some(request)).map(drop)
    }

    pub fn disconnect_network(&self, id: &str, request: &DisconnectRequest) -> Result<()> {
        let path = format!("/networks/{}/disconnect", segment(id));
        self.call_with("POST", &path, &Query::new(), &[], Some(request)).map(drop)
    }

    pub fn prune_networks(&self, filters: &str) -> Result<PruneReport> {
        from_json(&self.call("POST", "/networks/prune", &Query::new().set_filled("filters", filters))?)
    }
}
