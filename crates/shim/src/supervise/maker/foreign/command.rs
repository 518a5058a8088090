//! One command of a foreign runtime: started, waited for, and asked what went wrong.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use linux::poll::{Interest, Poll};
use linux::process::{Child, Exit, Program, Spawn};
use linux::signal::SIGKILL;
use runtime::Stdio;

use super::super::super::{failure, other};
use super::bundle::{Bundle, CONSOLE, Console};
use super::complaint;
use crate::protocol::{Failure, FailureKind, Runtime};

/// Longer than any hook may take, and shorter than an engine waits for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A runtime and the container that it is told about.
pub(super) struct Tool {
    program: PathBuf,
    arguments: Vec<String>,
    container: String,
    systemd: bool,
    pub(super) bundle: Bundle,
    ran: Cell<bool>,
}

/// A command to be.
pub(super) struct Call<'a> {
    name: &'static str,
    options: Vec<OsString>,
    /// Behind the container's id.
    arguments: Vec<OsString>,
    /// What its standard streams become those of; its own go where they can be read.
    streams: Option<[BorrowedFd<'a>; 3]>,
    /// Where its process's terminal is sent to.
    console: Option<&'a Console>,
    root: Option<BorrowedFd<'a>>,
}

impl<'a> Call<'a> {
    pub(super) fn new(name: &'static str) -> Call<'a> {
        let (options, arguments) = (Vec::new(), Vec::new());
        Call { name, options, arguments, streams: None, console: None, root: None }
    }

    pub(super) fn flag(mut self, name: &str) -> Call<'a> {
        self.options.push(name.into());
        self
    }

    pub(super) fn option(mut self, name: &str, value: &Path) -> Call<'a> {
        self.options.extend([name.into(), value.into()]);
        self
    }

    pub(super) fn pid_file(self, bundle: &Bundle) -> Call<'a> {
        self.option("--pid-file", &bundle.pid_file())
    }

    pub(super) fn argument(mut self, value: String) -> Call<'a> {
        self.arguments.push(value.into());
        self
    }

    /// Its process gets these, or a terminal of its own.
    pub(super) fn stdio(mut self, stdio: &'a Stdio, console: Option<&'a Console>) -> Call<'a> {
        self.console = console;
        match stdio {
            Stdio::Terminal { .. } => self.option("--console-socket", Path::new(CONSOLE)),
            Stdio::Descriptors { stdin, stdout, stderr } => {
                self.streams = Some([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()]);
                self
            }
        }
    }

    /// It sees this at the bundle's root directory.
    pub(super) fn private_root(mut self, mount: Option<BorrowedFd<'a>>) -> Call<'a> {
        self.root = mount;
        self
    }
}

impl Tool {
    pub(super) fn new(runtime: &Runtime, container: &str, bundle: Bundle, systemd: bool) -> Tool {
        Tool {
            program: runtime.path.clone(),
            arguments: runtime.arguments.clone(),
            container: container.to_owned(),
            systemd,
            bundle,
            ran: Cell::new(false),
        }
    }

    /// Whether a command has run since the last call.
    pub(super) fn has_run(&self) -> bool {
        self.ran.take()
    }

    pub(super) fn run(&self, call: Call<'_>) -> Result<(), Failure> {
        // What an earlier command has said is not this one's answer.
        for path in [self.bundle.log(), self.bundle.errors()] {
            let _ = std::fs::remove_file(path);
        }
        self.ran.set(true);
        // Only while somebody can be handed over to us whom we expect.
        linux::process::set_subreaper(true).map_err(|error| other(&error))?;
        let ended = self.execute(&call);
        linux::process::set_subreaper(false).map_err(|error| other(&error))?;
        match ended? {
            Exit::Code(0) => Ok(()),
            exit => {
                let status = match exit {
                    Exit::Code(code) => format!("exit status {code}"),
                    Exit::Signal(signal) => format!("signal {signal}"),
                };
                let end = format!("{} did not terminate successfully: {status}", self.program.display());
                Err(complaint::of(&self.bundle, &end))
            }
        }
    }

