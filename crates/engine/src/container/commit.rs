//! What a container has changed, and an image made of it.

use api::container::{Change, CommitResponse, Config};

use oci::image::{Empty, Healthcheck};
use oci::reference::Reference;

use super::commands::Command;
use super::record::Record;
use crate::error::{Error, ErrorKind, Result};
use crate::{Engine, instructions};

/// What a commit is told.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    pub repository: String,
    pub tag: String,
    pub comment: String,
    pub author: String,
    /// Pause the container meanwhile.
    pub pause: bool,
    /// Dockerfile lines (`CMD …`, `ENV …`).
    pub changes: Vec<String>,
    /// Replaces the container's configuration where it says something.
    pub config: Option<Config>,
}

impl Engine {
    /// Changes of the container against its image; none when there are none.
    pub async fn container_changes(&self, wanted: &str) -> Result<Option<Vec<Change>>> {
        let record = self.container(wanted)?.record();
        self.blocking(move |engine| {
            let found = engine.images().snapshots().changes(record.id.as_str())?;
            let changes: Vec<Change> = found
                .into_iter()
                .map(|(path, kind)| Change { kind: kind as u8, path: path.to_string_lossy().into_owned() })
                .collect();
            Ok(Some(changes).filter(|changes| !changes.is_empty()))
        })
        .await
    }

    pub async fn container_commit(&self, wanted: &str, options: CommitOptions) -> Result<CommitResponse> {
        let container = self.container(wanted)?;
        let record = container.record();
        let mut pause = options.pause
            && record.state.is_running()
            && !record.state.is_paused()
            && !record.state.is_restarting();
        if pause {
            match container.ask(|reply| Command::Pause { reply }).await {
                // It has ended, or was paused, just now: then it stands still.
                Err(error) if error.kind() == ErrorKind::Conflict => pause = false,
                paused => paused?,
            }
        }
        let comment = options.comment.clone();
        let (source, kept) = (record.clone(), options);
        let committed = self.blocking(move |engine| commit(engine, &source, kept)).await;
        if let Ok((id, name)) = &committed {
            let extra = [("comment", comment), ("imageID", id.clone()), ("imageRef", name.clone())];
            self.container_event(&record, "commit", &extra);
        }
        if pause {
            // A container that ended while it was paused needs no thaw.
            let thawed = container.ask(|reply| Command::Unpause { reply }).await;
            if let Err(error) = thawed {
                tracing::warn!(container = %record.id, %error, "cannot unpause a container after a commit");
            }
        }
        let (id, _) = committed?;
        Ok(CommitResponse { id, ..CommitResponse::default() })
    }
}

/// The image, and its name if it has one.
fn commit(engine: &Engine, record: &Record, options: CommitOptions) -> Result<(String, String)> {
    let CommitOptions { repository, tag, comment, author, changes, config: own, .. } = options;
    // The lines change what the request says, if it says anything; only then comes what the container has beyond that.
    let mut config = image_config(own.as_ref().unwrap_or(&record.config));
    instructions::apply(&mut config, &changes)?;
    fill(&mut config, image_config(&record.config));
    let names = if repository.is_empty() { Vec::new() } else { vec![name(&repository, &tag)?] };
    let familiar = names.first().map(Reference::familiar).unwrap_or_default();
    // An image that was removed under its container leaves a commit without a parent.
    let base = record.image.parse().ok().filter(|id| engine.images().get(id).is_some());
    let mut created_by = record.path.clone();
    for argument in &record.args {
        created_by.push(' ');
        created_by.push_str(argument);
    }
    let commit = image::Commit { base, config, author, comment, created_by, names };
    let id = engine.images().commit(record.id.as_str(), commit)?;
    engine.told("create", &id, id.as_str());
    if !familiar.is_empty() {
        engine.told("tag", &id, &familiar);
    }
    Ok((id.to_string(), familiar))
}

fn name(repository: &str, tag: &str) -> Result<Reference> {
    let invalid = |error: oci::reference::InvalidReference| Error::invalid(error.to_string());
    let name = Reference::parse_normalized(repository).map_err(invalid)?;
    if tag.is_empty() { Ok(name.with_default_tag()) } else { name.with_tag(tag).map_err(invalid) }
}

