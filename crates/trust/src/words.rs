//! What went wrong, in the words of Go's `crypto/tls` and `crypto/x509`: those that people know from Docker and look for.

use std::io;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use crate::validity::written;

/// A failure of a session.
pub fn of(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => {
            format!("tls: failed to verify certificate: x509: {}", certificate(error))
        }
        Error::AlertReceived(alert) => format!("remote error: tls: {}", told(*alert)),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "tls: first record does not look like a TLS handshake".into()
        }
        other => format!("tls: {other}"),
    }
}

/// A failure of a session's stream, which may be one of the session within.
pub fn of_stream(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(inner) => of(inner),
        None => of_io(error),
    }
}

/// The kernel's sentence without its number, and without a capital.
pub fn of_io(error: &io::Error) -> String {
    let text = match error.kind() {
        io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string(),
    };
    let sentence = text.find(" (os error").map_or(text.as_str(), |end| &text[..end]);
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn certificate(error: &CertificateError) -> String {
    let out_of_time = |now, relation, limit| {
        let (now, limit) = (written(now), written(limit));
        format!("certificate has expired or is not yet valid: current time {now} is {relation} {limit}")
    };
    match error {
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".into(),
        CertificateError::BadSignature => {
            "certificate signed by unknown authority (perhaps one of the same name has another key)".into()
        }
        CertificateError::ExpiredContext { time, not_after } => out_of_time(*time, "after", *not_after),
        CertificateError::NotValidYetContext { time, not_before } => {
            out_of_time(*time, "before", *not_before)
        }
        CertificateError::NotValidForNameContext { expected, presented } => another_name(expected, presented),
        other => other.to_string(),
    }
}

/// `presented`: `DnsName("a")`, `IpAddress(1.2.3.4)`.
fn another_name(expected: &ServerName<'_>, presented: &[String]) -> String {
    let of_kind = |head: &str| -> Vec<&str> {
        let inner = presented.iter().filter_map(|name| name.strip_prefix(head)?.strip_suffix(')'));
        inner.map(|name| name.trim_matches('"')).collect()
    };
    let (wanted, names) = match expected {
        ServerName::IpAddress(address) => {
            (std::net::IpAddr::from(*address).to_string(), of_kind("IpAddress("))
        }
        other => (other.to_str().into_owned(), of_kind("DnsName(")),
    };
    match (names.is_empty(), expected) {
        (true, ServerName::IpAddress(_)) => {
            format!("cannot validate certificate for {wanted} because it doesn't contain any IP SANs")
        }
        (true, _) => {
            format!("certificate is not valid for any names, but wanted to match {wanted}")
        }
        (false, _) => format!("certificate is valid for {}, not {wanted}", names.join(", ")),
    }
}

fn told(alert: AlertDescription) -> String {
    use AlertDescription as A;
    let words = match alert {
        A::HandshakeFailure => "handshake failure",
        A::BadCertificate => "bad certificate",
        A::UnsupportedCertificate => "unsupported certificate",
        A::CertificateRevoked => "revoked certificate",
        A::CertificateExpired => "expired certificate",
        A::CertificateUnknown => "unknown certificate",
        A::UnknownCA => "unknown certificate authority",
        A::AccessDenied => "access denied",
        A::DecryptError => "error decrypting message",
        A::ProtocolVersion => "protocol version not supported",
        A::InternalError => "internal error",
        A::UnrecognisedName => "unrecognized name",
        A::CertificateRequired => "certificate required",
        other => return format!("{other:?}"),
    };
    words.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::pki_types::UnixTime;

    use super::*;

    fn named(expected: &str, presented: &[&str]) -> String {
        of(&Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            expected: ServerName::try_from(expected.to_owned()).unwrap(),
            presented: presented.iter().map(|name| (*name).to_owned()).collect(),
        }))
    }

    #[test]
    fn names_that_do_not_match_are_told_as_go_tells_them() {
        let head = "tls: failed to verify certificate: x509: ";
        let dns = ["DnsName(\"a.example\")", "DnsName(\"b.example\")"];
        let expected = "certificate is valid for a.example, b.example, not c.example";
        assert_eq!(named("c.example", &dns), format!("{head}{expected}"));
        let expected = "cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs";
        assert_eq!(named("127.0.0.1", &dns), format!("{head}{expected}"));
        let expected = "certificate is valid for 10.0.0.1, not 127.0.0.1";
        assert_eq!(named("127.0.0.1", &["IpAddress(10.0.0.1)"]), format!("{head}{expected}"));
        let expected = "certificate is not valid for any names, but wanted to match a.example";
        assert_eq!(named("a.example", &["IpAddress(10.0.0.1)"]), format!("{head}{expected}"));
    }

    #[test]
    fn other_errors_have_gos_words_where_it_has_some() {
        let time = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let expired = CertificateError::ExpiredContext { time: time(86_400), not_after: time(0) };
        assert_eq!(
            certificate(&expired),
            "certificate has expired or is not yet valid: current time 1970-01-02T00:00:00Z is after 1970-01-01T00:00:00Z"
        );
        let alert = Error::AlertReceived(AlertDescription::CertificateRequired);
        let of_certificate_required = "remote error: tls: certificate required";
        assert_eq!(of(&alert), of_certificate_required);
        assert_eq!(of_stream(&io::Error::new(io::ErrorKind::InvalidData, alert)), of_certificate_required);
        assert_eq!(of_stream(&io::Error::from_raw_os_error(111)), "connection refused");
    }
}
