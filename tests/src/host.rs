//! A network namespace that stands for a machine: the engine under test lives in one, its visitors in another.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A named network namespace with `lo` up, deleted when dropped.
#[derive(Debug)]
pub struct Host {
    name: String,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Host {
    pub fn new() -> Self {
        let name = format!("wharf-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        ip(&["netns", "add", &name]);
        let host = Host { name };
        host.run(&["ip", "link", "set", "lo", "up"]);
        host
    }

    /// Where it has its name.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// A command line that runs what follows it here. Unlike `ip netns exec` it leaves `/sys` as it is, so that
    /// cgroups stay in sight.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Runs a program here; the test fails when it does. Gives its standard output.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> String {
        let output = self.try_run(words);
        assert!(
            output.status.success(),
            "{words:?} in {}: {}",
            self.name,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a program here, whatever comes of it.
    pub fn try_run(&self, words: &[&str]) -> std::process::Output {
        self.command(words[0]).args(&words[1..]).output().expect("nsenter (package util-linux) runs")
    }

    /// Connects two hosts by a cable: `left` is this host's address, `right` the other's, each with its prefix.
    pub fn connect(&self, other: &Host, left: &str, right: &str) {
        ip(&[
            "link",
            "add",
            "cable0",
            "netns",
            &self.name,
            "type",
            "veth",
            "peer",
            "name",
            "cable0",
            "netns",
            &other.name,
        ]);
        for (host, address) in [(self, left), (other, right)] {
            host.run(&["ip", "address", "add", address, "dev", "cable0"]);
            host.run(&["ip", "link", "set", "cable0", "up"]);
        }
    }

    /// Names of the interfaces here.
    pub fn interfaces(&self) -> Vec<String> {
        let listing = self.run(&["ip", "-o", "link"]);
        let names = listing.lines().filter_map(|line| line.split(": ").nth(1));
        names.map(|name| name.split('@').next().unwrap_or(name).to_owned()).collect()
    }
}

impl Default for Host {
    fn default() -> Self {
        Host::new()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

#[track_caller]
fn ip(words: &[&str]) {
    let output = Command::new("ip").args(words).output().expect("ip (package iproute2) runs");
    assert!(output.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
