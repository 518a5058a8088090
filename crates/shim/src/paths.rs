//! Every name that the shim uses on disk.
//!
//! ```text
//! <runtime dir>/                 mode 0700, made by the engine; gone after a reboot
//!   shim.sock                    requests, see `protocol`
//!   journal                      events, one JSON document per line
//!   state.json                   what `cleanup` needs when the shim is dead
//!   shim.log                     what the shim itself complains about (a panic); empty as a rule
//!   bundle/                      only under a foreign runtime: what it is given and what it says
//!     config.json, rootfs/       the bundle; on `rootfs` something is mounted in its eyes only
//!     process.json, resources.json, pid, log.json, errors, console.sock
//!   runtime/                     … and its own state (`--root`)
//! <data>/containers/<id>/
//!   <id>-json.log                the current log file …
//!   <id>-json.log.idx            … and its time index
//!   <id>-json.log.1[.gz]         rotated, newest first; each plain one with `.idx` beside it
//! ```

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub fn socket(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("shim.sock")
}

pub fn journal(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("journal")
}

pub fn state(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("state.json")
}

pub fn complaints(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("shim.log")
}

/// The bundle of a foreign runtime.
pub fn bundle(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("bundle")
}

/// What a foreign runtime remembers.
pub fn foreign_state(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("runtime")
}

/// A log file: 0 is the current one.
pub fn log_segment(log: &Path, age: u32) -> PathBuf {
    if age == 0 { log.to_owned() } else { with_suffix(log, &format!(".{age}")) }
}

pub fn log_compressed(log: &Path, age: u32) -> PathBuf {
    with_suffix(&log_segment(log, age), ".gz")
}

/// Written while a segment is being compressed, renamed when whole.
pub fn log_compressing(log: &Path) -> PathBuf {
    with_suffix(log, ".gz.partial")
}

pub fn log_index(log: &Path, age: u32) -> PathBuf {
    with_suffix(&log_segment(log, age), ".idx")
}

/// `path` with `suffix` behind its whole name (`Path::set_extension` would replace `.log`).
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
