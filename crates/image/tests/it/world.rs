//! A data root per test, and archives by hand: the writer under test would never write what these tests need.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use image::{Images, Progress};
use linux::mount::{self, Overlay};
use linux::path::Root;
use oci::digest::Digest;
use scratch::Directory;
use store::records::Records;
use tar::{EntryType, Header};

pub(crate) struct World {
    pub(crate) images: Images,
    pub(crate) records: Records,
    pub(crate) scratch: Directory,
}

impl World {
    pub(crate) fn new(name: &str) -> World {
        World::open(Directory::new(name))
    }

    /// What an engine finds that starts after this one was killed.
    pub(crate) fn reopen(self) -> World {
        let World { images, records, scratch } = self;
        // The database is one engine's at a time.
        drop((images, records));
        World::open(scratch)
    }

    pub(crate) fn open(scratch: Directory) -> World {
        let records = Records::open(&store::paths::database(&scratch)).unwrap();
        World { images: Images::open(&scratch, &records).unwrap(), records, scratch }
    }

    /// Unpacks and publishes a layer; returns its diff ID.
    pub(crate) fn layer(&self, archive: &[u8]) -> Digest {
        let unpacked = self.images.layers().unpack(None, archive).unwrap();
        let diff_id = unpacked.diff_id().clone();
        self.images.layers().publish(vec![unpacked], &[], &HashMap::new(), |_| Ok(())).unwrap();
        diff_id
    }

    /// Publishes layers as one stack and mounts it read-only.
    pub(crate) fn stack(&self, archives: &[Vec<u8>]) -> Root {
        let unpacked: Vec<_> =
            archives.iter().map(|a| self.images.layers().unpack(None, &a[..]).unwrap()).collect();
        let stack: Vec<Digest> = unpacked.iter().map(|u| u.diff_id().clone()).collect();
        self.images
            .layers()
            .publish(unpacked, std::slice::from_ref(&stack), &HashMap::new(), |_| Ok(()))
            .unwrap();
        let mut lowers = self.images.layers().lowers(&stack).unwrap();
        // Read-only overlays need two layers.
        let empty = self.scratch.join("empty");
        std::fs::create_dir_all(&empty).unwrap();
        lowers.push(empty);
        let overlay = Overlay { lowers: &lowers, upper: None, volatile: false, extra: &[] };
        Root::from_directory(mount::overlay(&overlay).unwrap())
    }

    /// The directory of the only layer.
    pub(crate) fn files(&self, diff_id: &Digest) -> PathBuf {
        self.images.layers().lowers(std::slice::from_ref(diff_id)).unwrap().pop().unwrap()
    }

    /// No half-done work is left below the data root.
    pub(crate) fn assert_clean(&self) {
        for directory in ["layers/work", "layers/gone", "snapshots/gone", "blobs/ingest"] {
            let left: Vec<_> = std::fs::read_dir(self.scratch.join(directory)).unwrap().collect();
            assert!(left.is_empty(), "{directory}: {left:?}");
        }
    }
}

pub(crate) fn quiet(_: Progress) {}

/// An archive, header by header.
#[derive(Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn new() -> Tar {
        Tar::default()
    }

    /// Any member; `set` may change its header before the checksum.
    pub(crate) fn member(
        mut self,
        kind: EntryType,
        path: &str,
        link: &str,
        data: &[u8],
        set: impl FnOnce(&mut Header),
    ) -> Tar {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        put(&mut header.as_old_mut().name, path.as_bytes());
        put(&mut header.as_old_mut().linkname, link.as_bytes());
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        set(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, path: &str, data: &str) -> Tar {
        self.member(EntryType::Regular, path, "", data.as_bytes(), |_| {})
    }

    pub(crate) fn directory(self, path: &str) -> Tar {
        self.member(EntryType::Directory, path, "", &[], |_| {})
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Tar {
        self.member(EntryType::Symlink, path, target, &[], |_| {})
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Tar {
        self.member(EntryType::Link, path, target, &[], |_| {})
    }

    /// A PAX header for the next member.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Tar {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (1..).find(|digits| (rest + digits).to_string().len() == *digits).unwrap() + rest;
            write!(body, "{length} {key}=").unwrap();
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        self.member(EntryType::XHeader, "pax", "", &body, |_| {})
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Tar {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }

    /// Without the end mark.
    pub(crate) fn unfinished(self) -> Vec<u8> {
        self.0
    }
}

pub(crate) fn put(field: &mut [u8], value: &[u8]) {
    field[..value.len()].copy_from_slice(value);
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn read(root: &Root, path: &str) -> String {
    let node = root.resolve(Path::new(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    std::io::read_to_string(linux::entry::read_node(&node).unwrap()).unwrap()
}

pub(crate) fn metadata(root: &Root, path: &str) -> linux::entry::Metadata {
    let (directory, name) = root.parent(Path::new(path)).unwrap();
    linux::entry::metadata(&directory, name).unwrap_or_else(|e| panic!("{path}: {e}"))
}

pub(crate) fn exists(root: &Root, path: &str) -> bool {
    root.resolve_without_links(Path::new(path)).is_ok()
}
