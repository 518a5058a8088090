//! Sending: blobs and manifests.
//!
//! A blob is first looked for, then asked to be mounted from another repository of the same registry, and only then
//! sent: as one stream, `POST` → `PATCH` → `PUT`, whose `Location` answers lead the way. A cut stream goes on where
//! the registry says it stopped.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use oci::digest::Digest;
use oci::image::Descriptor;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE};
use reqwest::{Body, Method, Response, StatusCode, Url};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::response::refusal;
use super::session::{Session, header_value};
use super::transport::{Payload, Pulse};
use super::{Error, Kind};

/// Pieces in which a blob is read and sent.
const PIECE: usize = 256 << 10;

/// Told how many bytes have gone out.
pub type Sent = Arc<dyn Fn(u64) + Send + Sync>;

/// An upload that the registry has opened: where to send the next bytes.
pub struct Upload {
    location: Url,
}

/// What came of the wish to mount.
pub enum Mounting {
    Mounted,
    /// Not mounted; the registry waits for the bytes.
    Opened(Upload),
}

impl Session {
    /// Whether the repository has a blob already.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let mut request = self.outgoing(Method::HEAD, self.blob_url(digest)?);
        request.by_digest = true;
        let response = self.request(request).await?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(refusal(response, self.stall()).await),
        }
    }

    /// Asks the registry to take a blob from another of its repositories.
    pub async fn mount(&self, digest: &Digest, from: &str) -> Result<Mounting, Error> {
        self.authorization.want(format!("repository:{from}:pull")).await;
        let mut url = self.uploads_url()?;
        url.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", from);
        let mut request = self.outgoing(Method::POST, url.clone());
        request.headers.insert(CONTENT_LENGTH, header_value("0")?);
        let response = self.request(request).await?;
        match response.status() {
            StatusCode::CREATED => Ok(Mounting::Mounted),
            StatusCode::ACCEPTED => Ok(Mounting::Opened(Upload { location: location(&response, &url)? })),
            _ => Err(refusal(response, self.stall()).await),
        }
    }

    /// Opens an upload.
    pub async fn open_upload(&self) -> Result<Upload, Error> {
        let url = self.uploads_url()?;
        let mut request = self.outgoing(Method::POST, url.clone());
        request.headers.insert(CONTENT_LENGTH, header_value("0")?);
        let response = self.request(request).await?;
        match response.status() {
            StatusCode::ACCEPTED => Ok(Upload { location: location(&response, &url)? }),
            _ => Err(refusal(response, self.stall()).await),
        }
    }

    /// Sends a file from `offset` to its end as the next piece of an upload.
    pub async fn send(
        &self,
        upload: &mut Upload,
        path: &Path,
        offset: u64,
        size: u64,
        sent: Sent,
    ) -> Result<(), Error> {
        let pulse = Pulse::default();
        let body = file_body(path.to_owned(), offset, size, pulse.clone(), sent).await?;
        let mut request = self.outgoing(Method::PATCH, upload.location.clone());
        request.headers.insert(CONTENT_TYPE, header_value("application/octet-stream")?);
        request.headers.insert(CONTENT_LENGTH, header_value(&(size - offset).to_string())?);
        if offset > 0 {
            let range = format!("{offset}-{}", size.saturating_sub(1));
            request.headers.insert(CONTENT_RANGE, header_value(&range)?);
        }
        request.body = Payload::Stream(body, pulse);
        let response = self.request(request).await?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT | StatusCode::CREATED => {
                upload.location = location(&response, &upload.location)?;
                Ok(())
            }
            StatusCode::UNAUTHORIZED => {
                // The token ended during the upload: learn that, and let the caller go on where it was.
                self.authorization.challenged(response.headers(), None).await?;
                Err(Error::new(Kind::Unavailable, "unauthorized: authentication required"))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                Err(Error::new(Kind::Unavailable, "registry asks for another part of the blob"))
            }
            _ => Err(refusal(response, self.stall()).await),
        }
    }

    /// Where a cut upload stands; `None` if the registry has forgotten it.
    pub async fn upload_offset(&self, upload: &mut Upload) -> Result<Option<u64>, Error> {
        let response = self.request(self.outgoing(Method::GET, upload.location.clone())).await?;
        if !response.status().is_success() {
            return Ok(None);
        }
        if let Ok(next) = location(&response, &upload.location) {
            upload.location = next;
        }
        let range = response.headers().get(RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
        let end =
            range.trim_start_matches("bytes=").split_once('-').and_then(|(_, end)| end.parse::<u64>().ok());
        // `0-0` is what registries say of nothing and of one byte; sending one byte again is refused, so take it as
        // nothing and open anew.
        Ok(end.filter(|end| *end > 0).map(|end| end + 1))
    }

    /// Ends an upload: the registry compares digests.
    pub async fn finish(&self, upload: Upload, digest: &Digest) -> Result<(), Error> {
        let mut url = upload.location;
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let mut request = self.outgoing(Method::PUT, url);
        request.headers.insert(CONTENT_LENGTH, header_value("0")?);
        let response = self.request(request).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => Ok(()),
            _ => Err(refusal(response, self.stall()).await),
        }
    }

    /// Stores a manifest under a tag or its digest.
    pub async fn put_manifest(
        &self,
        target: &str,
        descriptor: &Descriptor,
        content: Vec<u8>,
    ) -> Result<(), Error> {
        let url = self.url(&format!("{}/manifests/{target}", self.repository()))?;
        let mut request = self.outgoing(Method::PUT, url);
        request.headers.insert(CONTENT_TYPE, header_value(&descriptor.media_type)?);
        request.body = Payload::Bytes(Bytes::from(content));
        let response = self.request(request).await?;
        if !response.status().is_success() {
            return Err(refusal(response, self.stall()).await);
        }
        let named = response.headers().get(HeaderName::from_static("docker-content-digest"));
        match named.and_then(|digest| digest.to_str().ok()?.parse::<Digest>().ok()) {
            Some(digest) if digest != descriptor.digest => {
                let message = format!("registry stored manifest {} as {digest}", descriptor.digest);
                Err(Error::new(Kind::Mismatch, message))
            }
            _ => Ok(()),
        }
    }

    fn blob_url(&self, digest: &Digest) -> Result<Url, Error> {
        self.url(&format!("{}/blobs/{digest}", self.repository()))
    }

    fn uploads_url(&self) -> Result<Url, Error> {
        self.url(&format!("{}/blobs/uploads/", self.repository()))
    }
}

