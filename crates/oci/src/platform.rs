//! Platforms: which machine an image is for, and which of several images a machine should take.
//!
//! The words are Go's (`amd64`, `arm64`, `arm` with variants). What people write and what documents carry is
//! normalised before it is compared: `x86_64` is `amd64`, `aarch64` is `arm64`, `arm64/v8` is plain `arm64`, `arm`
//! without a variant is `v7`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::nullable;

/// What an image is for, in Go's words: `linux`, `arm64`, `v8`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    #[serde(default, deserialize_with = "nullable")]
    pub architecture: String,
    #[serde(default, deserialize_with = "nullable")]
    pub os: String,
    #[serde(
        default,
        rename = "os.version",
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
    #[serde(
        default,
        rename = "os.features",
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// Why a text names no platform, in containerd's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlatform {
    #[error(
        "{0:?} is an invalid component of {1:?}: platform specifier component must match \"^[A-Za-z0-9_.-]+$\""
    )]
    Component(String, String),
    #[error("{0:?}: unknown operating system or architecture")]
    Unknown(String),
    #[error("{0:?}: cannot parse platform specifier: invalid argument")]
    Parts(String),
}

const SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
    "zos",
];

const ARCHITECTURES: &[&str] = &[
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le",
    "riscv", "riscv64", "s390", "s390x", "sparc", "sparc64", "wasm",
];

impl Platform {
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        Self { os: os.into(), architecture: architecture.into(), variant: variant.into(), ..Self::default() }
            .normalized()
    }

    /// The machine that this program was built for.
    pub fn host() -> Self {
        Self::new(std::env::consts::OS, std::env::consts::ARCH, "")
    }

    /// Other spellings replaced by the usual ones, and variants that say nothing removed.
    pub fn normalized(&self) -> Self {
        let os = match self.os.to_ascii_lowercase().as_str() {
            "" => "linux".to_owned(),
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let architecture = self.architecture.to_ascii_lowercase();
        let variant = self.variant.to_ascii_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("i386" | "x86" | "386", _) => ("386", ""),
            ("x86_64" | "x86-64" | "amd64", "v1" | "") => ("amd64", ""),
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", "8" | "v8" | "v8.0" | "") => ("arm64", ""),
            ("aarch64" | "arm64", variant) => ("arm64", variant),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("arm", "" | "7") => ("arm", "v7"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "6") => ("arm", "v6"),
            ("arm", "8") => ("arm", "v8"),
            ("powerpc64le", variant) => ("ppc64le", variant),
            ("loongarch64", variant) => ("loong64", variant),
            (architecture, variant) => (architecture, variant),
        };
        Self {
            os,
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
        }
    }

    /// An entry that is no image for any machine: attestations travel as `unknown/unknown`.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }

    /// Whether an image for `candidate` runs on `self`, and how well: 0 is exactly this machine, more is worse.
    pub fn rank(&self, candidate: &Self) -> Option<u32> {
        let (machine, candidate) = (self.normalized(), candidate.normalized());
        if machine.os != candidate.os {
            return None;
        }
        let accepted = machine.runs();
        let position = accepted.iter().position(|(architecture, variant)| {
            *architecture == candidate.architecture && *variant == candidate.variant
        })?;
        u32::try_from(position).ok()
    }

    pub fn accepts(&self, candidate: &Self) -> bool {
        self.rank(candidate).is_some()
    }

    /// Architectures and variants that a (normalised) machine executes, best first.
    fn runs(&self) -> Vec<(String, String)> {
        let own = (self.architecture.clone(), self.variant.clone());
        let of = |architecture: &str, variants: &[&str]| -> Vec<(String, String)> {
            variants.iter().map(|variant| (architecture.to_owned(), (*variant).to_owned())).collect()
        };
        let level = |variant: &str| variant.strip_prefix('v').and_then(|level| level.parse::<u32>().ok());
        let mut accepted = vec![own];
        match self.architecture.as_str() {
            "amd64" => {
                // Microarchitecture levels: each runs what those below it run.
                for lower in (2..level(&self.variant).unwrap_or(1).min(16)).rev() {
                    accepted.push(("amd64".into(), format!("v{lower}")));
                }
                accepted.extend(of("amd64", &[""]));
                accepted.extend(of("386", &[""]));
            }
            "arm64" => {
                accepted.extend(of("arm64", &[""]));
                accepted.extend(of("arm", &["v8", "v7", "v6", "v5"]));
            }
            "arm" => {
                for lower in (5..level(&self.variant).unwrap_or(7).min(16)).rev() {
                    accepted.push(("arm".into(), format!("v{lower}")));
                }
            }
            _ => {}
        }
        let mut unique = Vec::with_capacity(accepted.len());
        for entry in accepted {
            if !unique.contains(&entry) {
                unique.push(entry);
            }
        }
        unique
    }
}

