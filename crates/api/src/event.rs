//! Events: what happened, to whom, when.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::omit;

/// One line of `GET /events`.
///
/// `status`, `id` and `from` repeat type, actor and image for clients of the first days; Docker sends
/// them for container and image events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    #[serde(rename = "Type")]
    pub kind: String,
    #[serde(rename = "Action")]
    pub action: String,
    #[serde(rename = "Actor")]
    pub actor: Actor,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "omit::zero")]
    pub time: i64,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano", skip_serializing_if = "omit::zero")]
    pub time_nano: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actor {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

/// Kinds of actors, as `Type` names them.
pub mod kind {
    pub const CONTAINER: &str = "container";
    pub const DAEMON: &str = "daemon";
    pub const IMAGE: &str = "image";
    pub const NETWORK: &str = "network";
    pub const VOLUME: &str = "volume";
}

impl Message {
    /// Without what repeats other members, as versions from 1.52 on send it.
    pub fn without_legacy(&self) -> Self {
        Self { status: String::new(), id: String::new(), from: String::new(), ..self.clone() }
    }

    /// An event of the local engine with the legacy members filled as Docker fills them.
    pub fn new(kind: &str, action: &str, actor: Actor, time_nano: i64) -> Self {
        let legacy = kind == kind::CONTAINER || kind == kind::IMAGE;
        let text = |text: &str| if legacy { text.to_owned() } else { String::new() };
        Self {
            status: text(action),
            id: text(&actor.id),
            from: match kind {
                kind::CONTAINER => actor.attributes.get("image").cloned().unwrap_or_default(),
                _ => String::new(),
            },
            kind: kind.to_owned(),
            action: action.to_owned(),
            actor,
            scope: "local".to_owned(),
            time: time_nano.div_euclid(1_000_000_000),
            time_nano,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_events_carry_the_legacy_members_first() {
        let actor =
            Actor { id: "ab".into(), attributes: BTreeMap::from([("image".into(), "busybox".into())]) };
        let message = Message::new(kind::CONTAINER, "start", actor, 1_700_000_000_000_000_001);
        assert_eq!(
            serde_json::to_string(&message).unwrap(),
            r#"{"status":"start","id":"ab","from":"busybox","Type":"container","Action":"start","Actor":{"ID":"ab","Attributes":{"image":"busybox"}},"scope":"local","time":1700000000,"timeNano":1700000000000000001}"#
        );
    }

    #[test]
    fn what_repeats_other_members_can_be_left_out() {
        let message = Message::new(kind::IMAGE, "tag", Actor { id: "ab".into(), ..Actor::default() }, 1);
        let text = serde_json::to_string(&message.without_legacy()).unwrap();
        assert!(text.starts_with(r#"{"Type":"image","Action":"tag""#), "{text}");
    }

    #[test]
    fn other_events_do_not() {
        let message = Message::new(kind::NETWORK, "create", Actor::default(), 1);
        assert!(message.status.is_empty() && message.id.is_empty() && message.from.is_empty());
    }
}
