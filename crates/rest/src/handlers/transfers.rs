//! Images in bulk: pull, push, load, import, save. Each tells how far it is, line by line.

use api::progress::Message;
use engine::{ImportRequest, PullRequest, PushRequest};
use tokio::sync::mpsc;

use super::images::{platform, platforms};
use crate::body::Body;
use crate::call::Call;
use crate::reply::{Answer, Failure, JSON, Reply};

/// Lines between the engine and a client: progress is dropped by the engine rather than waited for.
const LINES: usize = 64;

/// Runs `work` and streams its messages. Until the first one, a failure is a status; afterwards it is the last line.
async fn told<W, F>(work: W) -> Answer
where
    W: FnOnce(mpsc::Sender<Message>) -> F,
    F: Future<Output = Result<(), engine::Error>> + Send + 'static,
{
    let (sender, mut messages) = mpsc::channel::<Message>(LINES);
    let work = tokio::spawn(work(sender));
    let Some(first) = messages.recv().await else {
        work.await.map_err(|error| Failure::system(error.to_string()))??;
        return Ok(Reply::stream(JSON, Body::empty()));
    };
    let (lines, body) = Body::pieces();
    tokio::spawn(async move {
        let mut next = Some(first);
        while let Some(message) = next {
            if lines.send(Ok(message.to_line().into())).await.is_err() {
                // The client hung up: the work is called off.
                work.abort();
                return;
            }
            next = tokio::select! {
                next = messages.recv() => next,
                () = lines.closed() => {
                    work.abort();
                    return;
                }
            };
        }
        let failed = match work.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        // A client that is gone needs no reason.
        let _ = lines.send(Ok(Message::error(failed).to_line().into())).await;
    });
    Ok(Reply::stream(JSON, body))
}

/// `POST /images/create`: pull from a registry, or make an image of a tar archive.
pub(crate) async fn create(call: Call) -> Answer {
    let text = |key: &str| call.query.text(key).to_owned();
    let platform = (!call.query.text("platform").is_empty() && !call.before(32)).then(|| text("platform"));
    let engine = call.engine.clone();
    if !call.query.text("fromImage").is_empty() {
        let request =
            PullRequest { name: text("fromImage"), tag: text("tag"), platform, auth: call.registry_auth() };
        return told(move |sender| async move { engine.image_pull(request, sender).await }).await;
    }
    let request = ImportRequest {
        source: text("fromSrc"),
        repository: text("repo"),
        tag: text("tag"),
        message: text("message"),
        changes: call.query.all("changes").map(str::to_owned).collect(),
        platform,
    };
    if request.source != "-" {
        return told(move |sender| async move { engine.image_import_from(request, sender).await }).await;
    }
    let upload = Box::new(call.into_upload());
    told(move |sender| async move { engine.image_import(request, upload, sender).await }).await
}

pub(crate) async fn push(call: Call) -> Answer {
    let request = PushRequest {
        platform: platform(&call, 46)?,
        name: call.name.clone(),
        tag: call.query.text("tag").to_owned(),
        auth: call.registry_auth(),
    };
    let engine = call.engine.clone();
    told(move |sender| async move { engine.image_push(request, sender).await }).await
}

pub(crate) async fn load(call: Call) -> Answer {
    let quiet = call.query.flag("quiet");
    let platforms = platforms(&call, 48)?;
    let engine = call.engine.clone();
    let upload = Box::new(call.into_upload());
    told(move |sender| async move {
        // Whatever is wrong with an archive is told in the stream: clients look for it there.
        if let Err(error) = engine.image_load(upload, quiet, platforms, sender.clone()).await {
            let _ = sender.send(Message::error(error.to_string())).await;
        }
        Ok(())
    })
    .await
}

pub(crate) async fn save(call: Call) -> Answer {
    let names = call.query.all("names").map(str::to_owned).collect();
    saved(call, names).await
}

pub(crate) async fn save_one(call: Call) -> Answer {
    let names = vec![call.name.clone()];
    saved(call, names).await
}

async fn saved(call: Call, names: Vec<String>) -> Answer {
    let platforms = platforms(&call, 48)?;
    let engine = call.engine;
    let body =
        Body::written(move |writer| async move { Ok(engine.image_save(names, platforms, writer).await?) })
            .await?;
    Ok(Reply::stream("application/x-tar", body))
}
