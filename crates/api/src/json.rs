//! JSON as Go reads and writes it, for bodies of the Engine API.
//!
//! Docker's clients and servers are written against `encoding/json`, whose decoder is more forgiving
//! than serde's: `null` leaves a struct member at its zero value whatever its type, member names
//! match without regard to case, unknown members are skipped and the last of two equal members wins.
//! Clients rely on all four. [`from_slice`] parses into a [`Value`] and walks the target type with a
//! deserializer that applies these rules to *structs* and leaves *maps* alone, because in a map
//! (`"PortBindings": {"80/tcp": null}`) a `null` value is information.
//!
//! Limits: nesting is bounded at 128 by serde_json; the caller bounds the size of the body.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde_json::Value;

pub use serde_json::Error;

/// Parses exactly one JSON document with Go's leniency.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    from_value(serde_json::from_slice(bytes)?)
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
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(String),
        Many(Vec<String>),
    }
    let either = <Option<Either> as serde::Deserialize>::deserialize(deserializer)?;
    Ok(either.map(|either| match either {
        Either::One(text) => vec![text],
        Either::Many(texts) => texts,
    }))
}

pub(crate) struct Lenient(pub(crate) Value);

/// Hands scalars to serde_json's own deserializer, which has the right error texts.
macro_rules! scalars {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.0.$method(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Lenient {
    type Error = Error;

    scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32
        deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_unit deserialize_identifier
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
            Value::Array(items) => visitor.visit_seq(Items(items.into_iter())),
            other => other.deserialize_seq(visitor),
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
            Value::Object(members) => {
                visitor.visit_map(Members { names: &[], rest: members.into_iter(), value: None })
            }
            other => other.deserialize_map(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(members) => {
                visitor.visit_map(Members { names, rest: only_said(members, names).into_iter(), value: None })
            }
            // Serde would take a list for a struct's members in order; Go would not.
            Value::Array(_) => Err(serde::de::Error::invalid_type(Unexpected::Seq, &visitor)),
            other => other.deserialize_struct(name, names, visitor),
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

struct Items(std::vec::IntoIter<Value>);

impl<'de> SeqAccess<'de> for Items {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|item| seed.deserialize(Lenient(item))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Members {
    names: &'static [&'static str],
    rest: serde_json::map::IntoIter,
    value: Option<Value>,
}

impl<'de> MapAccess<'de> for Members {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.rest.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        // A struct's member names live as long as the program; a map's keys are the document's.
        match self.names.iter().find(|name| **name == key) {
            Some(name) => seed.deserialize(StrDeserializer::new(name)).map(Some),
            None => seed.deserialize(Value::String(key)).map(Some),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        // serde calls this only after a key; without one there is nothing but null to give.
        seed.deserialize(Lenient(self.value.take().unwrap_or(Value::Null)))
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
    fn wrong_types_and_trailing_documents_are_refused() {
        assert!(from_slice::<Body>(br#"{"Count":"7"}"#).is_err());
        assert!(from_slice::<Body>(b"{} {}").is_err());
        assert!(from_slice::<Body>(b"[]").is_err());
    }
}
