//! Mount options as text, parsed into what the mount calls take.
//!
//! The words are those of mount(8) plus the recursive ones (`rro`, …) and `tmpcopyup` of the runtime
//! specification. Later words override earlier ones. Words that nobody knows belong to the file system.

use linux::mount::{
    ATIME, NOATIME, NODEV, NODIRATIME, NOEXEC, NOSUID, NOSYMFOLLOW, Propagation, RDONLY, RELATIME,
    STRICTATIME,
};

/// One mount's options.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// `Some(true)` brings along what is mounted below the source.
    pub(crate) bind: Option<bool>,
    pub(crate) remount: bool,
    pub(crate) set: u64,
    pub(crate) clear: u64,
    /// A flag of the mount is named, set or cleared: one of a bind that is not named is then cleared as well.
    mentioned: bool,
    /// A way to keep access times is named.
    pub(crate) sets_access_times: bool,
    pub(crate) recursive_set: u64,
    pub(crate) recursive_clear: u64,
    /// In order; the flag says whether with all below.
    pub(crate) propagation: Vec<(Propagation, bool)>,
    /// What was on the place before is copied into the new tmpfs.
    pub(crate) copy_up: bool,
    /// `Some(true)` for the whole tree.
    pub(crate) id_mapped: Option<bool>,
    /// For the file system: `key=value` or `key`.
    pub(crate) data: Vec<String>,
    /// Of the file system rather than of one mount of it.
    pub(crate) super_flags: Vec<&'static str>,
    /// The words that take one back, where a file system that is mounted already may have it.
    pub(crate) super_cleared: Vec<&'static str>,
}

/// Every word, for `features`.
#[rustfmt::skip]
pub(crate) const WORDS: &[&str] = &[
    "async", "atime", "bind", "defaults", "dev", "diratime", "dirsync", "exec", "idmap", "iversion", "lazytime",
    "loud", "mand", "noatime", "nodev", "nodiratime", "noexec", "noiversion", "nolazytime", "nomand", "norelatime", "nostrictatime", "nosuid",
    "nosymfollow", "private", "ratime", "rbind", "rdev", "rdiratime", "relatime", "remount", "rexec", "ridmap",
    "rnoatime", "rnodev", "rnodiratime", "rnoexec", "rnorelatime", "rnostrictatime", "rnosuid", "rnosymfollow", "ro",
    "rprivate", "rrelatime", "rro", "rrw", "rshared", "rslave", "rstrictatime", "rsuid", "rsymfollow",
    "runbindable", "rw", "shared", "silent", "slave", "strictatime", "suid", "symfollow", "sync", "tmpcopyup",
    "unbindable",
];

impl Options {
    pub(crate) fn parse<S: AsRef<str>>(words: &[S]) -> Options {
        let mut options = Options::default();
        for word in words {
            options.take(word.as_ref());
        }
        options
    }

    fn take(&mut self, word: &str) {
        if self.take_attribute(word) || self.take_propagation(word) {
            return;
        }
        match word {
            // `silent` keeps a file system from complaining in the kernel's log. Ours never do: they are made by
            // fsopen(2), and complain to the caller.
            "" | "defaults" | "loud" | "silent" => {}
            "bind" => self.bind = Some(self.bind.unwrap_or(false)),
            "rbind" => self.bind = Some(true),
            "remount" => self.remount = true,
            "tmpcopyup" => self.copy_up = true,
            "idmap" => self.id_mapped = Some(false),
            "ridmap" => self.id_mapped = Some(true),
            other if self.take_super_flag(other) => {}
            other => self.data.extend(each_option(other).map(str::to_owned)),
        }
    }

    fn take_attribute(&mut self, word: &str) -> bool {
        if let Some((set, clear)) = attribute(word) {
            self.mentioned = true;
            self.sets_access_times |= ["noatime", "nodiratime", "relatime", "strictatime"].contains(&word);
            self.set = (self.set & !clear) | set;
            self.clear = (self.clear & !set) | clear;
            return true;
        }
        if let Some((set, clear)) = word.strip_prefix('r').and_then(attribute).filter(|_| word != "ro") {
            self.recursive_set = (self.recursive_set & !clear) | set;
            self.recursive_clear = (self.recursive_clear & !set) | clear;
            return true;
        }
        false
    }

    fn take_super_flag(&mut self, word: &str) -> bool {
        match SUPER.iter().find(|(set, clear)| [*set, *clear].contains(&word)) {
            Some((set, clear)) => {
                self.super_flags.retain(|flag| flag != set);
                self.super_cleared.retain(|flag| flag != clear);
                let (flags, flag) = match *set == word {
                    true => (&mut self.super_flags, set),
                    false => (&mut self.super_cleared, clear),
                };
                flags.push(flag);
                true
            }
            None => false,
        }
    }

    fn take_propagation(&mut self, word: &str) -> bool {
        let (name, recursive) = match word.strip_prefix('r') {
            Some(name) => (name, true),
            None => (word, false),
        };
        let propagation = match name {
            "private" => Propagation::Private,
            "shared" => Propagation::Shared,
            "slave" => Propagation::Slave,
            "unbindable" => Propagation::Unbindable,
            _ => return false,
        };
        self.propagation.push((propagation, recursive));
        true
    }

    pub(crate) fn is_read_only(&self) -> bool {
        (self.set | self.recursive_set) & RDONLY != 0
    }

