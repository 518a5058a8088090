//! JSON as Go reads and writes it, for bodies of the Engine API.
//!
//! Docker's clients and servers are written against `encoding/json`, whose decoder is more forgiving
//! than serde's: `null` leaves a struct member at its zero value whatever its type, and is the zero
//! value in a list or a map, member names match without regard to case, unknown members are skipped
//! and the last of two equal members wins. Bytes that are no UTF-8 are replaced. Clients rely on it.
//! [`from_slice`] parses into a [`Value`] and walks the target type with a deserializer that applies
//! these rules; where `null` in a map is information (`"PortBindings": {"80/tcp": null}`), the
//! target type says so ([`Option`]).
//!
//! Limits: nesting is bounded at 128 by serde_json; the caller bounds the size of the body.

mod mismatch;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde_json::Value;

pub use mismatch::kind;
use mismatch::{mismatch, unfit, within};

pub use serde_json::Error;

/// Parses exactly one JSON document with Go's leniency.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    from_value(serde_json::from_str(&String::from_utf8_lossy(bytes))?)
}

/// As [`from_slice`], from a parsed document.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(Lenient(value))
}

/// One document and a line feed: what Go's encoder writes.
pub fn to_vec<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = serde_json::to_vec(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Deserializes a Go `strslice`: a list of strings, or one string that stands for a list of one.
pub(crate) fn one_or_many<'de, D>(deserializer: D) -> Result<Option<Vec<String>>, D::Error>
where
    D: Deserializer<'de>,
{
    let said = <Option<Value> as serde::Deserialize>::deserialize(deserializer)?;
    let texts = match said {
        None => return Ok(None),
        Some(Value::String(text)) => Ok(vec![text]),
        Some(list @ Value::Array(_)) => from_value(list),
        Some(other) => Err(mismatch(&other, "string")),
    };
    texts.map(Some).map_err(serde::de::Error::custom)
}

pub(crate) struct Lenient(pub(crate) Value);

/// Hands scalars to serde_json's own deserializer.
macro_rules! scalars {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.0.$method(visitor)
        })*
    };
}

