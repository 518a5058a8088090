//! Attacks that container runtimes fell to: each is carried out for real, and the host's side must stay untouched.
//!
//! One file per family. A test's name begins with the number of the vulnerability whose class it covers, in whichever
//! runtime that was found; what the attacker did is told above it. Where the attack was a race, it is one here: a
//! thread changes the tree while containers are created over and over.

mod binary;
mod cgroups;
mod console;
mod descriptors;
mod devices;
mod identities;
mod masks;
mod places;
mod procfs;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::bundle::{Bundle, wait_until};

/// How often a race is run. Enough that the runtimes of their time lost it.
const ROUNDS: usize = 25;

/// Repeats a round that may fail on what it finds: often enough for whoever attacks, and until it has gone well once, since
/// what always fails shows nothing.
#[track_caller]
fn rounds(mut goes_well: impl FnMut() -> bool) {
    let (mut done, mut went_well) = (0, false);
    wait_until(|| {
        went_well |= goes_well();
        done += 1;
        done >= ROUNDS && went_well
    });
}

/// And until it has failed once, where it cannot go well when it meets the attacker.
#[track_caller]
fn rounds_that_meet(mut goes_well: impl FnMut() -> bool) {
    let mut met = false;
    rounds(|| {
        let went_well = goes_well();
        met |= !went_well;
        met && went_well
    });
}

/// Exchanges two directory entries as fast as it can, until it is dropped.
struct Swapper {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Swapper {
    fn start(one: PathBuf, other: PathBuf) -> Swapper {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            while !stopped.load(Ordering::Relaxed) {
                // An entry that the runtime has just mounted on is busy.
                let _busy = renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
            }
        });
        Swapper { stop, thread: Some(thread) }
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A directory of the host's, beside the bundle's root and not part of any container.
fn outside(bundle: &Bundle) -> PathBuf {
    let path = bundle.directory.join("outside");
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Without these mounts: the image's own directories show.
fn drop_mounts(bundle: &mut Bundle, below: &str) {
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with(below));
}

fn add_capability(bundle: &mut Bundle, name: &str) {
    for set in ["bounding", "effective", "permitted"] {
        let list = bundle.config["process"]["capabilities"][set].as_array_mut().unwrap();
        list.push(serde_json::json!(name));
    }
}

/// `docs/security.md` names tests by the beginning of their names: each exists, and none is missing there.
#[test]
fn the_page_about_security_names_every_class() {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(crate_root.join("../../docs/security.md")).unwrap();
    let named: Vec<(&str, &str)> = page
        .split('`')
        .filter_map(|text| text.strip_suffix('…')?.split_once("::"))
        .filter(|(_, test)| test.starts_with("cve_") || test.starts_with("ghsa_"))
        .collect();
    assert!(named.len() > 10, "{named:?}");
    for entry in std::fs::read_dir(crate_root.join("tests/it/attacks")).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap();
        let source = std::fs::read_to_string(&path).unwrap();
        let prefixes: Vec<&str> =
            named.iter().filter(|(family, _)| *family == module).map(|(_, test)| *test).collect();
        let tests: Vec<&str> = source
            .lines()
            .filter_map(|line| line.strip_prefix("fn ")?.split('(').next())
            .filter(|name| name.starts_with("cve_") || name.starts_with("ghsa_"))
            .collect();
        for test in &tests {
            assert!(
                prefixes.iter().any(|prefix| test.starts_with(prefix)),
                "{module}::{test} is not on the page"
            );
        }
        for prefix in prefixes {
            assert!(
                tests.iter().any(|test| test.starts_with(prefix)),
                "no test is called {module}::{prefix}…"
            );
        }
    }
}
