//! What is asked of CRIU and what it answers: the part of its `rpc.proto` that a container needs.
//!
//! See <https://criu.org/RPC>. The numbers of fields are those of the file, which never change.

use std::os::fd::RawFd;

use protobuf::{Reader, Value, Writer};

/// Requests, and the answers to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Dump = 1,
    Restore = 2,
    PreDump = 4,
    /// CRIU tells how far it is, and waits for a word.
    Notify = 6,
    FeatureCheck = 9,
    Version = 10,
}

impl Kind {
    fn parse(number: i32) -> Option<Kind> {
        [Kind::Dump, Kind::Restore, Kind::PreDump, Kind::Notify, Kind::FeatureCheck, Kind::Version]
            .into_iter()
            .find(|kind| *kind as i32 == number)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Dump => "DUMP",
            Kind::Restore => "RESTORE",
            Kind::PreDump => "PRE_DUMP",
            Kind::Notify => "NOTIFY",
            Kind::FeatureCheck => "FEATURE_CHECK",
            Kind::Version => "VERSION",
        }
    }
}

/// What to do with cgroups and their properties.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupMode {
    Ignore = 0,
    Soft = 3,
    Full = 4,
    Strict = 5,
    #[default]
    Default = 6,
}

impl CgroupMode {
    /// From the words of the command line; the empty one is the default.
    pub fn parse(word: &str) -> Option<CgroupMode> {
        match word {
            "" => Some(CgroupMode::Default),
            "ignore" => Some(CgroupMode::Ignore),
            "soft" => Some(CgroupMode::Soft),
            "full" => Some(CgroupMode::Full),
            "strict" => Some(CgroupMode::Strict),
            _ => None,
        }
    }
}

/// `criu_opts`. Descriptors are those of our own process: CRIU reaches them by procfs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) images: RawFd,
    pub(crate) work: Option<RawFd>,
    pub(crate) log_file: &'static str,
    pub(crate) root: String,
    pub(crate) pid: Option<i32>,
    pub(crate) parent: Option<String>,
    pub(crate) page_server: Option<(String, u16)>,
    pub(crate) leave_running: bool,
    pub(crate) tcp_established: bool,
    pub(crate) tcp_skip_in_flight: bool,
    pub(crate) external_unix_sockets: bool,
    pub(crate) link_remap: bool,
    pub(crate) shell_job: bool,
    pub(crate) file_locks: bool,
    pub(crate) auto_dedup: bool,
    pub(crate) lazy_pages: bool,
    /// The restored process becomes our child, not CRIU's.
    pub(crate) sibling: bool,
    pub(crate) evasive_devices: bool,
    pub(crate) cgroups: CgroupMode,
    /// Controller and path: below it, the tree of cgroups is restored.
    pub(crate) cgroup_roots: Vec<(String, String)>,
    pub(crate) freeze_cgroup: Option<String>,
    /// Mounts from outside: on a dump where they are and what they are called, on a restore that and where from.
    pub(crate) mounts: Vec<(String, String)>,
    /// Namespaces that are not dumped.
    pub(crate) external: Vec<String>,
    pub(crate) inherited: Vec<(String, RawFd)>,
    pub(crate) joined: Vec<(&'static str, String)>,
    /// `CLONE_NEW…` flags of namespaces that are made anew, without their content.
    pub(crate) empty_namespaces: u64,
    pub(crate) config_file: Option<String>,
    pub(crate) lsm_profile: Option<String>,
    pub(crate) lsm_mount_context: Option<String>,
}

impl Options {
    fn write(&self, to: &mut Writer) {
        /// Of `criu.log`: everything but what is for CRIU's own developers.
        const DEBUG: i32 = 4;
        let text = |to: &mut Writer, field, value: &Option<String>| {
            if let Some(value) = value {
                to.text(field, value);
            }
        };
        to.signed(1, self.images).signed(9, DEBUG).text(10, self.log_file).text(13, &self.root);
        if let Some(pid) = self.pid {
            to.signed(2, pid);
        }
        if let Some(work) = self.work {
            to.signed(17, work);
        }
        let flags = [
            (3, self.leave_running),
            (4, self.external_unix_sockets),
            (5, self.tcp_established),
            (6, self.evasive_devices),
            (7, self.shell_job),
            (8, self.file_locks),
            (15, self.parent.is_some()),
            (16, self.auto_dedup),
            (18, self.link_remap),
            (26, self.sibling),
            (46, self.tcp_skip_in_flight),
            (48, self.lazy_pages),
        ];
        for (field, _) in flags.into_iter().filter(|(_, set)| *set) {
            to.flag(field, true);
        }
        // It tells us how far it is, manages cgroups, and hands us the masters of terminals.
        to.flag(12, true).flag(24, true).flag(50, true).number(34, self.cgroups as u64);
        to.number(38, self.empty_namespaces);
        text(to, 14, &self.parent);
        text(to, 44, &self.freeze_cgroup);
        text(to, 51, &self.config_file);
        text(to, 53, &self.lsm_profile);
        text(to, 63, &self.lsm_mount_context);
        if let Some((address, port)) = &self.page_server {
            to.message(11, |to| {
                to.text(1, address).number(2, u64::from(*port));
            });
        }
        self.write_lists(to);
    }

