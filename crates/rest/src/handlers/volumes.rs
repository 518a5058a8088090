//! Volumes.

use api::volume::CreateRequest;

use crate::call::Call;
use crate::reply::{Answer, Failure, Reply};

pub(crate) async fn list(call: Call) -> Answer {
    Reply::json(&call.engine.volume_list(call.filters()?).await?)
}

pub(crate) async fn inspect(call: Call) -> Answer {
    Reply::json(&call.engine.volume_inspect(&call.name).await?)
}

pub(crate) async fn create(mut call: Call) -> Answer {
    let request = call.optional_json::<CreateRequest>().await?.unwrap_or_default();
    Reply::json_with(201, &call.engine.volume_create(request).await?)
}

pub(crate) async fn remove(call: Call) -> Answer {
    call.engine.volume_remove(&call.name, call.query.flag("force")).await?;
    Ok(Reply::empty(204))
}

pub(crate) async fn prune(call: Call) -> Answer {
    let mut filters = call.filters()?;
    if let Err(wrong) = filters.flag("all") {
        let reason = filters.values("all").next().map_or_else(
            || wrong.to_string(),
            |value| format!("invalid filter 'all': strconv.ParseBool: parsing {value:?}: invalid syntax"),
        );
        return Err(Failure::invalid(reason));
    }
    if call.before(42) {
        // They mean named volumes, too.
        filters.add("all", "true");
    }
    Reply::json(&call.engine.volume_prune(filters).await?)
}
