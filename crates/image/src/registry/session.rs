//! A conversation with one registry about one repository.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oci::digest::Digest;
use oci::image::{Descriptor, MAX_MANIFEST, media_type};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LINK, RANGE};
use reqwest::{Method, Response, StatusCode, Url};

use super::address::{Endpoint, Trust};
use super::authorization::Authorization;
use super::failure::request_line;
use super::response::{next_chunk, read_limited, refusal, shown};
use super::transport::{Outgoing, Transport};
use super::{Access, Credentials, Error, Kind};

/// The documents that we understand, and those whose refusal has words of its own.
const ACCEPTED: &[&str] = &[
    media_type::OCI_INDEX,
    media_type::DOCKER_LIST,
    media_type::OCI_MANIFEST,
    media_type::DOCKER_MANIFEST,
    media_type::DOCKER_SCHEMA1_SIGNED,
    media_type::DOCKER_SCHEMA1,
];

/// Pages of a list of tags, of a hundred to a thousand names each.
const MAX_TAG_PAGES: usize = 1000;

/// One repository of one registry, and what we may do there.
pub struct Session {
    pub(super) transport: Arc<Transport>,
    pub(super) authorization: Authorization,
    endpoint: Endpoint,
    repository: String,
    access: Access,
}

/// A manifest or an index, as the registry sent it.
#[derive(Debug, Clone)]
pub struct Found {
    pub descriptor: Descriptor,
    pub content: Vec<u8>,
}

/// A blob, or another file, on its way.
pub struct Download {
    response: Response,
    stall: Duration,
    /// Bytes still to throw away, from a registry that cannot begin in the middle.
    skip: u64,
}

impl Session {
    pub(super) fn new(
        transport: Arc<Transport>,
        endpoint: Endpoint,
        repository: &str,
        credentials: Credentials,
        access: Access,
    ) -> Self {
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let scopes = vec![format!("repository:{repository}:{actions}")];
        let over_tls = endpoint.base.scheme() == "https";
        let authorization = Authorization::new(credentials, endpoint.trust, over_tls, scopes);
        Self { transport, authorization, endpoint, repository: repository.to_owned(), access }
    }

    /// For a login, which concerns no repository.
    pub(super) fn without_scopes(self) -> Self {
        let authorization = self.authorization.without_scopes();
        Self { authorization, ..self }
    }

    pub fn is_mirror(&self) -> bool {
        self.endpoint.mirror
    }

    /// Whether this place is asked without TLS.
    pub fn is_plain(&self) -> bool {
        self.endpoint.base.scheme() == "http"
    }

    pub fn access(&self) -> Access {
        self.access
    }

