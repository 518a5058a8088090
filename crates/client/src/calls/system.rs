//! The engine as a whole.

use api::auth::{Auth, AuthResponse};
use api::event::Message;
use api::system::{BuildPruneReport, DiskUsage, Info, Version};

use crate::client::from_json;
use crate::{Client, Messages, Query, Result};

impl Client {
    /// The engine's version, which needs no negotiation and settles it.
    pub fn server_version(&self) -> Result<Version> {
        from_json(&self.server_version_raw()?)
    }

    /// The same as the engine wrote it.
    pub fn server_version_raw(&self) -> Result<Vec<u8>> {
        let raw = self.call_unversioned("/version")?;
        let version: Version = from_json(&raw)?;
        self.adopt_version(&version.api_version)?;
        Ok(raw)
    }

    pub fn info(&self) -> Result<Info> {
        from_json(&self.info_raw()?)
    }

    pub fn info_raw(&self) -> Result<Vec<u8>> {
        self.call("GET", "/info", &Query::new())
    }

    pub fn events(&self, since: &str, until: &str, filters: &str) -> Result<Messages<Message>> {
        let query =
            Query::new().set_filled("since", since).set_filled("until", until).set_filled("filters", filters);
        Ok(Messages::new(self.stream("GET", "/events", &query)?))
    }

    pub fn disk_usage(&self) -> Result<DiskUsage> {
        self.get("/system/df", &Query::new())
    }

    pub fn prune_build_cache(&self, query: &Query) -> Result<BuildPruneReport> {
        from_json(&self.call("POST", "/build/prune", query)?)
    }

    /// Asks a registry, through the engine, whether credentials are good.
    pub fn check_credentials(&self, auth: &Auth) -> Result<AuthResponse> {
        self.post("/auth", &Query::new(), auth)
    }
}
