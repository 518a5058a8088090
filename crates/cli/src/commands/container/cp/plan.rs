//! What a copy is called at the other side.
//!
//! | source | destination | result |
//! |---|---|---|
//! | file | nothing | the file, under the destination's name |
//! | file | file | overwritten |
//! | file, directory | directory | within it, under its own name |
//! | directory | nothing | the directory, under the destination's name |
//! | directory | file | refused |
//! | directory as `dir/.` | directory | only what is in it |

use std::path::{Component, Path, PathBuf};

use crate::failure::Failure;

/// Links in a row, as the kernel follows them (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// One side of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Local(String),
    Container { id: String, path: String },
}

impl Place {
    /// `container:path`, unless it is plainly a path: absolute, or relative with a dot in front.
    pub(super) fn parse(text: &str) -> Place {
        match text.split_once(':') {
            Some((id, path)) if !text.starts_with('/') && !id.starts_with('.') && !id.is_empty() => {
                Place::Container { id: id.to_owned(), path: path.to_owned() }
            }
            _ => Place::Local(text.to_owned()),
        }
    }
}

/// A container's path from its root; what says "directory" or "contents" at the end is kept.
pub(super) fn absolute(path: &str) -> String {
    let mut clean = clean(path);
    if path.ends_with("/.") && clean != "/" {
        clean.push_str("/.");
    } else if path.ends_with('/') && clean != "/" {
        clean.push('/');
    }
    clean
}

/// The path without dots, from the root.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Where a symbolic link within a container leads.
pub(super) fn link_target(link: &str, target: &str) -> String {
    if target.starts_with('/') {
        return clean(target);
    }
    let directory = clean(link);
    let directory = directory.rsplit_once('/').map_or("", |(directory, _)| directory);
    clean(&format!("{directory}/{target}"))
}

/// Refuses a destination of ours that cannot be written to, or had better not: a file that is put in the place of a device
/// takes it away from everybody (`/dev/null`).
pub(super) fn check_output(local: &str) -> Result<(), Failure> {
    use std::os::unix::fs::FileTypeExt as _;
    let path = shown(local);
    let whole = PathBuf::from(clean(&path));
    let parent = parent(&whole);
    let is_missing = |path: &Path| {
        std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    };
    if is_missing(parent) {
        return Err(Failure::new(format!("invalid output path: directory {parent:?} does not exist")));
    }
    match std::fs::metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            Err(Failure::new(format!("stat {path}: not a directory")))
        }
        Ok(found) if found.file_type().is_char_device() || found.file_type().is_block_device() => {
            Err(Failure::new(format!(
                "invalid output path: {path:?} must be a directory or a regular file: got a device"
            )))
        }
        // What cannot be looked at is told when it is written.
        _ => Ok(()),
    }
}

/// Where an archive is unpacked on this side: the path that its root entry becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) root: PathBuf,
}

impl Target {
    pub(super) fn local(
        destination: &Path,
        source: &str,
        source_is_directory: bool,
    ) -> Result<Target, Failure> {
        let contents_only = source.ends_with("/.") || clean(source) == "/";
        if destination.is_dir() {
            let cleaned = clean(source);
            let name = cleaned.rsplit('/').next().unwrap_or_default();
            let root = if contents_only { destination.to_owned() } else { destination.join(name) };
            return Ok(Target { root });
        }
        // What is written goes where a link leads, also when nothing is there yet.
        let destination = end_of_links(destination);
        if destination.exists() {
            if source_is_directory {
                return Err(Failure::new("cannot copy directory"));
            }
        } else if !source_is_directory && destination.to_string_lossy().ends_with('/') {
            return Err(Failure::new("no such directory"));
        }
        let parent = parent(&destination);
        if !parent.is_dir() {
            let parent = std::path::absolute(parent).unwrap_or_else(|_| parent.to_owned());
            return Err(Failure::new(format!("invalid output path: directory {parent:?} does not exist")));
        }
        Ok(Target { root: destination })
    }
}

/// A destination of ours as it is told: from the root, and with what says "directory" at its end.
pub(super) fn shown(local: &str) -> String {
    let whole = std::path::absolute(local).unwrap_or_else(|_| PathBuf::from(local));
    let mut text = clean(&whole.to_string_lossy());
    let end = local.trim_end_matches('/');
    if text != "/" && (end == "." || end.ends_with("/.")) {
        text.push_str("/.");
    }
    if local.ends_with('/') && text != "/" {
        text.push('/');
    }
    text
}

/// Where a path of ours leads when it is a link, and what that leads to, and so on.
pub(super) fn end_of_links(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(link) = std::fs::read_link(&path) else { break };
        path = parent(&path).join(link);
    }
    path
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Where an archive is unpacked in a container, and what its root entry is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Landing {
    pub(super) directory: String,
    /// Empty when only the contents are sent.
    pub(super) name: String,
}

