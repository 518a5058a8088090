//! Taking names and images away, with Docker's rules about what stands in the way.
//!
//! | asked for | what happens |
//! |---|---|
//! | a name, others remain | the name goes |
//! | the last tag of a repository | its digests there go too, they would name nothing a person knows |
//! | the last name | the image goes, unless a container stands on it |
//! | an id with names in one repository | all names and the image go |
//! | an id with several names | refused, unless forced |
//!
//! A running container or a child image stands in the way whatever is asked; a stopped container only if not forced: it keeps its
//! layers, which belong to its snapshot.

use std::collections::HashSet;

use oci::digest::Digest;
use oci::image::chain_ids;
use oci::reference::Reference;

use super::{Image, Images, Stored, namespace};
use crate::{Error, Kind};

/// A container that stands on an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    pub container: String,
    pub running: bool,
}

/// Who stands on which image: the engine knows, this crate asks.
pub trait Users {
    fn of(&self, image: &Digest) -> Vec<Usage>;
}

impl<F: Fn(&Digest) -> Vec<Usage>> Users for F {
    fn of(&self, image: &Digest) -> Vec<Usage> {
        self(image)
    }
}

/// What a removal has done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    Untagged {
        name: Reference,
        image: Digest,
    },
    /// An image is gone.
    Image(Digest),
    /// A layer is gone; its chain ID, as Docker tells it.
    Layer(Digest),
}

struct Conflict {
    image: Digest,
    hard: bool,
    used: bool,
    why: String,
}

impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Self {
        let force = if conflict.hard { "cannot be forced" } else { "must be forced" };
        let (image, why) = (conflict.image.short(), conflict.why);
        Self::new(Kind::Conflict, format!("conflict: unable to delete {image} ({force}) - {why}"))
    }
}

impl Images {
    /// Removes what a person named: a name, or an image.
    pub fn remove(
        &self,
        text: &str,
        force: bool,
        prune: bool,
        users: &dyn Users,
    ) -> Result<Vec<Removed>, Error> {
        let image = self.resolve(text)?;
        let names = self.names_of(&image.id);
        let all: Vec<Reference> = names.all().cloned().collect();
        let mut removed = Vec::new();
        let mut quiet = false;
        if Self::is_id_of(&image, text) {
            if is_single(&all) {
                self.check(&image, force, true, users)?;
                self.untag(&all, &image.id, &mut removed)?;
            }
        } else {
            if !force && is_single(&all) {
                self.check_last_name(text, &image, users)?;
            }
            self.untag_name(text, &image, &mut removed)?;
            if !self.names_of(&image.id).is_empty() {
                return Ok(removed);
            }
            quiet = true;
        }
        self.delete(&image, force, prune, quiet, users, &mut removed)?;
        Ok(removed)
    }

