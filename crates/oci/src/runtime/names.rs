//! Names of fields in whatever case they are written.
//!
//! Documents of the specification are read by the Go programs that everybody tests with, and those find a field by its
//! name in any case: `pagesize` is `pageSize`, `CPU` is `cpu`. Read strictly such a limit would be no error, it would be
//! missing. So the deserializer of the format is wrapped, and all that it hands out with it, down to where a structure
//! reads its keys: there a name that is none of the structure's fields becomes the field that it is but for its case.
//!
//! A structure that comes twice is refused here, and so is whatever else makes no sense: [`reread`] knows what to do with it.
//!
//! *Limits*: keys of maps (annotations, sysctls, cgroup files) are data and stay as they are.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};

use super::tree::{Malformed, reread};

/// Reads a document of the runtime specification, or a part of one. What follows it is not read.
pub fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Malformed> {
    let read = T::deserialize(Folding(&mut serde_json::Deserializer::from_slice(json)));
    read.or_else(|_| reread(json))
}

type Fields = &'static [&'static str];

/// A deserializer, or a seed for one.
struct Folding<D>(D);

/// A visitor of a structure with these fields; of anything else there are none.
struct Visiting<V>(V, Fields);

/// The entries of a structure or map, or the items of a list.
struct Entries<A>(A, Fields);

/// The seed of a key.
struct Key<S>(S, Fields);

/// Calls that differ in nothing but their name and arguments.
macro_rules! forward {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($argument,)* Visiting(visitor, &[]))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Folding<D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: Fields,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, Visiting(visitor, fields))
    }

    forward! {
        deserialize_any(); deserialize_bool(); deserialize_char(); deserialize_str(); deserialize_string();
        deserialize_i8(); deserialize_i16(); deserialize_i32(); deserialize_i64(); deserialize_i128();
        deserialize_u8(); deserialize_u16(); deserialize_u32(); deserialize_u64(); deserialize_u128();
        deserialize_f32(); deserialize_f64(); deserialize_bytes(); deserialize_byte_buf(); deserialize_option();
        deserialize_unit(); deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str); deserialize_seq(); deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize); deserialize_map();
        deserialize_enum(name: &'static str, variants: Fields); deserialize_identifier();
        deserialize_ignored_any();
    }
}

macro_rules! visit {
    ($($method:ident($type:ty);)*) => {$(
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Visiting<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(formatter)
    }

    visit! {
        visit_bool(bool); visit_i64(i64); visit_i128(i128); visit_u64(u64); visit_u128(u128); visit_f64(f64);
        visit_str(&str); visit_borrowed_str(&'de str); visit_string(String); visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]); visit_byte_buf(Vec<u8>);
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Folding(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Folding(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        // A derived visitor takes the members of a structure in a list, too.
        if !self.1.is_empty() {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        self.0.visit_seq(Entries(items, self.1))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Entries(entries, self.1))
    }

    /// Those of the specification are words.
    fn visit_enum<A: EnumAccess<'de>>(self, word: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(word)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Entries<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Folding(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        if self.1.is_empty() { self.0.next_key_seed(seed) } else { self.0.next_key_seed(Key(seed, self.1)) }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Folding(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Folding<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Folding(deserializer))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Key<S> {
    type Value = S::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<S::Value, E> {
        let Key(seed, fields) = self;
        let field = match fields.contains(&name) {
            true => name,
            false => fields.iter().find(|field| field.eq_ignore_ascii_case(name)).unwrap_or(&name),
        };
        let key: StrDeserializer<'_, E> = field.into_deserializer();
        seed.deserialize(key)
    }
}

#[cfg(test)]
mod tests {
    use crate::runtime::{Linux, Resources, Spec};

    use super::parse;

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
