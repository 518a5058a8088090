//! Layers made by an enemy, or by a broken tool: each gets a clear error, and nothing of it stays.

use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;

use image::archive::{Extract, Limits, Ownership, Reader, Replace, extract_into};
use image::{Error, Kind};
use linux::path::Root;
use scratch::Directory;
use tar::EntryType;

use crate::world::{Tar, World, gzip, put};

/// Unpacks what must fail; returns the error's text.
fn refused_within(archive: &[u8], limits: Limits) -> String {
    let world = World::new("hostile");
    let canary = world.scratch.join("canary");
    std::fs::write(&canary, "alive").unwrap();
    let error: Error = match world.images.layers().unpack_within(None, archive, limits) {
        Ok(unpacked) => panic!("accepted: {:?}", unpacked.layer()),
        Err(error) => error,
    };
    assert_eq!(error.kind(), Kind::Hostile, "{error}");
    assert_eq!(std::fs::read_to_string(&canary).unwrap(), "alive");
    world.assert_clean();
    error.to_string()
}

fn refused(archive: &[u8]) -> String {
    refused_within(archive, Limits::default())
}

fn assert_says(text: &str, part: &str) {
    assert!(text.contains(part), "{text:?} does not say {part:?}");
}

#[test]
fn names_that_climb_out() {
    for name in ["../canary", "a/../../canary", "/../canary", "a/b/../../../x"] {
        assert_says(&refused(&Tar::new().file(name, "x").end()), "is outside of");
    }
    for name in ["..", "a/../.."] {
        assert_says(&refused(&Tar::new().directory(name).end()), "is outside of");
    }
}

#[test]
fn links_that_climb_out() {
    for target in ["../canary", "../../etc/passwd", ""] {
        assert_says(&refused(&Tar::new().hard_link("link", target).end()), "invalid hardlink");
    }
    assert_says(&refused(&Tar::new().hard_link("a", "a").end()), "points to itself");
    assert_says(&refused(&Tar::new().directory("d").hard_link("a", "d").end()), "hardlink to a directory");
}

/// The classic: a link first, then a file through it. An absolute link is legal, and leads to the layer's own root.
#[test]
fn a_file_through_a_link_lands_inside() {
    let world = World::new("through");
    let outside = Directory::new("outside");
    let target = outside.to_str().unwrap();
    let archive = Tar::new().symlink("link", target).file("link/x", "caught").end();
    let diff_id = world.layer(&archive);
    assert!(!outside.join("x").exists());
    let inside = world.files(&diff_id).join(target.trim_start_matches('/')).join("x");
    assert_eq!(std::fs::read_to_string(inside).unwrap(), "caught");
}

/// A step above the root leads to the root, for who unpacks as for who runs in it: images have such links.
#[test]
fn a_link_above_the_root_leads_to_the_root() {
    let world = World::new("above");
    for (number, target) in ["../canary", "../../../../canary", "/../canary"].into_iter().enumerate() {
        let name = format!("link{number}");
        let archive =
            Tar::new().symlink(&name, target).directory("canary").file(&format!("{name}/x"), "in").end();
        let files = world.files(&world.layer(&archive));
        assert_eq!(std::fs::read_link(files.join(&name)).unwrap(), Path::new(target));
        assert_eq!(std::fs::read_to_string(files.join("canary/x")).unwrap(), "in");
    }
    world.assert_clean();
}

/// A file with the name of a link replaces the link, it does not follow it.
#[test]
fn a_file_over_a_link_replaces_it() {
    let world = World::new("over");
    let outside = Directory::new("outside");
    std::fs::write(outside.join("x"), "untouched").unwrap();
    let target = outside.join("x");
    let archive = Tar::new().symlink("x", target.to_str().unwrap()).file("x", "new").end();
    let diff_id = world.layer(&archive);
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "untouched");
    assert_eq!(std::fs::read_to_string(world.files(&diff_id).join("x")).unwrap(), "new");
}

#[test]
fn a_link_loop_is_an_error_and_not_a_hang() {
    let archive = Tar::new().symlink("a", "b").symlink("b", "a").file("a/x", "x").end();
    let world = World::new("loop");
    let error = world.images.layers().unpack(None, &archive[..]).err().unwrap();
    assert_says(&error.to_string(), "ELOOP");
    world.assert_clean();
}

#[test]
fn a_directory_through_a_file() {
    assert_says(&refused_or_enotdir(&Tar::new().file("a", "x").file("a/b", "y").end()), "a/b");
}

fn refused_or_enotdir(archive: &[u8]) -> String {
    let world = World::new("notdir");
    let error = world.images.layers().unpack(None, archive).err().unwrap();
    world.assert_clean();
    error.to_string()
}

