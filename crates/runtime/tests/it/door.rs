//! The runtime has two doors: the command line, which the tests use by themselves, and the library. What a test asks of a
//! [`Bundle`] by its verbs (`create`, `start`, `exec`, …) it can ask through either:
//!
//! ```ignore
//! crate::door::by_the_library! { a_test another_test }
//! ```
//!
//! runs these once more, in a module of that name. What only a command line has (statuses, words, lists, what it refuses
//! before it asks the library) is not for it.

use std::cell::Cell;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use linux::process::wait;
use oci::runtime::{Resources, Spec, Status};
use runtime::{Container, Created, Error, Launch, Result, Rootfs, Stdio};
use serde_json::Value;

use crate::bundle::{Bundle, Outcome};

macro_rules! by_the_library {
    ($($test:ident)*) => {
        mod by_the_library {
            $(#[test] fn $test() { crate::door::open_library(super::$test) })*
        }
    };
}
pub(crate) use by_the_library;

thread_local! {
    static BY_THE_LIBRARY: Cell<bool> = const { Cell::new(false) };
}

/// The bundles of this test are run by the library. Each test has a thread of its own.
pub(crate) fn open_library(test: fn()) {
    BY_THE_LIBRARY.set(true);
    test();
}

/// What a caller of the library holds of one container.
#[derive(Default)]
enum Held {
    #[default]
    Nothing,
    Waiting(Created),
    Running(Container),
}

#[derive(Default)]
pub(crate) struct Library(Mutex<Held>);

impl Library {
    pub(crate) fn if_asked_for() -> Option<Library> {
        BY_THE_LIBRARY.get().then(Library::default)
    }

    pub(crate) fn create(&self, bundle: &Bundle) {
        let created = create(bundle, "log", "log").unwrap_or_else(|error| panic!("{error}"));
        *self.0.lock().unwrap() = Held::Waiting(created);
    }

    pub(crate) fn start(&self) {
        let mut held = self.0.lock().unwrap();
        let Held::Waiting(created) = std::mem::take(&mut *held) else {
            panic!("nothing waits to be started")
        };
        *held = Held::Running(created.start().unwrap());
    }

    /// From its creation to its end.
    pub(crate) fn run(&self, bundle: &Bundle) -> Outcome {
        let mut failures = Vec::new();
        let mut run = || {
            let container = create(bundle, "stdout", "stderr")?.start()?;
            let exit = wait(container.pid()).map_err(Error::other)?;
            failures = container.delete()?;
            Ok(exit.code())
        };
        let mut outcome = outcome(bundle, run(), 1);
        for failed in failures {
            let message = format!("unable to destroy container: {failed}");
            outcome.stderr.push_str(&format!("level=warning msg={message:?}\n"));
        }
        outcome
    }

    pub(crate) fn exec(&self, bundle: &Bundle, process: &Value) -> Outcome {
        let exec = || {
            let process = oci::runtime::parse(process.to_string().as_bytes()).map_err(Error::invalid)?;
            let exec = self.with(|container| container.exec(&process, stdio(bundle, "stdout", "stderr")))?;
            wait(exec.pid()).map(|exit| exit.code()).map_err(Error::other)
        };
        outcome(bundle, exec(), 255)
    }

    pub(crate) fn state(&self) -> Value {
        let waits = matches!(*self.0.lock().unwrap(), Held::Waiting(_));
        self.with(|container| {
            let ended =
                linux::poll::wait_readable(container.pidfd(), Some(std::time::Duration::ZERO)).unwrap();
            let status = match (ended, waits, container.is_paused()) {
                (true, ..) => Status::Stopped,
                (_, true, _) => Status::Created,
                (.., true) => Status::Paused,
                _ => Status::Running,
            };
            serde_json::to_value(container.state(status)).unwrap()
        })
    }

    pub(crate) fn kill(&self, signal: i32) {
        self.with(|container| match signal {
            // On v1 one that is frozen dies only of this.
            linux::signal::SIGKILL if container.is_paused() => container.kill_all(),
            _ => container.signal(signal),
        })
        .unwrap();
    }

    pub(crate) fn pause(&self, paused: bool) {
        self.with(|container| if paused { container.pause() } else { container.resume() }).unwrap();
    }

    pub(crate) fn update(&self, new: &Resources) -> Result<()> {
        self.with(|container| container.update(new))
    }

    /// Whatever it is doing.
    pub(crate) fn delete(&self) -> Result<()> {
        // Also after a failure of the test itself.
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *held) {
            Held::Nothing => Ok(()),
            Held::Waiting(created) => {
                created.abandon();
                Ok(())
            }
            Held::Running(container) => {
                container.kill_all()?;
                wait(container.pid()).map_err(Error::other)?;
                container.delete().map(drop)
            }
        }
    }

    fn with<T>(&self, ask: impl FnOnce(&Container) -> T) -> T {
        match &*self.0.lock().unwrap() {
            Held::Nothing => panic!("there is no container"),
            Held::Waiting(created) => ask(created.container()),
            Held::Running(container) => ask(container),
        }
    }
}

fn create(bundle: &Bundle, stdout: &str, stderr: &str) -> Result<Created> {
    let spec: Spec = oci::runtime::parse(bundle.config.to_string().as_bytes()).map_err(Error::invalid)?;
    let rootfs = spec.root.as_ref().map(|root| root.path.clone()).unwrap_or_default();
    let rootfs = Rootfs::Directory(rootfs);
    runtime::create(Launch::new(&bundle.id, &spec, &bundle.directory, rootfs, stdio(bundle, stdout, stderr)))
}

/// Files of the bundle, which hold any amount.
fn stdio(bundle: &Bundle, stdout: &str, stderr: &str) -> Stdio {
    let open = |name: &str| OwnedFd::from(File::create(bundle.directory.join(name)).unwrap());
    let stdin = File::open("/dev/null").unwrap().into();
    let out = open(stdout);
    let err = if stderr == stdout { linux::fd::duplicate(&out).unwrap() } else { open(stderr) };
    Stdio::Descriptors { stdin, stdout: out, stderr: err }
}

/// An error as the command line would log it, so that a test finds it in the same place.
fn outcome(bundle: &Bundle, ended: Result<i32>, status_of_error: i32) -> Outcome {
    let read = |name: &str| std::fs::read_to_string(bundle.directory.join(name)).unwrap_or_default();
    match ended {
        Ok(status) => Outcome { status, stdout: read("stdout"), stderr: read("stderr") },
        Err(error) => {
            let stderr = format!("{}msg={:?}\n", read("stderr"), error.to_string());
            Outcome { status: status_of_error, stdout: read("stdout"), stderr }
        }
    }
}
