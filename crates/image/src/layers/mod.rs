//! Unpacked layers: immutable directories keyed by diff ID.
//!
//! A layer is unpacked without looking at what lies below it. That makes it parallel and shareable between all images that have it,
//! and it leaves two things open that only a stack of layers can answer (directories a layer implies, hard links into lower
//! layers); see [`fixups`].
//!
//! ```text
//!  unpack    work/<random>/fs      decompress, hash and write in one pass; dropped: deleted
//!  publish   <alg>/<diff id>/fs    rename, syncfs, then the record, in one transaction with the image that needs it
//!  detach    gone/<random>         out of sight by a rename; deleted when nobody waits
//! ```
//!
//! A directory without a record is what a crash left: it is deleted when the store opens. A record never lacks its directory, since
//! it is removed first.

pub(crate) mod fixups;
mod pipeline;

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use linux::path::Root;
use linux::{Errno, disk, entry};
use oci::digest::Digest;
use oci::image::chain_ids;
use serde::{Deserialize, Serialize};
use store::fault;
use store::records::{Record, Records, Transaction};

use crate::archive::{Extract, Limits, Ownership, Reader, Replace, extract_into};
use crate::{Error, Kind, Paths};
use fixups::Fixups;

/// What is known of an unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Size of its uncompressed archive.
    pub archive_size: u64,
    /// Bytes of its files.
    pub size: u64,
    pub entries: u64,
    /// Attributes of `/`, if the layer sets them.
    pub root: Option<RootAttributes>,
    /// Whether it implies something about layers below.
    pub fixups: bool,
    /// The blob that it was unpacked from, or one with the same content: what an image made on top of it refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<Digest>,
}

/// Whose the root directory of a container is, and who may do what there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootAttributes {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Record for Layer {
    const KIND: &'static str = "layer";
    const VERSION: u32 = 1;
}

/// What a stack of layers implies, resolved for exactly this stack. Its id is the chain ID of the topmost.
#[derive(Debug, Serialize, Deserialize)]
struct Chain {
    diff_ids: Vec<Digest>,
    /// Whether there is a directory to stack on top; most implications turn out to be none.
    directory: bool,
}

impl Record for Chain {
    const KIND: &'static str = "layer-chain";
    const VERSION: u32 = 1;
}

/// All unpacked layers. Cheap to clone.
#[derive(Clone)]
pub struct Layers {
    inner: Arc<Inner>,
}

struct Inner {
    paths: Paths,
    records: Records,
    known: RwLock<HashMap<Digest, Layer>>,
    /// Chains that are resolved, and whether they have a directory.
    chains: Mutex<HashMap<Digest, bool>>,
}

/// A layer that is unpacked and verified, but not yet where others see it.
#[must_use = "an unpacked layer that is not published is deleted"]
pub struct Unpacked {
    diff_id: Digest,
    layer: Layer,
    work: Scratch,
}

impl Unpacked {
    pub fn diff_id(&self) -> &Digest {
        &self.diff_id
    }

    pub fn layer(&self) -> &Layer {
        &self.layer
    }
}

/// A directory that is deleted with all below it when dropped; nothing to do after a rename.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn create(parent: &Path) -> Result<Self, Error> {
        let path = Self::fresh(parent)?;
        linux::fault::io("make a working directory")
            .and_then(|()| std::fs::create_dir(&path))
            .map_err(|e| Error::caused(Kind::Other, format!("mkdir({path:?})"), e))?;
        Ok(Self(path))
    }

    /// Takes a directory out of sight; `None` when there is none. A disk without room for another name lets it be deleted
    /// where it is: nothing may be needed for giving something back.
    pub(crate) fn set_aside(directory: &Path, parent: &Path) -> Result<Option<Self>, Error> {
        let path = Self::fresh(parent)?;
        match std::fs::rename(directory, &path) {
            Ok(()) => Ok(Some(Self(path))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
                ) =>
            {
                Ok(Some(Self(directory.to_owned())))
            }
            Err(e) => Err(Error::caused(Kind::Other, format!("rename({directory:?})"), e)),
        }
    }

    fn fresh(parent: &Path) -> Result<PathBuf, Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|e| Error::new(Kind::Other, format!("getrandom: {e}")))?;
        Ok(parent.join(hex::encode(random)))
    }

    /// Whether a file has a name as this gives them.
    pub(crate) fn is_name(name: &str) -> bool {
        name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = delete_tree(&self.0) {
            tracing::warn!(%error, "left for the next start");
        }
    }
}