#[test]
fn whiteouts_that_make_no_sense() {
    assert_says(&refused(&Tar::new().file(".wh.", "").end()), "invalid whiteout");
    assert_says(&refused(&Tar::new().file("a/.wh...", "").end()), "outside");
    assert_says(&refused(&Tar::new().file(".wh.a/b", "").end()), "invalid whiteout");
}

#[test]
fn headers_that_lie() {
    let good = Tar::new().file("a", "x").end();
    let mut bad = good.clone();
    bad[0] ^= 1;
    assert_says(&refused(&bad), "checksum");
    assert_says(&refused(&good[..600]), "unexpected EOF");
    assert_says(&refused(&good[..100]), "unexpected EOF");
    let huge = Tar::new().member(EntryType::Regular, "a", "", b"", |h| h.set_size(u64::MAX / 2)).unfinished();
    assert_says(&refused(&huge), "more than");
    let garbage = Tar::new().raw(&[0; 512]).file("a", "x").end();
    assert_says(&refused(&garbage), "empty block");
    let unknown = Tar::new().member(EntryType::new(b'Z'), "a", "", b"", |_| {}).end();
    assert_says(&refused(&unknown), "unhandled tar header type 90");
    let owner = Tar::new().pax(&[("uid", b"4294967295")]).file("a", "").end();
    assert_says(&refused(&owner), "owner");
    assert_says(
        &refused(b"<html>not a layer, but long enough for a block</html>".repeat(20).as_slice()),
        "invalid tar header",
    );
}

#[test]
fn extension_headers_have_a_limit() {
    let announced =
        Tar::new().member(EntryType::XHeader, "pax", "", b"", |h| h.set_size(10 << 30)).unfinished();
    assert_says(&refused(&announced), "extension header of 10737418240 bytes");
    let long = vec![b'x'; 2 << 20];
    let name =
        Tar::new().member(EntryType::GNULongName, "././@LongLink", "", &long, |_| {}).file("a", "").end();
    assert_says(&refused(&name), "extension header");
    let path = vec![b'x'; 5000];
    assert_says(&refused(&Tar::new().pax(&[("path", &path)]).file("a", "").end()), "path of 5000 bytes");
    assert_says(&refused(&Tar::new().pax(&[("path", b"a\0b")]).file("a", "").end()), "PAX");
}

#[test]
fn bombs_are_defused() {
    let few = Limits { entries: 10, ..Limits::default() };
    let many = (0..11).fold(Tar::new(), |tar, n| tar.file(&format!("f{n}"), "")).end();
    assert_says(&refused_within(&many, few), "more than 10 entries");
    let small = Limits { bytes: 1 << 20, ..Limits::default() };
    let zeros = "\0".repeat(600 << 10);
    let big = gzip(&Tar::new().file("a", &zeros).file("b", &zeros).end());
    assert!(big.len() < 20_000, "it is a bomb");
    assert_says(&refused_within(&big, small), "more than 1048576 bytes");
}

/// An archive of extension headers only never ends in a member; the count catches it.
#[test]
fn endless_headers_are_counted() {
    struct Endless(Vec<u8>, usize);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let n = buffer.len().min(self.0.len() - self.1);
            buffer[..n].copy_from_slice(&self.0[self.1..self.1 + n]);
            self.1 = (self.1 + n) % self.0.len();
            Ok(n)
        }
    }
    let header = Tar::new().member(EntryType::XGlobalHeader, "g", "", b"", |_| {}).unfinished();
    let limits = Limits { entries: 1000, ..Limits::default() };
    let mut reader = Reader::new(Endless(header, 0), limits);
    assert_says(&reader.next().unwrap_err().to_string(), "more than 1000 entries");
}

#[test]
fn compressed_streams_that_break() {
    let whole = gzip(&Tar::new().file("a", &"text ".repeat(10_000)).end());
    assert_says(&refused(&whole[..whole.len() / 2]), "cut off");
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    refused(&flipped);
}

#[test]
fn a_layer_that_is_not_the_promised_one() {
    let world = World::new("promise");
    let promised = oci::digest::Digest::sha256_of(b"something else");
    let archive = Tar::new().file("a", "x").end();
    let error = world.images.layers().unpack(Some(&promised), &archive[..]).err().unwrap();
    assert_eq!(error.kind(), Kind::Hostile);
    assert_says(&error.to_string(), promised.as_str());
    world.assert_clean();
}