/// `os/architecture/variant`; parts that are empty are left out.
impl fmt::Display for Platform {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.os.is_empty() { "unknown" } else { &self.os })?;
        if !self.os_version.is_empty() {
            write!(out, "({})", self.os_version)?;
        }
        for part in [&self.architecture, &self.variant] {
            if !part.is_empty() {
                write!(out, "/{part}")?;
            }
        }
        Ok(())
    }
}

/// `os[(version)][/architecture[/variant]]`, or an architecture or an operating system alone.
impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let mut parts: Vec<&str> = text.split('/').collect();
        let mut os_version = String::new();
        if let Some((os, version)) = parts[0].strip_suffix(')').and_then(|first| first.split_once('(')) {
            os_version = version.to_owned();
            parts[0] = os;
        }
        for part in parts.iter().copied().chain((!os_version.is_empty()).then_some(os_version.as_str())) {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
            if part.is_empty() || !part.bytes().all(allowed) {
                return Err(InvalidPlatform::Component(part.into(), text.into()));
            }
        }
        let platform = match *parts.as_slice() {
            [word] => Self::from_word(word).ok_or_else(|| InvalidPlatform::Unknown(text.into()))?,
            [os, architecture] => Self::new(os, architecture, ""),
            [os, architecture, variant] => Self::new(os, architecture, variant),
            _ => return Err(InvalidPlatform::Parts(text.into())),
        };
        Ok(Self { os_version, ..platform })
    }
}

impl Platform {
    fn from_word(word: &str) -> Option<Self> {
        let host = Self::host();
        let system = Self::new(word, &host.architecture, &host.variant);
        if SYSTEMS.contains(&system.os.as_str()) {
            return Some(system);
        }
        let machine = Self::new(&host.os, word, "");
        ARCHITECTURES.contains(&machine.architecture.as_str()).then_some(machine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn spellings_come_out_alike() {
        for (written, usual) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("LINUX/i386", "linux/386"),
            ("arm64", "linux/arm64"),
            ("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64"),
        ] {
            assert_eq!(parse(written).to_string(), usual);
        }
        assert_eq!(parse("linux"), Platform::host());
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(
            "plan11".parse::<Platform>().unwrap_err().to_string(),
            "\"plan11\": unknown operating system or architecture"
        );
        assert!("linux/".parse::<Platform>().is_err());
        assert!("a/b/c/d".parse::<Platform>().is_err());
        assert!("linux/am d64".parse::<Platform>().is_err());
    }

    #[test]
    fn the_closest_image_wins() {
        let amd64 = parse("linux/amd64");
        assert_eq!(amd64.rank(&parse("linux/amd64")), Some(0));
        assert_eq!(amd64.rank(&parse("linux/386")), Some(1));
        assert_eq!(amd64.rank(&parse("linux/amd64/v2")), None);
        assert_eq!(amd64.rank(&parse("windows/amd64")), None);

        let v3 = parse("linux/amd64/v3");
        assert!(v3.rank(&parse("linux/amd64/v2")) < v3.rank(&parse("linux/amd64")));

        let arm64 = parse("linux/arm64");
        assert_eq!(arm64.rank(&parse("linux/arm64/v8")), Some(0));
        assert!(arm64.rank(&parse("linux/arm/v7")) < arm64.rank(&parse("linux/arm/v6")));

        let v7 = parse("linux/arm/v7");
        assert_eq!(v7.rank(&parse("linux/arm")), Some(0));
        assert!(v7.accepts(&parse("linux/arm/v5")));
        assert!(!v7.accepts(&parse("linux/arm64")));
        assert!(!parse("linux/arm/v6").accepts(&v7));
    }

    #[test]
    fn attestations_are_nobodys_platform() {
        let unknown = Platform::new("unknown", "unknown", "");
        assert!(unknown.is_unknown());
        assert!(!Platform::host().accepts(&unknown));
    }
}