    fn execute(&self, call: &Call<'_>) -> Result<Exit, Failure> {
        let program = find(&self.program).ok_or_else(|| {
            let name = self.program.display();
            complaint::of(&self.bundle, &format!("exec: {name:?}: executable file not found in $PATH"))
        })?;
        let (null, errors) = self.own_streams().map_err(|error| other(&error))?;
        let [stdin, stdout, stderr] = call.streams.unwrap_or([null.as_fd(), null.as_fd(), errors.as_fd()]);
        let spawn = Spawn::new(Program::Path(&program), &self.words(call))
            .and_then(Spawn::inherit_env)
            .and_then(|spawn| spawn.directory(self.bundle.path()))
            .and_then(|spawn| match call.root {
                Some(root) => spawn.private_mount(root, &self.bundle.rootfs()),
                None => Ok(spawn),
            })
            .map_err(|error| other(&error))?
            .descriptor(stdin, 0)
            .descriptor(stdout, 1)
            .descriptor(stderr, 2)
            .death_signal(SIGKILL);
        let child = spawn.start().map_err(|error| match error.call() {
            "execve" => {
                let end = format!("fork/exec {}: {}", program.display(), error.sentence().to_lowercase());
                complaint::of(&self.bundle, &end)
            }
            _ => other(&error),
        })?;
        let in_time = attend(&child, call.console).map_err(|error| other(&error))?;
        if !in_time {
            let _ = linux::process::send_signal(child.pidfd.as_fd(), SIGKILL);
        }
        let exit = child.wait().map_err(|error| other(&error))?;
        match in_time {
            true => Ok(exit),
            false => {
                let (name, seconds) = (call.name, PATIENCE.as_secs());
                let message = format!("{} {name} took longer than {seconds} seconds", program.display());
                Err(failure(FailureKind::Other, message))
            }
        }
    }

    /// `/dev/null`, and the file for what it complains about.
    fn own_streams(&self) -> std::io::Result<(OwnedFd, OwnedFd)> {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        linux::fault::io("bundle: open the file of complaints")?;
        let errors = File::options().create(true).append(true).open(self.bundle.errors())?;
        Ok((null.into(), errors.into()))
    }

    fn words(&self, call: &Call<'_>) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![self.program.clone().into()];
        words.extend(self.arguments.iter().map(OsString::from));
        words.extend(["--root".into(), self.bundle.state().into()]);
        words.extend(["--log".into(), self.bundle.log().into()]);
        words.extend(["--log-format".into(), "json".into()]);
        if self.systemd {
            words.push("--systemd-cgroup".into());
        }
        words.push(call.name.into());
        words.extend(call.options.iter().cloned());
        words.push(self.container.clone().into());
        words.extend(call.arguments.iter().cloned());
        words
    }
}

/// Waits for the end of a command, and takes its terminal in. False when it takes too long.
fn attend(child: &Child, console: Option<&Console>) -> linux::Result<bool> {
    const END: u64 = 0;
    const TERMINAL: u64 = 1;
    let poll = Poll::new()?;
    poll.add(&child.pidfd, END, Interest::READ)?;
    if let Some(console) = console {
        poll.add(console, TERMINAL, Interest::READ)?;
    }
    let deadline = Instant::now() + PATIENCE;
    let mut events = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        events.clear();
        poll.wait(&mut events, Some(left))?;
        if let Some(console) = console.filter(|_| events.iter().any(|event| event.token == TERMINAL)) {
            poll.remove(console)?;
            // Whoever takes it when the command is through is told what was wrong.
            let _ = console.receive();
        }
        if events.iter().any(|event| event.token == END) {
            return Ok(true);
        }
    }
}

/// As a shell finds a program.
fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return Some(program.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}
