//! Requests over the wire: one connection pool per host and trust, bounded waiting, redirects by hand.
//!
//! Redirects are followed here and not by the HTTP library, because they decide about secrets: credentials go only to
//! the origin that they were made for, and a verified connection is not left for an unverified one unless the content
//! is checked against a digest afterwards.
//!
//! Waiting is bounded by silence, not by total time: a slow registry may be slow for hours, a mute one is given up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Client, Method, NoProxy, Proxy, Response, StatusCode, Url};

use super::address::Trust;
use super::failure::{request_line, unanswered};
use super::tls::{Material, client_config};
use super::{Error, Kind, Options, Proxies};

/// Registries redirect once, to where their blobs are; content networks perhaps once more.
const MAX_REDIRECTS: usize = 10;
/// Pools for more hosts than this are forgotten: a daemon meets a handful.
const MAX_POOLS: usize = 64;

pub(super) struct Transport {
    options: Arc<Options>,
    pools: Mutex<HashMap<(String, Trust), Client>>,
}

pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    /// Sent only to the origin of `url`.
    pub(super) authorization: Option<HeaderValue>,
    pub(super) body: Payload,
    /// The answer is checked against a digest, so it does not matter who gives it.
    pub(super) by_digest: bool,
}

pub(super) enum Payload {
    Empty,
    Bytes(Bytes),
    /// Can be sent once; the pulse shows that it moves.
    Stream(reqwest::Body, Pulse),
}

/// Counts the bytes of a body while they are taken.
#[derive(Clone, Default)]
pub(super) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    pub(super) fn beat(&self, bytes: u64) {
        self.0.fetch_add(bytes.max(1), Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Outgoing {
    pub(super) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            authorization: None,
            body: Payload::Empty,
            by_digest: false,
        }
    }

    /// The same request once more, if its body does not stream.
    pub(super) fn repeatable(&self) -> Option<Self> {
        Some(Self {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            authorization: None,
            body: self.replayable()?,
            by_digest: self.by_digest,
        })
    }

    fn replayable(&self) -> Option<Payload> {
        match &self.body {
            Payload::Empty => Some(Payload::Empty),
            Payload::Bytes(bytes) => Some(Payload::Bytes(bytes.clone())),
            Payload::Stream(..) => None,
        }
    }
}

