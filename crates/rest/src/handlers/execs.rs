//! Execs: made, started, resized, asked about.

use api::exec::{CreateRequest, CreateResponse, StartRequest};
use engine::ExecStartOptions;

use super::containers::size;
use crate::call::Call;
use crate::handover::{self, Head};
use crate::reply::{Answer, Reply};

pub(crate) async fn create(mut call: Call) -> Answer {
    let mut request = call.json::<CreateRequest>().await?;
    if call.before(42) {
        request.console_size = None;
    }
    let id = call.engine.exec_create(&call.name, request).await?;
    Reply::json_with(201, &CreateResponse { id: id.to_string() })
}

pub(crate) async fn start(mut call: Call) -> Answer {
    let request = call.optional_json::<StartRequest>().await?.unwrap_or_default();
    let console_size = request.console_size.filter(|_| !call.before(42));
    let options = ExecStartOptions { detach: request.detach, tty: request.tty, console_size };
    let Some(ticket) = call.engine.exec_start(&call.name, options).await? else {
        return Ok(Reply::empty(200));
    };
    let content_type = handover::content_type(&call, ticket.multiplexed(), call.upgrades());
    let head = Head::raw_stream(&call, content_type).standard();
    handover::deliver(&call, ticket, head).await
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
