//! Control groups of both kinds (cgroups(7)), on their own or side by side.
//!
//! A machine has one v2 tree, several v1 trees of one or more controllers each, or both ("hybrid": systemd's v1
//! tree and some controllers as v1, the rest v2). A [`Cgroup`] is one path in all of them at once, created and
//! removed together; what it can do is asked by controller, not by version.
//!
//! Getting in is what costs. Writing another process's id to `cgroup.procs` waits for an RCU grace period (10 ms
//! and more). Two ways avoid it: clone3 straight into a v2 cgroup, and on v1 a single-threaded process that
//! writes `0` to its own `tasks`, which takes no global lock. [`Doors`] holds the descriptors for both; they are
//! opened with the opener's rights, so that a process in a new user namespace can still go through.

mod control;
mod details;
mod devices;
mod layout;
mod stats;
mod tree;
mod unified;

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::error::Context;
use crate::process::Pid;
use crate::{Errno, Error, Result};

pub use control::MemoryWatch;
pub use details::{Cpuset, Details, MemoryCounter, Pressure, Stall};
pub use devices::{DeviceAccess, DeviceKind, DeviceRule};
pub use layout::{Kind, Layout, Tree, own_path, path_of};
pub use stats::{BlockEntry, BlockStats, CpuStats, HugepageStats, MemoryStats, PidsStats, Stats};

/// How often a removal is tried again while the kernel still counts a dying process in: with the pauses below,
/// about two seconds.
const REMOVE_TRIES: u32 = 200;
const REMOVE_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// How often what somebody else removes is made again. Each time he must hit the moment between two calls.
const CREATE_TRIES: u32 = 100;

/// One place in every tree of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    legacy: Vec<Member>,
    unified: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    controllers: Vec<String>,
    directory: PathBuf,
}

impl Cgroup {
    /// The cgroup at `path` (like `/wharf/1234`) below the mount points. Nothing is created.
    pub fn at(layout: &Layout, path: &Path) -> Result<Cgroup> {
        Cgroup::at_each(layout, |_| Ok(path.to_owned()))
    }

    /// The same at a path of its own in each tree, which is asked for by a v1 controller, or by nothing for v2.
    pub fn at_each(layout: &Layout, path: impl Fn(Option<&str>) -> Result<PathBuf>) -> Result<Cgroup> {
        let below = |mounted: &Path, controller: Option<&str>| Ok(mounted.join(normal(&path(controller)?)?));
        let legacy = layout.legacy.iter().map(|tree| {
            let directory = below(&tree.mounted, tree.controllers.first().map(String::as_str))?;
            Ok(Member { controllers: tree.controllers.clone(), directory })
        });
        let unified = layout.unified.as_ref().map(|mounted| below(mounted, None));
        Ok(Cgroup { legacy: legacy.collect::<Result<_>>()?, unified: unified.transpose()? })
    }

