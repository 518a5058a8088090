//! A blob on its way in: append, hash, verify, publish.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use oci::digest::{Algorithm, Digest, Hasher};

use super::Blobs;
use crate::{Error, Kind};

/// Names of files that no later process can resume.
pub(super) const FRESH_PREFIX: &str = "new-";

/// Chunk in which an earlier try's bytes are hashed again.
const CHUNK: usize = 1 << 20;

/// A blob with a known digest. Dropping it keeps the bytes for a later try.
pub struct Ingest {
    blobs: Blobs,
    path: PathBuf,
    file: File,
    digest: Digest,
    size: u64,
    offset: u64,
    hasher: Hasher,
}

impl Ingest {
    pub(super) fn open(blobs: Blobs, digest: &Digest, size: u64) -> Result<Self, Error> {
        let path = blobs.ingests().join(format!("{}-{}", digest.algorithm(), digest.hex()));
        let file = open_locked(&path, digest)?;
        let mut ingest = Self {
            blobs,
            path,
            file,
            digest: digest.clone(),
            size,
            offset: 0,
            hasher: Hasher::new(digest.algorithm()),
        };
        ingest.hash_earlier_bytes()?;
        Ok(ingest)
    }

    fn hash_earlier_bytes(&mut self) -> Result<(), Error> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let n = match self.file.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Error::io("read", &self.path, e)),
            };
            self.hasher.update(&chunk[..n]);
            self.offset += n as u64;
        }
        if self.offset > self.size {
            // Left by a try that was told another size; nothing in it can be trusted.
            self.restart()?;
        }
        Ok(())
    }

    /// How many bytes are there already: where the transfer goes on.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The announced size.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The digest that the content must have.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// A second handle on the bytes, for a consumer that follows the transfer; still good after [`Ingest::commit`].
    pub fn reader(&self) -> Result<File, Error> {
        File::open(&self.path).map_err(|e| Error::io("open", &self.path, e))
    }

    /// Appends the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let after = self.offset + bytes.len() as u64;
        if after > self.size {
            self.restart()?;
            return Err(Error::new(
                Kind::Mismatch,
                format!("blob {}: more than the announced {} bytes", self.digest, self.size),
            ));
        }
        linux::fault::io("write a blob")
            .and_then(|()| self.file.write_all(bytes))
            .map_err(|e| Error::io("write", &self.path, e))?;
        self.hasher.update(bytes);
        self.offset = after;
        Ok(())
    }

    /// Forgets what is there and starts from the first byte.
    pub fn restart(&mut self) -> Result<(), Error> {
        use std::io::Seek;
        self.file.set_len(0).map_err(|e| Error::io("ftruncate", &self.path, e))?;
        self.file.rewind().map_err(|e| Error::io("lseek", &self.path, e))?;
        self.offset = 0;
        self.hasher = Hasher::new(self.digest.algorithm());
        Ok(())
    }

    /// Verifies and publishes. A wrong content is deleted; a short one is kept, since its rest may still come.
    pub fn commit(self) -> Result<(), Error> {
        if self.offset < self.size {
            return Err(Error::new(
                Kind::Mismatch,
                format!("blob {}: ends after {} of {} bytes", self.digest, self.offset, self.size),
            ));
        }
        let actual = self.hasher.finish();
        if actual != self.digest {
            super::remove_file(&self.path)?;
            return Err(Error::new(
                Kind::Mismatch,
                format!("blob {}: the content has digest {actual}", self.digest),
            ));
        }
        self.blobs.publish(&self.file, &self.path, &self.digest)
    }

    /// Deletes what came in so far.
    pub fn discard(self) -> Result<(), Error> {
        super::remove_file(&self.path)
    }
}

impl Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::write(self, bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A blob that gets its name when all of it is known. Dropping it deletes it.
pub struct Fresh {
    blobs: Blobs,
    path: Scratch,
    file: File,
    size: u64,
    hasher: Hasher,
}

impl Fresh {
    pub(super) fn create(blobs: Blobs) -> Result<Self, Error> {
        let path = blobs.ingests().join(fresh_name()?);
        let file = linux::fault::io("open a blob")
            .and_then(|()| OpenOptions::new().write(true).create_new(true).open(&path))
            .map_err(|e| Error::io("open", &path, e))?;
        Ok(Self { blobs, path: Scratch(path), file, size: 0, hasher: Hasher::new(Algorithm::Sha256) })
    }

    /// Appends the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        linux::fault::io("write a blob")
            .and_then(|()| self.file.write_all(bytes))
            .map_err(|e| Error::io("write", &self.path.0, e))?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// The sha256 of what is there so far.
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Publishes under the sha256 of all bytes.
    pub fn commit(self) -> Result<(Digest, u64), Error> {
        let digest = self.hasher.finish();
        self.blobs.publish(&self.file, &self.path.0, &digest)?;
        Ok((digest, self.size))
    }
}

impl Write for Fresh {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::write(self, bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Deletes its file when dropped; after a publication there is nothing left to delete.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

pub(super) fn fresh_name() -> Result<String, Error> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| Error::new(Kind::Other, format!("getrandom: {e}")))?;
    Ok(format!("{FRESH_PREFIX}{}", hex::encode(random)))
}

/// Opens a partial blob that nobody else is writing.
///
/// The lock belongs to the inode. Between our open and our lock its owner may have published that very inode, and we would append
/// to a finished blob; so the name must still lead to what we locked.
fn open_locked(path: &Path, digest: &Digest) -> Result<File, Error> {
    loop {
        let file = linux::fault::io("open a blob")
            .and_then(|()| OpenOptions::new().read(true).append(true).create(true).open(path))
            .map_err(|e| Error::io("open", path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(Kind::Busy, format!("blob {digest} is already being fetched")));
            }
            Err(TryLockError::Error(e)) => return Err(Error::io("flock", path, e)),
        }
        let locked = file.metadata().map_err(|e| Error::io("fstat", path, e))?;
        match fs::metadata(path) {
            Ok(named) if named.ino() == locked.ino() && named.dev() == locked.dev() => return Ok(file),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("stat", path, e)),
        }
    }
}

/// Deletes a partial blob unless somebody works on it.
pub(super) fn remove_if_idle(path: &Path) -> Result<(), Error> {
    let Ok(file) = File::open(path) else { return Ok(()) };
    match file.try_lock() {
        Ok(()) => super::remove_file(path),
        Err(_) => Ok(()),
    }
}