impl Layers {
    /// Opens the store and deletes what no record knows.
    pub fn open(paths: &Paths, records: &Records) -> Result<Self, Error> {
        for directory in [paths.layer_work(), paths.layers_gone(), paths.chains(), paths.empty_layer()] {
            make_private_directory(&directory)?;
        }
        place_layers_apart(&paths.layer_work())?;
        let known = records.read(|r| r.list::<Layer>())?;
        let known: HashMap<Digest, Layer> =
            known.into_iter().filter_map(|(id, layer)| Some((id.parse().ok()?, layer))).collect();
        let chains = records.read(|r| r.list::<Chain>())?;
        let chains: HashMap<Digest, bool> =
            chains.into_iter().filter_map(|(id, chain)| Some((id.parse().ok()?, chain.directory))).collect();
        let layers = Self {
            inner: Arc::new(Inner {
                paths: paths.clone(),
                records: records.clone(),
                known: RwLock::new(known),
                chains: Mutex::new(chains),
            }),
        };
        layers.sweep()?;
        Ok(layers)
    }

    /// Whether a layer is unpacked and durable.
    pub fn contains(&self, diff_id: &Digest) -> bool {
        self.get(diff_id).is_some()
    }

    pub fn get(&self, diff_id: &Digest) -> Option<Layer> {
        self.inner.known.read().unwrap_or_else(PoisonError::into_inner).get(diff_id).cloned()
    }