    /// What [`Cgroup::paths`] gave, read back from a record.
    pub fn from_paths<'a>(paths: impl IntoIterator<Item = (&'a str, &'a Path)>) -> Cgroup {
        let mut cgroup = Cgroup { legacy: Vec::new(), unified: None };
        for (controllers, directory) in paths {
            if controllers.is_empty() {
                cgroup.unified = Some(directory.to_owned());
            } else {
                let controllers = controllers.split(',').map(str::to_owned).collect();
                cgroup.legacy.push(Member { controllers, directory: directory.to_owned() });
            }
        }
        cgroup
    }

    /// Each tree's controllers, joined by commas (empty for v2), and the directory there.
    pub fn paths(&self) -> Vec<(String, PathBuf)> {
        let legacy =
            self.legacy.iter().map(|member| (member.controllers.join(","), member.directory.clone()));
        let unified = self.unified.iter().map(|directory| (String::new(), directory.clone()));
        legacy.chain(unified).collect()
    }

    /// Makes the directories in all trees, with their parents. Returns those that were there already.
    pub fn create(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut made = self.legacy.iter().try_for_each(|member| member.create(&mut found));
        if let (Ok(()), Some(directory)) = (&made, &self.unified) {
            made = unified::create(directory, &mut found);
        }
        if made.is_err() {
            // The failure that led here is the one to tell.
            let _leftover = self.remove_except(&found);
        }
        made.map(|()| found)
    }

    /// The same in the v1 trees alone, where there are any: from here on the cgroup is not in the v2 tree.
    pub fn create_without_unified(&mut self) -> Result<Vec<PathBuf>> {
        if !self.legacy.is_empty() {
            self.unified = None;
        }
        self.create()
    }

    /// The same where we have no say in some trees, or in any: those are left out of the cgroup from here on. So are
    /// directories of that name that are somebody else's.
    pub fn create_where_allowed(&mut self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut kept = Vec::new();
        for member in std::mem::take(&mut self.legacy) {
            if is_ours(member.create(&mut found), &member.directory, &mut found)? {
                kept.push(member);
            }
        }
        self.legacy = kept;
        if let Some(directory) = self.unified.take()
            && is_ours(unified::create(&directory, &mut found), &directory, &mut found)?
        {
            self.unified = Some(directory);
        }
        Ok(found)
    }

    /// Whether no tree is left.
    pub fn is_nowhere(&self) -> bool {
        self.legacy.is_empty() && self.unified.is_none()
    }

    /// Removes it where it is not one of these directories.
    pub fn remove_except(&self, kept: &[PathBuf]) -> Result<()> {
        self.directories()
            .filter(|directory| !kept.contains(directory))
            .try_for_each(|made| tree::remove(made))
    }

    /// Removes it and all below it, in all trees. What is gone already is fine. Ends only when nothing is left,
    /// or with the last error after trying everywhere.
    pub fn remove(&self) -> Result<()> {
        let mut failed = Ok(());
        for directory in self.directories() {
            if let Err(error) = tree::remove(directory) {
                failed = Err(error);
            }
        }
        failed
    }

    pub fn exists(&self) -> bool {
        self.directories().any(|directory| directory.exists())
    }

    fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        self.legacy.iter().map(|member| &member.directory).chain(&self.unified)
    }

    /// The directory of the v2 tree.
    pub fn unified(&self) -> Option<&Path> {
        self.unified.as_deref()
    }

    pub fn is_unified(&self) -> bool {
        self.legacy.is_empty()
    }

    /// Where a v1 controller's files of this cgroup are.
    pub fn legacy(&self, controller: &str) -> Option<&Path> {
        self.legacy.iter().find(|member| member.has(controller)).map(|member| member.directory.as_path())
    }

    /// A cgroup below this one, in all trees.
    pub fn child(&self, path: &Path) -> Result<Cgroup> {
        let relative = normal(path)?;
        let legacy = self.legacy.iter().map(|member| Member {
            controllers: member.controllers.clone(),
            directory: member.directory.join(&relative),
        });
        let unified = self.unified.as_ref().map(|directory| directory.join(&relative));
        Ok(Cgroup { legacy: legacy.collect(), unified })
    }

    /// In the v1 tree of one controller, takes the place of another cgroup.
    pub fn take_place(&mut self, controller: &str, other: &Cgroup) {
        for member in self.legacy.iter_mut().filter(|member| member.has(controller)) {
            if let Some(directory) = other.legacy(controller) {
                member.directory = directory.to_owned();
            }
        }
    }

    /// Descriptors to get in by. Opened now, with our rights.
    pub fn doors(&self) -> Result<Doors> {
        let mut doors = Doors { tasks: Vec::new(), unified: None };
        for member in &self.legacy {
            doors.tasks.push(open(&member.directory.join("tasks"), OFlags::WRONLY)?);
        }
        if let Some(directory) = &self.unified {
            doors.unified = Some(open(directory, OFlags::RDONLY | OFlags::DIRECTORY)?);
        }
        Ok(doors)
    }

    /// Moves another process in. Slow (see the module's head): for processes that are already there.
    pub fn add(&self, pid: Pid) -> Result<()> {
        for directory in self.directories() {
            write(&directory.join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    /// Writes a file of a v1 controller.
    pub fn set_legacy(&self, controller: &str, file: &str, value: &str) -> Result<()> {
        match self.legacy(controller) {
            Some(directory) => write(&named(directory, file)?, value),
            None => {
                Err(Error::new("write", format_args!("{file}: no v1 tree has {controller}"), Errno::NODEV))
            }
        }
    }

    /// Writes a file of the v2 cgroup.
    pub fn set_unified(&self, file: &str, value: &str) -> Result<()> {
        match &self.unified {
            Some(directory) => write(&named(directory, file)?, value),
            None => Err(Error::new("write", format_args!("{file}: there is no v2 tree"), Errno::NODEV)),
        }
    }

    /// Gives the v2 cgroup to a user, with the files that the kernel says are to be given away: who has them makes cgroups
    /// below, and changes none of the limits of this one. See cgroups(7), "Delegation".
    pub fn delegate(&self, user: u32) -> Result<()> {
        const FILES: &str = "/sys/kernel/cgroup/delegate";
        let Some(directory) = &self.unified else { return Ok(()) };
        let give = |path: &Path| match std::os::unix::fs::chown(path, Some(user), None) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.context("chown", || format!("{path:?}, {user}")),
        };
        give(directory)?;
        read(Path::new(FILES))?.lines().try_for_each(|file| give(&directory.join(file)))
    }

    /// Reads a file of a v1 controller.
    pub fn get_legacy(&self, controller: &str, file: &str) -> Result<String> {
        match self.legacy(controller) {
            Some(directory) => read(&directory.join(file)),
            None => {
                Err(Error::new("read", format_args!("{file}: no v1 tree has {controller}"), Errno::NODEV))
            }
        }
    }

    /// Reads a file of the v2 cgroup.
    pub fn get_unified(&self, file: &str) -> Result<String> {
        match &self.unified {
            Some(directory) => read(&directory.join(file)),
            None => Err(Error::new("read", format_args!("{file}: there is no v2 tree"), Errno::NODEV)),
        }
    }
}

/// The tree belongs to somebody else.
fn is_refusal(error: &Error) -> bool {
    [Errno::ACCESS, Errno::PERM, Errno::ROFS].contains(&error.errno())
}

/// Whoever finds a parent without children may remove it, and does when the last container of an engine or of a pod has
/// gone. Where that comes between a parent and what is made in it, both are made once more.
fn unless_removed(mut make: impl FnMut() -> Result<()>) -> Result<()> {
    for _ in 1..CREATE_TRIES {
        match make() {
            Err(error) if error.is(Errno::NOENT) || error.is(Errno::NODEV) => {}
            other => return other,
        }
    }
    make()
}

impl Member {
    fn create(&self, found: &mut Vec<PathBuf>) -> Result<()> {
        let mut new = false;
        unless_removed(|| {
            new |= make(&self.directory)?;
            if new && self.has("cpuset") { inherit_cpuset(&self.directory) } else { Ok(()) }
        })?;
        if !new {
            found.push(self.directory.clone());
        }
        Ok(())
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|own| own == controller)
    }
}

