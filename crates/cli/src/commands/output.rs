//! Where archives go: a file that appears whole or not at all and is for its owner only, or standard output.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome, doing};
use crate::terminal;

pub(crate) enum Target {
    Standard,
    File(PathBuf),
}

impl Target {
    /// Checks the target before the engine is asked for anything.
    pub(crate) fn choose(path: &str, act: &str, what: &str) -> Result<Target, Failure> {
        if path.is_empty() {
            if terminal::stdout_is_terminal() {
                return Err(Failure::new(
                    "cowardly refusing to save to a terminal. Use the -o flag or redirect",
                ));
            }
            return Ok(Target::Standard);
        }
        let path = PathBuf::from(path);
        check(&path).map_err(|why| Failure::new(format!("failed to {act} {what}: {why}")))?;
        Ok(Target::File(path))
    }

    pub(crate) fn write(&self, reader: &mut dyn Read) -> Outcome {
        let path = match self {
            Target::Standard => {
                io::copy(reader, &mut io::stdout().lock())?;
                return Ok(0);
            }
            Target::File(path) => path,
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = directory_of(path).join(format!(".{name}.{}", std::process::id()));
        let result = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| io::copy(reader, &mut file))
            .and_then(|_| fs::rename(&temporary, path));
        if let Err(error) = result {
            let _ = fs::remove_file(&temporary);
            return Err(doing("could not write", path.display())(error));
        }
        Ok(0)
    }
}

/// Only what is a file, or nothing yet, is written to.
fn check(path: &Path) -> Result<(), String> {
    let directory = directory_of(path);
    let failed = |error| doing("invalid output path: stat", directory.display())(error).message;
    fs::metadata(directory.join(".")).map_err(failed)?;
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    let kind = found.file_type();
    let what = match () {
        () if kind.is_dir() => "a directory",
        () if kind.is_symlink() => "a symbolic link directly",
        () if kind.is_fifo() => "a named pipe (FIFO)",
        () if kind.is_socket() => "a socket",
        () if kind.is_char_device() => "a character device file",
        () if kind.is_block_device() => "a block device file",
        () => return Ok(()),
    };
    Err(format!("cannot write to {what}"))
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_written_to() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let place = scratch::Directory::new("output");
        symlink("absent", place.join("link")).unwrap();
        let path = |name: &str| place.join(name).to_string_lossy().into_owned();
        for (name, why) in [
            (path("link"), "cannot write to a symbolic link directly"),
            (path(""), "cannot write to a directory"),
            ("/dev/null".to_owned(), "cannot write to a character device file"),
            ("/dev/null/x".to_owned(), "invalid output path: stat /dev/null: not a directory"),
            ("/absent/x".to_owned(), "invalid output path: stat /absent: no such file or directory"),
        ] {
            let Err(failure) = Target::choose(&name, "save", "image") else { panic!("{name}") };
            assert_eq!(failure.message, format!("failed to save image: {why}"));
        }
        let file = path("file");
        Target::choose(&file, "save", "image").unwrap().write(&mut &b"bytes"[..]).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"bytes");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
