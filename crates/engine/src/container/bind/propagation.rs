//! Mounts that spread between host and container need a mount on the host that spreads: told before the start, in
//! Docker's words, because otherwise nobody would notice that nothing arrives.

use std::path::Path;

use linux::mount::Info;

use crate::error::{Error, Result};

/// Checks the mount that `source` lies on against what was asked for.
pub(super) fn check(source: &Path, wanted: &str) -> Result<()> {
    let (kinds, what): (&[&str], &str) = match wanted {
        "shared" | "rshared" => (&["shared:"], "shared"),
        "slave" | "rslave" => (&["shared:", "master:"], "shared or slave"),
        _ => return Ok(()),
    };
    let real = source
        .canonicalize()
        .map_err(|error| Error::failed(format!("cannot follow {}", source.display()), error))?;
    let mounts =
        linux::mount::list().map_err(|error| Error::failed("cannot read the list of mounts", error))?;
    judge(&real, &mounts, kinds, what)
}

fn judge(path: &Path, mounts: &[Info], kinds: &[&str], what: &str) -> Result<()> {
    // Of two on one place the later hides the earlier.
    let below = mounts.iter().rev().filter(|mount| path.starts_with(&mount.target));
    let Some(mount) = below.reduce(|best, other| {
        let deeper = other.target.components().count() > best.target.components().count();
        if deeper { other } else { best }
    }) else {
        return Err(Error::system(format!("Could not find source mount of {}", path.display())));
    };
    let spreads = mount.propagation.split(' ').any(|field| kinds.iter().any(|kind| field.starts_with(kind)));
    if spreads {
        return Ok(());
    }
    Err(Error::system(format!(
        "path {} is mounted on {} but it is not a {what} mount",
        path.display(),
        mount.target.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_decides() {
        let mounts = linux::mount::parse_list(
            "1 0 8:1 / / rw shared:1 - ext4 /dev/a rw\n\
             2 1 8:2 / /srv rw - ext4 /dev/b rw\n\
             3 2 8:3 / /srv/slave rw master:7 - ext4 /dev/c rw\n",
        );
        let check = |path: &str, kinds: &[&str], what| judge(Path::new(path), &mounts, kinds, what);
        assert!(check("/home", &["shared:"], "shared").is_ok());
        let error = check("/srv/data", &["shared:"], "shared").unwrap_err();
        assert_eq!(error.message(), "path /srv/data is mounted on /srv but it is not a shared mount");
        assert!(check("/srv/slave/x", &["shared:", "master:"], "shared or slave").is_ok());
        assert!(check("/srv/slave/x", &["shared:"], "shared").is_err());
    }
}