/// Open ways into a cgroup.
#[derive(Debug)]
pub struct Doors {
    tasks: Vec<OwnedFd>,
    unified: Option<OwnedFd>,
}

impl Doors {
    /// For [`crate::process::Clone::cgroup`].
    pub fn birthplace(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(AsFd::as_fd)
    }

    /// All of them, for a copy that closes everything else.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.tasks.iter().map(AsFd::as_fd)
    }

    /// Moves the calling thread into the v1 trees. It must be the only one of its process.
    pub fn enter_legacy(&self) -> Result<()> {
        for door in &self.tasks {
            rustix::io::write(door, b"0")
                .context("write", || format!("{:?}, \"0\"", crate::path::of(door)))?;
        }
        Ok(())
    }
}

/// Relative, and without steps that lead elsewhere.
fn normal(path: &Path) -> Result<PathBuf> {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Error::new("mkdir", format_args!("cgroup path {path:?}"), Errno::INVAL));
            }
        }
    }
    Ok(out)
}

/// True if the directory is new.
fn make(directory: &Path) -> Result<bool> {
    match fs::create_dir(directory) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let parent = directory.parent().unwrap_or(directory);
            fs::create_dir_all(parent).context("mkdir", || format!("{parent:?}"))?;
            match fs::create_dir(directory) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
                made => made.context("mkdir", || format!("{directory:?}")).map(|()| true),
            }
        }
        Err(error) => Err(Error::from_io("mkdir", format_args!("{directory:?}"), &error)),
    }
}

/// A new v1 cpuset is empty, and nobody can enter it until it has CPUs and memory nodes. Each such write is checked
/// against all siblings and makes the scheduler think its domains over, for as long as there are cpusets. So a parent
/// that is new itself hands its own down to those that come after this one (`cgroup.clone_children`), which costs
/// nothing. One that was there is somebody's, and is left as it is.
fn inherit_cpuset(directory: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = directory.join(file);
        if !read(&own)?.trim().is_empty() {
            continue;
        }
        let Some(parent) = directory.parent() else { continue };
        if read(&parent.join(file))?.trim().is_empty() {
            inherit_cpuset(parent)?;
            write(&parent.join("cgroup.clone_children"), "1")?;
        }
        write(&own, read(&parent.join(file))?.trim())?;
    }
    Ok(())
}

/// Whether we may use a directory that was made, or found and noted last.
fn is_ours(made: Result<()>, directory: &Path, found: &mut Vec<PathBuf>) -> Result<bool> {
    match made {
        Err(error) if is_refusal(&error) => return Ok(false),
        other => other?,
    }
    let was_there = found.last().is_some_and(|last| last == directory);
    let ours = !was_there || rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_ok();
    if !ours {
        found.pop();
    }
    Ok(ours)
}

