//! Handshakes with real certificates, over loopback.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Method, Url};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::registry::Options;
use crate::registry::transport::{Outgoing, Transport};

struct Directory(scratch::Directory);

impl Directory {
    fn new() -> Self {
        Self(scratch::Directory::new("certificates"))
    }

    /// A file of the registry at `address`.
    fn file(&self, address: SocketAddr, name: &str, content: &str) {
        let directory = self.0.join(address.to_string());
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(name), content).unwrap();
    }
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key, in PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// Answers every request with 200; asks for client certificates of `clients` if given.
async fn server(identity: (String, String), clients: Option<&Authority>) -> SocketAddr {
    let chain = vec![CertificateDer::from_pem_slice(identity.0.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(identity.1.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(::trust::provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), ::trust::provider());
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

async fn ask(address: SocketAddr, certificates: &Path, trust: Trust) -> Result<(), String> {
    let options = Options { certificates: vec![certificates.to_owned()], ..Options::default() };
    let transport = Transport::new(Arc::new(options));
    let url = Url::parse(&format!("https://{address}/v2/")).unwrap();
    match transport.send(Outgoing::new(Method::GET, url), trust).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string().split_once("/v2/\": ").unwrap_or_default().1.to_owned()),
    }
}

#[tokio::test]
async fn only_known_authorities_are_believed() {
    let (authority, certificates) = (Authority::new(), Directory::new());
    let address = server(authority.issue("127.0.0.1"), None).await;
    assert_eq!(
        ask(address, &certificates.0, Trust::Verified).await.unwrap_err(),
        "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    );
    ask(address, &certificates.0, Trust::Unverified).await.unwrap();
    certificates.file(address, "ca.crt", &authority.pem());
    ask(address, &certificates.0, Trust::Verified).await.unwrap();
}

#[tokio::test]
async fn a_server_is_believed_that_is_its_own_authority() {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    // What `openssl req -x509` makes.
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = parameters.self_signed(&key).unwrap().pem();
    let certificates = Directory::new();
    let address = server((certificate.clone(), key.serialize_pem()), None).await;
    assert!(ask(address, &certificates.0, Trust::Verified).await.is_err());
    certificates.file(address, "domain.crt", &certificate);
    ask(address, &certificates.0, Trust::Verified).await.unwrap();
}

#[tokio::test]
async fn names_must_fit() {
    let (authority, certificates) = (Authority::new(), Directory::new());
    let address = server(authority.issue("elsewhere.example"), None).await;
    certificates.file(address, "ca.crt", &authority.pem());
    let error = ask(address, &certificates.0, Trust::Verified).await.unwrap_err();
    let why = "cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs";
    assert_eq!(error, format!("tls: failed to verify certificate: x509: {why}"));
}

#[tokio::test]
async fn a_registry_may_ask_who_we_are() {
    let (authority, certificates) = (Authority::new(), Directory::new());
    let address = server(authority.issue("127.0.0.1"), Some(&authority)).await;
    certificates.file(address, "ca.crt", &authority.pem());
    let error = ask(address, &certificates.0, Trust::Verified).await.unwrap_err();
    assert_eq!(error, "remote error: tls: certificate required");

    let (certificate, key) = authority.issue("us");
    certificates.file(address, "client.cert", &certificate);
    let error = ask(address, &certificates.0, Trust::Verified).await;
    assert!(error.is_err(), "a certificate without its key is a mistake to be told");
    certificates.file(address, "client.key", &key);
    ask(address, &certificates.0, Trust::Verified).await.unwrap();
}

#[tokio::test]
async fn half_of_a_pair_is_named() {
    let directory = Directory::new();
    let load = || Material::load(&[directory.0.to_owned()], "host:1").err().unwrap().to_string();
    std::fs::create_dir(directory.0.join("host:1")).unwrap();
    std::fs::write(directory.0.join("host:1/client.cert"), "").unwrap();
    assert_eq!(
        load(),
        "missing key client.key for client certificate client.cert. CA certificates must use the extension .crt"
    );
    std::fs::remove_file(directory.0.join("host:1/client.cert")).unwrap();
    std::fs::write(directory.0.join("host:1/client.key"), "").unwrap();
    assert_eq!(load(), "missing client certificate client.cert for key client.key");
    assert!(Material::load(&[directory.0.to_owned()], "other").unwrap().is_none());
}

#[tokio::test]
async fn a_server_of_plain_http() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await;
        }
    });
    let certificates = Directory::new();
    assert_eq!(
        ask(address, &certificates.0, Trust::Verified).await.unwrap_err(),
        "http: server gave HTTP response to HTTPS client"
    );
}