    /// Finds out whether somebody answers, and how that somebody wants to be asked.
    pub async fn connect(&self) -> Result<(), Error> {
        let request = Outgoing::new(Method::GET, self.url("")?);
        let response = self.transport.send(request, self.endpoint.trust).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            self.authorization.challenged(response.headers(), None).await?;
        }
        Ok(())
    }

    /// Asks what a tag or digest stands for. `None` when the registry's answer is not enough to know.
    pub async fn head_manifest(&self, target: &str) -> Result<Option<Descriptor>, Error> {
        let mut request = self.outgoing(Method::HEAD, self.manifest_url(target)?);
        accept_documents(&mut request);
        let response = self.request(request).await?;
        if response.status() != StatusCode::OK {
            return Ok(None);
        }
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let digest = text("docker-content-digest").and_then(|digest| digest.parse().ok());
        let size = text(CONTENT_LENGTH.as_str()).and_then(|size| size.parse().ok());
        let kind = text(CONTENT_TYPE.as_str());
        Ok(match (digest, size, kind) {
            (Some(digest), Some(size), Some(kind)) => Some(Descriptor::new(kind, digest, size)),
            _ => None,
        })
    }

    /// Fetches a manifest. By digest, it is verified; by tag, its digest is computed.
    pub async fn manifest(&self, target: &str) -> Result<Found, Error> {
        let url = self.manifest_url(target)?;
        let mut request = self.outgoing(Method::GET, url);
        accept_documents(&mut request);
        let asked: Option<Digest> = target.parse().ok();
        request.by_digest = asked.is_some();
        let response = self.request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response, self.stall()).await);
        }
        let header = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = header.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned();
        let content = read_limited(response, MAX_MANIFEST, self.stall()).await?;
        if kind == "text/html" || content.trim_ascii_start().starts_with(b"<") {
            let message =
                format!("error parsing manifest: registry sent {kind:?} instead: {:?}", shown(&content));
            return Err(Error::new(Kind::Protocol, message));
        }
        let digest = match asked {
            Some(digest) if digest.matches(&content) => digest,
            Some(digest) => {
                let message = format!("manifest verification failed for digest {digest}");
                return Err(Error::new(Kind::Mismatch, message));
            }
            None => Digest::sha256_of(&content),
        };
        let descriptor = Descriptor::new(&kind, digest, content.len() as u64);
        Ok(Found { descriptor, content })
    }

    /// The names of all tags.
    pub async fn tags(&self) -> Result<Vec<String>, Error> {
        #[derive(serde::Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let mut url = self.url(&format!("{}/tags/list", self.repository))?;
        let mut tags = Vec::new();
        for _ in 0..MAX_TAG_PAGES {
            let response = self.request(self.outgoing(Method::GET, url.clone())).await?;
            if response.status() != StatusCode::OK {
                return Err(refusal(response, self.stall()).await);
            }
            let next = next_page(&response, &url);
            let body = read_limited(response, MAX_MANIFEST, self.stall()).await?;
            let page: Page = serde_json::from_slice(&body).map_err(|error| {
                Error::new(Kind::Protocol, format!("error parsing list of tags: {error}"))
            })?;
            tags.extend(page.tags.unwrap_or_default());
            match next {
                // Only the registry itself may continue its list.
                Some(next) if next.origin() == url.origin() => url = next,
                _ => return Ok(tags),
            }
        }
        Err(Error::new(Kind::Protocol, format!("list of tags has more than {MAX_TAG_PAGES} pages")))
    }

    /// A small blob as a whole, verified.
    pub async fn document(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, Error> {
        if descriptor.size > limit {
            let message = format!("{} is {} bytes, more than {limit}", descriptor.digest, descriptor.size);
            return Err(Error::new(Kind::Unsupported, message));
        }
        let mut download = self.blob(descriptor, 0).await?;
        let mut content = Vec::new();
        while let Some(chunk) = download.next().await? {
            if (content.len() + chunk.len()) as u64 > descriptor.size {
                return Err(mismatch(descriptor));
            }
            content.extend_from_slice(&chunk);
        }
        if (content.len() as u64) < descriptor.size {
            return Err(Error::new(Kind::Unavailable, "unexpected EOF"));
        }
        if descriptor.digest.matches(&content) { Ok(content) } else { Err(mismatch(descriptor)) }
    }

    /// Opens a blob from `offset` on. Nothing is verified here.
    pub async fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<Download, Error> {
        let url = self.url(&format!("{}/blobs/{}", self.repository, descriptor.digest))?;
        let mut request = self.outgoing(Method::GET, url);
        request.by_digest = true;
        if offset > 0 {
            request.headers.insert(RANGE, header_value(&format!("bytes={offset}-"))?);
        }
        let response = self.request(request).await?;
        let skip = match response.status() {
            StatusCode::OK => offset,
            StatusCode::PARTIAL_CONTENT => match range_start(&response) {
                Some(start) if start <= offset => offset - start,
                _ => return Err(Error::new(Kind::Protocol, "registry sent another range than asked for")),
            },
            _ => return Err(refusal(response, self.stall()).await),
        };
        let complete = response.status() == StatusCode::OK;
        if let Some(length) = response.content_length()
            && complete
            && length != descriptor.size
        {
            let error = mismatch(descriptor);
            let sizes =
                format!("it has {length} bytes at the registry, but {} in the manifest", descriptor.size);
            return Err(Error::new(Kind::Mismatch, format!("{error}: {sizes}")));
        }
        Ok(Download { response, stall: self.stall(), skip })
    }

    /// Sends a request with what this registry wants to see, and once more when that has become stale.
    pub(super) async fn request(&self, mut request: Outgoing) -> Result<Response, Error> {
        let line = request_line(&request.method, &request.url);
        let own = request.url.origin() == self.endpoint.base.origin();
        let again = request.repeatable();
        let target = request.url.clone();
        if own {
            request.authorization = self.header(&line).await?;
        }
        let used = request.authorization.clone();
        let response = self.transport.send(request, self.trust_of(own, &target).await).await?;
        let Some(mut again) = again.filter(|_| own && response.status() == StatusCode::UNAUTHORIZED) else {
            return Ok(response);
        };
        if !self.authorization.challenged(response.headers(), used.as_ref()).await? {
            return Ok(response);
        }
        again.authorization = self.header(&line).await?;
        self.transport.send(again, self.endpoint.trust).await
    }

    async fn header(&self, line: &str) -> Result<Option<HeaderValue>, Error> {
        self.authorization.header(&self.transport).await.map_err(|error| match error.kind() {
            // Docker tells who pushes nothing but the reason.
            Kind::NoCredentials | Kind::Unauthorized if self.access == Access::Pull => error.context(line),
            _ => error,
        })
    }

    async fn trust_of(&self, own: bool, url: &Url) -> Trust {
        if own { self.endpoint.trust } else { self.transport.trust(url).await }
    }

    pub(super) fn outgoing(&self, method: Method, url: Url) -> Outgoing {
        Outgoing::new(method, url)
    }

    pub(super) fn url(&self, path: &str) -> Result<Url, Error> {
        let text = format!("{}v2/{path}", self.endpoint.base);
        Url::parse(&text).map_err(|error| Error::new(Kind::Invalid, format!("{text}: {error}")))
    }

    fn manifest_url(&self, target: &str) -> Result<Url, Error> {
        self.url(&format!("{}/manifests/{target}", self.repository))
    }

    pub(super) fn repository(&self) -> &str {
        &self.repository
    }

    pub(super) fn stall(&self) -> Duration {
        self.transport.options().stall_timeout
    }
}

