//! How much a tree of ours may hold: a project of its own, with a limit, on a file system that counts by project.
//!
//! ```text
//!  limit    choose a number ─▶ mark the empty directories with it ─▶ set its limit
//!  release  read the mark ─▶ take the limit away ─▶ (the caller deletes the files)
//! ```
//!
//! The mark on the directory is the record: no other says which number a tree has, so none can be wrong after a crash. A
//! tree that is not finished or half deleted is found by its owner at the next start and released like any other; a limit
//! is taken away before the first file is, so none outlives its tree.
//!
//! Numbers are drawn by lot, from a range of a thousand million that lies beyond what people write into `/etc/projid`, and
//! taken if the file system knows nothing of them. Docker counts upwards from the number of the parent directory: two
//! engines on one file system, or an engine and an administrator, meet there.
//!
//! *Limits*: root in a container without a user namespace can give its files to another project (chattr(1) `-p`), as in
//! Docker: this is against accidents, not against root.

use std::fs::File;
use std::path::Path;

use linux::quota;

use crate::{Error, Kind};

/// The first number of ours. As many as that follow.
const FIRST: u32 = 1 << 30;
/// Tries for a number that is free. Hardly ever more than one.
const TRIES: usize = 64;

/// Whether trees below this directory can be limited.
pub fn are_enforced(directory: &Path) -> Result<bool, Error> {
    Ok(quota::is_enforced(open(directory)?)?)
}

/// All that these directories will hold together is at most so many bytes. They are empty, but for those that belong to a
/// project of ours already: that is kept then.
pub fn limit(directories: &[&Path], bytes: u64) -> Result<(), Error> {
    let handles = directories.iter().map(|path| open(path)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = handles.first() else { return Ok(()) };
    let mut kept = None;
    for directory in directories {
        kept = kept.or(own(directory)?);
    }
    let project = match kept {
        Some(project) => project,
        None => choose(draw, |project| Ok(quota::project(first, project)? == quota::Project::default()))?,
    };
    for handle in &handles {
        quota::set_project(handle, project)?;
    }
    Ok(quota::set_limit(first, project, bytes)?)
}

/// The directory's limit, if it has one, is no more: it is about to be deleted. What fails costs an entry in the file
/// system's table, and nothing that a deletion should wait for.
pub fn release(directory: &Path) {
    if !directory.exists() {
        return;
    }
    if let Err(error) = try_release(directory) {
        tracing::warn!(path = %directory.display(), %error, "a quota cannot be released");
    }
}

fn try_release(directory: &Path) -> Result<(), Error> {
    match own(directory)? {
        Some(project) => Ok(quota::set_limit(open(directory)?, project, 0)?),
        None => Ok(()),
    }
}

/// The project that was made for this directory. One that it has in common with its surroundings is somebody else's.
fn own(directory: &Path) -> Result<Option<u32>, Error> {
    let project = quota::project_of(open(directory)?)?;
    let Some(parent) = directory.parent().filter(|_| is_ours(project)) else { return Ok(None) };
    Ok((quota::project_of(open(parent)?)? != project).then_some(project))
}

/// quotactl_fd(2) wants no `O_PATH`.
fn open(directory: &Path) -> Result<File, Error> {
    File::open(directory).map_err(|error| Error::caused(Kind::Other, format!("open({directory:?})"), error))
}

fn is_ours(project: u32) -> bool {
    (FIRST..FIRST << 1).contains(&project)
}

fn draw() -> u32 {
    FIRST + u32::from_ne_bytes(linux::random::bytes()) % FIRST
}

fn choose(mut draw: impl FnMut() -> u32, is_free: impl Fn(u32) -> Result<bool, Error>) -> Result<u32, Error> {
    for _ in 0..TRIES {
        let project = draw();
        if is_free(project)? {
            return Ok(project);
        }
    }
    Err(Error::new(Kind::Other, format!("no project is free: {TRIES} were tried")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_taken_is_not_taken_again() {
        let mut drawn = [FIRST, FIRST + 1, FIRST + 2].into_iter();
        let chosen = choose(|| drawn.next().unwrap(), |project| Ok(project > FIRST + 1)).unwrap();
        assert_eq!(chosen, FIRST + 2);
        let mut tries = 0;
        let none = choose(
            || {
                tries += 1;
                FIRST
            },
            |_| Ok(false),
        );
        assert!(none.is_err() && tries == TRIES);
    }

    #[test]
    fn numbers_are_from_our_range() {
        assert!((0..1000).all(|_| is_ours(draw())));
        for foreign in [0, 1, 65_536, FIRST - 1, FIRST << 1, u32::MAX] {
            assert!(!is_ours(foreign), "{foreign}");
        }
    }
}
