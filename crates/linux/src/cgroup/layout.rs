//! Which trees of cgroups a machine has, and where this process is in them.

use std::path::{Path, PathBuf};

use super::read;
use crate::process::Pid;
use crate::{Errno, Error, Result, mount};

/// The trees of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// v1 trees in the order in which they are mounted.
    pub legacy: Vec<Tree>,
    /// Where the v2 tree is mounted.
    pub unified: Option<PathBuf>,
}

/// A v1 tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    pub mounted: PathBuf,
    /// `cpu`, `cpuacct`, …; or one `name=systemd`.
    pub controllers: Vec<String>,
}

/// Which kinds a machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Legacy,
    Hybrid,
    Unified,
}

impl Layout {
    /// Reads this process's mounts.
    pub fn detect() -> Result<Layout> {
        let layout = Layout::from_mounts(&mount::list()?);
        if layout.legacy.is_empty() && layout.unified.is_none() {
            return Err(Error::new("mountinfo", "no cgroup file system is mounted", Errno::NODEV));
        }
        Ok(layout)
    }

    fn from_mounts(mounts: &[mount::Info]) -> Layout {
        let mut layout = Layout { legacy: Vec::new(), unified: None };
        for info in mounts.iter().filter(|info| info.target.starts_with("/sys/fs/cgroup")) {
            if info.kind == "cgroup2" {
                layout.unified.get_or_insert_with(|| info.target.clone());
            } else if info.kind == "cgroup" {
                let tree =
                    Tree { mounted: info.target.clone(), controllers: controllers(&info.super_options) };
                if !layout.legacy.iter().any(|known| known.controllers == tree.controllers) {
                    layout.legacy.push(tree);
                }
            }
        }
        layout
    }

    pub fn mode(&self) -> Kind {
        match (self.legacy.is_empty(), &self.unified) {
            (true, _) => Kind::Unified,
            (false, Some(_)) => Kind::Hybrid,
            (false, None) => Kind::Legacy,
        }
    }

    /// Where this process is in a tree, if that part of the tree can be seen here; else the tree's root.
    pub fn own_place(&self, controller: Option<&str>) -> PathBuf {
        let root = PathBuf::from("/");
        let mounted = match controller {
            Some(controller) => {
                let has = |tree: &&Tree| tree.controllers.iter().any(|own| own == controller);
                self.legacy.iter().find(has).map(|tree| &tree.mounted)
            }
            None => self.unified.as_ref(),
        };
        let (Some(mounted), Ok(own)) = (mounted, own_path(controller)) else { return root };
        let below = own.strip_prefix("/").unwrap_or(&own);
        let is_seen = !below.starts_with("..") && mounted.join(below).is_dir();
        if is_seen { own } else { root }
    }

    /// Whether limits are the files of v2. In a hybrid they are those of v1, wherever a controller is there.
    pub fn is_unified(&self) -> bool {
        self.mode() == Kind::Unified
    }
}

/// Super block options of a v1 tree hold its controllers between general options.
fn controllers(super_options: &str) -> Vec<String> {
    const GENERAL: [&str; 6] = ["rw", "ro", "xattr", "clone_children", "noprefix", "cpuset_v2_mode"];
    let words = super_options.split(',');
    words
        .filter(|word| !GENERAL.contains(word) && !word.starts_with("release_agent="))
        .map(str::to_owned)
        .collect()
}

/// Where this process is: below the mount point of a v1 controller, or of the v2 tree with `None`.
pub fn own_path(controller: Option<&str>) -> Result<PathBuf> {
    path_by("/proc/self/cgroup", controller)
}

/// Where another process is.
pub fn path_of(pid: Pid, controller: Option<&str>) -> Result<PathBuf> {
    path_by(&format!("/proc/{pid}/cgroup"), controller)
}

fn path_by(file: &str, controller: Option<&str>) -> Result<PathBuf> {
    let text = read(Path::new(file))?;
    path_in(&text, controller)
        .ok_or_else(|| Error::new("read", format_args!("{file}: {controller:?}"), Errno::NOENT))
}

fn path_in(text: &str, controller: Option<&str>) -> Option<PathBuf> {
    text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let found = match controller {
            Some(controller) => controllers.split(',').any(|own| own == controller),
            None => number == "0",
        };
        found.then(|| PathBuf::from(path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_told_apart() {
        let text = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                    32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                    40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                    41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let layout = Layout::from_mounts(&mount::parse_list(text));
        assert_eq!(layout.mode(), Kind::Hybrid);
        assert_eq!(layout.legacy[0].controllers, ["cpu", "cpuacct"]);
        assert_eq!(layout.legacy[1].controllers, ["name=systemd"]);
        let text = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(Layout::from_mounts(&mount::parse_list(text)).mode(), Kind::Unified);
    }

    #[test]
    fn paths_of_processes() {
        let text = "4:memory,x:/a:b\n9:name=systemd:/s\n0::/u\n";
        assert_eq!(path_in(text, Some("memory")).unwrap(), Path::new("/a:b"));
        assert_eq!(path_in(text, None).unwrap(), Path::new("/u"));
        assert_eq!(path_in(text, Some("cpu")), None);
    }
}
