//! The last steps before the program: standard streams, rights, working directory, the program itself.
//!
//! Shared by the container's first process and those executed later. The filter goes on as late as the order of
//! rights allows: before capabilities go, or, with no_new_privs, as the last thing of all.

use std::ffi::{CString, OsStr};
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use linux::path::Root;
use linux::pty::Terminal;
use linux::spans::mark;
use linux::{Errno, entry, fd, process, pty};

use crate::error::{Kind, Step, plain};
use crate::plan::Confinement;
use crate::program::Program;
use crate::{Error, Result};

/// `/etc/passwd` of a container is not ours: more than this of it is not read.
const MAX_PASSWD: u64 = 4 << 20;

/// What the program has as 0, 1 and 2.
#[derive(Debug)]
pub(crate) enum Streams {
    Terminal(Terminal),
    Descriptors([OwnedFd; 3]),
}

impl Streams {
    pub(crate) fn each(&self) -> [BorrowedFd<'_>; 3] {
        match self {
            Streams::Terminal(terminal) => [terminal.slave.as_fd(); 3],
            Streams::Descriptors(fds) => [fds[0].as_fd(), fds[1].as_fd(), fds[2].as_fd()],
        }
    }
}

/// The other end of our own terminal, for the runtime.
///
/// When the last one is closed, the terminal hangs up, which kills us before we could report why we fail: it stays open
/// until it was handed over, or the process ends.
pub(crate) struct Master(ManuallyDrop<OwnedFd>);

impl Master {
    /// To be called when somebody else has it.
    pub(crate) fn let_go(self) {
        drop(ManuallyDrop::into_inner(self.0));
    }
}