impl Transport {
    pub(super) fn new(options: Arc<Options>) -> Self {
        Self { options, pools: Mutex::new(HashMap::new()) }
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// Sends a request and follows redirects. Any status is an answer; the error is the lack of one.
    pub(super) async fn send(&self, mut request: Outgoing, mut trust: Trust) -> Result<Response, Error> {
        for _ in 0..=MAX_REDIRECTS {
            let replay = request.replayable();
            let (method, url) = (request.method.clone(), request.url.clone());
            let response = self.send_once(&mut request, trust).await?;
            let Some(target) = redirect_target(&response, &url) else { return Ok(response) };
            let Some(body) = redirected_body(&mut request, response.status(), replay) else {
                return Ok(response);
            };
            let target = target.map_err(|why| {
                Error::new(Kind::Protocol, format!("{}: {why}", request_line(&method, &url)))
            })?;
            if target.origin() != url.origin() {
                request.authorization = None;
            }
            if target.host_str() != url.host_str() {
                trust = self.trust(&target).await;
            }
            let downgrade = url.scheme() == "https" && target.scheme() == "http";
            if downgrade && trust == Trust::Verified && !request.by_digest {
                let line = request_line(&method, &url);
                let message = format!("{line}: redirect from HTTPS to plain HTTP refused");
                return Err(Error::new(Kind::Protocol, message));
            }
            request.url = target;
            request.body = body;
        }
        let line = request_line(&request.method, &request.url);
        Err(Error::new(Kind::Protocol, format!("{line}: stopped after {MAX_REDIRECTS} redirects")))
    }

    /// What is known of the host of a URL that a registry sent.
    pub(super) async fn trust(&self, url: &Url) -> Trust {
        if self.options.insecure.covers(&authority(url)).await { Trust::Unverified } else { Trust::Verified }
    }

    async fn send_once(&self, request: &mut Outgoing, trust: Trust) -> Result<Response, Error> {
        let client = self.client(&request.url, trust)?;
        let mut builder =
            client.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        if let Some(value) = &request.authorization {
            builder = builder.header(AUTHORIZATION, value.clone());
        }
        let mut pulse = None;
        builder = match std::mem::replace(&mut request.body, Payload::Empty) {
            Payload::Empty => builder,
            Payload::Bytes(bytes) => builder.body(bytes),
            Payload::Stream(body, beat) => {
                pulse = Some(beat);
                builder.body(body)
            }
        };
        match self.patiently(builder.send(), pulse).await {
            Some(Ok(response)) => Ok(response),
            Some(Err(error)) => Err(unanswered(&request.method, &request.url, &error)),
            None => {
                let line = request_line(&request.method, &request.url);
                let message = format!("{line}: net/http: timeout awaiting response headers");
                Err(Error::new(Kind::Unavailable, message))
            }
        }
    }

    /// Waits for an answer as long as the body moves, and then for the usual time.
    async fn patiently<T>(&self, answer: impl Future<Output = T>, pulse: Option<Pulse>) -> Option<T> {
        let mut answer = std::pin::pin!(answer);
        let mut seen = pulse.as_ref().map_or(0, Pulse::count);
        loop {
            if let Ok(answer) = tokio::time::timeout(self.options.stall_timeout, &mut answer).await {
                return Some(answer);
            }
            let now = pulse.as_ref().map_or(0, Pulse::count);
            if now == seen {
                return None;
            }
            seen = now;
        }
    }

    fn client(&self, url: &Url, trust: Trust) -> Result<Client, Error> {
        let host = authority(url);
        let key = (format!("{}://{host}", url.scheme()), trust);
        if let Some(client) = self.pools().get(&key) {
            return Ok(client.clone());
        }
        let material = match url.scheme() {
            "https" => Material::load(&self.options.certificates, &host)?,
            _ => None,
        };
        let mut builder = Client::builder()
            .tls_backend_preconfigured(client_config(trust, material)?)
            .user_agent(&self.options.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.options.connect_timeout)
            .pool_idle_timeout(Duration::from_secs(30))
            .referer(false);
        // Without this the library looks into the environment by itself.
        builder = builder.no_proxy();
        if !is_loopback(url)
            && let Some(proxy) = proxy_for(url.scheme(), &self.options.proxies)?
        {
            builder = builder.proxy(proxy);
        }
        let client = builder.build().map_err(|error| Error::new(Kind::Other, format!("http: {error}")))?;
        let mut pools = self.pools();
        if pools.len() >= MAX_POOLS {
            pools.clear();
        }
        pools.insert(key, client.clone());
        Ok(client)
    }

    fn pools(&self) -> std::sync::MutexGuard<'_, HashMap<(String, Trust), Client>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `host[:port]`, as `certs.d` and the list of insecure registries have it.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// No proxy stands between a machine and itself.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn proxy_for(scheme: &str, proxies: &Proxies) -> Result<Option<Proxy>, Error> {
    let from_environment = |name: &str| {
        let value = std::env::var(name.to_ascii_uppercase()).or_else(|_| std::env::var(name));
        value.ok().filter(|value| !value.is_empty())
    };
    let (name, configured) = match scheme {
        "https" => ("https_proxy", &proxies.https),
        _ => ("http_proxy", &proxies.http),
    };
    let Some(address) = configured.clone().or_else(|| from_environment(name)) else { return Ok(None) };
    let proxy = Proxy::all(&address)
        .map_err(|_| Error::new(Kind::Invalid, format!("{name} is no valid proxy address")))?;
    let none = proxies.none.clone().or_else(|| from_environment("no_proxy")).unwrap_or_default();
    Ok(Some(proxy.no_proxy(NoProxy::from_string(&none))))
}

fn redirect_target(response: &Response, from: &Url) -> Option<Result<Url, String>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(LOCATION)?;
    let target = location.to_str().map_err(|_| "Location is no text".to_owned()).and_then(|text| {
        from.join(text).map_err(|error| format!("failed to parse Location header: {error}"))
    });
    Some(target.and_then(|target| match target.scheme() {
        "http" | "https" => Ok(target),
        other => Err(format!("unsupported protocol scheme {other:?} in redirect")),
    }))
}

/// The body for the next hop; none if this request cannot be repeated elsewhere.
fn redirected_body(request: &mut Outgoing, status: StatusCode, replay: Option<Payload>) -> Option<Payload> {
    match (&request.method, status.as_u16()) {
        (&Method::GET | &Method::HEAD, _) => Some(Payload::Empty),
        (_, 307 | 308) => replay,
        _ => None,
    }
}