/// Names of files come from configurations, which may not mean others by them.
fn named(directory: &Path, file: &str) -> Result<PathBuf> {
    if file.contains('/') {
        let message = format_args!("{file:?} must be a file name (no slashes)");
        return Err(Error::new("write", message, Errno::INVAL));
    }
    Ok(directory.join(file))
}

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
        .context("open", || format!("{path:?}, {flags:?}"))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).context("read", || format!("{path:?}"))
}

/// The kernel takes each write as a whole, so it is one call.
fn write(path: &Path, value: &str) -> Result<()> {
    let file = open(path, OFlags::WRONLY)?;
    rustix::io::retry_on_intr(|| rustix::io::write(&file, value.as_bytes()))
        .context("write", || format!("{path:?}, {value:?}"))
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Clone, Cloned, Exit, wait};

    fn scratch(name: &str) -> Cgroup {
        let layout = Layout::detect().unwrap();
        let path = format!("/wharf-test-{}-{name}", std::process::id());
        Cgroup::at(&layout, Path::new(&path)).unwrap()
    }

    #[test]
    fn names_of_files_lead_nowhere_else() {
        let cgroup = Cgroup::from_paths([("", Path::new("/nowhere"))]);
        for name in ["../cgroup.procs", "/etc/passwd"] {
            let told = cgroup.set_unified(name, "1").unwrap_err().to_string();
            assert!(told.contains("must be a file name (no slashes)"), "{told}");
        }
    }

    #[test]
    fn paths_cannot_climb() {
        assert!(normal(Path::new("/a/../../b")).is_err());
        assert_eq!(normal(Path::new("//a/./b")).unwrap(), Path::new("a/b"));
    }

    #[test]
    fn a_process_is_born_and_walks_into_every_tree() {
        let cgroup = scratch("doors");
        assert_eq!(cgroup.create().unwrap().len(), 0);
        assert_eq!(cgroup.create().unwrap().len(), cgroup.paths().len(), "it is there now");
        let doors = cgroup.doors().unwrap();
        let (reader, writer) = crate::fd::pipe().unwrap();
        match (Clone { cgroup: doors.birthplace(), ..Default::default() }).start().unwrap() {
            Cloned::Copy => {
                let entered = doors.enter_legacy().is_ok();
                crate::fd::write_all(&writer, &[u8::from(entered)]).unwrap();
                loop {
                    std::thread::sleep(std::time::Duration::from_secs(60));
                }
            }
            Cloned::Caller { pid, .. } => {
                let mut byte = [0];
                crate::fd::read(&reader, &mut byte).unwrap();
                assert_eq!(byte, [1]);
                for (_, directory) in cgroup.paths() {
                    assert_eq!(
                        read(&directory.join("cgroup.procs")).unwrap(),
                        format!("{pid}\n"),
                        "{directory:?}"
                    );
                }
                assert_eq!(cgroup.pids().unwrap(), [pid]);
                cgroup.kill().unwrap();
                assert_eq!(wait(pid).unwrap(), Exit::Signal(9));
                cgroup.remove().unwrap();
                assert!(!cgroup.exists());
            }
        }
    }

    #[test]
    fn a_new_parent_hands_its_cpus_down() {
        let parent = scratch("cpus");
        for name in ["first", "second"] {
            let child = parent.child(Path::new(name)).unwrap();
            child.create().unwrap();
            let Some(directory) = child.legacy("cpuset") else { continue };
            let above = directory.parent().unwrap();
            for file in ["cpuset.cpus", "cpuset.mems"] {
                assert_eq!(read(&directory.join(file)).unwrap(), read(&above.join(file)).unwrap(), "{file}");
            }
            assert_eq!(read(&above.join("cgroup.clone_children")).unwrap(), "1\n");
            assert_eq!(read(&above.with_file_name("cgroup.clone_children")).unwrap(), "0\n");
        }
        parent.remove().unwrap();
    }

    #[test]
    fn a_parent_that_others_find_empty_and_remove_is_made_again() {
        let parent = scratch("vanishing");
        let child = parent.child(Path::new("child")).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    for (_, directory) in parent.paths() {
                        let _in_use = fs::remove_dir(directory);
                    }
                    // Without a rest it would wait in the kernel for each new parent and win every time.
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
            });
            let rounds = || (0..100).try_for_each(|_| child.create().and_then(|_| child.remove()));
            let ran = rounds();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            ran.unwrap();
        });
        parent.remove().unwrap();
    }

    #[test]
    fn records_read_back() {
        let cgroup = scratch("record");
        let paths = cgroup.paths();
        let again = Cgroup::from_paths(paths.iter().map(|(names, path)| (names.as_str(), path.as_path())));
        assert_eq!(cgroup, again);
    }
}
