//! Making a cgroup in the v2 tree, where a parent passes controllers on to its children only when it is told to.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{make, read, unless_removed, write};
use crate::Result;

/// Where a parent says what it passes on.
const PASSED_ON: &str = "cgroup.subtree_control";

/// Makes the directory, with its parents, and has them pass controllers on to it.
pub(super) fn create(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let mut new = false;
    let above = Above::of(directory)?;
    unless_removed(|| {
        // Looked at before: while somebody else has the parent pass controllers on, it says that it does, but what was in
        // it already does not have their files yet. Our making would wait for him, and so does our own word.
        let passes_on = above.passes_all_on();
        new |= make(directory)?;
        if passes_on.is_some() && passes_on == above.parent_is() { Ok(()) } else { above.pass_on() }
    })?;
    if !new {
        found.push(directory.to_owned());
    }
    Ok(())
}

/// The cgroups that a new one will be in.
struct Above<'a> {
    /// From the tree's root down; none for what is in no tree.
    ancestors: Vec<&'a Path>,
    /// Every controller that the tree has.
    controllers: String,
}

impl<'a> Above<'a> {
    fn of(directory: &'a Path) -> Result<Above<'a>> {
        // Parents that are not there yet are in the tree as soon as they are.
        let is_in_the_tree = |path: &Path| path.join(PASSED_ON).exists() || !path.exists();
        let mut ancestors: Vec<&Path> =
            directory.ancestors().skip(1).take_while(|path| is_in_the_tree(path)).collect();
        ancestors.reverse();
        let controllers = match ancestors.first() {
            Some(root) => read(&root.join("cgroup.controllers"))?,
            None => String::new(),
        };
        Ok(Above { ancestors, controllers })
    }

    /// The parent, by a number that no other directory ever has.
    fn parent_is(&self) -> Option<u64> {
        self.ancestors.last()?.metadata().ok().map(|metadata| metadata.ino())
    }

    /// The parent, if it says that it passes all controllers on.
    fn passes_all_on(&self) -> Option<u64> {
        let parent = self.parent_is()?;
        let told = read(&self.ancestors.last()?.join(PASSED_ON)).ok()?;
        let is_told = |name: &str| told.split_whitespace().any(|other| other == name);
        self.controllers.split_whitespace().all(is_told).then_some(parent)
    }

    /// Has every ancestor pass all controllers on. One that cannot be is left out: a limit that needs it will say so.
    fn pass_on(&self) -> Result<()> {
        let all: Vec<String> = self.controllers.split_whitespace().map(|name| format!("+{name}")).collect();
        for ancestor in self.ancestors.iter().filter(|_| !all.is_empty()) {
            if has_inhabitants(ancestor) {
                return Ok(());
            }
            let control = ancestor.join(PASSED_ON);
            if write(&control, &all.join(" ")).is_err() {
                for name in &all {
                    // Real-time threads, processes in the parent, a threaded tree: that controller stays off.
                    let _refused = write(&control, name);
                }
            }
        }
        Ok(())
    }
}

/// Whether processes are in there: then it cannot pass controllers on. A few the kernel would let it, and make it the
/// root of a tree of threads, below which no process can be put any more. The tree's very root has no type, and may.
fn has_inhabitants(directory: &Path) -> bool {
    directory.join("cgroup.type").exists()
        && read(&directory.join("cgroup.procs")).map_or(true, |pids| !pids.is_empty())
}
