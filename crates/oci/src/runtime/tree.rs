//! Documents of the runtime specification, read as the Go programs read them that everybody tests with:
//!
//! - a field is found by its name in any case: `pagesize` is `pageSize`, `CPU` is `cpu`. Read strictly such a limit would
//!   be no error, it would be missing. Keys of maps (annotations, sysctls, cgroup files) are data and stay as they are;
//! - what is `null` or missing is empty, zero, false;
//! - what comes under two names that differ in case alone, or twice under one, is one: two structures have the members
//!   of both, of anything else the last one counts;
//! - `-0` is an integer; text that is no Unicode has a replacement character where it isn't.
//!
//! What makes no sense is told with its place: `process.user.uid`. All of this asks for the whole document before the first
//! field is decided, so it becomes a tree, and the structures read that: [`Tree`] is their one deserializer, which keeps
//! their code, the largest of the runtime, to one copy of each.

use std::fmt;

use serde::de::value::{StrDeserializer, StringDeserializer};
use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

/// What is wrong with a document, and in which field.
#[derive(Debug, thiserror::Error)]
#[error("{place}{separator}{message}", separator = if place.is_empty() { "" } else { ": " })]
pub struct Malformed {
    place: String,
    message: String,
}

impl Malformed {
    /// The same seen from the structure that has the field, or the map that has the key.
    fn within(mut self, name: &str) -> Malformed {
        let dot = if self.place.is_empty() || self.place.starts_with('[') { "" } else { "." };
        self.place = format!("{name}{dot}{}", self.place);
        self
    }
}

impl Error for Malformed {
    fn custom<T: fmt::Display>(message: T) -> Malformed {
        Malformed { place: String::new(), message: message.to_string() }
    }
}

/// Reads a document of the runtime specification, or a part of one. What follows it is not read.
pub fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Malformed> {
    let tree = read(json).or_else(|error| read(mended(json).as_bytes()).map_err(|_| error));
    T::deserialize(tree.map_err(Malformed::custom)?)
}

fn read(json: &[u8]) -> serde_json::Result<Tree> {
    Tree::deserialize(&mut serde_json::Deserializer::from_slice(json))
}

/// With a replacement character for what is not UTF-8, and for each half of a surrogate pair.
fn mended(json: &[u8]) -> String {
    let text = String::from_utf8_lossy(json);
    let mut out = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = &rest[at..];
        let following = escape.get(6..).unwrap_or_default();
        let length = match (code_unit(escape), code_unit(following)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                out.push(char::REPLACEMENT_CHARACTER);
                rest = following;
                continue;
            }
            _ => escape.chars().take(2).map(char::len_utf8).sum(),
        };
        out.push_str(&escape[..length]);
        rest = &escape[length..];
    }
    out.push_str(rest);
    out
}

