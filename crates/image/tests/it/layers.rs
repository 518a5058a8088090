//! What a layer may contain, and what becomes of it in a stack on the real overlayfs.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use image::Kind;
use linux::entry::Kind as Node;
use linux::mount;
use scratch::Directory;
use tar::EntryType;

use crate::world::{Tar, World, exists, gzip, metadata, read};

#[test]
fn every_kind_of_entry_arrives_with_its_attributes() {
    let world = World::new("kinds");
    let archive = Tar::new()
        .member(EntryType::Directory, "./", "", &[], |h| {
            h.set_mode(0o1771);
            h.set_uid(7);
        })
        .member(EntryType::Regular, "setuid", "", b"x", |h| {
            h.set_mode(0o4755);
            h.set_uid(70_000);
            h.set_gid(5);
        })
        .pax(&[("SCHILY.xattr.security.capability", CAPABILITY), ("mtime", b"1234567890.5")])
        .file("capable", "x")
        .symlink("link", "/absolute/and/dangling")
        .hard_link("again", "setuid")
        .member(EntryType::Fifo, "fifo", "", &[], |_| {})
        .member(EntryType::Char, "null", "", &[], |h| {
            h.set_device_major(1).unwrap();
            h.set_device_minor(3).unwrap();
            h.set_mode(0o666);
        })
        .member(EntryType::Block, "disk", "", &[], |h| {
            h.set_device_major(7).unwrap();
            h.set_device_minor(260).unwrap();
        })
        .member(EntryType::Directory, "times/", "", &[], |h| h.set_mtime(1))
        .file("times/later", "")
        .end();
    let diff_id = world.layer(&archive);
    let files = world.files(&diff_id);
    let stat = |name: &str| std::fs::symlink_metadata(files.join(name)).unwrap();
    assert_eq!(
        (stat("setuid").mode() & 0o7777, stat("setuid").uid(), stat("setuid").gid()),
        (0o4755, 70_000, 5)
    );
    assert_eq!((stat("again").ino(), stat("again").nlink()), (stat("setuid").ino(), 2));
    assert_eq!((stat("capable").mtime(), stat("capable").mtime_nsec()), (1_234_567_890, 500_000_000));
    let capable = linux::path::Root::open(&files).unwrap().resolve(Path::new("capable")).unwrap();
    assert!(linux::xattr::get(&capable, OsStr::new("security.capability")).unwrap().is_some());
    assert_eq!(std::fs::read_link(files.join("link")).unwrap(), Path::new("/absolute/and/dangling"));
    assert!(stat("fifo").file_type().is_fifo());
    assert!(stat("null").file_type().is_char_device());
    assert_eq!(stat("null").mode() & 0o777, 0o666);
    assert_eq!(stat("disk").rdev(), (7 << 8) | 4 | (256 << 12));
    assert_eq!(stat("times").mtime(), 1, "filling a directory must not change its time");
    let layer = world.images.layers().get(&diff_id).unwrap();
    assert_eq!((layer.root.unwrap().mode, layer.root.unwrap().uid), (0o1771, 7));
    assert!(!layer.fixups);
    assert_eq!(layer.archive_size, archive.len() as u64);
}

/// `cap_net_raw+ep`, revision 2.
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn long_names_and_numbers_in_every_dialect() {
    let world = World::new("dialects");
    let deep = format!("{}/{}", "d".repeat(120), "f".repeat(130));
    let archive = Tar::new()
        .member(EntryType::GNULongName, "././@LongLink", "", format!("{deep}\0").as_bytes(), |_| {})
        .file("short", "gnu")
        .member(EntryType::GNULongLink, "././@LongLink", "", format!("{deep}\0").as_bytes(), |_| {})
        .symlink("gnulink", "cut")
        .pax(&[("path", b"pax/\xc3\xa9t\xc3\xa9"), ("uid", b"3000000"), ("size", b"3")])
        .file("x", "pax")
        .pax(&[("path", b"bytes-\xff\xfe")])
        .file("x", "")
        .member(EntryType::Regular, "base256", "", b"", |h| h.set_uid(3_000_000_000))
        .member(EntryType::Regular, "early", "", b"", |h| {
            h.as_old_mut().mtime = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe];
        })
        .member(EntryType::Regular, "v7dir/", "", b"", |h| h.as_old_mut().linkflag = [0])
        .member(EntryType::XGlobalHeader, "pax_global_header", "", b"10 a=bcd\n", |_| {})
        .end();
    let files = world.files(&world.layer(&archive));
    assert_eq!(std::fs::read_to_string(files.join(&deep)).unwrap(), "gnu");
    assert_eq!(std::fs::read_link(files.join("gnulink")).unwrap(), Path::new(&deep));
    assert_eq!(std::fs::metadata(files.join("pax/été")).unwrap().uid(), 3_000_000);
    assert_eq!(std::fs::metadata(files.join("base256")).unwrap().uid(), 3_000_000_000);
    assert_eq!(std::fs::metadata(files.join("early")).unwrap().mtime(), -2);
    assert!(files.join("v7dir").is_dir());
    use std::os::unix::ffi::OsStrExt;
    assert!(files.join(OsStr::from_bytes(b"bytes-\xff\xfe")).exists());
}

