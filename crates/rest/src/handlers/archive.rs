//! Files of a container as tar archives.

use api::container::PathStat;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::PutOptions;

use crate::body::Body;
use crate::call::Call;
use crate::reply::{Answer, Failure, Reply};

/// The path that the client must name.
fn path(call: &Call) -> Result<String, Failure> {
    match call.query.text("path") {
        "" => Err(Failure::invalid("bad parameter: pathcannot be empty")),
        path => Ok(path.to_owned()),
    }
}

fn stat_header(stat: &PathStat) -> Result<String, Failure> {
    let json = serde_json::to_vec(stat)
        .map_err(|error| Failure::system(format!("cannot encode the answer: {error}")))?;
    Ok(STANDARD.encode(json))
}

pub(crate) async fn stat(call: Call) -> Answer {
    let stat = call.engine.archive_stat(&call.name, &path(&call)?).await?;
    Ok(Reply::empty(200).with(PathStat::HEADER, stat_header(&stat)?))
}

pub(crate) async fn get(call: Call) -> Answer {
    let path = path(&call)?;
    let (stat, archive) = call.engine.archive_get(&call.name, &path).await?;
    let body = Body::written(move |writer| async move { Ok(archive.write(writer).await?) }).await?;
    Ok(Reply::stream("application/x-tar", body).with(PathStat::HEADER, stat_header(&stat)?))
}

pub(crate) async fn put(call: Call) -> Answer {
    let path = path(&call)?;
    let options = PutOptions {
        no_overwrite_dir_non_dir: call.query.flag("noOverwriteDirNonDir"),
        copy_uid_gid: call.query.flag("copyUIDGID"),
    };
    let (engine, name) = (call.engine.clone(), call.name.clone());
    engine.archive_put(&name, &path, options, call.into_upload()).await?;
    Ok(Reply::empty(200))
}

pub(crate) async fn export(call: Call) -> Answer {
    let (engine, name) = (call.engine.clone(), call.name.clone());
    let body =
        Body::written(move |writer| async move { Ok(engine.container_export(&name, writer).await?) }).await?;
    Ok(Reply::stream("application/octet-stream", body))
}