/// `exists` tells of the destination: nothing, or whether it is a directory.
pub(super) fn landing(
    source: &Path,
    source_is_directory: bool,
    contents_only: bool,
    destination: &str,
    exists: Option<bool>,
) -> Result<Landing, Failure> {
    let own_name = || match source.components().next_back() {
        Some(Component::Normal(name)) => Ok(name.to_string_lossy().into_owned()),
        _ => std::fs::canonicalize(source)
            .ok()
            .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .ok_or_else(|| Failure::new(format!("{} has no name to copy it under", source.display()))),
    };
    let asks_for_directory = destination.ends_with('/') || destination.ends_with("/.");
    match exists {
        Some(true) => {
            let name = if contents_only && source_is_directory { String::new() } else { own_name()? };
            Ok(Landing { directory: destination.to_owned(), name })
        }
        Some(false) if source_is_directory => Err(Failure::new("cannot copy directory")),
        Some(false) if asks_for_directory => Err(Failure::new("not a directory")),
        None if asks_for_directory && !source_is_directory => Err(Failure::new("no such directory")),
        _ => {
            let cleaned = clean(destination);
            let (directory, name) = cleaned.rsplit_once('/').unwrap_or(("", &cleaned));
            let directory = if directory.is_empty() { "/" } else { directory };
            Ok(Landing { directory: directory.to_owned(), name: name.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_makes_a_container() {
        let container = |id: &str, path: &str| Place::Container { id: id.into(), path: path.into() };
        assert_eq!(Place::parse("web:/a:b"), container("web", "/a:b"));
        assert_eq!(Place::parse("./a:b"), Place::Local("./a:b".into()));
        assert_eq!(Place::parse("/a:b"), Place::Local("/a:b".into()));
        assert_eq!(Place::parse("-"), Place::Local("-".into()));
    }

    #[test]
    fn paths_of_containers_begin_at_the_root() {
        assert_eq!(absolute("a/../b"), "/b");
        assert_eq!(absolute("/a/"), "/a/");
        assert_eq!(absolute("/a/."), "/a/.");
        assert_eq!(absolute(""), "/");
        assert_eq!(link_target("/a/link", "../b"), "/b");
        assert_eq!(link_target("/a/link", "/c/d"), "/c/d");
    }

    #[test]
    fn destinations_are_told_from_the_root() {
        let here = std::env::current_dir().unwrap();
        let here = here.display();
        assert_eq!(shown("a/../b"), format!("{here}/b"));
        assert_eq!((shown("."), shown("./")), (format!("{here}/."), format!("{here}/./")));
        assert_eq!((shown("/a/b/"), shown("/a/.")), ("/a/b/".to_owned(), "/a/.".to_owned()));
    }

    #[test]
    fn copies_land_where_cp_puts_them() {
        let land = |directory: bool, contents: bool, destination: &str, exists| {
            landing(Path::new("src"), directory, contents, destination, exists)
                .map(|landing| format!("{} {}", landing.directory, landing.name))
                .map_err(|failure| failure.message)
        };
        assert_eq!(land(false, false, "/dst", None).unwrap(), "/ dst");
        assert_eq!(land(false, false, "/a/dst", Some(false)).unwrap(), "/a dst");
        assert_eq!(land(false, false, "/a", Some(true)).unwrap(), "/a src");
        assert_eq!(land(true, false, "/a", Some(true)).unwrap(), "/a src");
        assert_eq!(land(true, true, "/a", Some(true)).unwrap(), "/a ");
        assert_eq!(land(true, true, "/a/new", None).unwrap(), "/a new");
        assert_eq!(land(true, false, "/a", Some(false)).unwrap_err(), "cannot copy directory");
        assert!(land(false, false, "/a/", None).unwrap_err().starts_with("no such directory"));
    }

    #[test]
    fn copies_to_this_side_land_alike() {
        let here = std::env::temp_dir();
        let root = |destination: &Path, source: &str, directory: bool| {
            Target::local(destination, source, directory)
                .map(|target| target.root)
                .map_err(|failure| failure.message)
        };
        assert_eq!(root(&here, "/a/b", true).unwrap(), here.join("b"));
        assert_eq!(root(&here, "/a/.", true).unwrap(), here);
        assert_eq!(root(&here.join("wharf-none"), "/a", true).unwrap(), here.join("wharf-none"));
        assert!(root(&here.join("wharf-none/"), "/a", false).unwrap_err().contains("no such directory"));
        assert!(root(&here.join("wharf-none/x"), "/a", false).unwrap_err().contains("does not exist"));
        let refused = |local: &str| check_output(local).unwrap_err().message;
        assert_eq!(
            refused("/dev/../dev/null"),
            "invalid output path: \"/dev/null\" must be a directory or a regular file: got a device"
        );
        assert_eq!(refused("/dev/null/"), "stat /dev/null/: not a directory");
        assert!(refused("/wharf-none/x").ends_with("directory \"/wharf-none\" does not exist"));
        assert!(
            ["/etc/passwd", "/etc/wharf-none", "/etc/", "."].iter().all(|local| check_output(local).is_ok())
        );
        assert!(root(Path::new("/etc/passwd"), "/a", true).unwrap_err().contains("cannot copy directory"));
    }
}