#[test]
fn sparse_files_keep_their_holes() {
    let world = World::new("sparse");
    let size: u64 = 64 << 20;
    let old = Tar::new().member(EntryType::GNUSparse, "old", "", &[7; 512], |h| {
        let gnu = h.as_gnu_mut().unwrap();
        gnu.sparse[0].set_offset(1 << 20);
        gnu.sparse[0].set_length(512);
        gnu.sparse[1].set_offset(size);
        gnu.sparse[1].set_length(0);
        gnu.set_real_size(size);
    });
    let mut data = format!("1\n{}\n512\n", 2 << 20).into_bytes();
    data.resize(512, 0);
    data.extend_from_slice(&[8; 512]);
    let real = size.to_string();
    let new = old
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"new"),
            ("GNU.sparse.realsize", real.as_bytes()),
        ])
        .member(EntryType::Regular, "GNUSparseFile.0/new", "", &data, |_| {})
        .pax(&[("GNU.sparse.size", b"2000"), ("GNU.sparse.map", b"0,1,1999,1"), ("GNU.sparse.name", b"mid")])
        .file("x", "ab");
    let files = world.files(&world.layer(&new.end()));
    for (name, at, byte) in [("old", 1 << 20, 7u8), ("new", 2 << 20, 8)] {
        let content = std::fs::read(files.join(name)).unwrap();
        assert_eq!((content.len() as u64, content[at], content[at - 1]), (size, byte, 0), "{name}");
        assert!(std::fs::metadata(files.join(name)).unwrap().blocks() < 1000, "{name} has no holes");
    }
    let mid = std::fs::read(files.join("mid")).unwrap();
    assert_eq!((mid.len(), mid[0], mid[1], mid[1999]), (2000, b'a', 0, b'b'));
}

#[test]
fn whiteouts_hide_what_is_below_and_only_that() {
    let world = World::new("whiteouts");
    let below = Tar::new()
        .directory("etc/")
        .file("etc/gone", "")
        .file("etc/kept", "")
        .directory("opaque/")
        .file("opaque/below", "")
        .directory("renewed/")
        .file("renewed/below", "")
        .file("file", "old")
        .end();
    let above = Tar::new()
        .directory("etc/")
        .file("etc/.wh.gone", "")
        .directory("opaque/")
        .file("opaque/above", "")
        .file("opaque/.wh..wh..opq", "")
        .file(".wh.renewed", "")
        .directory("renewed/")
        .file("renewed/above", "")
        .file("file", "new")
        .file(".wh.file", "")
        .file(".wh..wh.plnk/1.2", "")
        .file(".wh.never-was", "")
        .end();
    let root = world.stack(&[below, above]);
    assert!(!exists(&root, "etc/gone") && exists(&root, "etc/kept"));
    assert!(!exists(&root, "opaque/below") && exists(&root, "opaque/above"));
    assert!(!exists(&root, "renewed/below") && exists(&root, "renewed/above"));
    assert_eq!(read(&root, "file"), "new");
    assert!(!exists(&root, ".wh..wh.plnk") && !exists(&root, "never-was"));
}

/// The whiteout may come after the directory that the same layer brings.
#[test]
fn a_late_whiteout_does_not_hide_its_own_layer() {
    let world = World::new("late");
    let below = Tar::new().directory("d/").file("d/below", "").end();
    let above = Tar::new().directory("d/").file("d/above", "").file(".wh.d", "").end();
    let root = world.stack(&[below, above]);
    assert!(exists(&root, "d/above") && !exists(&root, "d/below"));
}

