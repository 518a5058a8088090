//! TLS with client certificates: whole bodies, and both directions at once.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use client::{Certificates, Client, Host, Options, Query};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// More than every buffer on the way: the kernel gives a TCP socket six megabytes to receive and four to send.
const LARGE: usize = 32 << 20;

/// Files of an authority, a server and a client, in a directory of their own.
struct Keys(scratch::Directory);

impl Keys {
    fn make(name: &str) -> Keys {
        let directory = scratch::Directory::new(name);
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(directory.join("ca.pem"), authority.pem()).unwrap();
        for who in ["server", "client"] {
            let key = KeyPair::generate().unwrap();
            let names = vec!["127.0.0.1".to_owned()];
            let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
            std::fs::write(directory.join(format!("{who}.pem")), certificate.pem()).unwrap();
            std::fs::write(directory.join(format!("{who}-key.pem")), key.serialize_pem()).unwrap();
        }
        Keys(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn server(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_file(self.path("server.pem")).unwrap()],
                PrivateKeyDer::from_pem_file(self.path("server-key.pem")).unwrap(),
            )
            .unwrap();
        Arc::new(config)
    }

    fn client(&self, port: u16, certificates: Certificates) -> Client {
        let options = Options {
            host: Host::Tcp { host: "127.0.0.1".to_owned(), port, secure: true },
            tls: Some(certificates),
            version: Some("1.44".to_owned()),
            headers: Vec::new(),
            user_agent: "test".to_owned(),
        };
        Client::new(options).unwrap()
    }

    fn certificates(&self) -> Certificates {
        Certificates {
            authority: Some(self.path("ca.pem")),
            identity: Some((self.path("client.pem"), self.path("client-key.pem"))),
            verify: true,
        }
    }
}

type Secure = StreamOwned<ServerConnection, TcpStream>;

/// Serves one connection; `act` comes after the head of the first request.
fn serve(keys: &Keys, act: impl FnOnce(&mut Secure) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = keys.server();
    thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
        let mut head = Vec::new();
        let mut byte = [0u8];
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_exact(&mut byte).is_err() {
                return;
            }
            head.push(byte[0]);
        }
        act(&mut stream);
    });
    port
}

#[test]
fn a_large_body_arrives_whole() {
    let keys = Keys::make("body");
    let port = serve(&keys, |stream| {
        let body: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
        stream.write_all(&body).unwrap();
        stream.flush().unwrap();
    });
    let body = keys.client(port, keys.certificates()).call("GET", "/x", &Query::new()).unwrap();
    assert_eq!(body.len(), LARGE);
    assert!(body.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
}

#[test]
fn a_taken_over_connection_flows_both_ways_and_half_closes() {
    let keys = Keys::make("both");
    let port = serve(&keys, |stream| {
        stream
            .write_all(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nfirst")
            .unwrap();
        let mut buffer = [0u8; 8192];
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => break,
                count => stream.write_all(&buffer[..count]).unwrap(),
            }
        }
        stream.write_all(b"last").unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    });
    let mut hijacked =
        keys.client(port, keys.certificates()).hijack("/x", &Query::new(), None::<&()>).unwrap();
    let mut writer = hijacked.writer;
    let feeder = thread::spawn(move || {
        writer.write_all(&vec![7u8; LARGE]).unwrap();
        writer.finish().unwrap();
    });
    let mut bytes = Vec::new();
    hijacked.reader.read_to_end(&mut bytes).unwrap();
    feeder.join().unwrap();
    assert!(bytes.starts_with(b"first") && bytes.ends_with(b"last"));
    assert_eq!(bytes.len(), LARGE + 9);
}

#[test]
fn strangers_are_refused_on_both_sides() {
    let keys = Keys::make("strangers");
    let others = Keys::make("others");
    let ok = |stream: &mut Secure| stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    let wrong_authority = Certificates { authority: Some(others.path("ca.pem")), ..keys.certificates() };
    let port = serve(&keys, ok);
    let error = keys.client(port, wrong_authority).call("GET", "/x", &Query::new()).unwrap_err();
    let why = "tls: failed to verify certificate: x509: certificate signed by unknown authority (perhaps one of the same name has another key)";
    assert_eq!(
        error.to_string(),
        format!("error during connect: Get \"https://127.0.0.1:{port}/v1.44/x\": {why}")
    );
    let nobody = Certificates { identity: None, ..keys.certificates() };
    assert!(keys.client(serve(&keys, ok), nobody).call("GET", "/x", &Query::new()).is_err());
    // Unchecked on request: encrypted, with whoever answers.
    let unchecked = Certificates { verify: false, authority: None, ..keys.certificates() };
    assert!(keys.client(serve(&keys, ok), unchecked).call("GET", "/x", &Query::new()).is_ok());
}

#[test]
fn files_that_cannot_be_used_are_told_in_dockers_words() {
    let keys = Keys::make("words");
    std::fs::write(keys.path("words"), "words").unwrap();
    let told = |authority: &str, certificate: &str, key: &str| {
        let options = Options {
            host: Host::Tcp { host: "127.0.0.1".to_owned(), port: 1, secure: true },
            tls: Some(Certificates {
                authority: Some(keys.path(authority)),
                identity: Some((keys.path(certificate), keys.path(key))),
                verify: false,
            }),
            version: None,
            headers: Vec::new(),
            user_agent: "test".to_owned(),
        };
        Client::new(options).err().unwrap().to_string().replace("Failed to initialize: ", "")
    };
    let missing = format!(
        "unable to resolve docker endpoint: open {}: no such file or directory",
        keys.path("no").display()
    );
    assert_eq!(told("no", "client.pem", "client-key.pem"), missing);
    assert_eq!(told("ca.pem", "no", "client-key.pem"), missing);
    assert_eq!(told("ca.pem", "client.pem", "no"), missing);
    let info = |why: &str| format!("failed to retrieve context tls info: {why}");
    assert_eq!(told("words", "client.pem", "client-key.pem"), info("ca.pem seems invalid"));
    assert_eq!(
        told("ca.pem", "words", "client-key.pem"),
        info("tls: failed to find any PEM data in certificate input")
    );
    assert_eq!(told("ca.pem", "client.pem", "words"), "no valid private key found");
    assert_eq!(
        told("ca.pem", "client.pem", "server-key.pem"),
        info("tls: private key does not match public key")
    );
}