fn location(response: &Response, from: &Url) -> Result<Url, Error> {
    response
        .headers()
        .get(LOCATION)
        .and_then(|location| location.to_str().ok())
        .and_then(|location| from.join(location).ok())
        .filter(|location| matches!(location.scheme(), "http" | "https"))
        .ok_or_else(|| Error::new(Kind::Protocol, "registry opened an upload without a Location"))
}

/// A file as a body, read in pieces as the connection takes them.
async fn file_body(path: PathBuf, offset: u64, size: u64, pulse: Pulse, sent: Sent) -> Result<Body, Error> {
    let failed = |call: &str, error: std::io::Error| {
        Error::new(Kind::Other, format!("{call} {}: {error}", path.display()))
    };
    let mut file = tokio::fs::File::open(&path).await.map_err(|error| failed("open", error))?;
    file.seek(std::io::SeekFrom::Start(offset)).await.map_err(|error| failed("lseek", error))?;
    let state = (file.take(size - offset), offset);
    let pieces = stream::try_unfold(state, move |(mut file, at)| {
        let (pulse, sent) = (pulse.clone(), sent.clone());
        async move {
            let mut piece = vec![0; PIECE];
            let read = file.read(&mut piece).await?;
            if read == 0 {
                return Ok::<_, std::io::Error>(None);
            }
            piece.truncate(read);
            let at = at + read as u64;
            pulse.beat(read as u64);
            sent(at);
            Ok(Some((Bytes::from(piece), (file, at))))
        }
    });
    Ok(Body::wrap_stream(pieces))
}
