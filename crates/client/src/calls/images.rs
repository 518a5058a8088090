//! Images.

use std::io::Read;

use api::auth::Auth;
use api::image::{Deleted, History, PruneReport, SearchResult, Summary};
use api::progress::Message;

use crate::client::from_json;
use crate::query::segment;
use crate::{Body, Client, Messages, Query, Result};

fn of(name: &str, what: &str) -> String {
    format!("/images/{}{what}", segment(name))
}

fn identity(auth: &Auth) -> Vec<(String, String)> {
    vec![(Auth::HEADER.to_owned(), auth.to_header())]
}

impl Client {
    pub fn list_images(&self, query: &Query) -> Result<Vec<Summary>> {
        self.get("/images/json", query)
    }

    pub fn inspect_image_raw(&self, name: &str, platform: &str) -> Result<Vec<u8>> {
        self.call("GET", &of(name, "/json"), &Query::new().set_filled("platform", platform))
    }

    pub fn image_history(&self, name: &str, platform: &str) -> Result<Vec<History>> {
        self.get(&of(name, "/history"), &Query::new().set_filled("platform", platform))
    }

    /// Fetches an image; `tag` is a tag or digest, or empty for all tags.
    pub fn pull(&self, name: &str, tag: &str, platform: &str, auth: &Auth) -> Result<Messages<Message>> {
        let query =
            Query::new().set("fromImage", name).set_filled("tag", tag).set_filled("platform", platform);
        let body = self.stream_with("POST", "/images/create", &query, &identity(auth), None::<&()>)?;
        Ok(Messages::new(body))
    }

    /// Asks a registry for images by a word; no limit is the engine's own.
    pub fn search_images(
        &self,
        term: &str,
        limit: i64,
        filters: &str,
        auth: &Auth,
    ) -> Result<Vec<SearchResult>> {
        let limit = if limit == 0 { String::new() } else { limit.to_string() };
        let query = Query::new().set("term", term).set_filled("limit", &limit).set_filled("filters", filters);
        from_json(&self.call_with("GET", "/images/search", &query, &identity(auth), None::<&()>)?)
    }

    pub fn push(&self, name: &str, tag: &str, platform: &str, auth: &Auth) -> Result<Messages<Message>> {
        let query = Query::new().set_filled("tag", tag).set_filled("platform", platform);
        let body = self.stream_with("POST", &of(name, "/push"), &query, &identity(auth), None::<&()>)?;
        Ok(Messages::new(body))
    }

    pub fn tag_image(&self, name: &str, repository: &str, tag: &str) -> Result<()> {
        self.tell(&of(name, "/tag"), &Query::new().set("repo", repository).set_filled("tag", tag))
    }

    pub fn remove_image(&self, name: &str, query: &Query) -> Result<Vec<Deleted>> {
        from_json(&self.call("DELETE", &of(name, ""), query)?)
    }

    pub fn prune_images(&self, filters: &str) -> Result<PruneReport> {
        from_json(&self.call("POST", "/images/prune", &Query::new().set_filled("filters", filters))?)
    }

    pub fn load_images(&self, query: &Query, tar: &mut dyn Read) -> Result<Messages<Message>> {
        Ok(Messages::new(self.upload("POST", "/images/load", query, tar)?))
    }

    pub fn save_images(&self, names: &[String], platform: &str) -> Result<Body> {
        let query = names.iter().fold(Query::new(), |query, name| query.set("names", name));
        self.stream("GET", "/images/get", &query.set_filled("platform", platform))
    }

    /// Makes an image of a file system: of the tar stream, or of what `fromSrc` in the query names.
    pub fn import_image(&self, query: &Query, tar: Option<&mut dyn Read>) -> Result<Messages<Message>> {
        let body = match tar {
            Some(tar) => self.upload("POST", "/images/create", query, tar)?,
            None => self.stream("POST", "/images/create", query)?,
        };
        Ok(Messages::new(body))
    }
}
