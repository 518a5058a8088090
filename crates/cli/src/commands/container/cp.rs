//! `container cp`: files between a container and here.
//!
//! The engine takes and gives tar streams of one path; what the copy is called at the other side
//! is decided here, by the rules of `cp`. Archives are read and written by the system's `tar`
//! format code in [`archive`], streaming: no file is held in memory.

mod archive;
mod plan;

use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use api::container::PathStat;
use client::Client;

use crate::commands::input::Source;
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch};
use crate::session::Session;
use crate::terminal;
use crate::tree::{Names, Spec};
use crate::units;
use plan::{Place, Target};

pub(crate) const SPEC: Spec = Spec::new(
    &["container cp", "cp"],
    &["[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-", "[OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH"],
    "Copy files between a container and here",
    Count::Exactly(2),
    flags,
    run,
)
.details(
    "Copy files between a container and here\n\nA '-' as the source is a tar archive on standard input, to be unpacked into a\ndirectory of the container; a '-' as the destination is a tar archive of the\nsource on standard output.",
)
.names(Names::ContainersThenFiles);

fn flags() -> Vec<clap::Arg> {
    vec![
        switch("archive", "Keep the owners of files that go into a container").short('a'),
        switch("follow-link", "Copy what a symbolic link at SRC_PATH points to").short('L'),
        switch("quiet", "Do not tell how much was copied").short('q'),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let [source, destination] = parsed.arguments() else {
        return Err(Failure::new("a source and a destination are required"));
    };
    for (side, text) in [("source", source), ("destination", destination)] {
        if text.is_empty() {
            return Err(Failure::new(format!("{side} can not be empty")));
        }
    }
    match (Place::parse(source), Place::parse(destination)) {
        (Place::Container { .. }, Place::Container { .. }) => {
            Err(Failure::new("copying between containers is not supported"))
        }
        (Place::Container { id, path }, Place::Local(local)) => {
            from_container(session, parsed, &id, &path, &local)
        }
        (Place::Local(local), Place::Container { id, path }) => {
            to_container(session, parsed, &local, &id, &path)
        }
        (Place::Local(_), Place::Local(_)) => Err(Failure::new("must specify at least one container source")),
    }
}

fn from_container(session: &Session, parsed: &Parsed, id: &str, path: &str, local: &str) -> Outcome {
    if local != "-" {
        plan::check_output(local)?;
    }
    let client = session.client()?;
    let mut path = path.to_owned();
    if parsed.on("follow-link") {
        path = follow(client, id, path);
    }
    let (mut body, stat) = client.get_archive(id, &path)?;
    if local == "-" {
        io::copy(&mut body, &mut io::stdout().lock())?;
        return Ok(0);
    }
    let target = Target::local(Path::new(local), &path, stat.is_directory())?;
    let mut counted = Counted { reader: &mut body, bytes: 0 };
    archive::unpack(&mut counted, &target)?;
    // What fills up the archive counts, too.
    io::copy(&mut counted, &mut io::sink())?;
    report(parsed, counted.bytes, &plan::shown(local))
}

/// The path that a symbolic link in a container leads to. Why it cannot be told is said with the next answer, which has
/// room for it.
fn follow(client: &Client, id: &str, path: String) -> String {
    match client.stat_path(id, &path) {
        Ok(stat) if stat.mode & PathStat::MODE_SYMLINK != 0 => plan::link_target(&path, &stat.link_target),
        _ => path,
    }
}

fn to_container(session: &Session, parsed: &Parsed, local: &str, id: &str, path: &str) -> Outcome {
    let client = session.client()?;
    let absolute = plan::absolute(path);
    let mut wanted = absolute;
    let mut found = stat(client, id, &wanted)?;
    let mut shown = path.to_owned();
    if let Some(link) = found.as_ref().filter(|stat| stat.mode & PathStat::MODE_SYMLINK != 0) {
        wanted = plan::link_target(&wanted, &link.link_target);
        shown.clone_from(&wanted);
        found = stat(client, id, &wanted)?;
    }
    let is_directory = found.as_ref().map(PathStat::is_directory);
    let copy_ownership = parsed.on("archive");
    if local == "-" {
        if is_directory != Some(true) {
            return Err(Failure::new(format!("destination \"{id}:{path}\" must be a directory")));
        }
        client.put_archive(id, &wanted, copy_ownership, &mut Source::standard())?;
        return Ok(0);
    }
    let whole = std::path::absolute(local).unwrap_or_else(|_| Path::new(local).to_owned());
    // Without a slash at the end, as it is told.
    let whole: PathBuf = whole.components().collect();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotADirectory => Failure::new("not a directory"),
        _ => crate::failure::doing("lstat", plan::end_of_links(&whole).display())(error),
    };
    let source = match parsed.on("follow-link") {
        true => std::fs::canonicalize(local).map_err(failed)?,
        false => Path::new(local).to_owned(),
    };
    let contents_only = local.ends_with("/.") || local == ".";
    let metadata = std::fs::symlink_metadata(&source).map_err(failed)?;
    let landing = plan::landing(&source, metadata.is_dir(), contents_only, &wanted, is_directory)?;
    let mut packer = archive::Packer::new(&source, &landing.name)?;
    let mut counted = Counted { reader: &mut packer, bytes: 0 };
    client.put_archive(id, &landing.directory, copy_ownership, &mut counted)?;
    let bytes = counted.bytes;
    report(parsed, bytes, &format!("{id}:{shown}"))
}

fn stat(client: &Client, id: &str, path: &str) -> Result<Option<PathStat>, Failure> {
    match client.stat_path(id, path) {
        Ok(stat) => Ok(Some(stat)),
        // What is at the destination then shows when something is put there.
        Err(error) if error.status().is_some() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn report(parsed: &Parsed, bytes: u64, destination: &str) -> Outcome {
    if !parsed.on("quiet") && terminal::stderr_is_terminal() {
        let size = units::decimal_size(bytes as f64);
        writeln!(io::stderr(), "Successfully copied {size} to {destination}")?;
    }
    Ok(0)
}

/// Counts what passes.
struct Counted<'a> {
    reader: &'a mut dyn Read,
    bytes: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}