    /// Removes one image and, when asked, the nameless parents that only it kept.
    fn delete(
        &self,
        image: &Image,
        force: bool,
        prune: bool,
        quiet: bool,
        users: &dyn Users,
        removed: &mut Vec<Removed>,
    ) -> Result<(), Error> {
        let (mut id, mut force, mut quiet) = (image.id.clone(), force, quiet);
        while let Some(image) = self.get(&id) {
            if let Some(conflict) = self.conflict(&image, force, false, users) {
                let dangling = self.names_of(&id).is_empty() && self.children(&id).is_empty();
                if quiet && (!dangling || conflict.used) {
                    return Ok(());
                }
                return Err(conflict.into());
            }
            let names: Vec<Reference> = self.names_of(&id).all().cloned().collect();
            self.untag(&names, &id, removed)?;
            self.forget(&image, removed)?;
            match &image.parent {
                Some(parent) if prune => (id, force, quiet) = (parent.clone(), false, true),
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    fn check(&self, image: &Image, force: bool, names_may_go: bool, users: &dyn Users) -> Result<(), Error> {
        self.conflict(image, force, names_may_go, users).map_or(Ok(()), |conflict| Err(conflict.into()))
    }

    /// The first thing that stands in the way.
    fn conflict(
        &self,
        image: &Image,
        force: bool,
        names_may_go: bool,
        users: &dyn Users,
    ) -> Option<Conflict> {
        let conflict = |hard, used, why: String| Some(Conflict { image: image.id.clone(), hard, used, why });
        if !self.children(&image.id).is_empty() {
            return conflict(true, false, "image has dependent child images".into());
        }
        let users = users.of(&image.id);
        if let Some(user) = users.iter().find(|u| u.running) {
            return conflict(
                true,
                true,
                format!("image is being used by running container {}", short(&user.container)),
            );
        }
        if force {
            return None;
        }
        if !names_may_go && !self.names_of(&image.id).is_empty() {
            return conflict(false, false, "image is referenced in multiple repositories".into());
        }
        let user = users.first()?;
        conflict(false, true, format!("image is being used by stopped container {}", short(&user.container)))
    }

    fn check_last_name(&self, text: &str, image: &Image, users: &dyn Users) -> Result<(), Error> {
        let Some(user) = users.of(&image.id).into_iter().next() else { return Ok(()) };
        Err(Error::new(
            Kind::Conflict,
            format!(
                "conflict: unable to remove repository reference {text:?} (must force) - container {} is using its referenced image {}",
                short(&user.container),
                image.id.short()
            ),
        ))
    }

    fn untag_name(&self, text: &str, image: &Image, removed: &mut Vec<Removed>) -> Result<(), Error> {
        let name = Reference::parse_normalized(text)
            .map_err(|e| Error::new(Kind::Invalid, e.to_string()))?
            .with_default_tag();
        let name = name.digest().map(|digest| name.with_digest(digest.clone())).unwrap_or(name);
        self.untag(std::slice::from_ref(&name), &image.id, removed)?;
        if name.digest().is_some() {
            return Ok(());
        }
        let rest = self.names_of(&image.id);
        if rest.tags.iter().any(|other| other.name() == name.name()) {
            return Ok(());
        }
        let useless: Vec<Reference> =
            rest.digests.into_iter().filter(|other| other.name() == name.name()).collect();
        self.untag(&useless, &image.id, removed)
    }

    fn untag(&self, names: &[Reference], id: &Digest, removed: &mut Vec<Removed>) -> Result<(), Error> {
        if names.is_empty() {
            return Ok(());
        }
        let _changing = self.change();
        self.inner.records.write::<_, Error>(|t| {
            for name in names {
                t.release(namespace(name), &name.to_string())?;
            }
            Ok(())
        })?;
        let mut index = self.index_mut();
        for name in names {
            index.release(name);
            removed.push(Removed::Untagged { name: name.clone(), image: id.clone() });
        }
        Ok(())
    }

    /// Deletes an image without names, and whatever nobody else needs of it.
    fn forget(&self, image: &Image, removed: &mut Vec<Removed>) -> Result<(), Error> {
        {
            let _changing = self.change();
            self.inner.records.write::<_, Error>(|t| {
                t.remove::<Stored>(image.id.as_str())?;
                Ok(())
            })?;
            let mut index = self.index_mut();
            index.images.remove(&image.id);
            index.of.remove(&image.id);
        }
        removed.push(Removed::Image(image.id.clone()));
        let collected: HashSet<Digest> = self.collect(Self::parts(image))?.into_iter().collect();
        for (diff_id, chain_id) in image.diff_ids().iter().zip(chain_ids(image.diff_ids())).rev() {
            if collected.contains(diff_id) {
                removed.push(Removed::Layer(chain_id));
            }
        }
        Ok(())
    }
}

/// Whether all names are one tag, and digests of the same repository.
fn is_single(names: &[Reference]) -> bool {
    if names.len() <= 1 {
        return true;
    }
    let mut tags = names.iter().filter(|n| n.digest().is_none());
    let repositories: HashSet<String> =
        names.iter().filter(|n| n.digest().is_some()).map(Reference::name).collect();
    let (first, second) = (tags.next(), tags.next());
    let Some(single) = first.or(names.first()) else { return true };
    second.is_none() && repositories.len() == 1 && repositories.contains(&single.name())
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
