//! Members of a zip archive, as far as contexts come in one: stored or deflated, one after the other as the directory
//! at its end lists them.
//!
//! *Limits*: no encryption, no parts on several disks, no 64-bit sizes; an archive of ten megabytes needs none of them.
//! The format: <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>, sections 4.3 and 4.4.

use std::io::Read as _;

use flate2::Crc;
use flate2::read::DeflateDecoder;

const MEMBER: &[u8] = b"PK\x03\x04";
const ENTRY: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const END_SIZE: usize = 22;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const ENCRYPTED: u16 = 1;

/// Whether it is one, by its first bytes.
pub(super) fn is_zip(archive: &[u8]) -> bool {
    archive.starts_with(MEMBER)
}

/// Names and contents, directories left out. None may unpack to more than `limit` bytes.
pub(super) fn members(archive: &[u8], limit: u64) -> Result<Vec<(String, Vec<u8>)>, String> {
    let damaged = || "zip: not a valid zip file".to_owned();
    let end = archive.windows(END.len()).rposition(|window| window == END).ok_or_else(damaged)?;
    let end = archive.get(end..end + END_SIZE).ok_or_else(damaged)?;
    let (count, mut at) = (short(end, 10), long(end, 16));
    let mut members = Vec::new();
    for _ in 0..count {
        let entry = archive.get(at..).filter(|rest| rest.starts_with(ENTRY) && rest.len() >= 46);
        let entry = entry.ok_or_else(damaged)?;
        let (name, extra, comment) = (short(entry, 28), short(entry, 30), short(entry, 32));
        let name = entry.get(46..46 + usize::from(name)).ok_or_else(damaged)?;
        at += 46 + name.len() + usize::from(extra) + usize::from(comment);
        if !name.ends_with(b"/") {
            members.push((String::from_utf8_lossy(name).into_owned(), content(archive, entry, limit)?));
        }
    }
    Ok(members)
}

/// What an entry of the directory speaks of.
fn content(archive: &[u8], entry: &[u8], limit: u64) -> Result<Vec<u8>, String> {
    let damaged = || "zip: not a valid zip file".to_owned();
    let member = archive.get(long(entry, 42)..).filter(|rest| rest.starts_with(MEMBER) && rest.len() >= 30);
    let member = member.ok_or_else(damaged)?;
    let start = 30 + usize::from(short(member, 26)) + usize::from(short(member, 28));
    let packed = start.checked_add(long(entry, 20)).and_then(|end| member.get(start..end));
    let packed = packed.ok_or_else(damaged)?;
    let mut bytes = Vec::new();
    match short(entry, 10) {
        _ if short(entry, 8) & ENCRYPTED != 0 => {
            return Err("zip: encrypted files are not supported".to_owned());
        }
        STORED => bytes.extend_from_slice(packed),
        DEFLATED => {
            let unpacked = DeflateDecoder::new(packed).take(limit).read_to_end(&mut bytes);
            unpacked.map_err(|error| format!("zip: {error}"))?;
        }
        _ => return Err("zip: unsupported compression algorithm".to_owned()),
    }
    let mut sum = Crc::new();
    sum.update(&bytes);
    if sum.sum() as usize != long(entry, 16) || bytes.len() != long(entry, 24) {
        return Err("zip: checksum error".to_owned());
    }
    Ok(bytes)
}

/// Little-endian numbers, in slices that were found to be long enough.
fn short(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> usize {
    usize::from(short(bytes, at)) | usize::from(short(bytes, at + 2)) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by Python's `zipfile`: a directory `d/`, `d/a` stored ("text"), `b` deflated (40 times "x").
    const SAMPLE: &str = "\
        504b03041400000000008318225800000000000000000000000002000000642f504b030414000000000083182258c7a78b3b\
        040000000400000003000000642f6174657874504b030414000000080083182258f0711ac406000000280000000100000062\
        aba8200e0000504b010214031400000000008318225800000000000000000000000002000000000000000000000080010000\
        0000642f504b0102140314000000000083182258c7a78b3b0400000004000000030000000000000000000000800120000000\
        642f61504b0102140314000000080083182258f0711ac4060000002800000001000000000000000000000080014500000062\
        504b05060000000003000300900000006a0000000000";

    fn sample() -> Vec<u8> {
        (0..SAMPLE.len()).step_by(2).map(|at| u8::from_str_radix(&SAMPLE[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn members_are_read() {
        let expected = [("d/a".to_owned(), b"text".to_vec()), ("b".to_owned(), vec![b'x'; 40])];
        assert_eq!(members(&sample(), 1000).unwrap(), expected);
    }

    #[test]
    fn damage_and_bombs_are_found() {
        let whole = sample();
        assert!(is_zip(&whole));
        assert_eq!(members(&whole, 39).unwrap_err(), "zip: checksum error");
        // Nothing makes it panic, and no changed byte of a content goes through.
        for end in 0..whole.len() {
            assert!(members(&whole[..end], 1000).is_err(), "cut off at {end}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x41;
            let _ = members(&changed, 1000);
        }
        let text = whole.windows(4).position(|window| window == b"text").unwrap();
        let mut changed = whole.clone();
        changed[text] = b'T';
        assert_eq!(members(&changed, 1000).unwrap_err(), "zip: checksum error");
    }
}
