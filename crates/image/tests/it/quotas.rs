//! Limits of trees, on file systems that count by project: xfs and ext4, in files. A machine that cannot make or mount one
//! says so, and nothing is tested there.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use linux::credentials;
use linux::path::Root;
use linux::quota::{self, Project};
use scratch::Directory;

use crate::world::{Tar, World};

const MIB: u64 = 1 << 20;

/// A file system with project quotas, unmounted at the end.
struct Disk {
    scratch: Directory,
}

impl Disk {
    fn mount(kind: &str) -> Option<Disk> {
        let scratch = Directory::new(&format!("quota-{kind}"));
        let directory = scratch.display();
        let make = match kind {
            "xfs" => "mkfs.xfs -q",
            _ => "mkfs.ext4 -q -O quota,project -E quotatype=usrquota:grpquota:prjquota",
        };
        let script = format!(
            "mkdir {directory}/disk && truncate -s 400M {directory}/image && {make} {directory}/image && \
             mount -o loop,prjquota {directory}/image {directory}/disk"
        );
        let output = Command::new("sh").args(["-ec", &script]).output().unwrap();
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            scratch::skip(&format!("no {kind} with project quotas: {why}"));
            return None;
        }
        Some(Disk { scratch })
    }

    fn path(&self) -> PathBuf {
        self.scratch.join("disk")
    }

    /// An engine's data root on it.
    fn world(&self, name: &str) -> World {
        World::open(Directory::within(&self.path(), name))
    }

    fn known(&self, project: u32) -> Project {
        quota::project(handle(&self.path()), project).unwrap()
    }

    /// xfs gives the room of a deleted file back some time later.
    fn until_forgotten(&self, project: u32) {
        assert_eq!(self.known(project).limit, 0);
        for _ in 0..1000 {
            if self.known(project) == Project::default() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{:?} is left of a tree that was deleted", self.known(project));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.path()).status().unwrap();
        assert!(unmounted.success());
    }
}

fn handle(path: &Path) -> std::fs::File {
    std::fs::File::open(path).unwrap()
}

fn project_of(path: &Path) -> u32 {
    quota::project_of(handle(path)).unwrap()
}

/// Writes so much, if it fits. Not as root writes: ext4 lets whoever has this capability exceed every limit.
fn write(path: &Path, bytes: u64) -> Result<(), ErrorKind> {
    let path = path.to_owned();
    let work = move || {
        let held = credentials::held().unwrap();
        let resource = credentials::capability("CAP_SYS_RESOURCE").unwrap();
        let others = (0..=credentials::last_capability())
            .filter(|capability| *capability != resource && held.effective.has(*capability))
            .fold(credentials::Set::default(), credentials::Set::with);
        credentials::set(others, held.permitted, held.inheritable).unwrap();
        let mut file = std::fs::File::create(path).unwrap();
        let piece = vec![b'x'; MIB as usize];
        (0..bytes / MIB).try_for_each(|_| file.write_all(&piece)).and_then(|()| file.sync_all())
    };
    // Capabilities are a thread's.
    std::thread::spawn(work).join().unwrap().map_err(|error| error.kind())
}

