//! Images, one piece at a time; what streams is in `transfers`.

use api::image::Platform;

use crate::call::Call;
use crate::reply::{Answer, Failure, Reply, page_not_found};
use crate::{newer, transform};

pub(crate) async fn list(call: Call) -> Answer {
    let mut filters = call.filters()?;
    let legacy = call.query.text("filter");
    if call.before(41) && !legacy.is_empty() {
        filters.add("reference", legacy);
    }
    if call.query.flag("identity") && !call.before(54) {
        return Err(Failure::not_implemented("this engine does not tell the identity of images"));
    }
    let shared_size = call.query.flag("shared-size") && !call.before(42);
    let mut images = call.engine.image_list(call.query.flag("all"), shared_size, filters).await?;
    for image in &mut images {
        transform::image_summary(image, call.version);
    }
    Reply::json(&images)
}

pub(crate) async fn inspect(call: Call) -> Answer {
    let inspect = call.engine.image_inspect(&call.name, platform(&call, 49)?).await?;
    if call.before(50) {
        return Reply::json(&transform::image(inspect, call.version)?);
    }
    if call.before(52) { Reply::json(&inspect) } else { Reply::json(&newer::image(&inspect)?) }
}

/// The platform of a query, as JSON, which clients may name since API version `1.since`.
pub(crate) fn platform(call: &Call, since: u16) -> Result<Option<Platform>, Failure> {
    let mut named = call.query.all("platform").filter(|text| !text.is_empty() && !call.before(since));
    let Some(text) = named.next() else { return Ok(None) };
    if named.next().is_some() {
        return Err(Failure::invalid("multiple platform parameters are not supported"));
    }
    parse_platform(text).map(Some)
}

/// As [`platform`]; since 1.52 there may be several.
pub(crate) fn platforms(call: &Call, since: u16) -> Result<Vec<Platform>, Failure> {
    if call.before(52) {
        return Ok(platform(call, since)?.into_iter().collect());
    }
    call.query.all("platform").filter(|text| !text.is_empty()).map(parse_platform).collect()
}

fn parse_platform(text: &str) -> Result<Platform, Failure> {
    let platform: Platform = serde_json::from_str(text)
        .map_err(|error| Failure::invalid(format!("failed to parse platform: {error}")))?;
    if platform.os.is_empty() || platform.architecture.is_empty() {
        return Err(Failure::invalid("both OS and Architecture must be provided"));
    }
    Ok(platform)
}

/// Statements about how an image was made lie in an index, which is not kept here.
pub(crate) async fn attestations(call: Call) -> Answer {
    if call.before(55) {
        return Ok(Reply::Bare(page_not_found()));
    }
    call.engine.image_inspect(&call.name, platform(&call, 55)?).await?;
    Err(Failure::not_implemented("this engine does not keep attestations of images"))
}

pub(crate) async fn history(call: Call) -> Answer {
    Reply::json(&call.engine.image_history(&call.name, platform(&call, 48)?).await?)
}

pub(crate) async fn tag(call: Call) -> Answer {
    call.engine.image_tag(&call.name, call.query.text("repo"), call.query.text("tag")).await?;
    Ok(Reply::empty(201))
}

pub(crate) async fn remove(call: Call) -> Answer {
    if call.name.trim().is_empty() {
        return Err(Failure::invalid("image name cannot be blank"));
    }
    let named = call.query.all("platforms").filter(|_| !call.before(50));
    let platforms = named.map(parse_platform).collect::<Result<Vec<_>, _>>()?;
    if platforms.len() > 1 {
        return Err(Failure::invalid("multiple platforms are not supported"));
    }
    let (force, prune) = (call.query.flag("force"), !call.query.flag("noprune"));
    Reply::json(&call.engine.image_remove(&call.name, platforms.into_iter().next(), force, prune).await?)
}

pub(crate) async fn prune(call: Call) -> Answer {
    Reply::json(&call.engine.image_prune(call.filters()?).await?)
}

pub(crate) async fn search(call: Call) -> Answer {
    let invalid = |reason: &str| Failure::invalid(format!("invalid limit specified: {reason}"));
    let text = call.query.text("limit");
    let limit = match api::number::parse::<i64>(text, "Atoi") {
        _ if text.is_empty() => 0,
        Ok(limit) if limit < 0 => return Err(invalid("it is negative")),
        Ok(limit) => limit,
        Err(reason) => return Err(invalid(&reason)),
    };
    let request = engine::SearchRequest {
        term: call.query.text("term").to_owned(),
        limit,
        filters: call.filters()?,
        auth: call.registry_auth(),
    };
    Reply::json(&call.engine.image_search(request).await?)
}

pub(crate) async fn distribution(call: Call) -> Answer {
    Reply::json(&call.engine.distribution_inspect(&call.name, call.registry_auth()).await?)
}
