//! Against servers made here, on real sockets, with certificates made here.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::session::Trust;

/// Certificates of one authority, in files.
struct Authority {
    directory: scratch::Directory,
    issuer: Issuer<'static, KeyPair>,
    roots: Arc<RootCertStore>,
}

struct Issued {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Authority {
        let directory = scratch::Directory::new("authority");
        let key = KeyPair::generate().unwrap();
        let mut told = CertificateParams::new([]).unwrap();
        told.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        told.distinguished_name.push(DnType::CommonName, "an authority");
        let certificate = told.self_signed(&key).unwrap();
        std::fs::write(directory.join("ca.pem"), certificate.pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        Authority { directory, issuer: Issuer::new(told, key), roots: Arc::new(roots) }
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        Some(self.directory.join(name))
    }

    fn issue(&self, name: &str) -> Issued {
        let key = KeyPair::generate().unwrap();
        let told = CertificateParams::new([name.to_owned()]).unwrap();
        Issued { certificate: told.signed_by(&key, &self.issuer).unwrap(), key }
    }

    /// A certificate for a client, in files `client.pem` and `client.key`.
    fn issue_client(&self) {
        let Issued { certificate, key } = self.issue("client");
        std::fs::write(self.directory.join("client.pem"), certificate.pem()).unwrap();
        std::fs::write(self.directory.join("client.key"), key.serialize_pem()).unwrap();
    }

    fn trust(&self) -> Trust {
        Trust { authority: self.file("ca.pem"), verify: true, ..Trust::default() }
    }
}

/// Echoes what one client sends until that closes; the whole of it, or why there was none.
fn echo(
    issued: Issued,
    clients: Option<Arc<RootCertStore>>,
) -> (TcpStream, JoinHandle<Result<Vec<u8>, String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let remote = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::try_from(issued.key.serialize_der()).unwrap();
    let config = builder.with_single_cert(vec![issued.certificate.der().clone()], key).unwrap();
    let server = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let session = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(session, socket);
        let mut received = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match stream.read(&mut piece) {
                Ok(0) => return Ok(received),
                Ok(count) => {
                    received.extend_from_slice(&piece[..count]);
                    stream.write_all(&piece[..count]).map_err(|error| error.to_string())?;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    });
    (remote, server)
}

type Carried = JoinHandle<Result<(), String>>;

fn begin(trust: &Trust, name: &str, remote: TcpStream) -> (UnixStream, Carried) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let session = trust.session(name).unwrap();
    (ours, std::thread::spawn(move || carry(theirs, remote, session)))
}

/// What the starter gets to hear of a connection that does not come about.
fn refused(trust: &Trust, name: &str, issued: Issued) -> String {
    let (remote, _server) = echo(issued, None);
    let (mut ours, carried) = begin(trust, name, remote);
    assert_eq!(ours.read(&mut [0; 1]).unwrap(), 0, "it is not up");
    carried.join().unwrap().unwrap_err()
}

#[test]
fn bytes_go_both_ways_and_the_last_of_them_arrive() {
    let authority = Authority::new();
    let (remote, server) = echo(authority.issue("127.0.0.1"), None);
    let (mut ours, carried) = begin(&authority.trust(), "127.0.0.1", remote);
    let mut up = [0; 1];
    ours.read_exact(&mut up).unwrap();
    assert_eq!(&up, b"+");
    let sent: Vec<u8> = (0..500_000u32).flat_map(u32::to_le_bytes).collect();
    let mut reader = ours.try_clone().unwrap();
    let expected = sent.clone();
    let back = std::thread::spawn(move || {
        let mut back = vec![0; expected.len()];
        reader.read_exact(&mut back).unwrap();
        back == expected
    });
    ours.write_all(&sent).unwrap();
    assert!(back.join().unwrap());
    // What is written right before the end is not lost with it.
    ours.write_all(b"the end").unwrap();
    drop(ours);
    let received = server.join().unwrap().unwrap();
    assert!(received.len() == sent.len() + 7 && received.ends_with(b"the end"));
    assert_eq!(carried.join().unwrap(), Ok(()));
}

#[test]
fn a_server_that_cannot_prove_its_name_is_refused_in_gos_words() {
    let (ours, other) = (Authority::new(), Authority::new());
    let head = "tls: failed to verify certificate: x509: ";
    // It has the name of ours, and another key.
    let why = refused(&ours.trust(), "127.0.0.1", other.issue("127.0.0.1"));
    assert!(why.starts_with(&format!("{head}certificate signed by unknown authority (")), "{why}");
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let why = refused(&ours.trust(), "127.0.0.1", Issued { certificate, key });
    assert_eq!(why, format!("{head}certificate signed by unknown authority"));
    let name = format!("{head}certificate is valid for a.example, not b.example");
    assert_eq!(refused(&ours.trust(), "b.example", ours.issue("a.example")), name);

    let skip = Trust { verify: false, ..Trust::default() };
    let (remote, _server) = echo(other.issue("a.example"), None);
    let (mut ours, _carried) = begin(&skip, "b.example", remote);
    ours.read_exact(&mut [0; 1]).unwrap();
}

