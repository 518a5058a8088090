//! Names: containers of user-defined networks find each other by name, through a resolver at 127.0.0.11.
//!
//! ```text
//!   <exec root>/names/<network id>/<endpoint id>        one file per endpoint, written whole or not at all
//!        ▲ engine adds          ▲ the endpoint's shim removes
//!        │                      │
//!        └── read by every shim whose container is on that network: Zone ── Resolver ── 127.0.0.11:53 inside
//! ```
//!
//! No engine is needed to answer. A shim reads a directory again when it has changed, which its modification time
//! tells; a time so young that a second change could bear the same is not trusted ([`zone`]).
//! What no network knows is passed on, byte for byte, to the servers of the configuration ([`resolver`]).
//!
//! The file is a JSON document ([`Entry`]); fields are only ever added, each with a default.

mod message;
mod resolver;
mod upstream;
mod zone;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use resolver::Resolver;

/// The address that the resolver answers at.
pub const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 11));

/// One endpoint's names and addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The network's name: the second part of `web.backend`.
    pub network: String,
    /// The container's name: what an address is called when asked the other way round.
    pub name: String,
    /// All names that mean this endpoint: container name, aliases, short id.
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
}

impl Entry {
    /// Publish the entry as `path` (in a network's directory, which is made if it is not there).
    pub fn write(&self, path: &Path) -> linux::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        let draft = directory.join(format!(".{file_name}"));
        let fail = |call, path: &Path| {
            let path = path.to_owned();
            move |error: std::io::Error| linux::Error::from_io(call, format_args!("{path:?}"), &error)
        };
        linux::fault::point("publish names")?;
        std::fs::create_dir_all(directory).map_err(fail("mkdir", directory))?;
        let mut file = std::fs::File::create(&draft).map_err(fail("open", &draft))?;
        let text = serde_json::to_vec(self).unwrap_or_default();
        file.write_all(&text).map_err(fail("write", &draft))?;
        drop(file);
        std::fs::rename(&draft, path).map_err(fail("rename", path))
    }
}

/// Withdraw an entry; that it is gone already is fine.
pub fn withdraw(path: &Path) -> linux::Result<()> {
    linux::fault::point("withdraw names")?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(linux::Error::from_io("unlink", format_args!("{path:?}"), &error))
        }
        _ => Ok(()),
    }
}

/// What one container's resolver answers from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// One directory per network that the container is on; the first that knows a name answers it.
    pub directories: Vec<PathBuf>,
    /// Names that only this container knows (`--link`, by alias), and which name each stands for.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    /// The same, by directory: a link holds on its network only. Where there are none, `links` holds on all.
    #[serde(default)]
    pub links_on: Vec<BTreeMap<String, String>>,
    /// Servers asked from the container's namespace (`--dns`); when there are some, the others are not asked.
    #[serde(default)]
    pub inside: Vec<SocketAddr>,
    /// Servers asked from the host's namespace. None for internal networks.
    #[serde(default)]
    pub upstreams: Vec<SocketAddr>,
    /// Whether names without a dot stay here when no network knows them: the user has set `ndots`, so that the client
    /// tries its search list.
    #[serde(default)]
    pub keep_single_labels: bool,
}