/// What of a container's configuration belongs to an image.
fn image_config(config: &Config) -> oci::image::Config {
    let sets = |keys: Vec<String>| keys.into_iter().map(|key| (key, Empty {})).collect();
    oci::image::Config {
        user: config.user.clone(),
        exposed_ports: sets(config.exposed_ports.keys().cloned().collect()),
        env: config.env.clone().unwrap_or_default(),
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        volumes: sets(config.volumes.iter().flatten().map(|(path, _)| path.clone()).collect()),
        working_dir: config.working_dir.clone(),
        labels: config.labels.clone().unwrap_or_default(),
        stop_signal: config.stop_signal.clone(),
        stop_timeout: config.stop_timeout,
        args_escaped: config.args_escaped,
        healthcheck: config.healthcheck.as_ref().map(|check| Healthcheck {
            test: check.test.clone(),
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        }),
        on_build: config.on_build.clone().unwrap_or_default(),
        shell: config.shell.clone(),
        ..oci::image::Config::default()
    }
}

/// Takes from the container what the new configuration does not say. A command belongs to its entrypoint: where one of
/// the two was said, the container's command is not taken.
fn fill(config: &mut oci::image::Config, container: oci::image::Config) {
    let text = |field: &mut String, value: String| {
        if field.is_empty() {
            *field = value;
        }
    };
    text(&mut config.user, container.user);
    text(&mut config.working_dir, container.working_dir);
    text(&mut config.stop_signal, container.stop_signal);
    for (port, empty) in container.exposed_ports {
        config.exposed_ports.entry(port).or_insert(empty);
    }
    for (path, empty) in container.volumes {
        config.volumes.entry(path).or_insert(empty);
    }
    for (key, value) in container.labels {
        config.labels.entry(key).or_insert(value);
    }
    for entry in container.env {
        let name = entry.split('=').next();
        if !config.env.iter().any(|said| said.split('=').next() == name) {
            config.env.push(entry);
        }
    }
    if config.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd = container.cmd;
        }
        if config.entrypoint.is_none() {
            config.entrypoint = container.entrypoint;
        }
    }
    fill_health(&mut config.healthcheck, container.healthcheck);
    config.stop_timeout = config.stop_timeout.or(container.stop_timeout);
    config.shell = config.shell.take().or(container.shell);
    config.args_escaped |= container.args_escaped;
    if config.on_build.is_empty() {
        config.on_build = container.on_build;
    }
}

/// A health check of the new configuration goes on with what it does not say.
fn fill_health(own: &mut Option<Healthcheck>, container: Option<Healthcheck>) {
    let (Some(own), Some(container)) = (&mut *own, &container) else {
        *own = own.take().or(container);
        return;
    };
    if own.test.is_empty() {
        own.test.clone_from(&container.test);
    }
    for (value, default) in [
        (&mut own.interval, container.interval),
        (&mut own.timeout, container.timeout),
        (&mut own.start_period, container.start_period),
        (&mut own.start_interval, container.start_interval),
        (&mut own.retries, container.retries),
    ] {
        if *value == 0 {
            *value = default;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_wins_over_the_container() {
        let container = Config {
            env: Some(vec!["A=1".into(), "B=2".into()]),
            cmd: Some(vec!["old".into()]),
            user: "bob".into(),
            ..Config::default()
        };
        let merged = |own: Config| {
            let mut config = image_config(&own);
            fill(&mut config, image_config(&container));
            config
        };
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        let config = merged(Config { env: words(&["A=9"]), ..Config::default() });
        assert_eq!((config.env, config.user.as_str()), (vec!["A=9".into(), "B=2".into()], "bob"));
        assert_eq!(config.cmd, words(&["old"]));
        // A command is not taken along to another entrypoint.
        let config = merged(Config { entrypoint: words(&["sh"]), ..Config::default() });
        assert_eq!((config.entrypoint, config.cmd), (words(&["sh"]), None));
    }

    #[test]
    fn another_health_check_keeps_what_it_does_not_say() {
        let check = |test: &str, interval, retries| {
            Some(Healthcheck { test: vec![test.into()], interval, retries, ..Healthcheck::default() })
        };
        let filled = |mut own: Option<Healthcheck>, container| {
            fill_health(&mut own, container);
            own
        };
        assert_eq!(filled(check("NONE", 0, 0), check("CMD", 7, 4)), check("NONE", 7, 4));
        assert_eq!(filled(check("CMD", 5, 0), check("NONE", 7, 4)), check("CMD", 5, 4));
        assert_eq!(filled(None, check("CMD", 7, 4)), check("CMD", 7, 4));
        assert_eq!(filled(check("CMD", 7, 4), None), check("CMD", 7, 4));
    }

    #[test]
    fn a_commit_is_named_latest_unless_it_has_a_tag() {
        assert_eq!(name("web", "").unwrap().familiar(), "web:latest");
        assert_eq!(name("web", "2").unwrap().familiar(), "web:2");
        assert!(name("Web", "").is_err());
    }
}
