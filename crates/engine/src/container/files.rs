//! The three files that every container has of the engine: who it is, whom it knows, whom it asks.

use std::fs;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::record::Record;
use crate::Engine;
use crate::error::{Error, Result};
use crate::networks::Joined;
use crate::spec::other;

/// A larger file of the host is not copied into a container.
const MAX_HOST_FILE: u64 = 1 << 20;

/// Writes all three for a run. A container that shares another's network has that one's.
pub(crate) fn write(engine: &Engine, record: &Record, joined: &Joined) -> Result<()> {
    let paths = engine.paths();
    let id = record.id.as_str();
    make_directory(&paths.container(id))?;
    if other(&record.host.network_mode).is_some() {
        return Ok(());
    }
    put(&paths.hostname(id), &format!("{}\n", record.config.hostname))?;
    put(&paths.hosts(id), &hosts_text(record, joined)?)?;
    put(&paths.resolv_conf(id), &resolver_text(record, joined)?)
}

/// Whose files a container has, if not its own: those of the container whose network it shares.
pub(crate) fn owner(engine: &Engine, record: &Record) -> Result<Option<Arc<Record>>> {
    /// Who joins whom, one after the other. More than these go round in a circle.
    const MOST: usize = 64;
    let mut owner: Option<Arc<Record>> = None;
    for _ in 0..MOST {
        let mode = &owner.as_deref().unwrap_or(record).host.network_mode;
        let Some(name) = other(mode) else { return Ok(owner) };
        owner = Some(engine.container(name)?.record());
    }
    Err(Error::invalid("cannot join own network namespace"))
}

/// The networks of a running container have changed. What was written to its files by others than us stays: of the lines of
/// `/etc/hosts` ours alone change, and servers that were chosen inside are left alone, as by Docker.
pub(crate) fn rewrite(engine: &Engine, record: &Record, before: &Joined, joined: &Joined) -> Result<()> {
    let (hosts, resolv_conf) =
        (engine.paths().hosts(record.id.as_str()), engine.paths().resolv_conf(record.id.as_str()));
    if let Some(now) = text_of(&hosts) {
        put(&hosts, &merged(&now, &hosts_text(record, before)?, &hosts_text(record, joined)?))?;
    }
    match text_of(&resolv_conf) {
        Some(now) if now == resolver_text(record, before)? => {
            put(&resolv_conf, &resolver_text(record, joined)?)
        }
        _ => Ok(()),
    }
}

/// What stands in a container's file, if it is a text that can be changed.
fn text_of(path: &Path) -> Option<String> {
    host_file(path).ok()
}

/// A text of now, in which the lines of before have become those of after.
fn merged(now: &str, before: &str, after: &str) -> String {
    if now == before {
        return after.to_owned();
    }
    let has = |text: &str, line: &str| text.lines().any(|one| one == line);
    let kept = now.lines().filter(|line| !has(before, line) || has(after, line));
    let new = after.lines().filter(|line| !has(before, line) && !has(now, line));
    kept.chain(new).map(|line| format!("{line}\n")).collect()
}

/// The directory of a container's durable files.
pub(super) fn make_directory(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    linux::fault::io("make a container's directory")
        .and_then(|()| fs::DirBuilder::new().mode(0o710).recursive(true).create(path))
        .map_err(|error| Error::failed(format!("cannot make {}", path.display()), error))
}

/// In place, not by renaming: a running container has the file itself mounted. It never finds it empty meanwhile, and
/// finds it as it was when the disk does not take what is new. A power cut ends every run, and the next begins here.
fn put(path: &Path, text: &str) -> Result<()> {
    let failed = |error| Error::failed(format!("cannot write {}", path.display()), error);
    let options = fs::File::options().read(true).write(true).create(true).truncate(false).clone();
    let file = options.open(path).map_err(failed)?;
    // Its container may have written to it, without a bound.
    let mut before = Vec::new();
    (&file).take(MAX_HOST_FILE).read_to_end(&mut before).map_err(failed)?;
    overwrite(&file, text.as_bytes()).map_err(|error| {
        if let Err(error) = overwrite(&file, &before) {
            tracing::warn!(path = %path.display(), %error, "a container's file is not as it was");
        }
        failed(error)
    })
}

fn overwrite(file: &fs::File, bytes: &[u8]) -> io::Result<()> {
    linux::fault::io("write a container's file")?;
    file.write_all_at(bytes, 0)?;
    linux::fault::io("cut a container's file to its length")?;
    file.set_len(bytes.len() as u64)
}

fn host_file(path: &Path) -> Result<String> {
    let failed = |error| Error::failed(format!("cannot read {}", path.display()), error);
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_HOST_FILE => {
            Err(Error::system(format!("{} is larger than {MAX_HOST_FILE} bytes", path.display())))
        }
        Ok(_) => fs::read_to_string(path).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(failed(error)),
    }
}

fn hosts_text(record: &Record, joined: &Joined) -> Result<String> {
    // The host's names are right for who shares the host's network, unless names were added.
    if record.host.network_mode == "host" && joined.hosts.is_empty() {
        return host_file(Path::new("/etc/hosts"));
    }
    Ok(hosts(&joined.hosts))
}

/// `/etc/hosts`: the loopback names, then what the network says.
fn hosts(entries: &[(IpAddr, Vec<String>)]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    for (address, names) in entries {
        text.push_str(&format!("{address}\t{}\n", names.join(" ")));
    }
    text
}

fn resolver_text(record: &Record, joined: &Joined) -> Result<String> {
    let asked = [&record.host.dns, &record.host.dns_search, &record.host.dns_options];
    let nothing_asked = asked.iter().all(|list| list.as_ref().is_none_or(Vec::is_empty));
    if record.host.network_mode == "host" && nothing_asked && joined.nameservers.is_empty() {
        return host_file(Path::new("/etc/resolv.conf"));
    }
    Ok(resolver(&joined.nameservers, &joined.search, &joined.options))
}

/// `/etc/resolv.conf` (resolv.conf(5)).
fn resolver(servers: &[IpAddr], search: &[String], options: &[String]) -> String {
    let mut text = String::from("# Generated by Wharf. Edits last until the container is started again.\n\n");
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !search.is_empty() {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_begin_with_the_loopback_names() {
        let text = hosts(&[("172.17.0.2".parse().unwrap(), vec!["web".into(), "0123".into()])]);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("172.17.0.2\tweb 0123\n"));
    }

    #[test]
    fn lines_of_others_stay() {
        let (before, after) = ("::1\tlocalhost\n10.0.0.2\tbox\n", "::1\tlocalhost\n10.0.1.2\tbox\n");
        assert_eq!(merged(before, before, after), after);
        let edited = format!("{before}2.2.2.2 mine");
        assert_eq!(merged(&edited, before, after), "::1\tlocalhost\n2.2.2.2 mine\n10.0.1.2\tbox\n");
        assert_eq!(merged("2.2.2.2 mine\n", before, after), "2.2.2.2 mine\n10.0.1.2\tbox\n");
        assert_eq!(merged(after, before, after), after);
    }

    #[test]
    fn resolvers_are_written_in_order() {
        let servers = ["127.0.0.11".parse().unwrap()];
        let text = resolver(&servers, &["a.example".into(), "b.example".into()], &["ndots:0".into()]);
        assert!(text.ends_with("nameserver 127.0.0.11\nsearch a.example b.example\noptions ndots:0\n"));
    }
}
