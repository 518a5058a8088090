//! Execs: made, started, resized, asked about.

use api::exec::{CreateRequest, CreateResponse, ID, START, StartRequest};
use engine::{ExecStartOptions, Ticket};

use super::containers::size;
use crate::call::Call;
use crate::handover::{self, Head};
use crate::reply::{Answer, Failure, Reply};

pub(crate) async fn create(mut call: Call) -> Answer {
    let mut request = call.json::<CreateRequest>().await?;
    if call.before(42) {
        request.console_size = None;
    }
    let at_once = at_once(&call)?;
    let id = call.engine.exec_create(&call.name, request).await?.to_string();
    let Some(start) = at_once else {
        return Reply::json_with(201, &CreateResponse { id });
    };
    match call.engine.exec_start(&id, options(&call, start, true)).await? {
        Some(ticket) => join(&call, ticket, |head| head.with(ID, &id)).await,
        None => Reply::json_with(201, &CreateResponse { id }),
    }
}

/// The start that the request for an exec brings along ([`START`]). Without an offer to upgrade nobody could tell the
/// answers apart.
fn at_once(call: &Call) -> Result<Option<StartRequest>, Failure> {
    let Some(value) = call.headers.get(START).filter(|_| call.upgrades()) else { return Ok(None) };
    let start: StartRequest = api::json::from_slice(value.as_bytes())
        .map_err(|error| Failure::invalid(format!("invalid {START} header: {error}")))?;
    // The answer is the streams, and there would be none.
    match start.detach {
        true => {
            Err(Failure::invalid(format!("invalid {START} header: a detached start is a request of its own")))
        }
        false => Ok(Some(start)),
    }
}

fn options(call: &Call, request: StartRequest, tell_exit: bool) -> ExecStartOptions {
    // Without a terminal there is nothing to have a size, whatever the exec itself has.
    let console_size = request.console_size.filter(|_| request.tty && !call.before(42));
    ExecStartOptions { detach: request.detach, tty: request.tty, console_size, tell_exit }
}

/// Gives the client to its exec.
async fn join(call: &Call, ticket: Ticket, complete: impl FnOnce(Head) -> Head) -> Answer {
    let content_type = handover::content_type(call, ticket.multiplexed(), call.upgrades());
    let head = complete(Head::raw_stream(call, content_type).standard());
    handover::deliver(call, ticket, head.finish()).await
}

pub(crate) async fn start(mut call: Call) -> Answer {
    let request = call.optional_json::<StartRequest>().await?.unwrap_or_default();
    match call.engine.exec_start(&call.name, options(&call, request, false)).await? {
        Some(ticket) => join(&call, ticket, |head| head).await,
        None => Ok(Reply::empty(200)),
    }
}

pub(crate) async fn resize(call: Call) -> Answer {
    let (height, width) = size(&call)?;
    call.engine.exec_resize(&call.name, height, width).await?;
    Ok(Reply::empty(200))
}

pub(crate) async fn inspect(call: Call) -> Answer {
    call.engine.exec_settled(&call.name).await;
    Reply::json(&call.engine.exec_inspect(&call.name)?)
}