    /// Every layer that is here.
    pub fn list(&self) -> Vec<(Digest, Layer)> {
        let known = self.inner.known.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|(digest, layer)| (digest.clone(), layer.clone())).collect()
    }

    /// Unpacks a layer's archive, compressed or not, and compares it with `expected`.
    ///
    /// Reads `source` to its very end. Decompression and hashing run on a thread of their own, writing on the caller's.
    pub fn unpack(&self, expected: Option<&Digest>, source: impl Read + Send) -> Result<Unpacked, Error> {
        self.unpack_within(expected, source, Limits::default())
    }

    /// [`Self::unpack`] with other limits.
    pub fn unpack_within(
        &self,
        expected: Option<&Digest>,
        source: impl Read + Send,
        limits: Limits,
    ) -> Result<Unpacked, Error> {
        let work = Scratch::create(&self.inner.paths.layer_work())?;
        let files = work.path().join("fs");
        make_directory(&files)?;
        let root = Root::open(&files)?;
        let how = Extract {
            base: Path::new(""),
            layer: true,
            ownership: Ownership::Archive,
            replace: Replace::Anything,
        };
        let (found, stream) = pipeline::run(source, |plain| {
            let mut reader = Reader::new(plain, limits);
            let found = extract_into(&mut reader, &root, how)?;
            Ok((found, reader.into_rest()))
        })?;
        if let Some(expected) = expected
            && *expected != stream.digest
        {
            return Err(Error::new(
                Kind::Hostile,
                format!("layer has diff ID {}, its image says {expected}", stream.digest),
            ));
        }
        let fixups = Fixups { implied: found.implied, links: found.links };
        if !fixups.is_empty() {
            fixups.write(work.path())?;
        }
        let layer = Layer {
            archive_size: stream.size,
            size: found.bytes,
            entries: found.entries,
            root: found.has_root.then(|| root_attributes(&root)).transpose()?,
            fixups: !fixups.is_empty(),
            archive: None,
        };
        Ok(Unpacked { diff_id: stream.digest, layer, work })
    }

    /// Makes layers durable and visible. `record` is the rest of the transaction that gives them a reason to exist: when it fails,
    /// they are deleted again, at the next start if not at once. One publication at a time: the caller sees to it.
    ///
    /// `stacks` are the diff IDs, bottom first, of the images that are about to use them; `archives` says which blob each of them
    /// came from.
    pub fn publish<T>(
        &self,
        unpacked: Vec<Unpacked>,
        stacks: &[Vec<Digest>],
        archives: &HashMap<Digest, Digest>,
        record: impl FnOnce(&Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut placed: HashMap<Digest, Layer> = HashMap::new();
        let mut chains = Vec::new();
        let published = self.place_all(unpacked, stacks, &mut placed, &mut chains).and_then(|()| {
            // Known before, from a blob that may be gone by now.
            for (diff_id, archive) in archives {
                if let Some(layer) = placed.get(diff_id).cloned().or_else(|| self.get(diff_id))
                    && layer.archive.as_ref() != Some(archive)
                {
                    placed.insert(diff_id.clone(), Layer { archive: Some(archive.clone()), ..layer });
                }
            }
            self.inner.records.write(|t| {
                for (diff_id, layer) in &placed {
                    t.put(diff_id.as_str(), layer)?;
                }
                for (id, chain) in &chains {
                    t.put(id.as_str(), chain)?;
                }
                record(t)
            })
        });
        if published.is_err() {
            self.take_back(placed.keys(), &chains);
            return published;
        }
        self.inner.known.write().unwrap_or_else(PoisonError::into_inner).extend(placed);
        let mut known = self.inner.chains.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(chains.into_iter().map(|(id, chain)| (id, chain.directory)));
        published
    }

    /// Puts layers in their places, and on the disk. What was done by the time of an error is in `placed` and `chains`.
    fn place_all(
        &self,
        unpacked: Vec<Unpacked>,
        stacks: &[Vec<Digest>],
        placed: &mut HashMap<Digest, Layer>,
        chains: &mut Vec<(Digest, Chain)>,
    ) -> Result<(), Error> {
        for unpacked in unpacked {
            let Unpacked { diff_id, layer, work } = unpacked;
            if !self.contains(&diff_id) && !placed.contains_key(&diff_id) {
                self.place(&diff_id, &work)?;
                placed.insert(diff_id, layer);
            }
        }
        for stack in stacks {
            self.resolve_chains(stack, placed, chains)?;
        }
        if !placed.is_empty() || !chains.is_empty() {
            let handle = Root::open(&self.inner.paths.layers())?;
            let readable = entry::read_node(&handle)?;
            linux::fault::point("sync layers")?;
            disk::sync_file_system(&readable)?;
        }
        Ok(())
    }

    /// Deletes what was placed and has not been recorded. What cannot be deleted waits for the next start.
    fn take_back<'a>(&self, placed: impl Iterator<Item = &'a Digest>, chains: &[(Digest, Chain)]) {
        let paths = &self.inner.paths;
        let layers = placed.filter(|diff_id| !self.contains(diff_id)).map(|diff_id| paths.layer(diff_id));
        let chains = chains
            .iter()
            .filter(|(id, chain)| chain.directory && !self.chain_has_directory(id))
            .map(|(id, _)| paths.chain(id));
        for directory in layers.chain(chains) {
            if let Err(error) = Scratch::set_aside(&directory, &paths.layers_gone()) {
                tracing::warn!(%error, "left for the next start");
            }
        }
    }

    fn place(&self, diff_id: &Digest, work: &Scratch) -> Result<(), Error> {
        let to = self.inner.paths.layer(diff_id);
        if let Some(parent) = to.parent() {
            make_private_directory(parent)?;
        }
        fault::point("place a layer")?;
        match std::fs::rename(work.path(), &to) {
            Ok(()) => {
                fault::passed("a layer is placed");
                Ok(())
            }
            // Somebody was quicker, or a transaction failed after this point: the same content either way, and verified.
            Err(e) if matches!(e.raw_os_error(), Some(n) if n == Errno::NOTEMPTY.raw_os_error() || n == Errno::EXIST.raw_os_error()) => {
                Ok(())
            }
            Err(e) => Err(Error::caused(Kind::Other, format!("rename({to:?})"), e)),
        }
    }

    /// The directories to stack for an image, topmost first, as overlayfs wants them.
    pub fn lowers(&self, diff_ids: &[Digest]) -> Result<Vec<PathBuf>, Error> {
        if diff_ids.is_empty() {
            return Ok(vec![self.inner.paths.empty_layer()]);
        }
        let mut lowers = Vec::with_capacity(diff_ids.len());
        for (diff_id, chain_id) in diff_ids.iter().zip(chain_ids(diff_ids)) {
            let Some(layer) = self.get(diff_id) else {
                return Err(Error::new(Kind::NotFound, format!("layer does not exist: {diff_id}")));
            };
            lowers.push(self.inner.paths.layer_files(diff_id));
            if layer.fixups && self.chain_has_directory(&chain_id) {
                lowers.push(self.inner.paths.chain(&chain_id).join("fs"));
            }
        }
        lowers.reverse();
        Ok(lowers)
    }

    /// Attributes of `/` in an image: those of the topmost layer that sets them.
    pub fn root_attributes(&self, diff_ids: &[Digest]) -> Option<RootAttributes> {
        diff_ids.iter().rev().find_map(|diff_id| self.get(diff_id)?.root)
    }

    fn chain_has_directory(&self, chain_id: &Digest) -> bool {
        let chains = self.inner.chains.lock().unwrap_or_else(PoisonError::into_inner);
        chains.get(chain_id).copied().unwrap_or(false)
    }

    /// Resolves what the layers of a stack imply, where that is not done yet. The layers are in place, but perhaps not recorded.
    fn resolve_chains(
        &self,
        stack: &[Digest],
        placed: &HashMap<Digest, Layer>,
        resolved: &mut Vec<(Digest, Chain)>,
    ) -> Result<(), Error> {
        let mut lowers: Vec<PathBuf> = Vec::new();
        for (at, (diff_id, chain_id)) in stack.iter().zip(chain_ids(stack)).enumerate() {
            let files = self.inner.paths.layer_files(diff_id);
            let layer = placed
                .get(diff_id)
                .cloned()
                .or_else(|| self.get(diff_id))
                .ok_or_else(|| Error::new(Kind::NotFound, format!("layer does not exist: {diff_id}")))?;
            let known =
                self.inner.chains.lock().unwrap_or_else(PoisonError::into_inner).get(&chain_id).copied();
            let directory = match known {
                Some(directory) => directory,
                None if layer.fixups => {
                    let directory = self.resolve_chain(&chain_id, diff_id, &lowers)?;
                    resolved.push((chain_id.clone(), Chain { diff_ids: stack[..=at].to_vec(), directory }));
                    directory
                }
                None => false,
            };
            lowers.insert(0, files);
            if directory {
                lowers.insert(0, self.inner.paths.chain(&chain_id).join("fs"));
            }
        }
        Ok(())
    }

    fn resolve_chain(&self, chain_id: &Digest, diff_id: &Digest, lowers: &[PathBuf]) -> Result<bool, Error> {
        let fixups = Fixups::read(&self.inner.paths.layer(diff_id))?;
        let work = Scratch::create(&self.inner.paths.layer_work())?;
        make_directory(&work.path().join("fs"))?;
        let directory =
            fixups.resolve(lowers, &self.inner.paths.layer_files(diff_id), &work.path().join("fs"))?;
        if directory {
            let to = self.inner.paths.chain(chain_id);
            // What a failed transaction left.
            delete_tree(&to)?;
            linux::fault::io("place a chain")
                .and_then(|()| std::fs::rename(work.path(), &to))
                .map_err(|e| Error::caused(Kind::Other, format!("rename({to:?})"), e))?;
        }
        Ok(directory)
    }

    /// Forgets layers that nobody refers to. Their directories are out of sight afterwards; dropping the result deletes them. The
    /// caller makes sure, under the leases' lock, that nobody needs them.
    pub(crate) fn detach(&self, diff_ids: &[Digest]) -> Result<Vec<Scratch>, Error> {
        if diff_ids.is_empty() {
            return Ok(Vec::new());
        }
        let dropped: HashSet<&Digest> = diff_ids.iter().collect();
        let chains: Vec<(String, Chain)> = (self.inner.records.read(|r| r.list::<Chain>())?.into_iter())
            .filter(|(_, chain)| chain.diff_ids.iter().any(|d| dropped.contains(d)))
            .collect();
        self.inner.records.write::<_, Error>(|t| {
            for diff_id in diff_ids {
                t.remove::<Layer>(diff_id.as_str())?;
            }
            for (id, _) in &chains {
                t.remove::<Chain>(id)?;
            }
            Ok(())
        })?;
        let mut known = self.inner.known.write().unwrap_or_else(PoisonError::into_inner);
        diff_ids.iter().for_each(|d| drop(known.remove(d)));
        drop(known);
        let mut gone = Vec::new();
        for diff_id in diff_ids {
            gone.extend(self.set_aside(&self.inner.paths.layer(diff_id))?);
        }
        for (id, chain) in chains {
            let Ok(id) = id.parse::<Digest>() else { continue };
            self.inner.chains.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            if chain.directory {
                gone.extend(self.set_aside(&self.inner.paths.chain(&id))?);
            }
        }
        Ok(gone)
    }

    fn set_aside(&self, path: &Path) -> Result<Option<Scratch>, Error> {
        Scratch::set_aside(path, &self.inner.paths.layers_gone())
    }

    /// Deletes what a crash left: unfinished work, and directories without a record.
    fn sweep(&self) -> Result<(), Error> {
        let paths = &self.inner.paths;
        for parent in [paths.layer_work(), paths.layers_gone()] {
            for name in children(&parent)? {
                delete_tree(&parent.join(name))?;
            }
        }
        for algorithm in oci::digest::Algorithm::ALL {
            let parent = paths.layers().join(algorithm.as_str());
            for name in children(&parent)? {
                let digest = format!("{algorithm}:{}", name.to_string_lossy()).parse::<Digest>();
                if !digest.is_ok_and(|d| self.contains(&d)) {
                    delete_tree(&parent.join(name))?;
                }
            }
        }
        for name in children(&paths.chains())? {
            let digest = format!("sha256:{}", name.to_string_lossy()).parse::<Digest>();
            if !digest.is_ok_and(|d| self.chain_has_directory(&d)) {
                delete_tree(&paths.chains().join(name))?;
            }
        }
        Ok(())
    }
}

