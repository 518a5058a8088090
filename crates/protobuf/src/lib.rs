//! Messages of protocol buffers, without a schema: a field is a key (its number, and how it is encoded) and a value.
//!
//! Two of our formats are such messages and have a dozen fields each: what CRIU is asked and answers, and the entries of
//! Docker's `local` logs. Who knows a format names its numbers; what a reader does not know it passes over. Groups, which
//! nobody writes any more, are damage. See <https://protobuf.dev/programming-guides/encoding/>.

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// Appends a field that is a number.
pub fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    key(out, field, VARINT);
    varint(out, value);
}

/// Appends a field that is bytes, a text or a whole message.
pub fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    key(out, field, LENGTH);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn key(out: &mut Vec<u8>, field: u32, kind: u64) {
    varint(out, u64::from(field) << 3 | kind);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A message under construction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub fn number(&mut self, field: u32, value: u64) -> &mut Writer {
        number(&mut self.bytes, field, value);
        self
    }

    /// A signed number is sent with its sign in all of 64 bits.
    pub fn signed(&mut self, field: u32, value: i32) -> &mut Writer {
        self.number(field, i64::from(value).cast_unsigned())
    }

    pub fn flag(&mut self, field: u32, value: bool) -> &mut Writer {
        self.number(field, u64::from(value))
    }

    pub fn text(&mut self, field: u32, value: &str) -> &mut Writer {
        self.bytes(field, value.as_bytes())
    }

    pub fn message(&mut self, field: u32, fill: impl FnOnce(&mut Writer)) -> &mut Writer {
        let mut inner = Writer::default();
        fill(&mut inner);
        self.bytes(field, &inner.bytes)
    }

    pub fn bytes(&mut self, field: u32, value: &[u8]) -> &mut Writer {
        bytes(&mut self.bytes, field, value);
        self
    }

    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// What a field carries, by its wire type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    Number(u64),
    /// Bytes, a text or a message: which, only the format knows.
    Bytes(&'a [u8]),
    /// Of a width that belongs to its kind: 4 or 8 bytes.
    Fixed(&'a [u8]),
}

impl Value<'_> {
    /// Numbers are sent in 64 bits, whatever they were declared as.
    pub fn signed(self) -> i32 {
        match self {
            Value::Number(number) => number as i32,
            Value::Bytes(_) | Value::Fixed(_) => 0,
        }
    }

    pub fn flag(self) -> bool {
        matches!(self, Value::Number(number) if number != 0)
    }

    pub fn text(self) -> String {
        match self {
            Value::Number(_) | Value::Fixed(_) => String::new(),
            Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// The fields of a message, in their order. `None` inside says that the rest makes no sense.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

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
            FIXED64 => Value::Fixed(self.take(8)?),
            FIXED32 => Value::Fixed(self.take(4)?),
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
    fn widths_that_belong_to_a_kind_are_passed_over_whole() {
        let message = [0x09, 1, 2, 3, 4, 5, 6, 7, 8, 0x15, 1, 2, 3, 4, 0x18, 7];
        let fields: Vec<_> = Reader(&message).flatten().collect();
        assert_eq!(fields[0], (1, Value::Fixed(&[1, 2, 3, 4, 5, 6, 7, 8])));
        assert_eq!(fields[1..], [(2, Value::Fixed(&[1, 2, 3, 4])), (3, Value::Number(7))]);
    }

    #[test]
    fn what_makes_no_sense_ends_the_reading() {
        for bytes in [&[0x08][..], &[0x12, 5, 1], &[0x0b], &[0xff; 11]] {
            let fields: Vec<_> = Reader(bytes).collect();
            assert_eq!(fields, [None], "{bytes:?}");
        }
    }
}
