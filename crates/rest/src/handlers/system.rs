//! The engine itself: ping, version, information, disk usage, events, credentials.

use api::event::kind;
use engine::EventQuery;

use crate::body::Body;
use crate::call::Call;
use crate::records::Records;
use crate::reply::{Answer, Failure, Reply};
use crate::{newer, query, transform};

pub(crate) async fn ping(_: Call) -> Answer {
    Ok(ping_headers(Reply::text(200, "OK")))
}

pub(crate) async fn ping_head(_: Call) -> Answer {
    // hyper leaves the length out where there is no body; clients look for it.
    Ok(ping_headers(Reply::text(200, "")).with("Content-Length", "0"))
}

fn ping_headers(reply: Reply) -> Reply {
    // No builder version: builds are answered by 501 whichever builder the client would pick.
    reply
        .with("Cache-Control", "no-cache, no-store, must-revalidate")
        .with("Pragma", "no-cache")
        .with("Swarm", "inactive")
}

pub(crate) async fn version(call: Call) -> Answer {
    Reply::json(&call.engine.version())
}

pub(crate) async fn info(call: Call) -> Answer {
    let info = call.engine.info().await?;
    if call.before(50) {
        return Reply::json(&transform::info(info, call.version)?);
    }
    Reply::json(&if call.before(52) { info } else { newer::info(info) })
}

pub(crate) async fn disk_usage(call: Call) -> Answer {
    let kinds =
        if call.before(42) { Vec::new() } else { call.query.all("type").map(str::to_owned).collect() };
    let known = ["container", "image", "volume", "build-cache"];
    if let Some(unknown) = kinds.iter().find(|kind| !known.contains(&kind.as_str())) {
        return Err(Failure::invalid(format!("unknown object type: {unknown}")));
    }
    let wanted = |kind: &str| kinds.is_empty() || kinds.iter().any(|wanted| wanted == kind);
    let mut usage = call.engine.disk_usage().await?;
    // A part that nobody asked for is null.
    if !wanted("container") {
        usage.containers = None;
    }
    if !wanted("image") {
        (usage.images, usage.layers_size) = (None, 0);
    }
    if !wanted("volume") {
        usage.volumes = None;
    }
    usage.build_cache = wanted("build-cache").then(Vec::new);
    for container in usage.containers.iter_mut().flatten() {
        transform::summary(container, call.version);
    }
    for image in usage.images.iter_mut().flatten() {
        transform::virtual_size(image, call.version);
        transform::no_digests(image);
    }
    if call.before(52) {
        return Reply::json(&usage);
    }
    let verbose = match call.query.text("verbose") {
        "" => None,
        text => Some(
            query::boolean(text)
                .ok_or_else(|| Failure::invalid(format!("invalid value for verbose: {text}")))?,
        ),
    };
    Reply::json(&newer::disk_usage(usage, verbose))
}

pub(crate) async fn auth(mut call: Call) -> Answer {
    let Some(auth) = call.optional_json::<api::auth::Auth>().await? else {
        return Err(Failure::system("EOF"));
    };
    Reply::json(&call.engine.auth_check(auth).await?)
}

pub(crate) async fn events(call: Call) -> Answer {
    let query =
        EventQuery { since: call.time("since")?, until: call.time("until")?, filters: call.filters()? };
    if let (Some(since), Some(until)) = (query.since, query.until)
        && since > until
    {
        return Err(Failure::invalid(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            call.query.text("since"),
            call.query.text("until")
        )));
    }
    let mut events = call.engine.events(query)?;
    let creations_known = !call.before(46);
    let legacy = call.before(52);
    let records = Records::wanted(&call);
    let (sender, body) = Body::pieces();
    tokio::spawn(async move {
        let wanted = |message: &api::event::Message| {
            creations_known || message.kind != kind::IMAGE || message.action != "create"
        };
        let line = |message: &api::event::Message| match legacy {
            true => records.record(message),
            false => records.record(&message.without_legacy()),
        };
        for message in events.past {
            if wanted(&message) && sender.send(Ok(line(&message))).await.is_err() {
                return;
            }
        }
        let Some(live) = &mut events.live else { return };
        loop {
            let message = tokio::select! {
                message = live.next() => message,
                // The client has gone: nothing may ever happen that would tell us by a failed write.
                () = sender.closed() => return,
            };
            let Some(message) = message else { return };
            if wanted(&message) && sender.send(Ok(line(&message))).await.is_err() {
                return;
            }
        }
    });
    Ok(Reply::stream(records.content_type(), body))
}
