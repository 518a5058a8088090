//! Commands about volumes, one file each.

pub(crate) mod cluster;
pub(crate) mod create;
pub(crate) mod inspect;
pub(crate) mod ls;
pub(crate) mod prune;
pub(crate) mod rm;
pub(crate) mod update;
