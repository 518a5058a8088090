//! Containers.

use std::io::Read;

use api::container::CommitResponse;
use api::container::{
    Change, Config, CreateRequest, CreateResponse, Inspect, PathStat, PruneReport, Stats, Summary, Top,
    UpdateRequest, UpdateResponse, WaitCondition, WaitResponse,
};
use api::event::Message;
use base64::Engine as _;

use crate::client::from_json;
use crate::query::named;
use crate::{Body, Client, Error, Hijacked, Messages, Query, Result};

/// Which streams to attach, and how to leave them.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub detach_keys: String,
}

/// What of a log is wanted. Times as `--since` and `--until` have them; empty is no bound.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    pub follow: bool,
    pub timestamps: bool,
    pub details: bool,
    pub since: String,
    pub until: String,
    pub tail: String,
}

/// What goes with a container, and whether it may still run.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    pub force: bool,
    pub volumes: bool,
    pub link: bool,
}

/// A wait that the engine has taken up: the exit cannot be missed any more.
pub struct Waiting(Source);

enum Source {
    Answer(Messages<WaitResponse>),
    /// Before version 1.30 engines know no conditions, and a wait for what has not been started ends at once: there the
    /// container's events tell of its end.
    Events(Messages<Message>, WaitCondition),
}

impl Waiting {
    /// Blocks until the condition holds.
    pub fn outcome(self) -> Result<WaitResponse> {
        match self.0 {
            Source::Answer(mut answer) => answer.next().unwrap_or_else(|| Err(without_status())),
            Source::Events(events, condition) => told_by(events, condition),
        }
    }
}

fn told_by(events: Messages<Message>, condition: WaitCondition) -> Result<WaitResponse> {
    let mut status = None;
    for event in events {
        let event = event?;
        if event.action == "die" {
            status = event.actor.attributes.get("exitCode").and_then(|code| code.parse().ok());
        }
        let over = if condition == WaitCondition::Removed { "destroy" } else { "die" };
        if event.action == over {
            break;
        }
    }
    let status_code = status.ok_or_else(without_status)?;
    Ok(WaitResponse { status_code, ..WaitResponse::default() })
}

fn without_status() -> Error {
    Error::Protocol("the engine ended the wait without an exit status".to_owned())
}

fn of(id: &str, what: &str) -> Result<String> {
    // The engine has them with a slash in front, and shows them so.
    Ok(format!("/containers/{}{what}", named("container", id.trim_start_matches('/'))?))
}

impl Client {
    pub fn create_container(
        &self,
        name: &str,
        platform: &str,
        request: &CreateRequest,
    ) -> Result<CreateResponse> {
        let query = Query::new().set_filled("name", name).set_filled("platform", platform);
        self.post("/containers/create", &query, request)
    }

    pub fn list_containers(&self, query: &Query) -> Result<Vec<Summary>> {
        self.get("/containers/json", query)
    }

    pub fn inspect_container(&self, id: &str) -> Result<Inspect> {
        self.get(&of(id, "/json")?, &Query::new())
    }

    /// The engine's own bytes, for those who show them.
    pub fn inspect_container_raw(&self, id: &str, size: bool) -> Result<Vec<u8>> {
        self.call("GET", &of(id, "/json")?, &Query::new().set_if("size", size))
    }

    pub fn start_container(&self, id: &str) -> Result<()> {
        self.tell(&of(id, "/start")?, &Query::new())
    }

    pub fn stop_container(&self, id: &str, signal: &str, timeout: Option<i64>) -> Result<()> {
        self.tell(&of(id, "/stop")?, &grace(signal, timeout))
    }

    pub fn restart_container(&self, id: &str, signal: &str, timeout: Option<i64>) -> Result<()> {
        self.tell(&of(id, "/restart")?, &grace(signal, timeout))
    }

    pub fn kill_container(&self, id: &str, signal: &str) -> Result<()> {
        self.tell(&of(id, "/kill")?, &Query::new().set_filled("signal", signal))
    }

    pub fn pause_container(&self, id: &str) -> Result<()> {
        self.tell(&of(id, "/pause")?, &Query::new())
    }

    pub fn unpause_container(&self, id: &str) -> Result<()> {
        self.tell(&of(id, "/unpause")?, &Query::new())
    }

    pub fn rename_container(&self, id: &str, name: &str) -> Result<()> {
        self.tell(&of(id, "/rename")?, &Query::new().set("name", name))
    }

    pub fn remove_container(&self, id: &str, options: RemoveOptions) -> Result<()> {
        let query = Query::new()
            .set_if("v", options.volumes)
            .set_if("force", options.force)
            .set_if("link", options.link);
        self.call("DELETE", &of(id, "")?, &query).map(drop)
    }

    pub fn update_container(&self, id: &str, request: &UpdateRequest) -> Result<UpdateResponse> {
        self.post(&of(id, "/update")?, &Query::new(), request)
    }

