//! The drivers that keep a file, `json-file` and `local`, and the cache that `docker logs` reads for all others.
//!
//! A difference from Docker, meant: a json-file for which no size is given is rotated at 20 MiB, and five files are
//! kept, where Docker fills the disk. `max-size=-1`, for a container or in `log-opts` of the daemon's configuration,
//! takes the limit away; Docker knows no such value.

use super::options::{Options, Read, Units, boolean, integer, size};

/// Rotation, as it is told to the shim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rotation {
    pub(super) max_size: Option<u64>,
    pub(super) max_files: u32,
    pub(super) compress: bool,
}

const DEFAULT_SIZE: u64 = 20 << 20;
const DEFAULT_FILES: u32 = 5;

pub(super) const JSON_FILE: &[&str] =
    &["max-file", "max-size", "compress", "labels", "labels-regex", "env", "env-regex", "tag"];

pub(super) const LOCAL: &[&str] = &["max-file", "max-size", "compress"];

pub(super) fn json_file(options: &Options) -> Read<Rotation> {
    let max_size = match options.get("max-size").map(String::as_str) {
        None => Some(DEFAULT_SIZE),
        Some("-1") => None,
        Some(text) => {
            let size = size(text, Units::Decimal)?;
            let positive = Some(size).filter(|size| *size > 0);
            Some(positive.ok_or("max-size must be a positive number")?)
        }
    };
    let max_files = match options.get("max-file") {
        None if options.contains_key("max-size") => 1,
        None => DEFAULT_FILES,
        Some(text) => {
            let count = u32::try_from(integer(text)?).ok().filter(|count| *count > 0);
            count.ok_or("max-file cannot be less than 1")?
        }
    };
    let compress = options.get("compress").map_or(Ok(false), |text| boolean(text))?;
    let chosen = options.get("max-size").is_some_and(|size| size != "-1");
    if compress && (max_files == 1 || !chosen) {
        return Err("compress cannot be true when max-file is less than 2 or max-size is not set".into());
    }
    Ok(Rotation { max_size, max_files, compress })
}

pub(super) fn local(options: &Options) -> Read<Rotation> {
    let mut rotation = Rotation { max_size: Some(DEFAULT_SIZE), max_files: DEFAULT_FILES, compress: true };
    if let Some(text) = options.get("max-size") {
        let size = size(text, Units::Decimal);
        let size = size.map_err(|error| format!("invalid value for max-size: {text}: {error}"))?;
        // Docker takes 0 for a file that is rotated with each record.
        rotation.max_size = Some(size.max(1));
    }
    if let Some(text) = options.get("max-file") {
        let count = integer(text).map_err(|error| format!("invalid value for max-file: {text}: {error}"))?;
        rotation.max_files = u32::try_from(count).map_err(|_| "max file count cannot be less than 0")?.max(1);
    }
    if let Some(text) = options.get("compress") {
        rotation.compress =
            boolean(text).map_err(|error| format!("error reading compress log option: {error}"))?;
    }
    if rotation.compress && rotation.max_files <= 1 {
        return Err("compression cannot be enabled when max file count is 1".into());
    }
    Ok(rotation)
}

/// The cache beside a driver that cannot be read: `None` when it is switched off.
pub(super) fn cache(options: &Options) -> Read<Option<Rotation>> {
    let invalid = |key: &str, value: &str| format!("invalid value for option {key}: {value}");
    let mut rotation = Rotation { max_size: Some(DEFAULT_SIZE), max_files: DEFAULT_FILES, compress: true };
    for (key, value) in options {
        let invalid = || invalid(key, value);
        match key.as_str() {
            "cache-disabled" if boolean(value).map_err(|_| invalid())? => return Ok(None),
            "cache-max-size" => {
                let size = size(value, Units::Decimal).map_err(|_| invalid())?;
                rotation.max_size = Some(size.max(1));
            }
            "cache-max-file" => {
                let count = u32::try_from(integer(value).map_err(|_| invalid())?).map_err(|_| invalid())?;
                rotation.max_files = count.max(1);
            }
            "cache-compress" => rotation.compress = boolean(value).map_err(|_| invalid())?,
            _ => {}
        }
    }
    // A single file has nothing to compress.
    rotation.compress &= rotation.max_files > 1;
    Ok(Some(rotation))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(options: &[(&str, &str)]) -> Options {
        options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn rotation(max_size: Option<u64>, max_files: u32, compress: bool) -> Read<Rotation> {
        Ok(Rotation { max_size, max_files, compress })
    }

    #[test]
    fn a_json_file_is_capped_unless_told_otherwise() {
        let read = |given: &[(&str, &str)]| json_file(&options(given));
        assert_eq!(read(&[]), rotation(Some(20 << 20), 5, false));
        assert_eq!(read(&[("max-size", "1k")]), rotation(Some(1000), 1, false));
        assert_eq!(read(&[("max-file", "3")]), rotation(Some(20 << 20), 3, false));
        assert_eq!(read(&[("max-size", "-1")]), rotation(None, 1, false));
        let all = [("max-size", "1k"), ("max-file", "3"), ("compress", "true")];
        assert_eq!(read(&all), rotation(Some(1000), 3, true));
    }

    #[test]
    fn a_json_file_refuses_what_docker_refuses() {
        let refused = |key: &str, value: &str| json_file(&options(&[(key, value)])).unwrap_err();
        assert_eq!(refused("max-size", "0"), "max-size must be a positive number");
        assert_eq!(refused("max-size", "zz"), "invalid size: 'zz'");
        assert_eq!(refused("max-file", "0"), "max-file cannot be less than 1");
        assert_eq!(refused("max-file", "x"), "strconv.Atoi: parsing \"x\": invalid syntax");
        assert_eq!(
            refused("compress", "true"),
            "compress cannot be true when max-file is less than 2 or max-size is not set"
        );
    }

    #[test]
    fn a_local_log_has_dockers_defaults_and_words() {
        assert_eq!(local(&options(&[])), rotation(Some(20 << 20), 5, true));
        let refused = |key: &str, value: &str| local(&options(&[(key, value)])).unwrap_err();
        assert_eq!(refused("max-size", "zz"), "invalid value for max-size: zz: invalid size: 'zz'");
        assert_eq!(refused("max-file", "1"), "compression cannot be enabled when max file count is 1");
        assert_eq!(refused("max-file", "-1"), "max file count cannot be less than 0");
        assert!(refused("compress", "zz").starts_with("error reading compress log option: "));
    }

    #[test]
    fn the_cache_can_be_switched_off() {
        assert_eq!(cache(&options(&[("cache-disabled", "true")])), Ok(None));
        let told = [("cache-max-file", "1"), ("cache-max-size", "1m")];
        assert_eq!(
            cache(&options(&told)),
            Ok(Some(Rotation { max_size: Some(1_000_000), max_files: 1, compress: false }))
        );
        assert_eq!(
            cache(&options(&[("cache-disabled", "zz")])),
            Err("invalid value for option cache-disabled: zz".into())
        );
    }
}
