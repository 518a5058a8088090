//! Certificates and keys in files, in PEM (RFC 7468).
//!
//! As in Go's `crypto/x509`, what a file holds besides is passed over: comments, other kinds of keys, certificates that
//! nobody could use. Only a file in which nothing is left is an error.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;

use crate::{Error, words};

/// What a file may hold. All authorities of a system are a quarter of a megabyte.
const LIMIT: u64 = 16 << 20;

/// What we show of ourselves, and the proof that it is ours.
#[derive(Debug)]
pub struct Identity {
    /// Our certificate, then those that lead from it to an authority.
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Whether the key is that of the certificate is seen when both are used.
    pub fn read(certificate: &Path, key: &Path) -> Result<Identity, Error> {
        let (certificate, key) = (read(certificate)?, read(key)?);
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| Error::NoKey)?;
        let chain: Vec<_> = certificates(&certificate).collect();
        if chain.is_empty() {
            return Err(Error::NoCertificate);
        }
        Ok(Identity { chain, key })
    }
}

/// The certificates of a file that can be used to check others, at least one.
pub fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let content = read(path)?;
    let usable = |certificate: &CertificateDer<'_>| ParsedCertificate::try_from(certificate).is_ok();
    let found: Vec<_> = certificates(&content).filter(usable).collect();
    if found.is_empty() { Err(Error::NoAuthority) } else { Ok(found) }
}

fn certificates(content: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(content).filter_map(Result::ok)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |call: &str, why: &str| Error::Unreadable(format!("{call} {}: {why}", path.display()));
    let file = File::open(path).map_err(|error| failed("open", &words::of_io(&error)))?;
    let mut content = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut content).map_err(|error| failed("read", &words::of_io(&error)))?;
    if content.len() as u64 > LIMIT {
        return Err(failed("read", "too large for a file of certificates"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use scratch::Directory;

    use super::*;

    /// Certificate and key.
    fn pair() -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let told = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
        (told.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn what_is_no_certificate_is_passed_over() {
        let directory = Directory::new("authorities");
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let mixed = format!("of our own authority:\n{broken}{}", pair().0);
        assert_eq!(authorities(&directory.file("mixed", &mixed)).unwrap().len(), 1);
        for empty in ["", "words", broken] {
            let error = authorities(&directory.file("empty", empty)).unwrap_err();
            assert!(matches!(error, Error::NoAuthority), "{empty:?}: {error}");
        }
    }

    #[test]
    fn what_a_pair_lacks_is_said() {
        let directory = Directory::new("pair");
        let (certificate, key) = pair();
        let (certificate, key) = (directory.file("certificate", &certificate), directory.file("key", &key));
        let words = directory.file("words", "words");
        let told = |certificate, key| Identity::read(certificate, key).unwrap_err().to_string();
        assert_eq!(told(&words, &key), "tls: failed to find any PEM data in certificate input");
        assert_eq!(told(&certificate, &words), "no valid private key found");
        let missing = directory.join("missing");
        assert_eq!(
            told(&certificate, &missing),
            format!("open {}: no such file or directory", missing.display())
        );
        let other = directory.file("other", &pair().1);
        let identity = Identity::read(&certificate, &other).unwrap();
        let error = crate::client(crate::Belief::Anyone, Some(identity)).unwrap_err();
        assert_eq!(error.to_string(), "tls: private key does not match public key");
    }

    #[test]
    fn a_file_without_an_end_is_not_read() {
        let error = authorities(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.to_string(), "read /dev/zero: too large for a file of certificates");
    }
}
