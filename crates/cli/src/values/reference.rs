//! Names of images, as far as the client must take them apart. What is valid is the engine's to say.

/// `name[:tag][@digest]` as name and what comes after it; a digest wins over a tag.
pub(crate) fn split(reference: &str) -> (&str, &str) {
    if let Some((name, digest)) = reference.split_once('@') {
        return (split_tag(name).0, digest);
    }
    split_tag(reference)
}

/// `name[:tag]`; a colon before the last slash belongs to a port.
pub(crate) fn split_tag(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, ""),
    }
}

/// Refuses what cannot be the name of an image, before anybody is asked for it.
pub(crate) fn check(reference: &str) -> Result<(), String> {
    let bad = || "invalid reference format".to_owned();
    let (rest, digest) =
        reference.split_once('@').map_or((reference, None), |(rest, digest)| (rest, Some(digest)));
    let (name, tag) = split_tag(rest);
    let full = normalized(name);
    let path = full.split_once('/').map_or(full.as_str(), |(_, path)| path);
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(format!("invalid reference format: repository name ({path}) must be lowercase"));
    }
    let part = |part: &str| {
        let edge =
            |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        edge(part.bytes().next()) && edge(part.bytes().next_back()) && part.bytes().all(inner)
    };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let valid_tag = tag.len() <= 128
        && tag.bytes().next().is_none_or(word)
        && tag.bytes().all(|byte| word(byte) || b".-".contains(&byte))
        && !(tag.is_empty() && rest.ends_with(':'));
    let valid_digest = digest.is_none_or(|digest| {
        let length = match digest.split_once(':') {
            Some(("sha256", hex)) => (hex, 64),
            Some(("sha512", hex)) => (hex, 128),
            _ => return false,
        };
        length.0.len() == length.1
            && length.0.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    });
    // Sixty-four hexadecimal digits are an ID, which is no name, but is understood elsewhere.
    if name.is_empty() || !path.split('/').all(part) || !valid_tag || !valid_digest {
        return Err(bad());
    }
    Ok(())
}

/// Whether it is a whole ID of an image, which is no name.
pub(crate) fn is_id(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A reference with `:latest` where it has neither tag nor digest.
pub(crate) fn with_default_tag(reference: &str) -> String {
    match split(reference) {
        (_, "") => format!("{reference}:latest"),
        _ => reference.to_owned(),
    }
}

/// The name as Docker spells it out: registry and `library/` included.
pub(crate) fn normalized(reference: &str) -> String {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => reference.to_owned(),
        Some(_) => format!("docker.io/{reference}"),
        None => format!("docker.io/library/{reference}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        for good in [
            "a",
            "a/b-c_d.e:Tag-1",
            "host:5000/a",
            "localhost/x/y",
            "HOST.example/x",
            "a@sha256:".to_owned().as_str(),
        ] {
            if good.ends_with(':') {
                assert!(check(&format!("{good}{}", "0".repeat(64))).is_ok());
            } else {
                assert!(check(good).is_ok(), "{good}");
            }
        }
        assert_eq!(
            check("UPPER").unwrap_err(),
            "invalid reference format: repository name (library/UPPER) must be lowercase"
        );
        for bad in ["", ":x", "a:", "a b", "-a", "a/", "a@sha256:00", "a:\u{e9}", "a//b"] {
            assert_eq!(check(bad).unwrap_err(), "invalid reference format", "{bad}");
        }
    }

    #[test]
    fn references_are_taken_apart() {
        assert_eq!(split("host:5000/a"), ("host:5000/a", ""));
        assert_eq!(split("host:5000/a:1"), ("host:5000/a", "1"));
        assert_eq!(split("a:1@sha256:00"), ("a", "sha256:00"));
        assert_eq!(with_default_tag("alpine"), "alpine:latest");
        assert_eq!(with_default_tag("a@sha256:00"), "a@sha256:00");
        assert_eq!(normalized("alpine:3"), "docker.io/library/alpine:3");
        assert_eq!(normalized("a/b"), "docker.io/a/b");
        assert_eq!(normalized("localhost/b"), "localhost/b");
    }
}
