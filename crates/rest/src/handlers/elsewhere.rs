//! What this engine does not do, said as Docker says it: swarm, plugins, checkpoints, builds.

use api::error::ErrorBody;
use api::filters::Filters;

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

/// There is no cache to prune; what is wrong in a request is told all the same.
pub(crate) async fn build_prune(call: Call) -> Answer {
    for key in ["keep-storage", "reserved-space", "max-used-space", "min-free-space"] {
        let text = call.query.text(key);
        // From 1.48 on the first one has the second one's name.
        let known = (key == "keep-storage") || !call.before(48);
        if known && !text.is_empty() {
            api::number::parse::<i64>(text, "Atoi").map_err(|reason| {
                Failure::invalid(format!("{key} is in bytes and expects an integer, got {text}: {reason}"))
            })?;
        }
    }
    let filters = call.filters()?;
    check_cache_filters(&filters)
        .map_err(|reason| Failure::invalid(format!("failed to prune build cache: {reason}")))?;
    Reply::json(&api::system::BuildPruneReport::default())
}

/// Docker takes labels, too, and does not look at them.
const CACHE_FILTERS: [&str; 11] = [
    "description",
    "id",
    "inuse",
    "label",
    "label!",
    "parent",
    "private",
    "shared",
    "type",
    "until",
    "unused-for",
];

fn check_cache_filters(filters: &Filters) -> Result<(), String> {
    filters.check(&CACHE_FILTERS).map_err(|error| error.to_string())?;
    let times =
        ["until", "unused-for"].map(|key| (key, filters.values(key).next(), filters.values(key).count()));
    if times.iter().all(|(.., count)| *count > 0) {
        return Err("conflicting filters: \"until\" and \"unused-for\"".into());
    }
    let fields = CACHE_FILTERS.iter().filter(|key| !key.starts_with("label"));
    if fields.into_iter().any(|key| filters.values(key).count() > 1) {
        return Err("filters expect only one value".into());
    }
    for (key, text, _) in times {
        let parsed = text.map(|text| moment::point::parse(text, 0, 0)).transpose();
        parsed.map_err(|reason| {
            format!("{key:?} filter expects a duration (e.g., '24h') or a timestamp: {reason}")
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_the_cache_are_checked_though_it_is_empty() {
        let told = |text: &str| check_cache_filters(&Filters::parse(text).unwrap()).err();
        let time = "filter expects a duration (e.g., '24h') or a timestamp";
        let soon = "failed to parse value as time or duration: \"soon\"";
        for good in ["", r#"{"until":["24h"],"label":["a","b"]}"#, r#"{"id":["x"],"unused-for":["5"]}"#] {
            assert_eq!(told(good), None);
        }
        for (text, reason) in [
            (r#"{"dangling":["true"]}"#, "invalid filter 'dangling'".to_owned()),
            (r#"{"id":["a","b"]}"#, "filters expect only one value".to_owned()),
            (
                r#"{"until":["1h"],"unused-for":["1h"]}"#,
                "conflicting filters: \"until\" and \"unused-for\"".to_owned(),
            ),
            (r#"{"until":["soon"]}"#, format!("\"until\" {time}: {soon}")),
            (r#"{"unused-for":["soon"]}"#, format!("\"unused-for\" {time}: {soon}")),
        ] {
            assert_eq!(told(text), Some(reason));
        }
    }
}
