//! The cgroups of a test that are left, in all hierarchies.
//!
//! Only what the kernel calls a cgroup counts. Where a controller of v1 has a hierarchy that is mounted nowhere, crun makes
//! plain directories in its stead, in the file system that the mounts are on, and leaves them, full: those go with the test.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// The directories of all hierarchies with this path, which has no slash in front.
pub fn cgroups(path: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let hierarchies = hierarchies(&mounts);
    for entry in fs::read_dir(ROOT).into_iter().flatten().flatten() {
        let directory = entry.path();
        if !hierarchies.iter().any(|hierarchy| directory.starts_with(hierarchy)) {
            let _ = fs::remove_dir_all(directory.join(path));
        }
    }
    hierarchies.iter().map(|hierarchy| hierarchy.join(path)).filter(|cgroup| cgroup.exists()).collect()
}

/// Where hierarchies of either version are mounted (proc_pid_mountinfo(5)).
fn hierarchies(mounts: &str) -> Vec<PathBuf> {
    let target = |line: &str| {
        let (place, source) = line.split_once(" - ")?;
        let kind = source.split(' ').next()?;
        let target = place.split(' ').nth(4).map(Path::new)?;
        (kind.starts_with("cgroup") && target.starts_with(ROOT)).then(|| target.to_owned())
    };
    mounts.lines().filter_map(target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_what_the_kernel_mounts_as_such() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
                      31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n\
                      32 30 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
                      33 24 0:28 /within /tmp/view rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(
            hierarchies(mounts),
            [Path::new("/sys/fs/cgroup/cpu"), Path::new("/sys/fs/cgroup/unified")]
        );
        assert_eq!(
            hierarchies("30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"),
            [Path::new(ROOT)]
        );
    }

    #[test]
    fn a_cgroup_is_found_until_it_is_removed() {
        let name = format!("wharf-scratch-{}", std::process::id());
        assert_eq!(cgroups(&name), Vec::<PathBuf>::new());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let Some(cgroup) = hierarchies(&mounts).into_iter().map(|hierarchy| hierarchy.join(&name)).next()
        else {
            return crate::skip("no cgroup hierarchy is mounted");
        };
        if let Err(error) = fs::create_dir(&cgroup) {
            return crate::skip(&format!("cgroups can't be made: {error}"));
        }
        let found = cgroups(&name);
        fs::remove_dir(&cgroup).unwrap();
        assert_eq!(found, [cgroup]);
    }
}
