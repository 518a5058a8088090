//! What this engine does not do, said as Docker says it: swarm, plugins, checkpoints, builds.

use api::error::ErrorBody;

use crate::call::Call;
use crate::reply::{Answer, Failure, Reply};

const NOT_A_MANAGER: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to \
                             connect this node to swarm and try again.";

pub(crate) async fn swarm(_: Call) -> Answer {
    Err(Failure::new(503, NOT_A_MANAGER))
}

pub(crate) async fn volume_update(_: Call) -> Answer {
    Err(Failure::new(503, "volume update only valid for cluster volumes, but swarm is unavailable"))
}

pub(crate) async fn swarm_leave(_: Call) -> Answer {
    Err(Failure::new(503, "This node is not part of a swarm"))
}

pub(crate) async fn swarm_unsupported(_: Call) -> Answer {
    Err(Failure::not_implemented("this engine does not support swarm mode"))
}

pub(crate) async fn plugins(call: Call) -> Answer {
    call.filters()?.check(&["enabled", "capability"])?;
    Reply::json::<[ErrorBody; 0]>(&[])
}

pub(crate) async fn plugin(call: Call) -> Answer {
    Err(Failure::new(404, format!("plugin {:?} not found", call.name)))
}

pub(crate) async fn plugins_unsupported(_: Call) -> Answer {
    Err(Failure::not_implemented("this engine does not support plugins"))
}

pub(crate) async fn checkpoints(_: Call) -> Answer {
    Err(Failure::not_implemented(
        "This experimental feature is disabled by default. Start the Docker daemon in experimental mode in order to \
         enable it.",
    ))
}

pub(crate) async fn build(_: Call) -> Answer {
    Err(Failure::not_implemented("this engine does not build images yet"))
}

pub(crate) async fn build_prune(call: Call) -> Answer {
    call.filters()?;
    Reply::json(&api::system::BuildPruneReport::default())
}
