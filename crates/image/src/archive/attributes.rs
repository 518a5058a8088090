//! Attributes from one entry to another: what makes a copy look like its original.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use linux::{entry, xattr};

use crate::Error;

/// Attributes that overlayfs keeps for itself.
const OVERLAY_XATTR: &[u8] = b"trusted.overlay.";

/// Gives `to` the owner, mode, extended attributes and time of `from`. Neither may be a symbolic link.
pub fn copy_attributes(from: impl AsFd, to: impl AsFd) -> Result<(), Error> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let metadata = entry::metadata_of(from)?;
    entry::set_owner(to, metadata.uid, metadata.gid)?;
    entry::set_mode(to, metadata.mode)?;
    for name in xattr::list(from)? {
        if !name.as_bytes().starts_with(OVERLAY_XATTR)
            && let Some(value) = xattr::get(from, &name)?
        {
            xattr::set(to, &name, &value)?;
        }
    }
    Ok(entry::set_modified(to, metadata.modified)?)
}
