//! Networks and who is in them.

use api::network::{ConnectRequest, CreateRequest, DisconnectRequest};

use crate::call::Call;
use crate::query::boolean;
use crate::reply::{Answer, Failure, Reply};
use crate::transform;

pub(crate) async fn list(call: Call) -> Answer {
    let mut networks = call.engine.network_list(call.filters()?).await?;
    if call.before(28) {
        // They expect the endpoints, too.
        for network in &mut networks {
            if let Ok(full) = call.engine.network_inspect(&network.id).await {
                network.containers = full.containers;
            }
        }
    }
    Reply::json(&networks)
}

pub(crate) async fn inspect(call: Call) -> Answer {
    let verbose = call.query.text("verbose");
    if !verbose.is_empty() && boolean(verbose).is_none() {
        return Err(Failure::invalid(format!(
            "invalid value for verbose: {verbose}: strconv.ParseBool: parsing {verbose:?}: invalid syntax"
        )));
    }
    let scope = call.query.text("scope");
    if !matches!(scope, "" | "local") {
        return Err(Failure::new(404, format!("network {} not found", call.name)));
    }
    let mut network = call.engine.network_inspect(&call.name).await?;
    transform::network(&mut network, call.version);
    Reply::json(&network)
}

pub(crate) async fn create(mut call: Call) -> Answer {
    let mut request = call.json::<CreateRequest>().await?;
    if call.before(48) {
        request.enable_ipv4 = None;
    }
    Reply::json_with(201, &call.engine.network_create(request).await?)
}

pub(crate) async fn connect(mut call: Call) -> Answer {
    let request = call.json::<ConnectRequest>().await?;
    call.engine.network_connect(&call.name, request).await?;
    Ok(Reply::empty(200))
}

pub(crate) async fn disconnect(mut call: Call) -> Answer {
    let request = call.json::<DisconnectRequest>().await?;
    call.engine.network_disconnect(&call.name, request).await?;
    Ok(Reply::empty(200))
}

pub(crate) async fn remove(call: Call) -> Answer {
    call.engine.network_remove(&call.name).await?;
    Ok(Reply::empty(204))
}

pub(crate) async fn prune(call: Call) -> Answer {
    Reply::json(&call.engine.network_prune(call.filters()?).await?)
}