impl AsFd for Master {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Puts the streams in their places and gives them to the program's user, who may want to open them again. Returns
/// the terminal's master.
///
/// Every other descriptor is closed, but for those in `keep`: from here on paths are walked that the configuration or
/// the container chose (the working directory, the program), and `/proc/self/fd/7` must lead nowhere.
pub(crate) fn set_streams(
    streams: Streams,
    preserved: Vec<OwnedFd>,
    user: u32,
    keep: &[BorrowedFd<'_>],
) -> Result<Option<Master>> {
    // Out of the way first: a stream may sit on another's number, or on a preserved one.
    let lowest = 3 + preserved.len() as i32;
    let moved = streams.each().map(|stream| fd::duplicate_from(stream, lowest));
    for (number, stream) in moved.into_iter().enumerate() {
        let stream = stream.step(|| "standard streams")?;
        own(&stream, user)?;
        fd::assign(&stream, number as i32).step(|| "standard streams")?;
    }
    for (index, descriptor) in preserved.iter().enumerate() {
        fd::assign(descriptor, 3 + index as i32).step(|| "preserved descriptors")?;
    }
    let master = match streams {
        Streams::Terminal(terminal) => {
            pty::set_controlling(&terminal.slave).step(|| "controlling terminal")?;
            Some(Master(ManuallyDrop::new(terminal.master)))
        }
        Streams::Descriptors(fds) => {
            drop(fds);
            None
        }
    };
    // Some of them have the number that the program expects, where they are not ours to close any more.
    std::mem::forget(preserved);
    let keep: Vec<BorrowedFd<'_>> = keep.iter().copied().chain(master.iter().map(Master::as_fd)).collect();
    fd::close_from_except(lowest, &keep).step(|| "descriptors")?;
    Ok(master)
}

fn own(stream: &OwnedFd, user: u32) -> Result<()> {
    let metadata = entry::metadata_of(stream).step(|| "standard streams")?;
    // The null device is everybody's.
    if metadata.uid == user || metadata.device == (1, 3) {
        return Ok(());
    }
    match entry::set_owner(stream, user, metadata.gid) {
        // Not ours to give: read-only file systems, ids that are not mapped here, somebody else's file.
        Err(error) if [Errno::PERM, Errno::ROFS, Errno::INVAL].contains(&error.errno()) => Ok(()),
        other => other.step(|| "standard streams"),
    }
}

/// Loads the filter; the listener if the filter asks somebody.
pub(crate) fn load_filter(confinement: &Confinement) -> Result<Option<OwnedFd>> {
    let Some(compiled) = &confinement.seccomp else { return Ok(None) };
    let listener = compiled.program.load(compiled.flags).step(|| "unable to init seccomp")?;
    mark("seccomp filter loaded");
    Ok(listener)
}

/// Rights, labels, filter, user, directory. Returns the listener of the filter.
pub(crate) fn assume(program: &Program, confinement: &Confinement) -> Result<Option<OwnedFd>> {
    let identity = &program.identity;
    identity.prepare()?;
    if let Some(personality) = confinement.personality {
        process::set_personality(personality).step(|| "unable to set personality")?;
    }
    if let Some(policy) = &confinement.memory_policy {
        process::set_memory_policy(policy).map_err(|error| {
            Error::other(format_args!("unable to set the memory policy: set_mempolicy: {}", plain(&error)))
        })?;
    }
    identity.apply_labels()?;
    for (resource, limit) in program.limits.iter().filter(|_| program.sets_own_limits) {
        process::set_limit_of(0, *resource, *limit).step(|| "error setting rlimits")?;
    }
    let mut listener = None;
    mark("labels, limits");
    if identity.no_new_privileges {
        linux::credentials::set_no_new_privs().step(|| "unable to set no_new_privs")?;
    } else {
        listener = load_filter(confinement)?;
    }
    // As root where the user may not pass, as the user where root may not (a network file system).
    let entered = process::change_directory(&program.directory);
    identity.assume()?;
    if entered.is_err() {
        process::change_directory(&program.directory)
            .map_err(|error| no_directory(&program.directory, &error))?;
    }
    // A directory outside of the root (through a descriptor that leaked) would be a way out.
    process::current_directory().map_err(|_| {
        Error::other("current working directory is outside of container mount namespace root")
    })?;
    mark("rights put away");
    Ok(listener)
}

fn no_directory(directory: &Path, error: &linux::Error) -> Error {
    let message = format!("chdir to cwd ({directory:?}) set in config.json failed: {}", plain(error));
    Error::new(kind_of(error), message)
}

/// What it means for a program that its file or its directory cannot be reached.
fn kind_of(error: &linux::Error) -> Kind {
    match error.errno() {
        Errno::ACCESS => Kind::NotExecutable,
        Errno::NOTDIR => Kind::WrongType,
        Errno::LOOP => Kind::Other,
        _ => Kind::NotFound,
    }
}

/// `HOME` for programs that were not given one.
pub(crate) fn home(root: &Root, program: &Program) -> Option<CString> {
    if program.variable("HOME").is_some_and(|home| !home.is_empty()) {
        return None;
    }
    let passwd = root.read_file(Path::new("/etc/passwd"), MAX_PASSWD).unwrap_or_default();
    let home = home_of(&passwd, program.identity.user).unwrap_or(b"/");
    CString::new([b"HOME=", home].concat()).ok()
}

fn home_of(passwd: &[u8], user: u32) -> Option<&[u8]> {
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let uid = std::str::from_utf8(fields.get(2)?).ok()?.parse::<u32>().ok()?;
        (uid == user).then(|| fields.get(5).copied()).flatten().filter(|home| !home.is_empty())
    })
}