    pub fn resize_container(&self, id: &str, rows: u16, columns: u16) -> Result<()> {
        self.tell(&of(id, "/resize")?, &size(rows, columns))
    }

    /// Asks to be told of the exit. When this returns, the engine is listening.
    pub fn wait_container(&self, id: &str, condition: WaitCondition) -> Result<Waiting> {
        if condition != WaitCondition::NotRunning && !self.speaks(1, 30)? {
            let filters = serde_json::json!({ "type": ["container"], "container": [id] });
            return Ok(Waiting(Source::Events(self.events("", "", &filters.to_string())?, condition)));
        }
        let query = Query::new().set("condition", condition.as_str());
        let answer = Messages::new(self.stream("POST", &of(id, "/wait")?, &query)?);
        Ok(Waiting(Source::Answer(answer)))
    }

    pub fn attach_container(&self, id: &str, options: &AttachOptions) -> Result<Hijacked> {
        let query = Query::new()
            .set("stream", "1")
            .set_if("stdin", options.stdin)
            .set_if("stdout", options.stdout)
            .set_if("stderr", options.stderr)
            .set_filled("detachKeys", &options.detach_keys);
        self.hijack(&of(id, "/attach")?, &query, None::<&()>)
    }

    pub fn container_logs(&self, id: &str, options: &LogOptions) -> Result<Body> {
        let query = Query::new()
            .set("stdout", "1")
            .set("stderr", "1")
            .set_if("follow", options.follow)
            .set_if("timestamps", options.timestamps)
            .set_if("details", options.details)
            .set_filled("since", &options.since)
            .set_filled("until", &options.until)
            .set_filled("tail", &options.tail);
        self.stream("GET", &of(id, "/logs")?, &query)
    }

    pub fn top(&self, id: &str, arguments: &str) -> Result<Top> {
        self.get(&of(id, "/top")?, &Query::new().set_filled("ps_args", arguments))
    }

    pub fn container_stats(&self, id: &str, stream: bool) -> Result<Messages<Stats>> {
        let query = Query::new().set("stream", if stream { "1" } else { "0" });
        Ok(Messages::new(self.stream("GET", &of(id, "/stats")?, &query)?))
    }

    pub fn container_changes(&self, id: &str) -> Result<Vec<Change>> {
        let changes: Option<Vec<Change>> = self.get(&of(id, "/changes")?, &Query::new())?;
        Ok(changes.unwrap_or_default())
    }

    pub fn export_container(&self, id: &str) -> Result<Body> {
        self.stream("GET", &of(id, "/export")?, &Query::new())
    }

    pub fn prune_containers(&self, filters: &str) -> Result<PruneReport> {
        from_json(&self.call("POST", "/containers/prune", &Query::new().set_filled("filters", filters))?)
    }

    pub fn commit(&self, query: &Query, config: Option<&Config>) -> Result<CommitResponse> {
        from_json(&self.call_with("POST", "/commit", query, &[], config)?)
    }

    /// What is at a path inside of a container; a symbolic link is not followed.
    pub fn stat_path(&self, id: &str, path: &str) -> Result<PathStat> {
        let value = self.head(&of(id, "/archive")?, &Query::new().set("path", path), PathStat::HEADER)?;
        path_stat(value.as_deref())
    }

    /// A path inside of a container as a tar stream.
    pub fn get_archive(&self, id: &str, path: &str) -> Result<(Body, PathStat)> {
        let query = Query::new().set("path", path);
        let (body, value) = self.stream_and_header(&of(id, "/archive")?, &query, PathStat::HEADER)?;
        Ok((body, path_stat(value.as_deref())?))
    }

    /// Unpacks a tar stream into a directory of a container.
    pub fn put_archive(
        &self,
        id: &str,
        directory: &str,
        copy_ownership: bool,
        tar: &mut dyn Read,
    ) -> Result<()> {
        let query = Query::new()
            .set("path", directory)
            .set("noOverwriteDirNonDir", "true")
            .set_if("copyUIDGID", copy_ownership);
        let mut body = self.upload("PUT", &of(id, "/archive")?, &query, tar)?;
        std::io::copy(&mut body, &mut std::io::sink()).map_err(Error::io("reading the answer"))?;
        Ok(())
    }
}

pub(super) fn size(rows: u16, columns: u16) -> Query {
    Query::new().set("h", rows.to_string()).set("w", columns.to_string())
}

fn grace(signal: &str, timeout: Option<i64>) -> Query {
    let query = Query::new().set_filled("signal", signal);
    match timeout {
        Some(seconds) => query.set("t", seconds.to_string()),
        None => query,
    }
}

fn path_stat(header: Option<&str>) -> Result<PathStat> {
    let bad = |why: &str| Error::Protocol(format!("the engine's description of the path {why}"));
    let header = header.ok_or_else(|| bad("is missing"))?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(header).map_err(|_| bad("is not base64"))?;
    from_json(&bytes)
}
