//! Calls that the engine is about to have. An inherent method of the same name takes precedence, so each line here
//! dies by itself when its call arrives, and the file when all have.

use std::io::Read;
use std::os::fd::OwnedFd;

use api::filters::Filters;
use api::progress::Message;
use api::{image, network, volume};
use engine::{Engine, Error, Result};
use tokio::sync::mpsc::Sender;

pub(crate) struct ImportRequest {
    pub(crate) source: String,
    pub(crate) repository: String,
    pub(crate) tag: String,
    pub(crate) message: String,
    pub(crate) changes: Vec<String>,
    pub(crate) platform: Option<String>,
}

pub(crate) type Upload = Box<dyn Read + Send>;

macro_rules! pending {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        #[allow(async_fn_in_trait, unused_variables, dead_code)]
        pub(crate) trait Pending {
            $(fn $name(&self, $($argument: $type),*) -> impl Future<Output = Result<$result>> + Send {
                async { Err(Error::not_implemented(concat!(stringify!($name), " is not there yet"))) }
            })*
        }
    };
}

pending! {
    image_inspect(name: &str) -> image::Inspect;
    image_history(name: &str) -> Vec<image::History>;
    image_tag(name: &str, repository: &str, tag: &str) -> ();
    image_remove(name: &str, force: bool, prune: bool) -> Vec<image::Deleted>;
    image_prune(filters: Filters) -> image::PruneReport;
    image_import(request: ImportRequest, archive: Upload, lines: Sender<Message>) -> ();
    image_load(archive: Upload, quiet: bool, lines: Sender<Message>) -> ();
    image_save(names: Vec<String>, out: OwnedFd) -> ();
    network_list(filters: Filters) -> Vec<network::Inspect>;
    network_inspect(name: &str) -> network::Inspect;
    network_create(request: network::CreateRequest) -> network::CreateResponse;
    network_connect(name: &str, request: network::ConnectRequest) -> ();
    network_disconnect(name: &str, request: network::DisconnectRequest) -> ();
    network_remove(name: &str) -> ();
    network_prune(filters: Filters) -> network::PruneReport;
    volume_list(filters: Filters) -> volume::List;
    volume_inspect(name: &str) -> volume::Volume;
    volume_create(request: volume::CreateRequest) -> volume::Volume;
    volume_remove(name: &str, force: bool) -> ();
    volume_prune(filters: Filters) -> volume::PruneReport;
}

impl Pending for Engine {}
