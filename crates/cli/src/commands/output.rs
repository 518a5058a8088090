//! Where archives go: a file that appears whole or not at all, or standard output.

use std::fs::{self, File};
use std::io::{self, Read};
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
        let directory = directory_of(&path);
        if !directory.is_dir() {
            return Err(Failure::new(format!(
                "failed to {act} {what}: invalid output path: stat {}: no such file or directory",
                directory.display()
            )));
        }
        if path.is_dir() {
            return Err(Failure::new(format!("failed to {act} {what}: cannot write to a directory")));
        }
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
        // A device such as /dev/null cannot be replaced by a rename.
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .open(path)
                .map_err(doing("could not open", path.display()))?;
            io::copy(reader, &mut file).map_err(doing("could not write", path.display()))?;
            return Ok(0);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = directory_of(path).join(format!(".{name}.{}", std::process::id()));
        let result = File::create_new(&temporary)
            .and_then(|mut file| io::copy(reader, &mut file))
            .and_then(|_| fs::rename(&temporary, path));
        if let Err(error) = result {
            let _ = fs::remove_file(&temporary);
            return Err(doing("could not write", path.display())(error));
        }
        Ok(0)
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
