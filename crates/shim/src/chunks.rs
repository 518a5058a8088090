//! A body in chunks ([RFC 9112, section 7.1]), by which a client knows a whole answer from one that was cut off: each piece
//! that is written is a chunk, and the last chunk is written when nothing will follow. Whoever is killed leaves the body
//! without it.
//!
//! [RFC 9112, section 7.1]: https://www.rfc-editor.org/rfc/rfc9112#section-7.1

/// The last chunk.
pub const END: &[u8] = b"0\r\n\r\n";

/// Makes a chunk of what `out` has behind its first `start` bytes. Of nothing it makes nothing: an empty chunk would be
/// the last one.
pub fn frame(out: &mut Vec<u8>, start: usize) {
    let length = out.len().saturating_sub(start);
    if length > 0 {
        out.splice(start..start, format!("{length:x}\r\n").into_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_is_a_chunk_and_none_of_them_the_last() {
        let mut out = b"head".to_vec();
        frame(&mut out, 4);
        out.extend(b"seventeen letters");
        frame(&mut out, 4);
        let start = out.len();
        out.extend(b"more");
        frame(&mut out, start);
        assert_eq!(out, b"head11\r\nseventeen letters\r\n4\r\nmore\r\n");
    }
}
