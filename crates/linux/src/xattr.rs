//! Extended attributes of files behind handles (xattr(7)).

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::XattrFlags;

use crate::error::Context;
use crate::{Errno, Error, Result};

/// The kernel's own limit of a value and of a list (`XATTR_SIZE_MAX`).
const MAX: usize = 64 << 10;

/// Sets an attribute. Works on `O_PATH` handles too.
pub fn set(handle: impl AsFd, name: &OsStr, value: &[u8]) -> Result<()> {
    rustix::fs::setxattr(link(&handle).as_str(), name, value, XattrFlags::empty())
        .context("setxattr", || format!("{:?}, {name:?}", crate::path::of(&handle)))
}

/// The value, or `None` when there is none of that name.
pub fn get(handle: impl AsFd, name: &OsStr) -> Result<Option<Vec<u8>>> {
    let mut value = vec![0; MAX];
    match rustix::fs::getxattr(link(&handle).as_str(), name, &mut value[..]) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => {
            Err(Error::new("getxattr", format_args!("{:?}, {name:?}", crate::path::of(&handle)), errno))
        }
    }
}

/// All names.
pub fn list(handle: impl AsFd) -> Result<Vec<OsString>> {
    let mut names = vec![0u8; MAX];
    match rustix::fs::listxattr(link(&handle).as_str(), &mut names[..]) {
        Ok(length) => {
            names.truncate(length);
            let parts = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
            Ok(parts.map(|name| OsString::from_vec(name.to_vec())).collect())
        }
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(errno) => Err(Error::new("listxattr", format_args!("{:?}", crate::path::of(&handle)), errno)),
    }
}

pub fn remove(handle: impl AsFd, name: &OsStr) -> Result<()> {
    rustix::fs::removexattr(link(&handle).as_str(), name)
        .context("removexattr", || format!("{:?}, {name:?}", crate::path::of(&handle)))
}

/// Sets an attribute of a symbolic link itself, or of anything else, by its name in a directory.
pub fn set_at(directory: impl AsFd, file: &OsStr, name: &OsStr, value: &[u8]) -> Result<()> {
    let path = in_directory(&directory, file)?;
    rustix::fs::lsetxattr(path.as_c_str(), name, value, XattrFlags::empty())
        .context("lsetxattr", || format!("{file:?}, {name:?}"))
}

fn in_directory(directory: impl AsFd, file: &OsStr) -> Result<CString> {
    let mut path = link(&directory).into_bytes();
    path.push(b'/');
    path.extend_from_slice(file.as_bytes());
    CString::new(path).map_err(|_| Error::new("lsetxattr", format_args!("{file:?}"), Errno::INVAL))
}

/// The f… calls refuse `O_PATH` handles; through this link the kernel takes any.
fn link(handle: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Root;
    use std::path::Path;

    #[test]
    fn attributes_through_a_handle() {
        let directory = scratch::Directory::new("xattr");
        let file = Root::open(&directory).unwrap().make_file(Path::new("f"), 0o600).unwrap();
        let name = OsStr::new("trusted.wharf");
        assert_eq!(get(&file, name).unwrap(), None);
        set(&file, name, b"v\0w").unwrap();
        assert_eq!(get(&file, name).unwrap().as_deref(), Some(&b"v\0w"[..]));
        assert!(list(&file).unwrap().contains(&name.to_owned()));
        remove(&file, name).unwrap();
        assert_eq!(get(&file, name).unwrap(), None);
    }
}
