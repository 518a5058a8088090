//! What is told about one image: inspect and history.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::container::{DriverData, HealthConfig, Nothing};
use api::image::{Config, History, Inspect, Metadata, RootFs};
use oci::digest::Digest;
use oci::reference::Reference;

use super::list::signed;
use crate::error::Result;
use crate::pulls::wanted_platform;
use crate::{Engine, clock};

impl Engine {
    /// `GET /images/{name}/json`
    pub async fn image_inspect(&self, name: &str, platform: Option<api::image::Platform>) -> Result<Inspect> {
        let image = self.image_for(name, platform)?;
        let names = self.images().names_of(&image.id);
        let lowers = self.images().layers().lowers(image.diff_ids())?;
        let config = &image.config;
        let familiar = |names: &[Reference]| names.iter().map(Reference::familiar).collect();
        let last = config.history.last();
        Ok(Inspect {
            id: image.id.to_string(),
            repo_tags: familiar(&names.tags),
            repo_digests: familiar(&names.digests),
            parent: image.parent.as_ref().map(Digest::to_string).unwrap_or_default(),
            comment: last.map(|step| step.comment.clone()).unwrap_or_default(),
            created: config.created.as_deref().map(moment).unwrap_or_default(),
            docker_version: config
                .other
                .get("docker_version")
                .and_then(|v| v.as_str())
                .unwrap_or_default()
                .into(),
            author: config.author.clone(),
            architecture: config.architecture.clone(),
            variant: config.variant.clone(),
            os: image.config.platform().os,
            os_version: config.os_version.clone(),
            size: signed(image.size),
            virtual_size: 0,
            graph_driver: directories(&lowers),
            root_fs: RootFs {
                kind: config.rootfs.kind.clone(),
                layers: image.diff_ids().iter().map(Digest::to_string).collect(),
            },
            metadata: match image.tagged.as_deref() {
                Some(tagged) => Metadata { last_tag_time: moment(tagged) },
                None => Metadata::default(),
            },
            descriptor: None,
            config: describe(&config.config),
        })
    }

    /// `GET /images/{name}/history`
    pub async fn image_history(
        &self,
        name: &str,
        platform: Option<api::image::Platform>,
    ) -> Result<Vec<History>> {
        let image = self.image_for(name, platform)?;
        let lines = self.images().history(&image).into_iter();
        Ok(lines
            .map(|line| History {
                comment: line.comment,
                created: line.created,
                created_by: line.created_by,
                id: line.id.map_or_else(|| "<missing>".into(), |id| id.to_string()),
                size: signed(line.size),
                tags: Some(line.tags.iter().map(Reference::familiar).collect())
                    .filter(|t: &Vec<_>| !t.is_empty()),
            })
            .collect())
    }
}

impl Engine {
    /// The image of a name, which must run on the platform if one is asked for.
    pub(crate) fn image_for(
        &self,
        name: &str,
        platform: Option<api::image::Platform>,
    ) -> Result<Arc<image::Image>> {
        Ok(match platform.map(wanted_platform) {
            Some(platform) => self.images().resolve_for(name, &platform)?,
            None => self.images().resolve(name)?,
        })
    }
}

/// A time as Docker prints it, or as the image has it where it is none.
fn moment(text: &str) -> String {
    clock::parse(text).map_or_else(|| text.to_owned(), clock::format)
}

/// Where the layers are, as Docker's overlay2 driver tells it: the topmost, and those below.
fn directories(lowers: &[std::path::PathBuf]) -> DriverData {
    let mut data = BTreeMap::new();
    let mut paths = lowers.iter().map(|path| path.to_string_lossy().into_owned());
    if let Some(top) = paths.next() {
        data.insert("UpperDir".to_owned(), top);
    }
    let below: Vec<String> = paths.collect();
    if !below.is_empty() {
        data.insert("LowerDir".to_owned(), below.join(":"));
    }
    DriverData { data: Some(data), name: "overlay2".into() }
}

fn describe(config: &oci::image::Config) -> Config {
    let set = |names: &BTreeMap<String, oci::image::Empty>| -> BTreeMap<String, Nothing> {
        names.keys().map(|name| (name.clone(), Nothing::default())).collect()
    };
    let list = |words: &Vec<String>| Some(words.clone()).filter(|words| !words.is_empty());
    Config {
        args_escaped: config.args_escaped,
        cmd: config.cmd.clone(),
        entrypoint: config.entrypoint.clone(),
        env: list(&config.env),
        exposed_ports: set(&config.exposed_ports),
        healthcheck: config.healthcheck.as_ref().map(|check| HealthConfig {
            test: check.test.clone(),
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        }),
        labels: Some(config.labels.clone()).filter(|labels| !labels.is_empty()),
        on_build: list(&config.on_build),
        shell: config.shell.clone(),
        stop_signal: config.stop_signal.clone(),
        user: config.user.clone(),
        volumes: Some(set(&config.volumes)).filter(|volumes| !volumes.is_empty()),
        working_dir: config.working_dir.clone(),
    }
}