#[test]
fn a_certificate_that_is_listed_itself_is_believed_while_it_is_valid() {
    let authority = Authority::new();
    let made = |until: i32| {
        let key = KeyPair::generate().unwrap();
        let mut told = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        // As `openssl req -x509` makes them.
        told.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        told.not_before = rcgen::date_time_ymd(2000, 1, 1);
        told.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = told.self_signed(&key).unwrap();
        std::fs::write(authority.directory.join("ca.pem"), certificate.pem()).unwrap();
        Issued { certificate, key }
    };
    let (remote, _server) = echo(made(2100), None);
    let (mut ours, _carried) = begin(&authority.trust(), "127.0.0.1", remote);
    ours.read_exact(&mut [0; 1]).unwrap();
    let expired = made(2001);
    let why = refused(&authority.trust(), "127.0.0.1", expired);
    assert!(
        why.contains("has expired or is not yet valid") && why.ends_with("is after 2001-01-01T00:00:00Z"),
        "{why}"
    );
    let why = refused(&authority.trust(), "127.0.0.2", made(2100));
    assert!(why.ends_with("certificate is valid for 127.0.0.1, not 127.0.0.2"), "{why}");
}

#[test]
fn a_server_may_want_to_know_who_we_are() {
    let authority = Authority::new();
    authority.issue_client();
    let known = Trust {
        certificate: authority.file("client.pem"),
        key: authority.file("client.key"),
        ..authority.trust()
    };
    let (remote, server) = echo(authority.issue("127.0.0.1"), Some(authority.roots.clone()));
    let (mut ours, _) = begin(&known, "127.0.0.1", remote);
    ours.read_exact(&mut [0; 1]).unwrap();
    ours.write_all(b"it is me").unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.join().unwrap().unwrap(), b"it is me");

    // In TLS 1.3 the server says so after we are through.
    let (remote, server) = echo(authority.issue("127.0.0.1"), Some(authority.roots.clone()));
    let (mut ours, carried) = begin(&authority.trust(), "127.0.0.1", remote);
    let mut all = Vec::new();
    ours.read_to_end(&mut all).unwrap();
    assert_eq!(carried.join().unwrap().unwrap_err(), "remote error: tls: certificate required");
    assert!(server.join().unwrap().is_err());
}

#[test]
fn what_is_no_server_is_told_apart() {
    let authority = Authority::new();
    for (answer, expected) in [
        (&b"220 mail.example ready\r\n"[..], "tls: first record does not look like a TLS handshake"),
        (b"", "EOF"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(answer).unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        let (_ours, carried) = begin(&authority.trust(), "127.0.0.1", remote);
        assert_eq!(carried.join().unwrap().unwrap_err(), expected);
    }
    // A starter that gives up is not waited for.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let remote = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, carried) = begin(&authority.trust(), "127.0.0.1", remote);
    drop(ours);
    assert_eq!(carried.join().unwrap(), Ok(()));
}

#[test]
fn files_are_refused_in_dockers_words() {
    let authority = Authority::new();
    authority.issue_client();
    let other = authority.issue("other");
    std::fs::write(authority.directory.join("other.key"), other.key.serialize_pem()).unwrap();
    std::fs::write(authority.directory.join("text"), "root:x:0:0").unwrap();
    let directory = authority.directory.display();
    let with = |ca: Option<&str>, certificate: Option<&str>, key: Option<&str>| {
        let file = |name: Option<&str>| name.map(|name| authority.directory.join(name));
        let trust =
            Trust { authority: file(ca), certificate: file(certificate), key: file(key), verify: true };
        trust.session("a.example").map(drop).unwrap_err()
    };
    let pair = "Could not load X509 key pair: ";
    assert_eq!(
        with(Some("none"), None, None),
        format!(
            "could not read CA certificate \"{directory}/none\": open {directory}/none: no such file or directory"
        )
    );
    assert_eq!(
        with(Some("text"), None, None),
        format!("failed to append certificates from PEM file: \"{directory}/text\"")
    );
    assert_eq!(
        with(None, Some("none"), Some("client.key")),
        format!("{pair}open {directory}/none: no such file or directory")
    );
    assert_eq!(with(None, None, Some("client.key")), format!("{pair}open : no such file or directory"));
    assert_eq!(with(None, Some("client.pem"), Some("text")), format!("{pair}no valid private key found"));
    assert_eq!(
        with(None, Some("text"), Some("client.key")),
        format!("{pair}tls: failed to find any PEM data in certificate input")
    );
    assert_eq!(
        with(None, Some("client.pem"), Some("other.key")),
        format!("{pair}tls: private key does not match public key")
    );
}
