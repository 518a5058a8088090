//! The same words to a real Docker and to Wharf: the same output, errors and exit codes.
//!
//! Runs where `WHARF_PEER` holds a command that runs its arguments beside a real Docker 28, and says so where it does
//! not. The scripts in `differential/` hold one shell line per case; what a case leaves is there for the next one.
//! `docker` is the stock client on both sides, or our own where a test says so, and `api METHOD PATH [BODY]` asks the
//! interface itself. What differs by nature (ids, times, hardware addresses, versions) is blanked before the answers
//! are compared; a case whose answer differs in other ways by nature (directories, the order of things that have none)
//! has to be written so that it does not show.

use blackbox::{World, skip};

use crate::shell::{Blank, Peer, here};

#[test]
fn containers() {
    compare(include_str!("differential/containers.sh"));
}

#[test]
fn descriptions() {
    compare(include_str!("differential/descriptions.sh"));
}

#[test]
fn options() {
    compare(include_str!("differential/options.sh"));
}

#[test]
fn networks() {
    compare(include_str!("differential/networks.sh"));
}

#[test]
fn streams_and_execs() {
    compare(include_str!("differential/streams.sh"));
}

#[test]
fn images() {
    compare(include_str!("differential/images.sh"));
}

#[test]
fn volumes_limits_and_events() {
    compare(include_str!("differential/others.sh"));
}

#[test]
fn requests() {
    compare(include_str!("differential/requests.sh"));
}

#[test]
fn filters() {
    compare(include_str!("differential/filters.sh"));
}

#[test]
fn the_interface() {
    compare(include_str!("differential/interface.sh"));
}

/// Runs every line of a script on both sides; all differences are told together.
fn compare(script: &str) {
    let Some(peer) = Peer::find() else {
        skip("WHARF_PEER names no Docker to compare with");
        return;
    };
    let world = World::start();
    world.docker(&["rmi", "localhost/hello"]).ok();
    let blank = Blank::new();
    let lines = script.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut differences = Vec::new();
    let mut cases = 0;
    for line in lines {
        cases += 1;
        let theirs = blank.all(&peer.run(line));
        let ours = blank.all(&here(&world, "docker", line));
        if ours != theirs {
            differences.push(format!("{line}\n--- Docker\n{theirs}\n--- Wharf\n{ours}"));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {cases} differ:\n\n{}",
        differences.len(),
        differences.join("\n\n")
    );
}