/// The same for those that Go has a name for; `null` is zero.
macro_rules! numbers {
    ($($method:ident $name:literal)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.0 {
                Value::Null => visitor.visit_u64(0),
                Value::Number(number) => {
                    Value::Number(number.clone()).$method(visitor).map_err(|_| unfit(&number, $name))
                }
                other => Err(mismatch(&other, $name)),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Lenient {
    type Error = Error;

    scalars! {
        deserialize_char deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_identifier
    }

    numbers! {
        deserialize_i8 "int8" deserialize_i16 "int16" deserialize_i32 "int32" deserialize_i64 "int64"
        deserialize_u8 "uint8" deserialize_u16 "uint16" deserialize_u32 "uint32" deserialize_u64 "uint64"
        deserialize_f32 "float32" deserialize_f64 "float64"
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_bool(false),
            Value::Bool(value) => visitor.visit_bool(value),
            other => Err(mismatch(&other, "bool")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_str(""),
            Value::String(text) => visitor.visit_string(text),
            other => Err(mismatch(&other, "string")),
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(_) => self.deserialize_seq(visitor),
            Value::Object(_) => self.deserialize_map(visitor),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_seq(Items::default()),
            Value::Array(items) => visitor.visit_seq(Items { rest: items.into_iter(), read: 0 }),
            other => Err(mismatch(&other, "array")),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_map(Members::of(serde_json::Map::new(), &[])),
            Value::Object(members) => visitor.visit_map(Members::of(members, &[])),
            other => Err(mismatch(&other, "map")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_map(Members::of(serde_json::Map::new(), names)),
            Value::Object(members) => visitor.visit_map(Members::of(only_said(members, names), names)),
            // Serde would take a list for a struct's members in order; Go would not.
            other => Err(mismatch(&other, name)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::String(word) => visitor.visit_enum(Word(word)),
            other => other.deserialize_enum(name, variants, visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

impl IntoDeserializer<'_, Error> for Lenient {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Drops `null` members and, of two that spell one name differently, the earlier.
///
/// An exact spelling wins over a similar one, so that `"Id"` and `"ID"` in one body stay apart.
fn only_said(members: serde_json::Map<String, Value>, names: &[&str]) -> serde_json::Map<String, Value> {
    let mut said = serde_json::Map::new();
    let mut similar = Vec::new();
    for (key, value) in members {
        if value.is_null() {
            continue;
        }
        if names.contains(&key.as_str()) {
            said.insert(key, value);
        } else if let Some(name) = names.iter().find(|name| name.eq_ignore_ascii_case(&key)) {
            similar.push(((*name).to_owned(), value));
        }
    }
    for (name, value) in similar {
        said.entry(name).or_insert(value);
    }
    said
}

#[derive(Default)]
struct Items {
    rest: std::vec::IntoIter<Value>,
    read: usize,
}

impl<'de> SeqAccess<'de> for Items {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(item) = self.rest.next() else { return Ok(None) };
        let index = self.read;
        self.read += 1;
        seed.deserialize(Lenient(item)).map(Some).map_err(|error| within(index, error))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct Members {
    names: &'static [&'static str],
    rest: serde_json::map::IntoIter,
    /// Of the key that was read last.
    value: Option<(String, Value)>,
}

impl Members {
    fn of(members: serde_json::Map<String, Value>, names: &'static [&'static str]) -> Members {
        Members { names, rest: members.into_iter(), value: None }
    }
}

impl<'de> MapAccess<'de> for Members {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.rest.next() else {
            return Ok(None);
        };
        // A struct's member names live as long as the program; a map's keys are the document's.
        let read = match self.names.iter().find(|name| **name == key) {
            Some(name) => seed.deserialize(StrDeserializer::new(name)),
            None => seed.deserialize(Value::String(key.clone())),
        };
        self.value = Some((key, value));
        read.map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        // serde calls this only after a key; without one there is nothing but null to give.
        let (key, value) = self.value.take().unwrap_or_default();
        seed.deserialize(Lenient(value)).map_err(|error| within(key, error))
    }
}

struct Word(String);

impl<'de> EnumAccess<'de> for Word {
    type Error = Error;
    type Variant = UnitOnly;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, UnitOnly), Error> {
        Ok((seed.deserialize(Value::String(self.0))?, UnitOnly))
    }
}

/// The API has no enum with a payload.
struct UnitOnly;

impl<'de> VariantAccess<'de> for UnitOnly {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(Value::Null)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        Value::Null.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        Value::Null.deserialize_map(visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, Default, Debug, PartialEq)]
    #[serde(rename_all = "PascalCase", default)]
    struct Body {
        name: String,
        count: i64,
        list: Vec<String>,
        ports: BTreeMap<String, Option<Vec<u16>>>,
        inner: Option<Box<Body>>,
    }

    #[test]
    fn null_is_not_said_in_structs_and_kept_in_maps() {
        let body: Body = from_slice(
            br#"{"Name":null,"Count":null,"List":null,"Ports":{"80/tcp":null},"Inner":{"Name":null,"Count":3}}"#,
        )
        .unwrap();
        assert_eq!(body.name, "");
        assert_eq!(body.ports, BTreeMap::from([("80/tcp".to_owned(), None)]));
        assert_eq!(body.inner.unwrap().count, 3);
    }

    #[test]
    fn names_match_without_case_but_exact_wins() {
        let body: Body = from_slice(br#"{"name":"a","COUNT":7,"other":[1,{"x":null}]}"#).unwrap();
        assert_eq!((body.name.as_str(), body.count), ("a", 7));
        let body: Body = from_slice(br#"{"Name":"exact","NAME":"similar"}"#).unwrap();
        assert_eq!(body.name, "exact");
    }

    #[test]
    fn null_is_zero_in_lists_and_maps() {
        #[derive(Deserialize, Default, Debug, PartialEq)]
        #[serde(default)]
        struct Lists {
            texts: Vec<String>,
            numbers: Vec<i64>,
            bodies: Vec<Body>,
            lists: Vec<Vec<bool>>,
            labels: BTreeMap<String, String>,
            #[serde(deserialize_with = "one_or_many")]
            words: Option<Vec<String>>,
        }
        let lists: Lists = from_slice(
            br#"{"texts":["a",null],"numbers":[null,1],"bodies":[null],"lists":[null,[null]],
                 "labels":{"a":null},"words":[null]}"#,
        )
        .unwrap();
        assert_eq!((lists.texts, lists.numbers), (vec!["a".into(), String::new()], vec![0, 1]));
        assert_eq!((lists.bodies, lists.lists), (vec![Body::default()], vec![vec![], vec![false]]));
        assert_eq!(lists.labels, BTreeMap::from([("a".into(), String::new())]));
        assert_eq!(lists.words, Some(vec![String::new()]));
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        assert_eq!(from_slice::<Body>(b"{\"Name\":\"a\xff\"}").unwrap().name, "a\u{fffd}");
    }

    #[test]
    fn a_wrong_type_is_told_with_its_place() {
        let told = |text: &str| from_slice::<Body>(text.as_bytes()).unwrap_err().to_string();
        let field =
            |kind: &str, place: &str| format!("json: cannot unmarshal {kind} into Go struct field .{place}");
        assert_eq!(told(r#"{"Inner":{"Count":"7"}}"#), field("string", "Inner.Count of type int64"));
        assert_eq!(told(r#"{"Count":1.5}"#), field("number 1.5", "Count of type int64"));
        assert_eq!(told(r#"{"List":["a",{}]}"#), field("object", "List.1 of type string"));
        assert_eq!(
            told(r#"{"Ports":{"80/tcp":[70000]}}"#),
            field("number 70000", "Ports.80~1tcp.0 of type uint16")
        );
        assert_eq!(told("7"), "json: cannot unmarshal number into Go value of type Body");
    }

    #[test]
    fn one_text_stands_for_a_list_of_it() {
        #[derive(Deserialize, Debug)]
        struct Command {
            #[serde(default, deserialize_with = "one_or_many")]
            words: Option<Vec<String>>,
        }
        let read = |text: &str| from_slice::<Command>(text.as_bytes()).map(|command| command.words);
        assert_eq!(read(r#"{"words":"sh"}"#).unwrap(), Some(vec!["sh".to_owned()]));
        assert_eq!(read("{}").unwrap(), None);
        let told = read(r#"{"words":5}"#).unwrap_err().to_string();
        assert_eq!(told, "json: cannot unmarshal number into Go struct field .words of type string");
    }

    #[test]
    fn wrong_types_and_trailing_documents_are_refused() {
        assert!(from_slice::<Body>(br#"{"Count":"7"}"#).is_err());
        assert!(from_slice::<Body>(b"{} {}").is_err());
        assert!(from_slice::<Body>(b"[]").is_err());
    }
}
