//! A tcp listener that lets in only clients with a certificate.

use std::net::TcpStream;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::world::{Response, World, eventually};

const REQUEST: &[u8] = b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

struct Certificates {
    authority: String,
    certificate: String,
    key: String,
}

/// An authority and one certificate that serves both sides.
fn certificates() -> Certificates {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    Certificates { authority: issuer.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
}

fn ask(address: &str, certificates: &Certificates, show: bool) -> std::io::Result<String> {
    use std::io::{Read as _, Write as _};
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificates.authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = if show {
        let chain = vec![CertificateDer::from_pem_slice(certificates.certificate.as_bytes()).unwrap()];
        builder
            .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(certificates.key.as_bytes()).unwrap())
            .unwrap()
    } else {
        builder.with_no_client_auth()
    };
    let connection =
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address)?);
    stream.write_all(REQUEST)?;
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        // The server need not say goodbye in TLS.
        Err(error) if text.is_empty() => Err(error),
        _ => Ok(String::from_utf8_lossy(&text).into_owned()),
    }
}

#[test]
fn only_clients_with_a_certificate_come_in() {
    let mut world = World::new();
    let certificates = certificates();
    let file = |name: &str, text: &str| {
        let path = world.directory.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (authority, certificate, key) = (
        file("ca.pem", &certificates.authority),
        file("cert.pem", &certificates.certificate),
        file("key.pem", &certificates.key),
    );
    // Held by the test, because the engine lives in a network of its own.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let flags = [
        "-H",
        "fd://",
        "--tlsverify",
        "--tlscacert",
        &authority,
        "--tlscert",
        &certificate,
        "--tlskey",
        &key,
    ];
    world.start(&flags, &[std::os::fd::AsFd::as_fd(&listener)]);

    let text = eventually(|| ask(&address, &certificates, true).ok(), || world.log());
    assert_eq!(Response::parse(&text).body, "OK");
    assert!(ask(&address, &certificates, false).is_err());
    let other = self::certificates();
    let mixed = Certificates { authority: certificates.authority.clone(), ..other };
    assert!(ask(&address, &mixed, true).is_err(), "a certificate of somebody else's authority");
}
