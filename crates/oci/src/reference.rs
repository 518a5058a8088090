//! References: the names of images, `[domain[:port]/]path[:tag][@digest]`.
//!
//! What a person writes is first normalised as Docker does: a name without a domain lives at `docker.io`, one of a
//! single component there under `library/`. The first component is a domain if it holds a dot or a colon, is
//! `localhost`, or has upper-case letters. [`Reference::familiar`] takes those additions away again, and always gives
//! back a text that reads as the same reference.
//!
//! The grammar is small and regular; it is read by hand, part by part.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{Digest, InvalidDigest, has_digest_shape};

/// The domain of a name that has none.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// The tag of a reference that has neither tag nor digest.
pub const DEFAULT_TAG: &str = "latest";

const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library";
/// Of the path; a longer one fits into no registry.
const MAX_PATH: usize = 255;
const MAX_TAG: usize = 128;

/// Why a text is no reference, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    #[error("invalid reference format")]
    Format,
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Identifier(String),
    #[error("repository name must not be more than {MAX_PATH} characters")]
    TooLong,
    #[error("invalid tag format")]
    Tag,
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

/// A normalised name, with what it may point at.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Reads what a person wrote. No tag is added: see [`Reference::with_default_tag`].
    pub fn parse_normalized(text: &str) -> Result<Self, InvalidReference> {
        if is_identifier(text) {
            return Err(InvalidReference::Identifier(text.into()));
        }
        let (domain, remainder) = split_domain(text);
        let name = remainder.split(':').next().unwrap_or_default();
        if name.to_lowercase() != name {
            return Err(InvalidReference::Uppercase(name.into()));
        }

        let (named, digest) = match remainder.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (remainder.as_str(), None),
        };
        let (path, tag) = match named.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (named, None),
        };
        let digest_fits = digest.is_none_or(has_digest_shape);
        if !is_domain(domain) || !is_path(path) || !tag.is_none_or(is_tag) || !digest_fits {
            return Err(InvalidReference::Format);
        }
        if path.len() > MAX_PATH {
            return Err(InvalidReference::TooLong);
        }
        Ok(Self {
            domain: domain.to_owned(),
            path: path.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::parse).transpose()?,
        })
    }

    /// `latest`, when it has neither a tag nor a digest.
    #[must_use]
    pub fn with_default_tag(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same name with this tag and without a digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, InvalidReference> {
        if !is_tag(tag) {
            return Err(InvalidReference::Tag);
        }
        Ok(Self { tag: Some(tag.to_owned()), ..self.name_only() })
    }

    /// The same name with this digest and without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.name_only() }
    }

    /// Without tag and digest.
    #[must_use]
    pub fn name_only(&self) -> Self {
        Self { domain: self.domain.clone(), path: self.path.clone(), tag: None, digest: None }
    }

    pub fn is_name_only(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// `library/alpine`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `docker.io/library/alpine`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The name as people write it: `alpine`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        if let Some((OFFICIAL, rest)) = self.path.split_once('/')
            && !rest.contains('/')
            && !is_identifier(rest)
        {
            return rest.to_owned();
        }
        match self.path.split_once('/') {
            Some((first, _)) if !reads_as_domain(first) => self.path.clone(),
            _ => self.name(),
        }
    }

    /// The whole reference as people write it: `alpine:3.20`.
    pub fn familiar(&self) -> String {
        self.suffixed(self.familiar_name())
    }

    fn suffixed(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
        text
    }
}