#[test]
fn implied_directories_keep_the_attributes_from_below() {
    let world = World::new("implied");
    let below = Tar::new()
        .member(EntryType::Directory, "var/", "", &[], |h| {
            h.set_mode(0o1777);
            h.set_uid(9);
            h.set_mtime(77);
        })
        .pax(&[("SCHILY.xattr.user.note", b"below")])
        .directory("var/lib/")
        .end();
    let above = Tar::new().file("var/lib/data", "x").file("new/deep/file", "y").end();
    let layer = world.images.layers().unpack(None, &above[..]).unwrap();
    assert!(layer.layer().fixups);
    drop(layer);
    let root = world.stack(&[below, above]);
    let var = metadata(&root, "var");
    assert_eq!((var.mode, var.uid, var.modified.seconds), (0o1777, 9, 77));
    let lib = root.resolve(Path::new("var/lib")).unwrap();
    assert_eq!(linux::xattr::get(&lib, OsStr::new("user.note")).unwrap().unwrap(), b"below");
    assert_eq!(read(&root, "var/lib/data"), "x");
    assert_eq!(metadata(&root, "new/deep").mode, 0o755);
}

/// `lib/x` in a layer above `lib -> usr/lib` belongs into `usr/lib`, as if it had been unpacked onto the layers below.
#[test]
fn an_implied_directory_follows_a_link_from_below() {
    let world = World::new("usrmerge");
    let below = Tar::new()
        .directory("usr/")
        .member(EntryType::Directory, "usr/lib/", "", &[], |h| h.set_mode(0o750))
        .file("usr/lib/old", "old")
        .symlink("lib", "usr/lib")
        .end();
    let above = Tar::new().file("lib/new", "new").directory("lib/sub/").file("lib/sub/deep", "deep").end();
    let root = world.stack(&[below, above]);
    assert_eq!(metadata(&root, "lib").kind, Node::Symlink);
    assert_eq!((read(&root, "usr/lib/old"), read(&root, "lib/new")), ("old".into(), "new".into()));
    assert_eq!(read(&root, "usr/lib/sub/deep"), "deep");
    assert_eq!(metadata(&root, "usr/lib").mode, 0o750);
}

#[test]
fn hard_links_reach_into_layers_below() {
    let world = World::new("crosslink");
    let below = Tar::new()
        .member(EntryType::Directory, "bin/", "", &[], |h| h.set_mode(0o711))
        .member(EntryType::Regular, "bin/tool", "", b"tool", |h| {
            h.set_mode(0o4755);
            h.set_uid(3);
        })
        .end();
    let above = Tar::new().directory("sbin/").hard_link("sbin/same", "bin/tool").end();
    let root = world.stack(&[below, above]);
    let (tool, same) = (metadata(&root, "bin/tool"), metadata(&root, "sbin/same"));
    assert_eq!(read(&root, "sbin/same"), "tool");
    assert_eq!((same.mode, same.uid, same.links), (0o4755, 3, 2));
    assert_eq!(tool.identity.1, same.identity.1);
    assert_eq!(metadata(&root, "bin").mode, 0o711);
}

#[test]
fn a_hard_link_to_nothing_fails_with_its_stack() {
    let world = World::new("nolink");
    let layers = world.images.layers();
    let below = layers.unpack(None, &Tar::new().file("a", "").end()[..]).unwrap();
    let above = layers.unpack(None, &Tar::new().hard_link("b", "missing").end()[..]).unwrap();
    let stack = vec![below.diff_id().clone(), above.diff_id().clone()];
    let error = layers
        .publish(vec![below, above], std::slice::from_ref(&stack), &HashMap::new(), |_| Ok(()))
        .unwrap_err();
    assert!(error.to_string().contains("invalid hardlink \"b\" -> \"missing\""), "{error}");
    assert!(!layers.contains(&stack[1]));
    let world = world.reopen();
    assert!(!world.scratch.join("layers/sha256").join(stack[1].hex()).exists(), "swept at start");
}

#[test]
fn compressed_and_plain_are_the_same_layer() {
    let world = World::new("packed");
    let plain = Tar::new().file("a", &"text ".repeat(100_000)).end();
    let expected = oci::digest::Digest::sha256_of(&plain);
    for packed in [gzip(&plain), zstd::encode_all(&plain[..], 1).unwrap(), plain.clone()] {
        let unpacked = world.images.layers().unpack(Some(&expected), &packed[..]).unwrap();
        assert_eq!(unpacked.layer().archive_size, plain.len() as u64);
    }
    world.assert_clean();
}