/// Overlayfs is steered by attributes; an archive that carries them must not steer.
#[test]
fn overlay_attributes_are_left_out() {
    let world = World::new("xattrs");
    let archive = Tar::new()
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.kept", b"1"),
        ])
        .directory("d")
        .end();
    let diff_id = world.layer(&archive);
    let directory = Root::open(&world.files(&diff_id).join("d")).unwrap();
    assert_eq!(linux::xattr::list(&directory).unwrap(), ["user.kept"]);
}

/// `cp` into a container: links in the container lead inside it, whatever they say.
#[test]
fn an_upload_stays_in_its_root() {
    let scratch = Directory::new("upload");
    let (root, outside) = (scratch.join("root"), scratch.join("outside"));
    std::fs::create_dir_all(root.join("dest")).unwrap();
    std::fs::create_dir_all(&outside).unwrap();
    symlink(&outside, root.join("dest/away")).unwrap();
    symlink("../../outside", root.join("dest/up")).unwrap();
    let handle = Root::open(&root).unwrap();
    let how = Extract {
        base: Path::new("dest"),
        layer: false,
        ownership: Ownership::Fixed { uid: 12, gid: 34 },
        replace: Replace::Anything,
    };
    let put =
        |archive: Vec<u8>| extract_into(&mut Reader::new(&archive[..], Limits::default()), &handle, how);
    put(Tar::new().file("away/x", "1").file("up/y", "2").end()).unwrap();
    assert!(std::fs::read_dir(&outside).unwrap().next().is_none());
    assert!(root.join(outside.strip_prefix("/").unwrap()).join("x").exists());
    assert!(root.join("outside/y").exists());
    for archive in [Tar::new().file("../x", "").end(), Tar::new().hard_link("l", "../../outside").end()] {
        assert_eq!(put(archive).unwrap_err().kind(), Kind::Hostile);
    }
    // Names that mean something in a layer are ordinary here.
    put(Tar::new().file(".wh.x", "text").end()).unwrap();
    assert_eq!(std::fs::read_to_string(root.join("dest/.wh.x")).unwrap(), "text");
    assert_eq!(linux::entry::metadata(&handle, "dest".as_ref()).unwrap().uid, 0);
    let made = linux::entry::metadata(Root::open(&root.join("dest")).unwrap(), ".wh.x".as_ref()).unwrap();
    assert_eq!((made.uid, made.gid), (12, 34));
}

#[test]
fn an_upload_may_insist_on_kinds() {
    let scratch = Directory::new("kinds");
    std::fs::create_dir_all(scratch.join("d")).unwrap();
    std::fs::write(scratch.join("f"), "").unwrap();
    let handle = Root::open(&scratch).unwrap();
    let put = |archive: Vec<u8>, replace| {
        let how = Extract { base: Path::new("."), layer: false, ownership: Ownership::Archive, replace };
        extract_into(&mut Reader::new(&archive[..], Limits::default()), &handle, how)
    };
    let error = put(Tar::new().file("d", "x").end(), Replace::SameKind).unwrap_err();
    assert_says(&error.to_string(), "cannot overwrite directory \"d\" with non-directory \"/\"");
    let error = put(Tar::new().directory("f").end(), Replace::SameKind).unwrap_err();
    assert_says(&error.to_string(), "cannot overwrite non-directory \"f\" with directory \"/\"");
    put(Tar::new().file("d", "x").directory("f").end(), Replace::Anything).unwrap();
    assert!(scratch.join("d").is_file() && scratch.join("f").is_dir());
}

#[test]
fn sparse_maps_that_lie() {
    let old = |offset: u64, length: u64, real: u64| {
        Tar::new()
            .member(EntryType::GNUSparse, "s", "", &[7; 512], |h| {
                let gnu = h.as_gnu_mut().unwrap();
                gnu.sparse[0].set_offset(offset);
                gnu.sparse[0].set_length(length);
                gnu.set_real_size(real);
            })
            .end()
    };
    assert_says(&refused(&old(0, 512, 100)), "sparse file map");
    assert_says(&refused(&old(u64::MAX - 10, 512, u64::MAX)), "sparse");
    assert_says(&refused(&old(0, 100, 512)), "does not fit its data");
    let pax = Tar::new().pax(&[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.realsize", b"9"),
    ]);
    let mut map = b"99999999999\n".to_vec();
    map.resize(512, 0);
    assert_says(&refused(&pax.member(EntryType::Regular, "s", "", &map, |_| {}).end()), "segments");
}

#[test]
fn numbers_that_are_none() {
    let archive = Tar::new()
        .member(EntryType::Regular, "a", "", b"", |h| put(&mut h.as_old_mut().mode, b"zzzzzzz\0"))
        .end();
    assert_says(&refused(&archive), "mode");
}
