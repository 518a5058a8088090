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
