//! PAX extended headers: `<length> <key>=<value>\n`, as POSIX describes them under *pax, Extended Header*.
//!
//! Only what matters to a file tree is kept. Reserved or unknown keys are skipped, as everybody does.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::entry::Time;
use super::sparse::PaxSparse;
use crate::{Error, Kind};

/// Keys under which extended attributes travel.
pub(super) const XATTR_PREFIX: &str = "SCHILY.xattr.";

/// What a PAX header said about the next member.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Overrides {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) modified: Option<Time>,
    pub(super) xattrs: Vec<(OsString, Vec<u8>)>,
    pub(super) sparse: PaxSparse,
}

impl Overrides {
    /// Adds the records of one header. Later records win over earlier ones; an empty value takes one back.
    pub(super) fn parse(&mut self, mut records: &[u8]) -> Result<(), Error> {
        while !records.is_empty() {
            let (key, value, rest) = split_record(records).ok_or_else(malformed)?;
            self.set(key, value)?;
            records = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let Ok(key) = std::str::from_utf8(key) else { return Ok(()) };
        match key {
            "path" => self.path = text(value)?,
            "linkpath" => self.link = text(value)?,
            "size" => self.size = number(value)?,
            "uid" => self.uid = number(value)?,
            "gid" => self.gid = number(value)?,
            "mtime" => self.modified = time(value)?,
            _ => {
                if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                    self.set_xattr(name, value)?;
                } else if let Some(name) = key.strip_prefix("GNU.sparse.") {
                    self.sparse.set(name, value)?;
                }
            }
        }
        Ok(())
    }

    fn set_xattr(&mut self, name: &str, value: &[u8]) -> Result<(), Error> {
        if name.is_empty() || name.contains('\0') {
            return Err(malformed());
        }
        let name = OsString::from_vec(name.as_bytes().to_vec());
        self.xattrs.retain(|(known, _)| *known != name);
        self.xattrs.push((name, value.to_vec()));
        Ok(())
    }
}

/// Takes one record off the front: key, value, rest.
fn split_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(20).position(|b| *b == b' ')?;
    let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
    let record = records.get(space + 1..length)?;
    let (b'\n', record) = record.split_last()? else { return None };
    let equals = record.iter().position(|b| *b == b'=')?;
    if equals == 0 {
        return None;
    }
    Some((&record[..equals], &record[equals + 1..], &records[length..]))
}

fn text(value: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    if value.contains(&0) {
        return Err(malformed());
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

pub(super) fn number(value: &[u8]) -> Result<Option<u64>, Error> {
    if value.is_empty() {
        return Ok(None);
    }
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(malformed)
}

/// `[-]seconds[.fraction]`; what is finer than a nanosecond is cut off.
fn time(value: &[u8]) -> Result<Option<Time>, Error> {
    if value.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(value).map_err(|_| malformed())?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_| malformed())?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(malformed());
    }
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanoseconds: u32 = digits.parse().map_err(|_| malformed())?;
    // -1.25 is 0.75 seconds after -2.
    let time = match (text.starts_with('-'), nanoseconds) {
        (true, 1..) => Time { seconds: seconds.saturating_sub(1), nanoseconds: 1_000_000_000 - nanoseconds },
        _ => Time { seconds, nanoseconds },
    };
    Ok(Some(time))
}

fn malformed() -> Error {
    Error::new(Kind::Hostile, "archive/tar: invalid PAX header")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(records: &str) -> Result<Overrides, Error> {
        let mut overrides = Overrides::default();
        overrides.parse(records.as_bytes()).map(|()| overrides)
    }

    #[test]
    fn records_are_understood() {
        let found = parse("11 uid=1234\n12 path=a/b\n31 SCHILY.xattr.user.a=b=c\nd=e\n20 mtime=-1.25ignor\n");
        assert!(found.is_err(), "letters in a time");
        let found =
            parse("12 uid=1234\n12 path=a/b\n32 SCHILY.xattr.user.colo=b=c\nd\n15 mtime=-1.25\n").unwrap();
        assert_eq!((found.uid, found.path.as_deref()), (Some(1234), Some(&b"a/b"[..])));
        assert_eq!(found.xattrs, [("user.colo".into(), b"b=c\nd".to_vec())]);
        assert_eq!(found.modified, Some(Time { seconds: -2, nanoseconds: 750_000_000 }));
    }

    #[test]
    fn the_last_record_wins_and_empty_takes_back() {
        let found = parse("8 uid=1\n8 uid=2\n9 path=a\n8 path=\n").unwrap();
        assert_eq!((found.uid, found.path), (Some(2), None));
    }

    #[test]
    fn lies_about_length_are_refused() {
        for records in ["", "9 path=a"].iter().skip(1).chain(&[
            "99 path=a\n",
            "0 path=a\n",
            "2 path=a\n",
            "x path=a\n",
            "6 path\n",
            "5 =a\n",
            "18446744073709551616 a=b\n",
        ]) {
            assert!(parse(records).is_err(), "{records:?}");
        }
        assert!(parse("11 path=a\0b\n").is_err());
        assert!(parse("9 uid=-1\n").is_err());
    }
}
