//! A container's streams: attach, logs, wait, stats.

use std::time::Duration;

use api::container::{Stats, WaitCondition};
use api::stream::{MULTIPLEXED, RAW};
use engine::{AttachOptions, LogQuery, LogRecords, WaitOutcome};
use hyper::header::{CONNECTION, HeaderValue};

use crate::body::Body;
use crate::call::Call;
use crate::handover::{self, Head};
use crate::records::Records;
use crate::reply::{self, Answer, Failure, JSON, Reply};
use crate::{transform, websocket};

/// Docker samples once a second.
const SAMPLE: Duration = Duration::from_secs(1);

pub(crate) async fn attach(mut call: Call) -> Answer {
    call.pass_over_body().await?;
    let options = attach_options(&call);
    // Clients read this answer by hand: failures are plain text behind a bare head.
    let ticket = match call.engine.container_attach(&call.name, options).await {
        Ok(ticket) => ticket,
        Err(error) => return Ok(raw_failure(error.into())),
    };
    let content_type = handover::content_type(&call, ticket.multiplexed(), call.upgrades());
    let head = Head::raw_stream(&call, content_type);
    handover::deliver(&call, ticket, head.finish()).await
}

fn attach_options(call: &Call) -> AttachOptions {
    AttachOptions {
        stdin: call.query.flag("stdin"),
        stdout: call.query.flag("stdout"),
        stderr: call.query.flag("stderr"),
        logs: call.query.flag("logs"),
        stream: call.query.flag("stream"),
        detach_keys: call.query.text("detachKeys").to_owned(),
    }
}

fn raw_failure(failure: Failure) -> Reply {
    let body = Body::whole(format!("{}\r\n", failure.message));
    let mut response = reply::plain(failure.status, Some(RAW), body);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Reply::Bare(response)
}

pub(crate) async fn attach_websocket(call: Call) -> Answer {
    let mut options = attach_options(&call);
    if call.before(42) {
        // They could not choose: all streams.
        (options.stdin, options.stdout, options.stderr) = (true, true, true);
    }
    let ticket = call.engine.container_attach(&call.name, options).await?;
    // Who is no WebSocket client hears so in plain text, behind a bare head.
    match websocket::handshake(&call.headers) {
        Ok(head) => websocket::deliver(&call, ticket, head).await,
        Err(reason) => {
            let mut response = reply::plain(400, None, Body::whole(reason));
            if reason == websocket::WRONG_VERSION {
                response.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("13"));
            }
            Ok(Reply::Bare(response))
        }
    }
}

pub(crate) async fn logs(mut call: Call) -> Answer {
    call.pass_over_body().await?;
    let (stdout, stderr) = (call.query.flag("stdout"), call.query.flag("stderr"));
    if !stdout && !stderr {
        return Err(Failure::invalid("Bad parameters: you must choose at least one stream"));
    }
    let records = Records::of_log(&call)?;
    let (since, until) = (call.time("since"), call.time("until"));
    let query = LogQuery {
        stdout,
        stderr,
        since: since.as_ref().ok().copied().flatten(),
        until: until.as_ref().ok().copied().flatten(),
        // "all", nothing and what is no number mean everything.
        tail: call.query.text("tail").parse().ok(),
        follow: call.query.flag("follow"),
        timestamps: call.query.flag("timestamps"),
        details: call.query.flag("details"),
        // The engine knows whether there is a terminal.
        multiplexed: false,
        // And who writes the answer.
        chunked: false,
        records: records.map(|records| match records {
            Records::Sequence => LogRecords::Sequence,
            Records::Plain | Records::Lines | Records::OldLines => LogRecords::Lines,
        }),
    };
    // Whether there is such a log is told first.
    let ticket = call.engine.container_logs(&call.name, query).await?;
    since.and(until)?;
    let known = !call.before(42);
    let content_type = match records {
        Some(records) => records.content_type(),
        None if ticket.multiplexed() && known => MULTIPLEXED,
        None => RAW,
    };
    handover::deliver(&call, ticket, handover::response(&call, content_type)).await
}

pub(crate) async fn wait(mut call: Call) -> Answer {
    call.pass_over_body().await?;
    let condition = match call.before(30) {
        true => WaitCondition::NotRunning,
        false => call.query.text("condition").parse().map_err(|text: String| Failure::invalid(text))?,
    };
    match call.engine.container_wait(&call.name, condition).await? {
        WaitOutcome::Ready(exit) => {
            let answer = api::container::WaitResponse { status_code: exit.code, error: None };
            match call.before(30) {
                true => Reply::json(&answer),
                // As whoever has to wait is answered.
                false => {
                    Ok(Reply::stream(JSON, Body::unmeasured(api::json::to_vec(&answer).unwrap_or_default())))
                }
            }
        }
        WaitOutcome::Ticket(ticket) => {
            handover::deliver(&call, ticket, handover::response(&call, JSON)).await
        }
    }
}

pub(crate) async fn stats(call: Call) -> Answer {
    let stream = call.query.flag_or("stream", true);
    let one_shot = call.query.flag("one-shot") && !call.before(41);
    if stream && one_shot {
        return Err(Failure::invalid("cannot have stream=true and one-shot=true"));
    }
    let mut sample = sampled(&call).await?;
    if !stream && !is_running(&sample) {
        return Reply::json(&sample);
    }
    if one_shot {
        // As it comes from the kernel, which knows no names.
        return Reply::json(&api::container::Stats { id: String::new(), name: String::new(), ..sample });
    }
    if !stream {
        tokio::time::sleep(SAMPLE).await;
        let next = sampled(&call).await?;
        return Reply::json(&after(next, &sample));
    }
    let (sender, body) = Body::pieces();
    tokio::spawn(async move {
        let mut clock = tokio::time::interval(SAMPLE);
        loop {
            tokio::select! {
                _ = clock.tick() => {}
                () = sender.closed() => return,
            }
            // A container that is gone ends the stream.
            let Ok(next) = sampled(&call).await else { return };
            let next = after(next, &sample);
            let line = api::json::to_vec(&next).unwrap_or_default();
            if sender.send(Ok(line.into())).await.is_err() {
                return;
            }
            sample = next;
        }
    });
    Ok(Reply::stream(JSON, body))
}

async fn sampled(call: &Call) -> Result<Stats, Failure> {
    let mut sample = call.engine.container_stats(&call.name).await?;
    transform::stats(&mut sample, call.version);
    Ok(sample)
}

fn is_running(sample: &api::container::Stats) -> bool {
    sample.read != api::container::NEVER
}

/// The sample with what came before it.
fn after(next: api::container::Stats, before: &api::container::Stats) -> api::container::Stats {
    api::container::Stats { preread: before.read.clone(), precpu_stats: before.cpu_stats.clone(), ..next }
}
