//! Protocol buffers, as far as CRIU's messages need them: numbers, texts and messages in messages.
//!
//! A field is a key (its number, and how it is encoded) and a value. What a reader does not know it passes over.
//! See <https://protobuf.dev/programming-guides/encoding/>.

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// A message under construction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn number(&mut self, field: u32, value: u64) -> &mut Writer {
        self.key(field, VARINT);
        self.varint(value);
        self
    }

    /// A signed number is sent with its sign in all of 64 bits.
    pub(crate) fn signed(&mut self, field: u32, value: i32) -> &mut Writer {
        self.number(field, i64::from(value).cast_unsigned())
    }

    pub(crate) fn flag(&mut self, field: u32, value: bool) -> &mut Writer {
        self.number(field, u64::from(value))
    }

    pub(crate) fn text(&mut self, field: u32, value: &str) -> &mut Writer {
        self.bytes(field, value.as_bytes())
    }

    pub(crate) fn message(&mut self, field: u32, fill: impl FnOnce(&mut Writer)) -> &mut Writer {
        let mut inner = Writer::default();
        fill(&mut inner);
        self.bytes(field, &inner.bytes)
    }

    pub(crate) fn bytes(&mut self, field: u32, value: &[u8]) -> &mut Writer {
        self.key(field, LENGTH);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn key(&mut self, field: u32, kind: u64) {
        self.varint(u64::from(field) << 3 | kind);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl Value<'_> {
    /// Numbers are sent in 64 bits, whatever they were declared as.
    pub(crate) fn signed(self) -> i32 {
        match self {
            Value::Number(number) => number as i32,
            Value::Bytes(_) => 0,
        }
    }

    pub(crate) fn flag(self) -> bool {
        matches!(self, Value::Number(number) if number != 0)
    }

    pub(crate) fn text(self) -> String {
        match self {
            Value::Number(_) => String::new(),
            Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// The fields of a message, in their order. `None` inside says that the rest makes no sense.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Reader<'a> {
    type Item = Option<(u32, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Reader<'a> {
    fn field(&mut self) -> Option<(u32, Value<'a>)> {
        let key = self.varint()?;
        let value = match key & 7 {
            VARINT => Value::Number(self.varint()?),
            FIXED64 => Value::Bytes(self.take(8)?),
            FIXED32 => Value::Bytes(self.take(4)?),
            LENGTH => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).ok()?)?)
            }
            _ => return None,
        };
        Some((u32::try_from(key >> 3).ok()?, value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification() {
        let mut message = Writer::default();
        message.number(1, 150).text(2, "testing").message(3, |inner| {
            inner.number(1, 150);
        });
        let expected = [
            0x08, 0x96, 0x01, 0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67, 0x1a, 0x03, 0x08, 0x96,
            0x01,
        ];
        assert_eq!(message.finish(), expected);
        let fields: Vec<_> = Reader(&expected).flatten().collect();
        assert_eq!(fields[0], (1, Value::Number(150)));
        assert_eq!(fields[1].1.text(), "testing");
        assert_eq!(fields[2], (3, Value::Bytes(&[0x08, 0x96, 0x01])));
    }

    #[test]
    fn negative_numbers_come_back() {
        let mut message = Writer::default();
        message.signed(7, -2).flag(8, true);
        let bytes = message.finish();
        assert_eq!(bytes.len(), 11 + 2);
        let fields: Vec<_> = Reader(&bytes).flatten().collect();
        assert_eq!((fields[0].1.signed(), fields[1].1.flag()), (-2, true));
    }

    #[test]
    fn what_makes_no_sense_ends_the_reading() {
        for bytes in [&[0x08][..], &[0x12, 5, 1], &[0x0b], &[0xff; 11]] {
            let fields: Vec<_> = Reader(bytes).collect();
            assert_eq!(fields, [None], "{bytes:?}");
        }
    }
}