/// The digest of a download covers bytes behind the archive's end too; a source must be read to its end.
#[test]
fn the_source_is_read_to_its_end() {
    struct Counting<'a>(&'a [u8], &'a std::sync::atomic::AtomicUsize);
    impl Read for Counting<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.0.read(buffer)?;
            self.1.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
            Ok(n)
        }
    }
    let world = World::new("rest");
    let mut archive = Tar::new().file("a", "x").end();
    archive.resize(archive.len() + 100_000, 0);
    for bytes in [archive.clone(), gzip(&archive)] {
        let count = Default::default();
        let _unpacked = world.images.layers().unpack(None, Counting(&bytes, &count)).unwrap();
        assert_eq!(count.into_inner(), bytes.len());
    }
}

#[test]
fn a_failing_source_is_reported_as_such() {
    struct Cut(Vec<u8>, usize);
    impl Read for Cut {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.1 >= self.0.len() / 2 {
                return Err(io::Error::other("connection lost"));
            }
            let n = buffer.len().min(1000).min(self.0.len() - self.1);
            buffer[..n].copy_from_slice(&self.0[self.1..self.1 + n]);
            self.1 += n;
            Ok(n)
        }
    }
    let world = World::new("cut");
    let archive = Tar::new().file("a", &"x".repeat(100_000)).end();
    for bytes in [archive.clone(), gzip(&archive)] {
        let error = world.images.layers().unpack(None, Cut(bytes, 0)).err().unwrap();
        assert!(error.to_string().contains("connection lost"), "{error}");
    }
    world.assert_clean();
}

#[test]
fn what_a_crash_left_is_swept() {
    let world = World::new("sweep");
    let kept = world.layer(&Tar::new().file("a", "x").end());
    let layers = world.scratch.join("layers");
    for left in ["work/abc/fs/deep", "gone/def/fs", "sha256/0000/fs", "chains/1111/fs"] {
        std::fs::create_dir_all(layers.join(left)).unwrap();
    }
    // Without an image a layer is swept as well; a snapshot keeps it.
    world.images.snapshots().create("c1", std::slice::from_ref(&kept)).unwrap();
    world.records.write(|t| world.images.snapshots().record(t, "c1")).unwrap();
    let world = world.reopen();
    world.assert_clean();
    assert!(!layers.join("sha256/0000").exists() && !layers.join("chains/1111").exists());
    assert!(world.images.layers().contains(&kept));
    assert!(world.files(&kept).join("a").exists());
}

/// A small tmpfs as data root: the layer does not fit, the error says so, and the space comes back.
#[test]
fn a_full_disk_is_named_and_cleaned_up() {
    let scratch = Directory::new("full");
    let disk = mount::new_fs("tmpfs", Some("full"), &["size=8m"], 0).unwrap();
    mount::attach_at(&disk, &scratch).unwrap();
    let result = std::panic::catch_unwind(|| {
        let records = store::records::Records::open(&store::paths::database(&scratch)).unwrap();
        let images = image::Images::open(&scratch, &records).unwrap();
        let archive = gzip(&Tar::new().file("big", &"x".repeat(16 << 20)).end());
        let error = images.layers().unpack(None, &archive[..]).err().unwrap();
        assert_eq!(error.kind(), Kind::Full, "{error}");
        assert!(std::fs::read_dir(scratch.join("layers/work")).unwrap().next().is_none());
        let digest = oci::digest::Digest::sha256_of(b"?");
        let mut ingest = images.blobs().ingest(&digest, 16 << 20).unwrap();
        let error = ingest.write(&vec![0; 16 << 20]).unwrap_err();
        assert_eq!(error.kind(), store::Kind::Full, "{error}");
        ingest.discard().unwrap();
        // There is room again for what fits.
        let small = Tar::new().file("small", "x").end();
        let unpacked = images.layers().unpack(None, &small[..]).unwrap();
        images.layers().publish(vec![unpacked], &[], &HashMap::new(), |_| Ok(())).unwrap();
    });
    drop(disk);
    mount::unmount(&scratch, true).unwrap();
    result.unwrap();
}
