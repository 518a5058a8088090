//! Blobs: immutable contents by digest.
//!
//! A blob appears under its digest only when every byte was hashed and is on disk:
//!
//! ```text
//!  ingest/sha256-<hex>   append + hash …  ──digest and size right──▶  fdatasync, rename, fsync(directory)  ──▶ sha256/<hex>
//!                        crash: kept, a resumed ingest hashes what is there and goes on at its end
//!                        wrong digest: deleted, so the next try starts clean
//! ```
//!
//! An ingest holds a lock on its file: a second one of the same digest is told [`Kind::Busy`], it never interleaves. Documents
//! (manifests, configs) go through [`Blobs::put`] and come back through [`Blobs::read`], which hashes them again: they are small, and
//! everything else depends on them.
//!
//! Limits: a document has at most [`DOCUMENT_LIMIT`] bytes; an ingest never grows beyond the size it was announced with.

mod ingest;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use oci::digest::{Algorithm, Digest};

use crate::{Error, Kind, fault};
pub use ingest::{Fresh, Ingest};

/// Largest document. The distribution specification asks for at least 4 MiB; nobody has been seen with more than a few hundred KiB.
pub const DOCUMENT_LIMIT: u64 = 16 << 20;

/// The blobs below one directory. Cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    root: Arc<Path>,
}

/// A blob that has left its name and is deleted when this is dropped. Detaching is quick, deleting a gigabyte is not.
#[must_use]
pub struct Detached {
    path: PathBuf,
    size: u64,
}

/// One stored blob.
#[derive(Debug, Clone)]
pub struct Stored {
    pub digest: Digest,
    pub size: u64,
    pub modified: SystemTime,
}

impl Blobs {
    /// Opens or creates the directory, and deletes what a crashed process can never resume.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let blobs = Self { root: root.into() };
        for algorithm in Algorithm::ALL {
            create_directory(&root.join(algorithm.as_str()))?;
        }
        create_directory(&blobs.ingests())?;
        for entry in list_directory(&blobs.ingests())? {
            if entry.file_name().to_string_lossy().starts_with(ingest::FRESH_PREFIX) {
                remove_file(&entry.path())?;
            }
        }
        Ok(blobs)
    }

    /// Where a blob is, or would be. For handing to a reader; never write there.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join(digest.algorithm().as_str()).join(digest.hex())
    }

    /// The size of a blob that is present.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.path(digest)).ok().map(|m| m.len())
    }

    /// Whether a blob is present and complete.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.size(digest).is_some()
    }

    /// Opens a blob for streaming. Its bytes were verified when they came in.
    pub fn reader(&self, digest: &Digest) -> Result<File, Error> {
        let path = self.path(digest);
        File::open(&path).map_err(|e| Error::io("open", &path, e))
    }

    /// Reads a document and verifies it again.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let path = self.path(digest);
        let mut content = Vec::new();
        self.reader(digest)?
            .take(DOCUMENT_LIMIT + 1)
            .read_to_end(&mut content)
            .map_err(|e| Error::io("read", &path, e))?;
        if content.len() as u64 > DOCUMENT_LIMIT {
            return Err(Error::new(
                Kind::Mismatch,
                format!("blob {digest} is no document: more than {DOCUMENT_LIMIT} bytes"),
            ));
        }
        if !digest.matches(&content) {
            return Err(Error::new(
                Kind::Corrupt,
                format!("blob {digest} was damaged on disk: {path:?} has another digest"),
            ));
        }
        Ok(content)
    }

    /// Stores a document under its sha256.
    pub fn put(&self, content: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::sha256_of(content);
        // One that was damaged since is replaced.
        if self.read(&digest).is_ok() {
            return Ok(digest);
        }
        let mut fresh = self.create()?;
        fresh.write(content)?;
        fresh.commit()?;
        Ok(digest)
    }

    /// Begins or resumes the ingest of a blob whose digest is known; [`Ingest::offset`] says where to go on.
    ///
    /// Hashes what an earlier try left, so call it where blocking is fine.
    pub fn ingest(&self, digest: &Digest, size: u64) -> Result<Ingest, Error> {
        Ingest::open(self.clone(), digest, size)
    }

    /// Begins a blob whose digest is known only at its end.
    pub fn create(&self) -> Result<Fresh, Error> {
        Fresh::create(self.clone())
    }

    /// Every complete blob.
    pub fn list(&self) -> Result<Vec<Stored>, Error> {
        let mut found = Vec::new();
        for algorithm in Algorithm::ALL {
            for entry in list_directory(&self.root.join(algorithm.as_str()))? {
                let name = entry.file_name();
                let Ok(digest) = format!("{algorithm}:{}", name.to_string_lossy()).parse() else { continue };
                // Deleted since the listing: not ours to report.
                let Ok(metadata) = entry.metadata() else { continue };
                let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.push(Stored { digest, size: metadata.len(), modified });
            }
        }
        Ok(found)
    }

    /// Takes a blob out of sight; `None` when it was not there. Call it inside [`crate::leases::Leases::collect`].
    pub fn detach(&self, digest: &Digest) -> Result<Option<Detached>, Error> {
        let Some(size) = self.size(digest) else { return Ok(None) };
        let path = self.ingests().join(ingest::fresh_name()?);
        fault::point("take a blob out of sight")?;
        match fs::rename(self.path(digest), &path) {
            Ok(()) => Ok(Some(Detached { path, size })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("rename", &self.path(digest), e)),
        }
    }

    /// Deletes partial blobs that nobody has continued for `age`.
    pub fn expire_ingests(&self, age: Duration) -> Result<(), Error> {
        for entry in list_directory(&self.ingests())? {
            let Ok(modified) = entry.metadata().and_then(|m| m.modified()) else { continue };
            if modified.elapsed().is_ok_and(|idle| idle >= age) {
                ingest::remove_if_idle(&entry.path())?;
            }
        }
        Ok(())
    }

    fn ingests(&self) -> PathBuf {
        self.root.join("ingest")
    }

    /// Makes a complete file visible under its digest.
    fn publish(&self, file: &File, from: &Path, digest: &Digest) -> Result<(), Error> {
        let to = self.path(digest);
        file.set_permissions(fs::Permissions::from_mode(0o444)).map_err(|e| Error::io("fchmod", from, e))?;
        linux::fault::io("sync a blob")
            .and_then(|()| file.sync_data())
            .map_err(|e| Error::io("fdatasync", from, e))?;
        fault::point("publish a blob")?;
        fs::rename(from, &to).map_err(|e| Error::io("rename", &to, e))?;
        let directory = self.root.join(digest.algorithm().as_str());
        linux::fault::io("a blob is published")
            .and_then(|()| File::open(&directory)?.sync_all())
            .map_err(|e| Error::io("fsync", &directory, e))
    }
}

impl Detached {
    /// How many bytes its deletion gives back.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        // What remains is deleted when the store is opened again.
        let _ = fs::remove_file(&self.path);
    }
}

fn create_directory(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|e| Error::io("mkdir", path, e))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(|e| Error::io("chmod", path, e))
}

fn list_directory(path: &Path) -> Result<Vec<fs::DirEntry>, Error> {
    fs::read_dir(path).and_then(Iterator::collect).map_err(|e| Error::io("readdir", path, e))
}

fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("unlink", path, e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
