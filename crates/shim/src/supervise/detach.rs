//! Finds the detach keys in what a client types.
//!
//! Keys that may turn out to be the beginning of the sequence are held back; when they are not, they go on to
//! the container as if nothing had happened. Unlike Docker, which looks only at reads of a single byte, the
//! sequence is found however the network cut the bytes.

pub(super) struct Detach {
    keys: Vec<u8>,
    /// How many of the keys have been typed and are held back.
    matched: usize,
}

impl Detach {
    /// Empty `keys` never match.
    pub(super) fn new(keys: Vec<u8>) -> Detach {
        Detach { keys, matched: 0 }
    }

    /// Appends to `out` what is to go on; true when the sequence is complete (what follows it is dropped).
    pub(super) fn filter(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        if self.keys.is_empty() {
            out.extend_from_slice(typed);
            return false;
        }
        for byte in typed {
            while self.matched > 0 && self.keys[self.matched] != *byte {
                self.fall_back(out);
            }
            if self.keys[self.matched] != *byte {
                out.push(*byte);
                continue;
            }
            self.matched += 1;
            if self.matched == self.keys.len() {
                return true;
            }
        }
        false
    }

    /// Releases held keys until what is still held is again a beginning of the sequence.
    fn fall_back(&mut self, out: &mut Vec<u8>) {
        let held = &self.keys[..self.matched];
        let shift =
            (1..=held.len()).find(|shift| self.keys.starts_with(&held[*shift..])).unwrap_or(held.len());
        out.extend_from_slice(&held[..shift]);
        self.matched -= shift;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_all(keys: &[u8], typed: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut detach = Detach::new(keys.to_vec());
        let mut out = Vec::new();
        let detached = typed.iter().any(|typed| detach.filter(typed, &mut out));
        (out, detached)
    }

    #[test]
    fn finds_the_sequence_however_it_is_cut() {
        assert_eq!(type_all(&[16, 17], &[b"ab\x10\x11"]), (b"ab".to_vec(), true));
        assert_eq!(type_all(&[16, 17], &[b"ab\x10", b"\x11zz"]), (b"ab".to_vec(), true));
    }

    #[test]
    fn gives_back_what_was_no_sequence() {
        assert_eq!(type_all(&[16, 17], &[b"\x10", b"x\x10"]), (b"\x10x".to_vec(), false));
        assert_eq!(type_all(&[16, 17], &[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
        assert_eq!(type_all(b"aab", &[b"aaab"]), (b"a".to_vec(), true));
        assert_eq!(type_all(b"abab!", &[b"ababab!"]), (b"ab".to_vec(), true));
    }

    #[test]
    fn without_keys_everything_passes() {
        assert_eq!(type_all(&[], &[b"\x10\x11"]), (b"\x10\x11".to_vec(), false));
    }
}