/// The whole normalised reference: `docker.io/library/alpine:3.20`.
impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.suffixed(self.name()))
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        Self::parse_normalized(text)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether a text is a full image or container id: 64 lower-case hex digits.
pub fn is_identifier(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn split_domain(text: &str) -> (&str, String) {
    let (domain, path) = match text.split_once('/') {
        Some((LEGACY_DOMAIN, rest)) => (DEFAULT_DOMAIN, rest),
        Some((first, rest)) if reads_as_domain(first) => (first, rest),
        _ => (DEFAULT_DOMAIN, text),
    };
    // The slash is looked for in everything that follows, as Docker does: neither tags nor digests have one.
    if domain == DEFAULT_DOMAIN && !path.contains('/') {
        return (domain, format!("{OFFICIAL}/{path}"));
    }
    (domain, path.to_owned())
}

/// Whether the first of several components is a domain rather than part of a path.
fn reads_as_domain(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.to_lowercase() != first
}

/// `host[:port]`, where the host is a name, an IPv4 address or an IPv6 address in brackets.
fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            let digits = address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
            if address.is_empty() || !digits {
                return false;
            }
            if !port.is_empty() && !port.starts_with(':') {
                return false;
            }
            ("v6", port.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(label)
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_path(path: &str) -> bool {
    path.split('/').all(is_path_component)
}

/// Runs of `[a-z0-9]`, between them one of `.`, `_`, `__` or any number of dashes.
fn is_path_component(component: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut separator: &[u8] = b"";
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    if !is_word(first) || !is_word(last) {
        return false;
    }
    let mut start = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if !is_word(byte) {
            separator = &bytes[start..=at];
            continue;
        }
        let fits = match separator {
            b"" | b"." | b"_" | b"__" => true,
            dashes => dashes.iter().all(|&byte| byte == b'-'),
        };
        if !fits {
            return false;
        }
        separator = b"";
        start = at + 1;
    }
    true
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`
fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(text: &str) -> Reference {
        Reference::parse_normalized(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn names_are_completed() {
        for (written, whole, familiar) in [
            ("alpine", "docker.io/library/alpine", "alpine"),
            ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
            ("me/app", "docker.io/me/app", "me/app"),
            ("docker.io/alpine", "docker.io/library/alpine", "alpine"),
            ("index.docker.io/me/app:x", "docker.io/me/app:x", "me/app:x"),
            ("localhost/app", "localhost/app", "localhost/app"),
            ("localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"),
            ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
            ("quay.io/a/b/c", "quay.io/a/b/c", "quay.io/a/b/c"),
            ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
            ("Host/x", "Host/x", "Host/x"),
            ("library/x", "docker.io/library/x", "x"),
            ("docker.io/a.b/c", "docker.io/a.b/c", "docker.io/a.b/c"),
            ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
            ("a__b/c-----d.e_f", "docker.io/a__b/c-----d.e_f", "a__b/c-----d.e_f"),
        ] {
            assert_eq!(parse(written).to_string(), whole);
            assert_eq!(parse(written).familiar(), familiar);
        }
    }

    #[test]
    fn tags_and_digests() {
        let both = parse(&format!("x:1@sha256:{HEX}"));
        assert_eq!((both.tag(), both.digest().unwrap().hex()), (Some("1"), HEX));
        assert_eq!(both.familiar(), format!("x:1@sha256:{HEX}"));
        assert_eq!(parse("x").with_default_tag().familiar(), "x:latest");
        assert_eq!(parse(&format!("x@sha256:{HEX}")).with_default_tag().tag(), None);
        assert_eq!(parse("x:1").with_tag("2").unwrap().familiar(), "x:2");
        assert_eq!(parse("x:1").with_tag("").unwrap_err().to_string(), "invalid tag format");
    }

    #[test]
    fn refused_in_dockers_words() {
        let long = format!("{}/x", "a".repeat(254));
        for (text, message) in [
            ("", "invalid reference format"),
            ("a b", "invalid reference format"),
            ("-x", "invalid reference format"),
            ("x:", "invalid reference format"),
            ("x:-", "invalid reference format"),
            ("x@", "invalid reference format"),
            ("x@sha256:short", "invalid reference format"),
            ("a//b", "invalid reference format"),
            ("a/", "invalid reference format"),
            ("/a", "invalid reference format"),
            ("a..b", "invalid reference format"),
            ("a___b", "invalid reference format"),
            ("a.-b", "invalid reference format"),
            ("host:port/x", "invalid reference format"),
            ("-h.com/x", "invalid reference format"),
            ("h.com:/x", "invalid reference format"),
            ("[::1/x", "invalid reference format"),
            ("x:1:2", "invalid reference format"),
            ("X", "invalid reference format: repository name (library/X) must be lowercase"),
            ("q.io/Me/x:T", "invalid reference format: repository name (Me/x) must be lowercase"),
            (HEX, &format!("invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings")),
            (&long, "repository name must not be more than 255 characters"),
            ("x@sha256:00000000000000000000000000000000", "invalid checksum digest length"),
            ("x@md5:00000000000000000000000000000000", "unsupported digest algorithm"),
        ] {
            let error = Reference::parse_normalized(text).expect_err(text);
            assert_eq!(error.to_string(), message, "{text}");
        }
        assert!(Reference::parse_normalized(&format!("x:{}", "t".repeat(129))).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_reads_back_the_same(text in "[a-zA-Z0-9._/:@\\[\\]-]{0,40}") {
            if let Ok(reference) = Reference::parse_normalized(&text) {
                prop_assert_eq!(&parse(&reference.to_string()), &reference);
                prop_assert_eq!(&parse(&reference.familiar()), &reference);
            }
        }

        #[test]
        fn well_formed_names_are_accepted(
            domain in "(([a-z0-9]{1,5}\\.){1,2}[a-z]{2,3}(:[0-9]{1,5})?/)?",
            path in "[a-z0-9]{1,6}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,5}){0,3}",
            tag in "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,10})?",
            digest in "(@sha256:[0-9a-f]{64})?",
        ) {
            // Without a domain, a first component with a dot would be read as one.
            let first = path.split('/').next().unwrap();
            prop_assume!(!domain.is_empty() || !path.contains('/') || !reads_as_domain(first));
            let text = format!("{domain}{path}{tag}{digest}");
            let reference = parse(&text);
            prop_assert_eq!(&parse(&reference.familiar()), &reference);
            prop_assert_eq!(reference.tag(), tag.strip_prefix(':'));
            prop_assert_eq!(reference.digest().map(Digest::as_str), digest.strip_prefix('@'));
        }

        #[test]
        fn nothing_makes_it_panic(text in "\\PC{0,60}") {
            let _ = Reference::parse_normalized(&text);
        }
    }
}
