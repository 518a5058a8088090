//! Images, one piece at a time; what streams is in `transfers`.

use crate::call::Call;
use crate::reply::{Answer, Failure, Reply};
use crate::transform;

pub(crate) async fn list(call: Call) -> Answer {
    let mut filters = call.filters()?;
    let legacy = call.query.text("filter");
    if call.before(25) && !legacy.is_empty() {
        filters.add("reference", legacy);
    }
    let shared_size = call.query.flag("shared-size") && !call.before(42);
    let mut images = call.engine.image_list(call.query.flag("all"), shared_size, filters).await?;
    for image in &mut images {
        transform::image_summary(image, call.version);
    }
    Reply::json(&images)
}

pub(crate) async fn inspect(call: Call) -> Answer {
    let inspect = call.engine.image_inspect(&call.name).await?;
    if call.before(50) {
        Reply::json(&transform::image(inspect, call.version)?)
    } else {
        Reply::json(&inspect)
    }
}

pub(crate) async fn history(call: Call) -> Answer {
    Reply::json(&call.engine.image_history(&call.name).await?)
}

pub(crate) async fn tag(call: Call) -> Answer {
    call.engine.image_tag(&call.name, call.query.text("repo"), call.query.text("tag")).await?;
    Ok(Reply::empty(201))
}

pub(crate) async fn remove(call: Call) -> Answer {
    if call.name.trim().is_empty() {
        return Err(Failure::invalid("image name cannot be blank"));
    }
    let (force, prune) = (call.query.flag("force"), !call.query.flag("noprune"));
    Reply::json(&call.engine.image_remove(&call.name, force, prune).await?)
}

pub(crate) async fn prune(call: Call) -> Answer {
    Reply::json(&call.engine.image_prune(call.filters()?).await?)
}

pub(crate) async fn search(_: Call) -> Answer {
    Err(Failure::not_implemented("this engine does not search registries"))
}

pub(crate) async fn distribution(call: Call) -> Answer {
    Reply::json(&call.engine.distribution_inspect(&call.name, call.registry_auth()).await?)
}