    fn write_lists(&self, to: &mut Writer) {
        for (key, value) in &self.mounts {
            to.message(23, |to| {
                to.text(1, key).text(2, value);
            });
        }
        for (controller, path) in &self.cgroup_roots {
            to.message(25, |to| {
                to.text(1, controller).text(2, path);
            });
        }
        for (key, fd) in &self.inherited {
            to.message(27, |to| {
                to.text(1, key).signed(2, *fd);
            });
        }
        for external in &self.external {
            to.text(37, external);
        }
        for (name, path) in &self.joined {
            to.message(39, |to| {
                to.text(1, name).text(2, path);
            });
        }
    }
}

/// What this machine's CRIU and kernel may lack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Features {
    pub(crate) memory_tracking: bool,
    pub(crate) lazy_pages: bool,
}

/// A request without options.
pub(crate) fn bare(kind: Kind) -> Vec<u8> {
    let mut request = Writer::default();
    request.number(1, kind as u64);
    request.finish()
}

pub(crate) fn feature_check(wanted: Features) -> Vec<u8> {
    let mut request = Writer::default();
    request.number(1, Kind::FeatureCheck as u64).message(5, |to| {
        to.flag(1, wanted.memory_tracking).flag(2, wanted.lazy_pages);
    });
    request.finish()
}

pub(crate) fn with_options(kind: Kind, options: &Options) -> Vec<u8> {
    let mut request = Writer::default();
    request.number(1, kind as u64).message(2, |to| options.write(to));
    request.finish()
}

/// The word that CRIU waits for.
pub(crate) fn go_on() -> Vec<u8> {
    let mut request = Writer::default();
    request.number(1, Kind::Notify as u64).flag(3, true);
    request.finish()
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) kind: Kind,
    pub(crate) success: bool,
    pub(crate) errno: i32,
    pub(crate) message: String,
    pub(crate) notify: Notify,
    pub(crate) features: Features,
    /// 31701 is 3.17.1.
    pub(crate) version: u32,
}

/// How far CRIU is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Notify {
    pub(crate) script: String,
    pub(crate) pid: i32,
}

impl Response {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Response> {
        let mut response = Response {
            kind: Kind::Notify,
            success: false,
            errno: 0,
            message: String::new(),
            notify: Notify::default(),
            features: Features::default(),
            version: 0,
        };
        let mut kind = None;
        for field in Reader(bytes) {
            match field? {
                (1, value) => kind = Some(Kind::parse(value.signed())?),
                (2, value) => response.success = value.flag(),
                (5, Value::Bytes(bytes)) => response.notify = notify(bytes)?,
                (7, value) => response.errno = value.signed(),
                (8, Value::Bytes(bytes)) => response.features = features(bytes)?,
                (9, value) => response.message = value.text(),
                (10, Value::Bytes(bytes)) => response.version = version(bytes)?,
                _ => {}
            }
        }
        response.kind = kind?;
        Some(response)
    }
}

fn notify(bytes: &[u8]) -> Option<Notify> {
    let mut notify = Notify::default();
    for field in Reader(bytes) {
        match field? {
            (1, value) => notify.script = value.text(),
            (2, value) => notify.pid = value.signed(),
            _ => {}
        }
    }
    Some(notify)
}

fn features(bytes: &[u8]) -> Option<Features> {
    let mut features = Features::default();
    for field in Reader(bytes) {
        match field? {
            (1, value) => features.memory_tracking = value.flag(),
            (2, value) => features.lazy_pages = value.flag(),
            _ => {}
        }
    }
    Some(features)
}

fn version(bytes: &[u8]) -> Option<u32> {
    let (mut major, mut minor, mut sub, mut from_git) = (0, 0, 0, false);
    for field in Reader(bytes) {
        match field? {
            (1, value) => major = value.signed(),
            (2, value) => minor = value.signed(),
            (3, _) => from_git = true,
            (4, value) => sub = value.signed(),
            _ => {}
        }
    }
    if from_git {
        // On its way to the next one.
        (minor, sub) = (minor + 1, 0);
    }
    u32::try_from(major * 10_000 + minor * 100 + sub).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_all_its_parts() {
        let mut bytes = Writer::default();
        bytes.number(1, 6).flag(2, true).message(5, |to| {
            to.text(1, "post-restore").signed(2, 42);
        });
        bytes.signed(7, -1).text(9, "why").message(10, |to| {
            to.number(1, 3).number(2, 17).number(4, 1);
        });
        bytes.message(8, |to| {
            to.flag(1, true);
        });
        let response = Response::parse(&bytes.finish()).unwrap();
        assert_eq!((response.kind, response.success), (Kind::Notify, true));
        assert_eq!(response.notify, Notify { script: "post-restore".into(), pid: 42 });
        assert_eq!((response.errno, response.message.as_str(), response.version), (-1, "why", 31701));
        assert!(response.features.memory_tracking && !response.features.lazy_pages);
    }

    #[test]
    fn an_answer_to_nothing_that_was_asked_is_none() {
        assert_eq!(Response::parse(&[0x08, 99]), None);
        assert_eq!(Response::parse(&[]), None);
        assert_eq!(Response::parse(&[0x12, 200]), None);
    }

    #[test]
    fn only_what_is_wanted_is_sent() {
        let options = Options { images: 5, log_file: "dump.log", root: "/r".into(), ..Options::default() };
        let bytes = with_options(Kind::Dump, &options);
        let Some((2, Value::Bytes(sent))) = Reader(&bytes).flatten().nth(1) else { panic!("{bytes:?}") };
        let fields: Vec<u32> = Reader(sent).flatten().map(|(field, _)| field).collect();
        assert_eq!(fields, [1, 9, 10, 13, 12, 24, 50, 34, 38]);
    }
}