/// The file that a program's name means, by `PATH` unless it holds a slash.
pub(crate) fn find(program: &Program) -> Result<CString> {
    let name = OsStr::from_bytes(program.args[0].as_bytes());
    let quoted = format!("{:?}", name.to_string_lossy());
    if name.as_bytes().contains(&b'/') {
        return match check(Path::new(name)) {
            Ok(()) => Ok(program.args[0].clone()),
            Err((kind, reason)) => Err(Error::new(kind, format_args!("exec: {quoted}: {reason}"))),
        };
    }
    let path = program.variable("PATH").unwrap_or_default();
    // Nothing stands for the working directory.
    let places =
        path.split(':').map(|place| Path::new(if place.is_empty() { "." } else { place }).join(name));
    let found = places.filter(|_| !name.is_empty()).find(|place| check(place).is_ok());
    match found {
        Some(place) if place.is_absolute() => CString::new(place.into_os_string().into_vec())
            .map_err(|_| Error::invalid(format_args!("PATH={path:?} holds a zero byte"))),
        // It depends on where the process happens to be: whoever means it says so.
        Some(_) => Err(Error::other(format_args!(
            "exec: {quoted}: cannot run executable found relative to current directory"
        ))),
        None => {
            let reason = format_args!("exec: {quoted}: executable file not found in $PATH");
            Err(Error::new(Kind::NotFound, reason))
        }
    }
}

fn check(path: &Path) -> std::result::Result<(), (Kind, String)> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err((Kind::NotExecutable, "is a directory".to_owned())),
        Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => {
            Err((Kind::NotExecutable, "permission denied".to_owned()))
        }
        Ok(_) => Ok(()),
        Err(error) => {
            let error = linux::Error::from_io("stat", "", &error);
            Err((kind_of(&error), format!("stat {}: {}", path.display(), plain(&error))))
        }
    }
}

/// What the program finds in its environment.
pub(crate) fn environment(program: &Program, home: Option<&CString>) -> Vec<CString> {
    let mut env = program.env.clone();
    if let Some(home) = home {
        env.retain(|line| !line.as_bytes().starts_with(b"HOME="));
        env.push(home.clone());
    }
    env
}

/// Replaces this process, or ends it. The file was found and may be executed; if the kernel cannot after all (its
/// interpreter is missing, it is no program), then the container has started, and its first and last words are why.
pub(crate) fn execute(path: &CString, program: &Program, home: Option<&CString>) -> ! {
    mark("waited for the word to start");
    let error = process::execute(path, &program.args, &environment(program, home));
    end_with(&format_args!("exec {}: {}", path.to_string_lossy(), plain(&error)))
}

/// The end of a container that has started but whose program has not.
pub(crate) fn end_with(message: &dyn std::fmt::Display) -> ! {
    let _nobody_reads = writeln!(std::io::stderr(), "{message}");
    process::exit_now(255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_in_the_user_database() {
        let passwd =
            b"root:x:0:0::/root:/bin/sh\nbroken\nx:x:y:0::/no:\nempty:x:5:5:::\nu:x:1000:1000::/home/u:\n";
        assert_eq!(home_of(passwd, 0), Some(&b"/root"[..]));
        assert_eq!(home_of(passwd, 1000), Some(&b"/home/u"[..]));
        assert_eq!(home_of(passwd, 5), None);
        assert_eq!(home_of(passwd, 7), None);
    }

    fn program(args: &[&str]) -> Program {
        let args = serde_json::to_string(args).unwrap();
        let json = format!(r#"{{"cwd":"/","args":{args},"env":["PATH=/nowhere:bin:/bin"]}}"#);
        Program::new(&serde_json::from_str(&json).unwrap()).unwrap()
    }

    #[test]
    fn programs_are_found_and_missed_in_known_words() {
        assert_eq!(find(&program(&["busybox"])).unwrap().to_str().unwrap(), "/bin/busybox");
        let cases = [
            ("nosuch", 127, "exec: \"nosuch\": executable file not found in $PATH"),
            ("", 127, "exec: \"\": executable file not found in $PATH"),
            ("/nosuch", 127, "exec: \"/nosuch\": stat /nosuch: no such file or directory"),
            ("/etc", 126, "exec: \"/etc\": is a directory"),
            ("/etc/passwd", 126, "exec: \"/etc/passwd\": permission denied"),
        ];
        for (name, status, message) in cases {
            let error = find(&program(&[name])).unwrap_err();
            assert_eq!((error.exit_status(), error.message()), (status, message));
        }
    }
}