impl Download {
    pub(super) fn whole(response: Response, stall: Duration) -> Download {
        Download { response, stall, skip: 0 }
    }

    /// Bytes that are to come, if that was said.
    pub fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next bytes; `None` at the end of what was sent, which may be too early.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(mut chunk) = next_chunk(&mut self.response, self.stall).await? else { return Ok(None) };
            let skipped = self.skip.min(chunk.len() as u64);
            self.skip -= skipped;
            // At most the length of the chunk, so it fits.
            let chunk = chunk.split_off(skipped as usize);
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
    }
}

/// The words for content that is not what its name says.
pub(crate) fn mismatch(descriptor: &Descriptor) -> Error {
    let what =
        if media_type::is_config(&descriptor.media_type) { "image config" } else { "filesystem layer" };
    Error::new(Kind::Mismatch, format!("{what} verification failed for digest {}", descriptor.digest))
}

pub(super) fn header_value(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text)
        .map_err(|_| Error::new(Kind::Invalid, format!("{text:?} fits into no header")))
}

fn accept_documents(request: &mut Outgoing) {
    request.headers.insert(ACCEPT, header_value(&ACCEPTED.join(", ")).expect("a constant"));
}

/// Of `bytes 5-9/10`.
fn range_start(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

/// Of `Link: <…>; rel="next"`.
fn next_page(response: &Response, from: &Url) -> Option<Url> {
    let link = response.headers().get(LINK)?.to_str().ok()?;
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    parameters.contains("next").then(|| from.join(target).ok())?
}
