//! Containers: their life, and what is told about them in one piece.

use api::container::{Config, CreateRequest, UpdateRequest};
use engine::{CommitOptions, CreateOptions, ListOptions, RemoveOptions};

use crate::call::Call;
use crate::reply::{Answer, Failure, Reply};
use crate::{moved, newer, transform};

pub(crate) async fn list(call: Call) -> Answer {
    let options = ListOptions {
        all: call.query.flag("all"),
        // Negative means no limit.
        limit: call
            .number::<i64>("limit")?
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| *limit > 0),
        size: call.query.flag("size"),
        filters: call.filters()?,
    };
    let mut containers = call.engine.container_list(options).await?;
    for container in &mut containers {
        transform::summary(container, call.version);
    }
    Reply::json(&containers)
}

pub(crate) async fn create(mut call: Call) -> Answer {
    // A container needs a configuration: here, alone, a body must be.
    let request = match call.optional_json::<CreateRequest>().await? {
        Some(request) => request,
        None if call.has_body() => CreateRequest::default(),
        None => return Err(Failure::invalid("invalid JSON: got EOF while reading request body")),
    };
    let mut request = transform::create(request, call.version)?;
    let mut warnings = newer::create(&mut request, call.version)?;
    warnings.extend(moved::to_endpoint(&mut request, call.version)?);
    warnings.extend(transform::ignored_driver(&request, call.version));
    let name = Some(call.query.text("name")).filter(|name| !name.is_empty()).map(str::to_owned);
    let platform = Some(call.query.text("platform")).filter(|name| !name.is_empty() && !call.before(41));
    let platform = platform
        .map(|text| text.parse().map_err(|error| Failure::invalid(format!("{error}"))))
        .transpose()?;
    let options = CreateOptions { name, platform, shallow_read_only: call.before(44) };
    let mut created = call.engine.container_create(options, request).await?;
    created.warnings.extend(warnings);
    Reply::json_with(201, &created)
}

pub(crate) async fn inspect(call: Call) -> Answer {
    let inspect = call.engine.container_inspect(&call.name, call.query.flag("size")).await?;
    if call.before(52) {
        return Reply::json(&transform::inspect(inspect, call.version));
    }
    Reply::json(&newer::inspect(&inspect, call.version)?)
}

pub(crate) async fn changes(call: Call) -> Answer {
    Reply::json(&call.engine.container_changes(&call.name).await?)
}

pub(crate) async fn top(call: Call) -> Answer {
    Reply::json(&call.engine.container_top(&call.name, call.query.text("ps_args")).await?)
}

pub(crate) async fn start(mut call: Call) -> Answer {
    // Up to seven bytes are forgiven, as in Docker: some clients send "{}" or "null".
    if call.has_body() && call.bytes().await?.len() > 7 {
        return Err(Failure::invalid(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    if !call.query.text("checkpoint").is_empty() {
        return Err(Failure::invalid("checkpoint is only supported in experimental mode"));
    }
    if !call.query.text("checkpoint-dir").is_empty() {
        return Err(Failure::new(403, "custom checkpointdir is not supported"));
    }
    call.engine.container_start(&call.name).await?;
    Ok(Reply::empty(204))
}

pub(crate) async fn stop(call: Call) -> Answer {
    let timeout = call.number("t")?;
    call.engine.container_stop(&call.name, signal(&call), timeout).await?;
    Ok(Reply::empty(204))
}

pub(crate) async fn restart(call: Call) -> Answer {
    let timeout = call.number("t")?;
    call.engine.container_restart(&call.name, signal(&call), timeout).await?;
    Ok(Reply::empty(204))
}

/// The signal to stop with; clients before 1.42 could not say.
fn signal(call: &Call) -> Option<&str> {
    call.query.get("signal").filter(|signal| !signal.is_empty() && !call.before(42))
}

pub(crate) async fn kill(call: Call) -> Answer {
    let signal = match call.query.text("signal") {
        "" => "KILL",
        signal => signal,
    };
    call.engine.container_kill(&call.name, signal).await?;
    Ok(Reply::empty(204))
}

pub(crate) async fn pause(call: Call) -> Answer {
    call.engine.container_pause(&call.name).await?;
    Ok(Reply::empty(204))
}

pub(crate) async fn unpause(call: Call) -> Answer {
    call.engine.container_unpause(&call.name).await?;
    Ok(Reply::empty(204))
}

pub(crate) async fn rename(call: Call) -> Answer {
    call.engine.container_rename(&call.name, call.query.text("name")).await?;
    Ok(Reply::empty(204))
}

pub(crate) async fn update(mut call: Call) -> Answer {
    let mut request = call.json::<UpdateRequest>().await?;
    transform::update(&mut request, call.version);
    Reply::json(&call.engine.container_update(&call.name, request).await?)
}

pub(crate) async fn resize(call: Call) -> Answer {
    let (height, width) = size(&call)?;
    call.engine.container_resize(&call.name, height, width).await?;
    Ok(Reply::empty(200))
}

/// Height and width of a terminal; both must be given.
pub(crate) fn size(call: &Call) -> Result<(u16, u16), Failure> {
    let side = |key: &str, what: &str| {
        let text = call.query.text(key);
        // A terminal keeps the lower half, as in Docker.
        text.parse::<u32>().map(|length| length as u16).map_err(|_| {
            let number =
                !text.is_empty() && text.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit());
            let reason = if number { "value out of range" } else { "invalid syntax" };
            Failure::invalid(format!("invalid resize {what} {text:?}: {reason}"))
        })
    };
    Ok((side("h", "height")?, side("w", "width")?))
}

pub(crate) async fn remove(call: Call) -> Answer {
    let options = RemoveOptions {
        force: call.query.flag("force"),
        volumes: call.query.flag("v"),
        link: call.query.flag("link"),
    };
    call.engine.container_remove(&call.name, options).await?;
    Ok(Reply::empty(204))
}

pub(crate) async fn prune(call: Call) -> Answer {
    Reply::json(&call.engine.container_prune(call.filters()?).await?)
}

pub(crate) async fn commit(mut call: Call) -> Answer {
    let config = call.optional_json::<Option<Config>>().await?.flatten();
    let text = |key: &str| call.query.text(key).to_owned();
    let options = CommitOptions {
        repository: text("repo"),
        tag: text("tag"),
        comment: text("comment"),
        author: text("author"),
        pause: call.query.flag_or("pause", true),
        changes: call.query.all("changes").map(str::to_owned).collect(),
        config,
    };
    Reply::json_with(201, &call.engine.container_commit(call.query.text("container"), options).await?)
}