fn is_full(written: Result<(), ErrorKind>) -> bool {
    matches!(written, Err(ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

fn each_kind(test: impl Fn(&Disk)) {
    for kind in ["xfs", "ext4"] {
        if let Some(disk) = Disk::mount(kind) {
            assert!(image::quotas::are_enforced(&disk.path()).unwrap(), "{kind}");
            test(&disk);
        }
    }
}

#[test]
fn a_tree_holds_no_more_than_its_limit() {
    each_kind(|disk| {
        let world = disk.world("engine");
        let snapshots = world.images.snapshots();
        let limited = snapshots.create_within("limited", &[], Some(8 * MIB)).unwrap();
        let other = snapshots.create_within("other", &[], Some(8 * MIB)).unwrap();
        let free = snapshots.create("free", &[]).unwrap();
        write(&limited.upper.join("small"), 4 * MIB).unwrap();
        assert!(is_full(write(&limited.upper.join("large"), 16 * MIB)));
        write(&other.upper.join("small"), 4 * MIB).unwrap();
        write(&free.upper.join("large"), 16 * MIB).unwrap();
        // overlayfs moves what it has prepared from one to the other.
        std::fs::write(other.work.join("prepared"), "x").unwrap();
        std::fs::rename(other.work.join("prepared"), other.upper.join("prepared")).unwrap();
        let numbers = [&limited, &other, &free].map(|snapshot| project_of(&snapshot.upper));
        assert!(numbers[0] != numbers[1] && numbers[2] == 0, "{numbers:?}");
        assert_eq!(disk.known(numbers[0]).limit, 8 * MIB);
    });
}

#[test]
fn limits_outlive_the_engine_and_not_their_trees() {
    each_kind(|disk| {
        let world = disk.world("engine");
        let snapshots = world.images.snapshots();
        let kept = snapshots.create_within("kept", &[], Some(8 * MIB)).unwrap();
        world.records.write(|transaction| snapshots.record(transaction, "kept")).unwrap();
        let lost = snapshots.create_within("lost", &[], Some(8 * MIB)).unwrap();
        let numbers = [project_of(&kept.upper), project_of(&lost.upper)];
        // The engine dies before the container of the second is written down.
        let world = world.reopen();
        disk.until_forgotten(numbers[1]);
        assert!(is_full(write(&kept.upper.join("large"), 16 * MIB)));
        // A power cut has swallowed its directories: they are made again as they were.
        std::fs::remove_dir_all(kept.upper.parent().unwrap()).unwrap();
        let again = world.images.snapshots().get("kept").unwrap();
        assert!(is_full(write(&again.upper.join("large"), 16 * MIB)));
        let number = project_of(&again.upper);
        assert_eq!(project_of(&again.work), number);
        drop(world.images.snapshots().remove("kept").unwrap());
        disk.until_forgotten(number);
    });
}

#[test]
fn what_a_crash_left_half_removed_is_released() {
    each_kind(|disk| {
        let world = disk.world("engine");
        let snapshots = world.images.snapshots();
        let snapshot = snapshots.create_within("c1", &[], Some(8 * MIB)).unwrap();
        let number = project_of(&snapshot.upper);
        let gone = world.scratch.join("snapshots/gone/half");
        std::fs::rename(snapshot.upper.parent().unwrap(), &gone).unwrap();
        let _world = world.reopen();
        assert!(!gone.exists());
        disk.until_forgotten(number);
    });
}

#[test]
fn what_others_have_limited_is_left_alone() {
    each_kind(|disk| {
        // An administrator has given the whole data root a number, even one of our range.
        let number = (1 << 30) + 7;
        let root = Directory::within(&disk.path(), "engine");
        quota::set_project(handle(&root), number).unwrap();
        quota::set_limit(handle(&root), number, 64 * MIB).unwrap();
        let world = World::open(root);
        let snapshots = world.images.snapshots();
        let free = snapshots.create("free", &[]).unwrap();
        assert_eq!(project_of(&free.upper), number);
        drop(snapshots.remove("free").unwrap());
        let limited = snapshots.create_within("limited", &[], Some(8 * MIB)).unwrap();
        assert_ne!(project_of(&limited.upper), number);
        assert!(is_full(write(&limited.upper.join("large"), 16 * MIB)));
        drop(snapshots.remove("limited").unwrap());
        assert_eq!(disk.known(number).limit, 64 * MIB);
        let root = Root::open(&world.scratch).unwrap();
        assert_eq!(
            linux::entry::list(&root).unwrap().iter().filter(|(name, _)| name == "snapshots").count(),
            1
        );
    });
}

#[test]
fn where_nothing_is_counted_nothing_can_be_limited() {
    let world = World::new("uncounted");
    if image::quotas::are_enforced(&world.scratch).unwrap() {
        scratch::skip(&format!("{} has project quotas", world.scratch.display()));
        return;
    }
    let layer = world.layer(&Tar::new().file("a", "").end());
    assert!(!world.images.snapshots().can_be_limited());
    assert!(world.images.snapshots().create_within("c1", &[layer], Some(8 * MIB)).is_err());
    assert!(!world.scratch.join("snapshots/c1").exists());
}