    /// What to set and to clear on a bind. One that names no flag keeps those of its source; with any named, it has
    /// those that are named and no others. Access times stay as they are unless a way to keep them is named.
    pub(crate) fn of_bind(&self) -> (u64, u64) {
        if !self.mentioned {
            return (0, 0);
        }
        let access = ATIME | NODIRATIME;
        let (mut set, mut clear) = (self.set & !access, PLAIN & !self.set);
        if self.sets_access_times {
            set |= self.set & access;
            clear |= access;
        }
        (set, clear)
    }

    /// What a file system that is mounted already is told to be: the flags that are its own as well as those of a mount, then
    /// its options.
    pub(crate) fn of_remount(&self) -> Vec<&str> {
        let access = match (self.set & RDONLY, self.clear & RDONLY) {
            (RDONLY, _) => Some("ro"),
            (_, RDONLY) => Some("rw"),
            _ => None,
        };
        let flags = self.super_flags.iter().chain(&self.super_cleared).copied();
        access.into_iter().chain(flags).chain(self.data.iter().map(String::as_str)).collect()
    }

    /// The attributes of a mount that is made new.
    pub(crate) fn fresh(&self) -> u64 {
        (self.set | self.recursive_set) & !self.recursive_clear
    }
}

/// Options of a file system that came as one word, as mount(2) takes them: a comma between quotes is a label's.
fn each_option(word: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let between = move |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    };
    word.split(between).filter(|option| !option.is_empty())
}

/// Flags of a file system, and the words that take them back.
const SUPER: &[(&str, &str)] = &[
    ("sync", "async"),
    // There is no taking back.
    ("dirsync", ""),
    ("lazytime", "nolazytime"),
    ("mand", "nomand"),
    ("iversion", "noiversion"),
];

/// Flags that a bind has or has not.
const PLAIN: u64 = RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW;

/// What a word sets and clears. Access-time modes are one field, so each clears the others.
fn attribute(word: &str) -> Option<(u64, u64)> {
    Some(match word {
        "ro" => (RDONLY, 0),
        "rw" => (0, RDONLY),
        "nosuid" => (NOSUID, 0),
        "suid" => (0, NOSUID),
        "nodev" => (NODEV, 0),
        "dev" => (0, NODEV),
        "noexec" => (NOEXEC, 0),
        "exec" => (0, NOEXEC),
        "nosymfollow" => (NOSYMFOLLOW, 0),
        "symfollow" => (0, NOSYMFOLLOW),
        "nodiratime" => (NODIRATIME, 0),
        "diratime" => (0, NODIRATIME),
        "noatime" => (NOATIME, ATIME & !NOATIME),
        "strictatime" => (STRICTATIME, ATIME & !STRICTATIME),
        "relatime" => (RELATIME, ATIME),
        // The kernel's own way is relatime, whichever other is taken back.
        "atime" => (0, NOATIME),
        "nostrictatime" => (0, STRICTATIME),
        "norelatime" => (0, 0),
        _ => return None,
    })
}

/// The propagation of the root mount, by `rootfsPropagation`.
pub(crate) fn root_propagation(word: &str) -> Option<(Propagation, bool)> {
    let mut options = Options::default();
    options.take_propagation(word).then(|| options.propagation[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_words_override() {
        let options = Options::parse(&["ro", "nosuid", "rw", "size=1m", "huge"]);
        assert_eq!((options.set, options.clear), (NOSUID, RDONLY));
        assert_eq!(options.data, ["size=1m", "huge"]);
    }

    #[test]
    fn one_word_may_hold_several_options() {
        let options = Options::parse(&["size=1m,mode=700", ",huge,", r#"context="a:c1,c2",uid=5"#]);
        assert_eq!(options.data, ["size=1m", "mode=700", "huge", r#"context="a:c1,c2""#, "uid=5"]);
    }

    #[test]
    fn recursive_words_are_not_plain_ones() {
        let options = Options::parse(&["rbind", "rro", "rnosuid", "rslave", "private", "rexec"]);
        assert_eq!(options.bind, Some(true));
        assert_eq!(options.set, 0);
        assert_eq!((options.recursive_set, options.recursive_clear), (RDONLY | NOSUID, NOEXEC));
        assert_eq!(options.propagation, [(Propagation::Slave, true), (Propagation::Private, false)]);
        assert!(options.is_read_only());
    }

    #[test]
    fn access_time_modes_exclude_each_other() {
        let options = Options::parse(&["noatime", "strictatime"]);
        assert_eq!(options.set & ATIME, STRICTATIME);
        assert_eq!(options.clear & NOATIME, NOATIME);
    }

    #[test]
    fn a_bind_that_names_a_flag_has_no_others() {
        assert_eq!(Options::parse(&["rbind", "rprivate"]).of_bind(), (0, 0));
        assert_eq!(Options::parse(&["bind", "dev"]).of_bind(), (0, PLAIN));
        assert_eq!(Options::parse(&["bind", "ro", "norelatime"]).of_bind(), (RDONLY, PLAIN & !RDONLY));
        let (set, clear) = Options::parse(&["bind", "nodiratime"]).of_bind();
        assert_eq!((set, clear), (NODIRATIME, PLAIN | ATIME | NODIRATIME));
    }

    #[test]
    fn every_listed_word_is_known() {
        for word in WORDS {
            assert!(Options::parse(&[word]).data.is_empty(), "{word}");
        }
    }
}