/// Of `\uXXXX`.
fn code_unit(escape: &str) -> Option<u16> {
    u16::from_str_radix(escape.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

/// A document, or a part of one, as it is written: an object has its members in order, and may have one twice.
enum Tree {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    fn unexpected(&self) -> Unexpected<'_> {
        match self {
            Tree::Null => Unexpected::Unit,
            Tree::Bool(value) => Unexpected::Bool(*value),
            Tree::Signed(number) => Unexpected::Signed(*number),
            Tree::Unsigned(number) => Unexpected::Unsigned(*number),
            Tree::Float(number) => Unexpected::Float(*number),
            Tree::Text(text) => Unexpected::Str(text),
            Tree::List(_) => Unexpected::Seq,
            Tree::Object(_) => Unexpected::Map,
        }
    }

    fn united(self, later: Tree) -> Tree {
        match (self, later) {
            (Tree::Object(mut members), Tree::Object(others)) => {
                members.extend(others);
                Tree::Object(members)
            }
            (_, later) => later,
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Tree, D::Error> {
        from.deserialize_any(Growing)
    }
}

struct Growing;

impl<'de> Visitor<'de> for Growing {
    type Value = Tree;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Signed(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Unsigned(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        // An integer has no sign when it is zero, so this is how `-0` arrives.
        let zero = number == 0.0 && number.is_sign_negative();
        Ok(if zero { Tree::Signed(0) } else { Tree::Float(number) })
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Tree, E> {
        Ok(Tree::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = from.next_entry()? {
            members.push(member);
        }
        Ok(Tree::Object(members))
    }
}

/// What `null` is where this is asked for.
macro_rules! zero {
    ($($method:ident: $zero:ident($($value:expr)?);)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
            match self {
                Tree::Null => visitor.$zero($($value)?),
                other => other.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Tree {
    type Error = Malformed;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        match self {
            Tree::Null => visitor.visit_unit(),
            Tree::Bool(value) => visitor.visit_bool(value),
            Tree::Signed(number) => visitor.visit_i64(number),
            Tree::Unsigned(number) => visitor.visit_u64(number),
            Tree::Float(number) => visitor.visit_f64(number),
            Tree::Text(text) => visitor.visit_string(text),
            Tree::List(items) => visitor.visit_seq(Items(items.into_iter().enumerate())),
            Tree::Object(members) => visitor.visit_map(Members(members.into_iter(), None)),
        }
    }

    zero! {
        deserialize_bool: visit_bool(false);
        deserialize_i8: visit_i64(0); deserialize_i16: visit_i64(0); deserialize_i32: visit_i64(0);
        deserialize_i64: visit_i64(0); deserialize_u8: visit_u64(0); deserialize_u16: visit_u64(0);
        deserialize_u32: visit_u64(0); deserialize_u64: visit_u64(0);
        deserialize_str: visit_str(""); deserialize_string: visit_str("");
        deserialize_seq: visit_seq(Items(Vec::new().into_iter().enumerate()));
        deserialize_map: visit_map(Members(Vec::new().into_iter(), None));
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        match self {
            Tree::Null => visitor.visit_none(),
            some => visitor.visit_some(some),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Malformed> {
        let members = match self {
            Tree::Null => Vec::new(),
            Tree::Object(members) => members,
            other => return Err(Malformed::invalid_type(other.unexpected(), &"an object")),
        };
        visitor.visit_map(Fields { names: names.iter(), members, next: None })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Malformed> {
        match self {
            Tree::Null => {
                Err(Malformed::custom(format_args!("missing, expected {}", &OneOf(words) as &dyn Expected)))
            }
            Tree::Text(word) => visitor.visit_enum(StringDeserializer::new(word)),
            other => Err(Malformed::invalid_type(other.unexpected(), &OneOf(words))),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Malformed> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// The words that an enumeration has.
struct OneOf(&'static [&'static str]);

impl Expected for OneOf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "one of `{}`", self.0.join("`, `"))
    }
}

struct Items(std::iter::Enumerate<std::vec::IntoIter<Tree>>);

impl<'de> SeqAccess<'de> for Items {
    type Error = Malformed;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Malformed> {
        let Some((number, item)) = self.0.next() else { return Ok(None) };
        seed.deserialize(item).map(Some).map_err(|error| error.within(&format!("[{number}]")))
    }
}

/// Those of a map: keys are data. The second has the value of the key that was read.
struct Members(std::vec::IntoIter<(String, Tree)>, Option<(String, Tree)>);

impl<'de> MapAccess<'de> for Members {
    type Error = Malformed;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Malformed> {
        self.1 = self.0.next();
        let key = |(name, _): &(String, Tree)| seed.deserialize(StrDeserializer::new(name));
        self.1.as_ref().map(key).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Malformed> {
        let (name, value) = self.1.take().unwrap_or((String::new(), Tree::Null));
        seed.deserialize(value).map_err(|error| error.within(&name))
    }
}

/// Those of a structure: each field that it has, whether it is written or not.
struct Fields {
    names: std::slice::Iter<'static, &'static str>,
    members: Vec<(String, Tree)>,
    next: Option<&'static str>,
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Malformed;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Malformed> {
        self.next = self.names.next().copied();
        self.next.map(|name| seed.deserialize(name.into_deserializer())).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Malformed> {
        let name = self.next.unwrap_or_default();
        let written = self.members.extract_if(.., |(written, _)| written.eq_ignore_ascii_case(name));
        let value = written.map(|(_, value)| value).reduce(Tree::united).unwrap_or(Tree::Null);
        seed.deserialize(value).map_err(|error| error.within(name))
    }
}

#[cfg(test)]
mod tests {
    use crate::runtime::{Linux, Resources, Spec, parse};

    fn spec(text: &str) -> Spec {
        parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn what_is_wrong_is_told_by_its_field() {
        let cases = [
            (r#"{"hostname":1}"#, "hostname: invalid type: integer `1`, expected a string"),
            (
                r#"{"process":{"user":{"uid":"x"}}}"#,
                "process.user.uid: invalid type: string \"x\", expected u32",
            ),
            (
                r#"{"process":{"user":{"additionalGids":[1,-5]}}}"#,
                "process.user.additionalGids[1]: invalid value: integer `-5`, expected u32",
            ),
            (
                r#"{"linux":{"namespaces":[{},{}]}}"#,
                "linux.namespaces[0].type: missing, expected one of `mount`, `pid`",
            ),
            (
                r#"{"linux":{"namespaces":[{"type":"pid"},{"TYPE":7}]}}"#,
                "linux.namespaces[1].type: invalid type: integer `7`, expected one of `mount`, `pid`",
            ),
            (
                r#"{"linux":{"namespaces":[{"type":"disk"}]}}"#,
                "linux.namespaces[0].type: unknown variant `disk`, expected one of `mount`",
            ),
            (
                r#"{"linux":{"memoryPolicy":{"mode":"x"}}}"#,
                "linux.memoryPolicy.mode: invalid memory policy mode: unknown variant `x`",
            ),
            (r#"{"annotations":{"a.b":{}}}"#, "annotations.a.b: invalid type: map, expected a string"),
            (r#"{"mounts":{}}"#, "mounts: invalid type: map, expected a sequence"),
            (r#"{"mounts":[[]]}"#, "mounts[0]: invalid type: sequence, expected an object"),
            ("7", "invalid type: integer `7`, expected an object"),
            ("{\n\"process\":{,}}", "key must be a string at line 2 column 12"),
            ("", "EOF while parsing a value at line 1 column 0"),
        ];
        for (text, told) in cases {
            let error = parse::<Spec>(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(told), "{text}: {error}");
        }
    }

    #[test]
    fn a_list_is_no_structure() {
        for text in ["[]", r#"{"memory":[]}"#, r#"{"cpu":[5]}"#, r#"{"pids":[]}"#, r#"{"network":[]}"#] {
            let error = parse::<Resources>(text.as_bytes()).unwrap_err().to_string();
            assert!(error.ends_with("invalid type: sequence, expected an object"), "{text}: {error}");
        }
        for text in [r#"{"hooks":[]}"#, r#"{"root":["x"]}"#, r#"{"process":{"user":[]}}"#] {
            assert!(parse::<Spec>(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_zero() {
        let empty = spec("{}");
        assert_eq!(spec(r#"{"ociVersion":null,"process":null,"mounts":null}"#), empty);
        let text = r#"{"annotations":{"x":null},"process":{"user":{"uid":null,"additionalGids":[null]},"args":["a",null]},
            "linux":{"devices":[{"type":"c"}],"maskedPaths":[null],"seccomp":{"syscalls":[{"action":"SCMP_ACT_LOG"}]},
            "resources":{"devices":[{"allow":null}]}}}"#;
        let read = spec(text);
        assert_eq!(read.annotations["x"], "");
        let process = read.process.unwrap();
        assert_eq!((process.user.uid, process.user.additional_gids), (0, vec![0]));
        assert_eq!(process.args, ["a", ""]);
        let linux = read.linux.unwrap();
        assert_eq!((linux.devices[0].path.to_str(), linux.devices[0].major), (Some(""), 0));
        assert_eq!(linux.masked_paths.len(), 1);
        let filter = linux.seccomp.unwrap();
        assert!(filter.default_action.is_none() && filter.syscalls[0].names.is_empty());
        assert!(!linux.resources.unwrap().devices[0].allow);
    }

    #[test]
    fn what_comes_twice_is_one() {
        let read = spec(
            r#"{"process":{"cwd":"/a","env":["A=b"]},"root":{"path":"x"},"hostname":"a","Hostname":"b",
                "annotations":{"a":"1","A":"2"},"process":{"Cwd":"/b","user":{"gid":3}},"ROOT":{"readonly":true},
                "annotations":{"a":"3"}}"#,
        );
        let process = read.process.unwrap();
        assert_eq!((process.cwd.as_str(), process.env.len(), process.user.gid), ("/b", 1, 3));
        let root = read.root.unwrap();
        assert_eq!((root.path.to_str(), root.readonly), (Some("x"), true));
        assert_eq!(read.hostname, "b");
        assert_eq!((read.annotations["a"].as_str(), read.annotations["A"].as_str()), ("3", "2"));
        // Names of interfaces are data as well: two that differ in case are two.
        let linux = spec(r#"{"linux":{"netDevices":{"e":{"name":"x"},"E":{}}},"Linux":{}}"#).linux.unwrap();
        assert_eq!((linux.net_devices["e"].name.as_str(), linux.net_devices["E"].name.as_str()), ("x", ""));
    }

    #[test]
    fn text_that_is_no_unicode_has_replacements() {
        let read = |text: &[u8]| parse::<Linux>(text).unwrap().cgroups_path;
        assert_eq!(read(b"{\"cgroupsPath\":\"/a\xff\"}"), "/a\u{fffd}");
        let halves = br#"{"cgroupsPath":"\\ud800 \ud800x\udc00\" \ud83d\ude00\n"}"#;
        assert_eq!(read(halves), "\\ud800 \u{fffd}x\u{fffd}\" \u{1f600}\n");
        assert!(parse::<Linux>(b"{\"cgroupsPath\":\"\\ud8\"}").is_err());
        assert!(parse::<Linux>(b"{\"cgroupsPath\":\"\\").is_err());
    }

    #[test]
    fn integers_may_be_written_with_a_sign() {
        let read = spec(r#"{"process":{"oomScoreAdj":-0}}"#);
        assert_eq!(read.process.unwrap().oom_score_adj, Some(0));
        assert!(parse::<Spec>(br#"{"process":{"oomScoreAdj":1.5}}"#).is_err());
    }

    #[test]
    fn fields_are_found_in_any_case() {
        let text = br#"{ "CPU": { "Cpus": "1" }, "hugepageLimits": [{ "pagesize": "2MB", "LIMIT": 3 }],
            "Memory": null, "unified": { "Memory.Max": "1" }, "foreign": { "Limit": [1, { "a": null }] } }"#;
        let resources: Resources = parse(text).unwrap();
        assert_eq!(resources.cpu.unwrap().cpus, "1");
        let limit = &resources.hugepage_limits[0];
        assert_eq!((limit.page_size.as_str(), limit.limit), ("2MB", 3));
        assert!(resources.memory.is_none());
        assert!(resources.unified.contains_key("Memory.Max"), "keys of maps are not names of fields");
    }

    #[test]
    fn limits_that_come_twice_are_one() {
        let text = br#"{ "cpu": { "shares": 5 }, "CPU": { "Cpus": "0" }, "pids": { "limit": 1 } }"#;
        let resources: Resources = parse(text).unwrap();
        let cpu = resources.cpu.unwrap();
        assert_eq!((cpu.shares, cpu.cpus.as_str()), (Some(5), "0"));
        let linux: Linux = parse(br#"{ "sysctl": { "a": "1", "A": "2" }, "Sysctl": { "b": "3" } }"#).unwrap();
        assert_eq!(linux.sysctl.len(), 3);
    }

    #[test]
    fn what_is_written_is_read() {
        let text = br#"{ "ociVersion": "1.3.0", "process": { "cwd": "/", "user": { "uid": 5 },
            "ioPriority": { "class": "IOPRIO_CLASS_BE", "priority": 1 }, "noNewPrivileges": true },
            "hooks": { "prestart": [{ "path": "/x", "timeout": 1 }] },
            "linux": { "namespaces": [{ "type": "pid" }], "maskedPaths": null } }"#;
        let strict: Spec = serde_json::from_slice(text).unwrap();
        assert_eq!(parse::<Spec>(text).unwrap(), strict);
        let upper = String::from_utf8(text.to_vec()).unwrap().replace("\"cwd\"", "\"Cwd\"");
        let upper = upper.replace("noNewPrivileges", "nonewprivileges").replace("\"type\"", "\"Type\"");
        assert_eq!(parse::<Spec>(upper.as_bytes()).unwrap(), strict);
    }

    #[test]
    fn what_follows_the_document_is_not_read() {
        assert_eq!(parse::<Linux>(b"{\"cgroupsPath\":\"/a\"} x").unwrap().cgroups_path, "/a");
    }
}
