//! The list of images, narrowed down by filters.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use api::filters::{Filters, InvalidFilter};
use api::image::Summary;
use image::images::created;
use image::{Image, Names};
use oci::digest::Digest;
use oci::reference::Reference;

use super::pattern;
use crate::Engine;
use crate::container::until;
use crate::error::{Error, Result};

const KNOWN: &[&str] = &["before", "dangling", "label", "reference", "since", "until"];

impl Engine {
    /// `GET /images/json`. Without `all`, nameless images that others were made on are left out.
    pub async fn image_list(&self, all: bool, shared_size: bool, filters: Filters) -> Result<Vec<Summary>> {
        let selection = Selection::new(self, all, &filters)?;
        let images = self.images().list();
        let parents: HashSet<Digest> = images.iter().filter_map(|(image, _)| image.parent.clone()).collect();
        let shared = if shared_size { Some(self.layer_users(&images)) } else { None };
        let containers = self.containers_by_image();
        let mut list = Vec::new();
        for (image, names) in &images {
            let Some(names) = selection.names(image, names, &parents)? else { continue };
            let mut summary = summary(image, &names);
            summary.containers = containers.get(image.id.as_str()).copied().unwrap_or(0);
            if let Some(users) = &shared {
                summary.shared_size = self.shared_bytes(image, users);
            }
            list.push(summary);
        }
        Ok(list)
    }

    fn containers_by_image(&self) -> HashMap<String, i64> {
        let mut counts = HashMap::new();
        for record in self.shared().containers.records() {
            *counts.entry(record.image.clone()).or_default() += 1;
        }
        counts
    }

    /// How many images have each layer.
    fn layer_users(&self, images: &[(Arc<Image>, Names)]) -> HashMap<Digest, usize> {
        let mut users = HashMap::new();
        for (image, _) in images {
            let layers: HashSet<&Digest> = image.diff_ids().iter().collect();
            for layer in layers {
                *users.entry(layer.clone()).or_default() += 1;
            }
        }
        users
    }

    fn shared_bytes(&self, image: &Image, users: &HashMap<Digest, usize>) -> i64 {
        let shared = image.diff_ids().iter().filter(|layer| users.get(layer).is_some_and(|count| *count > 1));
        signed(shared.filter_map(|layer| self.images().layers().get(layer)).map(|layer| layer.size).sum())
    }
}

/// Filters with what they mean looked up once.
struct Selection<'a> {
    filters: &'a Filters,
    all: bool,
    dangling: Option<bool>,
    before: Option<i64>,
    since: Option<i64>,
    until: Option<i64>,
}

impl<'a> Selection<'a> {
    fn new(engine: &Engine, all: bool, filters: &'a Filters) -> Result<Selection<'a>> {
        filters.check(KNOWN)?;
        for value in filters.values("reference") {
            if pattern::matches(value, "").is_none() {
                return Err(Error::invalid(format!(
                    "invalid filter 'reference={value}': syntax error in pattern"
                )));
            }
        }
        let moment = |key: &str| -> Result<Option<i64>> {
            match filters.values(key).last() {
                Some(name) => Ok(Some(created(&*engine.images().resolve(name)?))),
                None => Ok(None),
            }
        };
        Ok(Selection {
            filters,
            all,
            dangling: filters.flag("dangling").map_err(|error: InvalidFilter| Error::from(error))?,
            before: moment("before")?,
            since: moment("since")?,
            until: until(filters)?,
        })
    }

    /// The names under which an image is listed; `None` when it is not.
    fn names(&self, image: &Image, names: &Names, parents: &HashSet<Digest>) -> Result<Option<Names>> {
        let moment = created(image);
        let young = self.before.is_some_and(|before| moment >= before);
        let old = self.since.is_some_and(|since| moment <= since);
        let late = self.until.is_some_and(|until| moment.saturating_mul(1_000_000_000) >= until);
        if young || old || late || !self.filters.pairs("label", &image.config.config.labels) {
            return Ok(None);
        }
        let mut shown = names.clone();
        if self.filters.contains("reference") {
            shown.tags.retain(|name| self.refers(name));
            shown.digests.retain(|name| self.refers(name));
            if shown.is_empty() {
                return Ok(None);
            }
        }
        if shown.is_empty() {
            let inner = !self.all && parents.contains(&image.id);
            return Ok((!inner && self.dangling != Some(false)).then_some(shown));
        }
        Ok((self.dangling != Some(true) || shown.tags.is_empty()).then_some(shown))
    }

    fn refers(&self, name: &Reference) -> bool {
        self.filters.any("reference", |wanted| {
            [name.familiar(), name.familiar_name()]
                .iter()
                .any(|text| pattern::matches(wanted, text) == Some(true))
        })
    }
}

fn summary(image: &Image, names: &Names) -> Summary {
    let labels: BTreeMap<String, String> = image.config.config.labels.clone();
    Summary {
        created: created(image),
        id: image.id.to_string(),
        labels: Some(labels).filter(|labels| !labels.is_empty()),
        parent_id: image.parent.as_ref().map(Digest::to_string).unwrap_or_default(),
        repo_digests: Some(names.digests.iter().map(Reference::familiar).collect()),
        repo_tags: Some(names.tags.iter().map(Reference::familiar).collect()),
        shared_size: -1,
        size: signed(image.size),
        ..Summary::default()
    }
}

/// The API counts bytes in signed numbers.
pub(super) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
