//! How much a container's root may hold: `--storage-opt size=`, or what the engine says for all
//! (`--storage-opt overlay2.size=`).

use std::collections::BTreeMap;

use api::container::HostConfig;

use super::logs;
use crate::Engine;
use crate::error::{Error, Result};

/// None: as much as there is room.
pub(super) fn limit(engine: &Engine, host: &HostConfig) -> Result<Option<u64>> {
    let usual = engine.config().container.root_size;
    if host.storage_opt.is_empty() && usual.is_none() {
        return Ok(None);
    }
    decide(&host.storage_opt, usual, engine.images().snapshots().can_be_limited())
}

fn decide(
    options: &BTreeMap<String, String>,
    usual: Option<u64>,
    can_be_limited: bool,
) -> Result<Option<u64>> {
    if !can_be_limited && !options.is_empty() {
        let words = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option";
        return Err(Error::invalid(words));
    }
    let Some(size) = options.get("size") else { return Ok(usual) };
    let bytes = logs::bytes(size).ok_or_else(|| Error::invalid(format!("invalid size: '{size}'")))?;
    Ok(Some(bytes).filter(|bytes| *bytes > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(size: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("size".to_owned(), size.to_owned())])
    }

    #[test]
    fn a_container_says_more_than_the_engine() {
        let decided = |options: &BTreeMap<_, _>, usual| decide(options, usual, true).unwrap();
        assert_eq!(decided(&BTreeMap::new(), None), None);
        assert_eq!(decided(&BTreeMap::new(), Some(5)), Some(5));
        assert_eq!(decided(&sized("10m"), Some(5)), Some(10 << 20));
        assert_eq!(decided(&sized("0"), Some(5)), None);
        assert_eq!(decide(&sized("zz"), None, true).unwrap_err().to_string(), "invalid size: 'zz'");
    }

    #[test]
    fn nothing_is_promised_that_nobody_counts() {
        let refused = decide(&sized("zz"), None, false).unwrap_err().to_string();
        assert_eq!(
            refused,
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
        );
        assert_eq!(decide(&BTreeMap::new(), None, false).unwrap(), None);
    }
}
