//! The time zone that times are shown in and read in.
//!
//! `TZ` names it, as a file below the system's zones, as a path, or by its rule; without `TZ` it is
//! `/etc/localtime`. One file is read, once, and only when a time is shown: looking a zone up by its
//! name in a library's index of all zones costs more than the rest of a listing.

use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use jiff::tz::TimeZone;

const ZONES: &str = "/usr/share/zoneinfo";
const LOCAL: &str = "/etc/localtime";
/// Real ones have a few kilobytes.
const LIMIT: u64 = 1024 * 1024;

/// The zone of this process. What cannot be understood is UTC, as elsewhere in the system.
pub(crate) fn local() -> TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    ZONE.get_or_init(|| find(std::env::var("TZ").ok().as_deref())).clone()
}

fn find(variable: Option<&str>) -> TimeZone {
    let text = variable.map(|text| text.strip_prefix(':').unwrap_or(text));
    let zone = match text {
        None => read(Path::new(LOCAL)),
        Some("") => None,
        Some(name) => path(name).and_then(|path| read(&path)).or_else(|| TimeZone::posix(name).ok()),
    };
    zone.unwrap_or(TimeZone::UTC)
}

fn path(name: &str) -> Option<PathBuf> {
    let climbs = Path::new(name).components().any(|part| part == Component::ParentDir);
    // An absolute name replaces the directory.
    (!climbs).then(|| Path::new(ZONES).join(name))
}

fn read(path: &Path) -> Option<TimeZone> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(LIMIT).read_to_end(&mut bytes).ok()?;
    TimeZone::tzif(&path.to_string_lossy(), &bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(variable: &str) -> String {
        let time = jiff::Timestamp::from_second(1_700_000_000).unwrap();
        time.to_zoned(find(Some(variable))).strftime("%H %z %Z").to_string()
    }

    #[test]
    fn zones_have_names_and_rules() {
        assert_eq!(hour(""), "22 +0000 UTC");
        assert_eq!(hour("CET-1CEST,M3.5.0,M10.5.0/3"), "23 +0100 CET");
        assert_eq!(hour("No/Such/Zone"), "22 +0000 UTC");
        assert_eq!(hour("../../etc/passwd"), "22 +0000 UTC");
        if Path::new(ZONES).join("Europe/Berlin").exists() {
            assert_eq!(hour("Europe/Berlin"), "23 +0100 CET");
            assert_eq!(hour(":Europe/Berlin"), "23 +0100 CET");
        }
    }
}
