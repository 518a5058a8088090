//! What the members of a configuration have to be, and what is said of those that are something else.

use api::json::kind;
use serde_json::Value;

/// A type, as Go spells it in messages, and what is in it.
enum Shape {
    Text,
    /// A list of texts.
    Texts,
    Map(&'static str, &'static Shape),
    /// Members that have types of their own; others are not looked at.
    Struct(&'static str, &'static [(&'static str, Shape)]),
}

use Shape::{Map, Struct, Text, Texts};

const TEXT_MAP: Shape = Map("map[string]string", &Text);
const CONFIGURATION: Shape = Struct(
    "configfile.ConfigFile",
    &[
        ("auths", Map("map[string]types.AuthConfig", &AUTH)),
        ("HttpHeaders", TEXT_MAP),
        ("psFormat", Text),
        ("imagesFormat", Text),
        ("networksFormat", Text),
        ("volumesFormat", Text),
        ("statsFormat", Text),
        ("detachKeys", Text),
        ("credsStore", Text),
        ("credHelpers", TEXT_MAP),
        ("pruneFilters", Texts),
        ("proxies", Map("map[string]configfile.ProxyConfig", &PROXY)),
        ("currentContext", Text),
    ],
);
const AUTH: Shape = Struct(
    "types.AuthConfig",
    &[
        ("username", Text),
        ("password", Text),
        ("auth", Text),
        ("identitytoken", Text),
        ("registrytoken", Text),
    ],
);
const PROXY: Shape = Struct(
    "configfile.ProxyConfig",
    &[("httpProxy", Text), ("httpsProxy", Text), ("noProxy", Text), ("ftpProxy", Text), ("allProxy", Text)],
);

/// The first thing that is not what it has to be.
pub(super) fn complaint(document: &Value) -> Option<String> {
    CONFIGURATION.complaint(document, "")
}

impl Shape {
    fn complaint(&self, value: &Value, path: &str) -> Option<String> {
        let within = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match (self, value) {
            (_, Value::Null) | (Text, Value::String(_)) => None,
            (Texts, Value::Array(values)) => values.iter().find_map(|value| Text.complaint(value, path)),
            (Map(_, shape), Value::Object(members)) => {
                members.iter().find_map(|(name, value)| shape.complaint(value, &within(name)))
            }
            (Struct(_, known), Value::Object(members)) => {
                known.iter().find_map(|(name, shape)| shape.complaint(members.get(*name)?, &within(name)))
            }
            _ => {
                let place = match path {
                    "" => "value".to_owned(),
                    path => format!("struct field ConfigFile.{path}"),
                };
                let (found, wanted) = (kind(value), self.name());
                Some(format!("json: cannot unmarshal {found} into Go {place} of type {wanted}"))
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Text => "string",
            Texts => "[]string",
            Map(name, _) | Struct(name, _) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_types_are_told_in_the_words_of_go() {
        let told = |text: &str| complaint(&serde_json::from_str(text).unwrap()).unwrap_or_default();
        for fine in [r#"{"psFormat":null,"x":3,"pruneFilters":["a"]}"#, "{}", r#"{"auths":{"x":{}}}"#] {
            assert_eq!(told(fine), "");
        }
        for (text, words) in [
            ("[]", "array into Go value of type configfile.ConfigFile"),
            (r#"{"psFormat":3}"#, "number into Go struct field ConfigFile.psFormat of type string"),
            (
                r#"{"HttpHeaders":["x"]}"#,
                "array into Go struct field ConfigFile.HttpHeaders of type map[string]string",
            ),
            (
                r#"{"proxies":{"default":{"httpProxy":true}}}"#,
                "bool into Go struct field ConfigFile.proxies.default.httpProxy of type string",
            ),
        ] {
            assert_eq!(told(text), format!("json: cannot unmarshal {words}"));
        }
    }
}