fn root_attributes(root: &Root) -> Result<RootAttributes, Error> {
    let metadata = entry::metadata_of(root)?;
    Ok(RootAttributes { mode: metadata.mode, uid: metadata.uid, gid: metadata.gid })
}

/// Deletes a tree of ours by path; a missing one is fine.
pub(crate) fn delete_tree(path: &Path) -> Result<(), Error> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new(Kind::Other, format!("refusing to delete {path:?}")));
    };
    match Root::open(parent) {
        Ok(parent) => Ok(entry::remove_tree(&parent, name)?),
        Err(error) if error.is(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Names in a directory of ours; a missing one has none.
pub(crate) fn children(path: &Path) -> Result<Vec<std::ffi::OsString>, Error> {
    match Root::open(path) {
        Ok(directory) => Ok(entry::list(&directory)?.into_iter().map(|(name, _)| name).collect()),
        Err(error) if error.is(Errno::NOENT) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Layers are unpacked here and keep their place on the disk. ext4 would put one where the last one was, and is slow to
/// hand out an inode that was in use within the last minutes (it looks at each of them first): pulling an image anew would
/// take ten times as long as pulling it at first.
fn place_layers_apart(path: &Path) -> Result<(), Error> {
    let directory =
        std::fs::File::open(path).map_err(|e| Error::caused(Kind::Other, format!("open({path:?})"), e))?;
    Ok(linux::disk::place_apart(&directory)?)
}

/// A directory that becomes a root file system: everyone may enter it, whatever our umask.
pub(crate) fn make_directory(path: &Path) -> Result<(), Error> {
    std::fs::create_dir(path).map_err(|e| Error::caused(Kind::Other, format!("mkdir({path:?})"), e))?;
    let directory = Root::open(path)?;
    Ok(entry::set_mode(&directory, 0o755)?)
}

/// A directory of the store's own, with its parents: nobody else has business there. Search permission stays, because users of
/// user namespaces reach their layers through it.
pub(crate) fn make_private_directory(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(|e| Error::caused(Kind::Other, format!("mkdir({path:?})"), e))?;
    let directory = Root::open(path)?;
    Ok(entry::set_mode(&directory, 0o711)?)
}
