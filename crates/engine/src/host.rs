//! What the machine is and can, observed once when the engine opens.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::error::{Error, Result};

/// Facts that do not change while the engine runs.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// `6.1.0-9-amd64`
    pub(crate) kernel: String,
    /// Major and minor version.
    pub(crate) kernel_version: (u32, u32),
    /// In Go's words (`amd64`).
    pub(crate) architecture: &'static str,
    /// In uname's words (`x86_64`).
    pub(crate) machine: &'static str,
    pub(crate) hostname: String,
    pub(crate) operating_system: String,
    pub(crate) os_version: String,
    pub(crate) cpus: usize,
    /// Bytes.
    pub(crate) memory: u64,
    pub(crate) cgroups: Cgroups,
    /// What the engine may pass on.
    pub(crate) capabilities: BTreeSet<String>,
    pub(crate) seccomp: bool,
    /// Whether the kernel goes by labels of SELinux, which this engine gives to nothing.
    pub(crate) selinux: bool,
    /// Whether containers are confined by profiles.
    pub(crate) apparmor: bool,
    /// When this program was made, as Docker writes that.
    pub(crate) built: String,
    /// Which boot this is; a runtime root of another one is stale.
    pub(crate) boot: String,
}

/// Which limits the kernel can enforce here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cgroups {
    /// 2 on a unified hierarchy, else 1.
    pub(crate) version: u8,
    pub(crate) memory: bool,
    pub(crate) swap: bool,
    pub(crate) swappiness: bool,
    pub(crate) oom_kill_disable: bool,
    pub(crate) cpu_shares: bool,
    pub(crate) cpu_quota: bool,
    pub(crate) cpuset: bool,
    pub(crate) pids: bool,
    pub(crate) blkio: bool,
    pub(crate) blkio_weight: bool,
    pub(crate) blkio_weight_device: bool,
    pub(crate) cpu_realtime: bool,
}

impl Host {
    pub(crate) fn observe() -> Result<Host> {
        let kernel = read("/proc/sys/kernel/osrelease")?;
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let (operating_system, os_version) = distribution(&release);
        Ok(Host {
            kernel_version: version(&kernel),
            kernel,
            architecture: architecture(),
            machine: std::env::consts::ARCH,
            hostname: read("/proc/sys/kernel/hostname")?,
            operating_system,
            os_version,
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory: total_memory(&read("/proc/meminfo")?),
            cgroups: Cgroups::observe(Path::new("/sys/fs/cgroup")),
            capabilities: held_capabilities()?,
            seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
            selinux: Path::new("/sys/fs/selinux/enforce").exists(),
            apparmor: crate::spec::apparmor::enabled(),
            built: built(),
            boot: read("/proc/sys/kernel/random/boot_id")?,
        })
    }
}

impl Cgroups {
    fn observe(root: &Path) -> Cgroups {
        if root.join("cgroup.controllers").exists() {
            let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
            let has = |name: &str| controllers.split_whitespace().any(|known| known == name);
            return Cgroups {
                version: 2,
                memory: has("memory"),
                swap: has("memory"),
                // Neither exists on a unified hierarchy.
                swappiness: false,
                oom_kill_disable: false,
                cpu_shares: has("cpu"),
                cpu_quota: has("cpu"),
                cpuset: has("cpuset"),
                pids: has("pids"),
                blkio: has("io"),
                blkio_weight: has("io"),
                blkio_weight_device: has("io"),
                // Of the first version alone.
                cpu_realtime: false,
            };
        }
        let file = |path: &str| root.join(path).exists();
        Cgroups {
            version: 1,
            memory: file("memory/memory.usage_in_bytes"),
            swap: file("memory/memory.memsw.limit_in_bytes"),
            swappiness: file("memory/memory.swappiness"),
            oom_kill_disable: file("memory/memory.oom_control"),
            cpu_shares: file("cpu/cpu.shares"),
            cpu_quota: file("cpu/cpu.cfs_quota_us"),
            cpuset: file("cpuset/cpuset.cpus"),
            pids: file("pids"),
            blkio: file("blkio"),
            blkio_weight: file("blkio/blkio.weight") || file("blkio/blkio.bfq.weight"),
            blkio_weight_device: file("blkio/blkio.weight_device") || file("blkio/blkio.bfq.weight_device"),
            cpu_realtime: file("cpu/cpu.rt_runtime_us"),
        }
    }
}

fn read(path: &str) -> Result<String> {
    let text =
        fs::read_to_string(path).map_err(|error| Error::failed(format!("cannot read {path}"), error))?;
    Ok(text.trim_end().to_owned())
}

/// The time of our own file, which packages set to that of their sources: nothing that changes is compiled in. Empty where
/// it cannot be told.
fn built() -> String {
    let modified = fs::metadata("/proc/self/exe").and_then(|file| file.modified()).ok();
    let time = modified.and_then(|time| jiff::Timestamp::try_from(time).ok());
    time.map_or_else(String::new, |time| time.strftime("%Y-%m-%dT%H:%M:%S.000000000+00:00").to_string())
}

fn version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|character: char| !character.is_ascii_digit())
        .map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The architecture in Go's words, which the API speaks.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// Name and version from os-release(5).
fn distribution(text: &str) -> (String, String) {
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(|value| value.trim_matches(['"', '\'']).to_owned())
    };
    (value("PRETTY_NAME").unwrap_or_else(|| "Linux".into()), value("VERSION_ID").unwrap_or_default())
}

fn total_memory(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024
}

fn held_capabilities() -> Result<BTreeSet<String>> {
    let held =
        linux::credentials::held().map_err(|error| Error::failed("cannot read capabilities", error))?;
    let names = (0..=linux::credentials::last_capability())
        .filter(|number| held.bounding.has(*number))
        .filter_map(linux::credentials::capability_name);
    Ok(names.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_kernels() {
        assert_eq!(version("6.1.0-9-amd64"), (6, 1));
        assert_eq!(version("5.15"), (5, 15));
    }

    #[test]
    fn os_release_is_quoted_or_not() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID='12'\n";
        assert_eq!(distribution(text), ("Debian GNU/Linux 12 (bookworm)".into(), "12".into()));
    }

    #[test]
    fn this_machine_has_memory_and_the_default_capabilities() {
        let host = Host::observe().unwrap();
        assert!(host.memory > 0 && host.cpus > 0);
        assert!(host.capabilities.iter().all(|name| name.starts_with("CAP_")));
    }
}
