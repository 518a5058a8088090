//! The layer between an image and its containers: the places that the engine's files and the kernel's file systems are
//! mounted on, `/etc/mtab`, which shows mounts to old programs (Java finds file systems by it), and `/.dockerenv`, by
//! which programs tell that they run in a container. Docker has the same under the name of an init layer.
//!
//! It is a lower directory like the image's own: what a container has of it is no change of the container's (`diff`), and
//! no part of an image that is made of it (`commit`). What the image has at these places is covered, links above all: a
//! file of the engine's that were mounted on `/etc/resolv.conf` would else be found wherever that link leads.
//!
//! All containers of an image share one, which the first of them makes. It has no record: a directory that no snapshot
//! stands on is deleted when the engine starts, and one that a power cut swallowed is made again.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use linux::entry;
use linux::path::Root;
use oci::digest::Digest;
use oci::image::chain_ids;
use store::fault;

use crate::archive::copy_attributes;
use crate::layers::fixups::{look, view};
use crate::layers::{RootAttributes, Scratch, children, delete_tree, make_directory, make_private_directory};
use crate::{Error, Layers, Paths};

/// What is put at a place.
enum Thing {
    File,
    Directory,
    Link(&'static str),
}

use Thing::{Directory, File, Link};

/// Directories of the root (empty: `/` itself), and what is in each.
const PLACES: [(&str, &[(&str, Thing)]); 3] = [
    ("", &[(".dockerenv", File), ("proc", Directory), ("sys", Directory)]),
    ("dev", &[("console", File), ("pts", Directory), ("shm", Directory)]),
    ("etc", &[("hostname", File), ("hosts", File), ("mtab", Link("/proc/mounts")), ("resolv.conf", File)]),
];

/// The scaffolds of all images that containers stand on.
pub(crate) struct Scaffolds {
    paths: Paths,
    /// By the layers below.
    made: Mutex<HashMap<Vec<Digest>, PathBuf>>,
}

impl Scaffolds {
    /// Keeps what belongs to one of `stacks`, and deletes all else.
    pub(crate) fn open<'a>(
        paths: &Paths,
        stacks: impl Iterator<Item = &'a Vec<Digest>>,
    ) -> Result<Self, Error> {
        make_private_directory(&paths.scaffolds())?;
        let mut made = HashMap::new();
        for stack in stacks {
            let directory = directory(paths, stack);
            if directory.is_dir() {
                made.insert(stack.clone(), directory);
            }
        }
        for name in children(&paths.scaffolds())? {
            let path = paths.scaffolds().join(name);
            if !made.values().any(|kept| *kept == path) {
                delete_tree(&path)?;
            }
        }
        Ok(Self { paths: paths.clone(), made: Mutex::new(made) })
    }

    /// The directory to stack on an image's layers.
    pub(crate) fn of(&self, layers: &Layers, stack: &[Digest]) -> Result<PathBuf, Error> {
        let mut made = self.made();
        if let Some(known) = made.get(stack) {
            return Ok(known.join("fs"));
        }
        let directory = directory(&self.paths, stack);
        let work = Scratch::create(&self.paths.layer_work())?;
        let files = work.path().join("fs");
        make_directory(&files)?;
        let image = layers.lowers(stack)?;
        build(view(&image)?.as_ref(), layers.root_attributes(stack), &Root::open(&files)?)?;
        fault::point("place a scaffold")?;
        // One that could not be moved out of sight is deleted where it is.
        delete_tree(&directory)?;
        std::fs::rename(work.path(), &directory)
            .map_err(|e| Error::caused(crate::Kind::Other, format!("rename({directory:?})"), e))?;
        made.insert(stack.to_vec(), directory.clone());
        Ok(directory.join("fs"))
    }

    /// Takes away those that stand on layers which are gone. Dropping the result deletes them.
    pub(crate) fn set_aside(&self, gone: &[Digest]) -> Result<Vec<Scratch>, Error> {
        let mut made = self.made();
        let on_them = |stack: &&Vec<Digest>| stack.iter().any(|layer| gone.contains(layer));
        let stacks: Vec<Vec<Digest>> = made.keys().filter(on_them).cloned().collect();
        let mut aside = Vec::new();
        for stack in stacks {
            if let Some(directory) = made.remove(&stack) {
                aside.extend(Scratch::set_aside(&directory, &self.paths.layers_gone())?);
            }
        }
        Ok(aside)
    }

    fn made(&self) -> MutexGuard<'_, HashMap<Vec<Digest>, PathBuf>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the scaffold on a stack of layers is. An image without layers has one as well.
fn directory(paths: &Paths, stack: &[Digest]) -> PathBuf {
    let chain = chain_ids(stack).pop();
    paths.scaffolds().join(chain.as_ref().map_or("none", Digest::hex))
}

/// Fills `into` for an image.
fn build(image: Option<&Root>, root: Option<RootAttributes>, into: &Root) -> Result<(), Error> {
    if let Some(root) = root {
        entry::set_owner(into, root.uid, root.gid)?;
        entry::set_mode(into, root.mode)?;
    }
    for (parent, things) in &PLACES {
        let model = match (image, *parent) {
            (Some(image), "") => Some((image.resolve(Path::new("/"))?, entry::metadata_of(image)?)),
            (Some(image), parent) => look(image, Path::new(parent))?,
            (None, _) => None,
        };
        // Where a link leads is the image's affair: whoever mounts something there follows it.
        if model.as_ref().is_some_and(|(_, metadata)| metadata.kind == entry::Kind::Symlink) {
            continue;
        }
        let model = model.filter(|(_, metadata)| metadata.is_directory());
        let directory = make_parent(into, parent, model.as_ref().map(|(node, _)| node))?;
        for (name, thing) in *things {
            let name = OsStr::new(name);
            if !model.as_ref().is_some_and(|(node, _)| has_directory(node, name)) {
                put(&directory, name, thing)?;
            }
        }
        if let Some((_, metadata)) = model {
            entry::set_modified(&directory, metadata.modified)?;
        }
    }
    Ok(())
}

/// One of the root's directories, which looks as the image's.
fn make_parent(into: &Root, name: &str, model: Option<&OwnedFd>) -> Result<OwnedFd, Error> {
    if name.is_empty() {
        return Ok(into.resolve(Path::new("/"))?);
    }
    put(into, OsStr::new(name), &Directory)?;
    let made = entry::directory(into, OsStr::new(name))?;
    if let Some(model) = model {
        copy_attributes(model, &made)?;
    }
    Ok(made)
}

fn has_directory(parent: &OwnedFd, name: &OsStr) -> bool {
    entry::metadata(parent, name).is_ok_and(|metadata| metadata.is_directory())
}

/// Everybody may read and execute it, as in Docker, whatever our umask.
fn put(directory: impl AsFd, name: &OsStr, thing: &Thing) -> Result<(), Error> {
    fault::point("make a part of a scaffold")?;
    let directory = directory.as_fd();
    match thing {
        File => drop(entry::create_file(directory, name, 0o755)?),
        Directory => entry::make_directory(directory, name, 0o755)?,
        Link(target) => return Ok(entry::make_symlink(directory, name, OsStr::new(target))?),
    }
    Ok(entry::set_mode(entry::node(directory, name)?, 0o755)?)
}
