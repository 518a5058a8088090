//! What a template works on: JSON that remembers the order of its members, and of what kind an
//! absent thing would have been.
//!
//! Go's templates see typed values. JSON has lost the types, so an object is either a struct, whose
//! members are known by name and keep their order, or a map, whose keys are free; which of the two
//! it is, [`super::document`] decides by name.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// What a map gives for a key that it does not have.
    Absent,
    Null(Kind),
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    List(Rc<Vec<Value>>),
    Map(Rc<BTreeMap<String, Value>>),
    Struct(Rc<Struct>),
    Typed(Rc<Typed>),
}

/// What a `null` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Pointer,
    List,
    /// A map, and whether its values are texts.
    Map {
        texts: bool,
    },
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Struct {
    pub(crate) members: Vec<Member>,
    pub(crate) labels: Labels,
    /// What Go calls its type, where messages tell it.
    pub(crate) kind: &'static str,
}

/// A value that Go's type shows in another way than JSON: `1m30s`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Typed {
    pub(crate) shown: String,
    pub(crate) plain: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) value: Value,
    /// Whether JSON shows it: a template may ask for more than the engine sent.
    pub(crate) sent: bool,
}

/// What the method `Label` answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Labels {
    /// There is no such method.
    #[default]
    None,
    Of(BTreeMap<String, String>),
    /// The row of headers: the last part of the key.
    Headers,
}

impl Value {
    pub(crate) fn text(text: impl Into<Rc<str>>) -> Value {
        Value::Text(text.into())
    }

    pub(crate) fn list(values: impl IntoIterator<Item = Value>) -> Value {
        Value::List(Rc::new(values.into_iter().collect()))
    }

    pub(crate) fn object(members: impl IntoIterator<Item = (String, Value)>, labels: Labels) -> Value {
        let members = members.into_iter().map(|(name, value)| Member { name, value, sent: true }).collect();
        Value::Struct(Rc::new(Struct { members, labels, kind: "" }))
    }

    /// The same, as something of a type that Go calls so.
    pub(crate) fn called(self, kind: &'static str) -> Value {
        match self {
            Value::Struct(object) => Value::Struct(Rc::new(Struct { kind, ..(*object).clone() })),
            other => other,
        }
    }

    /// The same with nothing known of its types: every object is a map.
    pub(crate) fn untyped(&self) -> Value {
        match self {
            Value::List(values) => Value::list(values.iter().map(Value::untyped)),
            Value::Struct(object) => {
                let members = object.members.iter();
                let members = members.map(|member| (member.name.clone(), member.value.untyped()));
                Value::Map(Rc::new(members.collect()))
            }
            other => other.clone(),
        }
    }

    /// Whether `if` takes it for true.
    pub(crate) fn truth(&self) -> bool {
        match self {
            Value::Absent | Value::Null(_) => false,
            Value::Bool(on) => *on,
            Value::Int(number) => *number != 0,
            Value::Float(number) => *number != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::List(values) => !values.is_empty(),
            Value::Map(members) => !members.is_empty(),
            Value::Struct(_) => true,
            Value::Typed(typed) => typed.plain.truth(),
        }
    }

    /// The name of its type in messages.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Value::Absent | Value::Null(Kind::Pointer) => "nil",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::Text(_) => "string",
            Value::List(_) | Value::Null(Kind::List) => "[]interface {}",
            Value::Map(_) | Value::Null(Kind::Map { .. }) => "map[string]interface {}",
            Value::Struct(object) if object.kind.is_empty() => "struct",
            Value::Struct(object) => object.kind,
            Value::Typed(typed) => typed.plain.type_name(),
        }
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "null".to_owned())
    }
}

impl Struct {
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        let by = |name: &str| self.members.iter().find(|member| member.name == name);
        let found = by(name).or_else(|| by(super::document::other_name(name)?));
        found.map(|member| &member.value)
    }
}

/// As Go's `%v` shows it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Absent => f.write_str("<no value>"),
            Value::Null(Kind::Pointer) => f.write_str("<nil>"),
            Value::Null(Kind::List) => f.write_str("[]"),
            Value::Null(Kind::Map { .. }) => f.write_str("map[]"),
            Value::Bool(on) => write!(f, "{on}"),
            Value::Int(number) => write!(f, "{number}"),
            Value::Float(number) => f.write_str(&super::print::float(*number)),
            Value::Text(text) => f.write_str(text),
            Value::List(values) => between(f, "[", values.iter(), |f, value| write!(f, "{value}"), "]"),
            Value::Map(members) => {
                between(f, "map[", members.iter(), |f, (name, value)| write!(f, "{name}:{value}"), "]")
            }
            Value::Struct(object) => {
                between(f, "{", object.members.iter(), |f, member| write!(f, "{}", member.value), "}")
            }
            Value::Typed(typed) => f.write_str(&typed.shown),
        }
    }
}

fn between<T>(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    items: impl Iterator<Item = T>,
    show: impl Fn(&mut fmt::Formatter<'_>, T) -> fmt::Result,
    close: &str,
) -> fmt::Result {
    f.write_str(open)?;
    for (at, item) in items.enumerate() {
        if at > 0 {
            f.write_str(" ")?;
        }
        show(f, item)?;
    }
    f.write_str(close)
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Absent | Value::Null(_) => serializer.serialize_unit(),
            Value::Bool(on) => serializer.serialize_bool(*on),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Float(number) => serializer.serialize_f64(*number),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                for value in values.iter() {
                    list.serialize_element(value)?;
                }
                list.end()
            }
            Value::Map(members) => serializer.collect_map(members.iter()),
            Value::Struct(object) => {
                let mut map = serializer.serialize_map(None)?;
                for member in object.members.iter().filter(|member| member.sent) {
                    map.serialize_entry(&member.name, &member.value)?;
                }
                map.end()
            }
            Value::Typed(typed) => typed.plain.serialize(serializer),
        }
    }
}

/// Every object becomes a struct: see [`super::document`] for what is a map.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null(Kind::Pointer))
    }

    fn visit_bool<E>(self, on: bool) -> Result<Value, E> {
        Ok(Value::Bool(on))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or(Value::Float(number as f64), Value::Int))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element()? {
            values.push(value);
        }
        Ok(Value::list(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry::<String, Value>()? {
            members.push(member);
        }
        Ok(Value::object(members, Labels::None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_go_shows_them() {
        let value: Value =
            serde_json::from_str(r#"{"b":[1,null,"x"],"a":{"c":true,"d":1.5},"e":null}"#).unwrap();
        assert_eq!(value.to_string(), "{[1 <nil> x] {true 1.5} <nil>}");
        assert_eq!(value.to_json(), r#"{"b":[1,null,"x"],"a":{"c":true,"d":1.5},"e":null}"#);
        let map = Value::Map(Rc::new(BTreeMap::from([("k".to_owned(), Value::Int(1))])));
        assert_eq!(map.to_string(), "map[k:1]");
        assert!(!Value::text("").truth() && Value::Int(1).truth() && !Value::Null(Kind::List).truth());
    }
}
