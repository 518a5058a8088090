//! A registry that obeys, or misbehaves as it is told: HTTP/1.1 on a loopback port, one request per connection.
//!
//! It speaks enough of the distribution protocol for pulls and pushes. A [`Fault`] waits for the next request whose
//! path contains its text, and is used up by it. Every request is logged.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oci::digest::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    _server: Arc<Server>,
}

/// Ends the server with its last handle.
struct Server(tokio::task::JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Default)]
struct State {
    blobs: HashMap<Digest, Vec<u8>>,
    /// By `repository:target`.
    manifests: HashMap<String, (String, Vec<u8>)>,
    uploads: HashMap<u64, Vec<u8>>,
    guard: Guard,
    faults: Vec<(String, Fault)>,
    log: Vec<Request>,
    opened: u64,
    granted: u64,
    pace: Option<Duration>,
}

#[derive(Clone, Default)]
pub(crate) enum Guard {
    #[default]
    Open,
    /// `user:password`.
    Basic(String),
    /// Tokens from `realm` (a URL): `t-1`, `t-2`, …; the newest is the valid one.
    Bearer { realm: String, password: Option<String> },
}

#[derive(Clone)]
pub(crate) enum Fault {
    /// This instead of an answer: status line, headers, body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The right answer, ended after so many bytes of the body.
    Cut(usize),
    /// The right answer, silent for ever after so many bytes of the body.
    Stall(usize),
    /// The right answer with one bit wrong.
    Corrupt,
    /// The whole content, whatever range was asked for.
    NoRange,
    /// Silence instead of an answer.
    Mute,
    /// Read so many bytes of the request's body, then hang up.
    HangUp(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let server = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, address, shared.clone()));
            }
        });
        Self { address, state, _server: Arc::new(Server(server)) }
    }

    /// `127.0.0.1:port/name`.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn guard(&self, guard: Guard) {
        self.state.lock().unwrap().guard = guard;
    }

    /// The next request whose `METHOD path` contains `path` meets this fault.
    pub(crate) fn fault(&self, path: &str, fault: Fault) {
        self.state.lock().unwrap().faults.push((path.to_owned(), fault));
    }

    /// Pause between pieces of a body, so that downloads take a while.
    pub(crate) fn pace(&self, pace: Duration) {
        self.state.lock().unwrap().pace = Some(pace);
    }

    pub(crate) fn blob(&self, content: &[u8]) -> Digest {
        let digest = Digest::sha256_of(content);
        self.state.lock().unwrap().blobs.insert(digest.clone(), content.to_vec());
        digest
    }

    pub(crate) fn has_blob(&self, digest: &Digest) -> bool {
        self.state.lock().unwrap().blobs.contains_key(digest)
    }

    pub(crate) fn manifest(&self, repository: &str, target: &str, kind: &str, content: &[u8]) -> Digest {
        let digest = Digest::sha256_of(content);
        let mut state = self.state.lock().unwrap();
        for target in [target, digest.as_str()] {
            state.manifests.insert(format!("{repository}:{target}"), (kind.to_owned(), content.to_vec()));
        }
        digest
    }

    pub(crate) fn stored_manifest(&self, repository: &str, target: &str) -> Option<(String, Vec<u8>)> {
        self.state.lock().unwrap().manifests.get(&format!("{repository}:{target}")).cloned()
    }

    pub(crate) fn log(&self) -> Vec<Request> {
        self.state.lock().unwrap().log.clone()
    }

    /// How many requests had this in their `METHOD path`.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.log().iter().filter(|r| format!("{} {}", r.method, r.path).contains(text)).count()
    }
}

async fn serve(mut stream: TcpStream, address: SocketAddr, state: Arc<Mutex<State>>) {
    let Some((mut request, length, mut unread)) = read_head(&mut stream).await else { return };
    let line = format!("{} {}", request.method, request.path);
    let fault = {
        let mut state = state.lock().unwrap();
        let at = state.faults.iter().position(|(text, _)| line.contains(text.as_str()));
        at.map(|at| state.faults.remove(at).1)
    };
    let wanted = if let Some(Fault::HangUp(bytes)) = &fault { (*bytes).min(length) } else { length };
    while unread.len() < wanted {
        let mut piece = vec![0; 64 << 10];
        match stream.read(&mut piece).await {
            Ok(n) if n > 0 => unread.extend_from_slice(&piece[..n]),
            _ => return,
        }
    }
    unread.truncate(wanted);
    request.body = unread;
    let mut answer = respond(&request, address, &state, fault.as_ref());
    state.lock().unwrap().log.push(request.clone());
    let pace = state.lock().unwrap().pace;
    let (mut limit, mut stall) = (usize::MAX, false);
    match fault {
        Some(Fault::Answer(status, headers, body)) => {
            answer = Answer { status, headers, body: body.into_bytes() };
        }
        Some(Fault::Cut(bytes)) => limit = bytes,
        Some(Fault::Stall(bytes)) => (limit, stall) = (bytes, true),
        Some(Fault::Corrupt) => {
            let middle = answer.body.len() / 2;
            answer.body[middle] ^= 1;
        }
        Some(Fault::Mute) => std::future::pending().await,
        Some(Fault::HangUp(_)) => return,
        Some(Fault::NoRange) | None => {}
    }
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", answer.status);
    if !answer.headers.iter().any(|(name, _)| *name == "Content-Length") {
        head.push_str(&format!("Content-Length: {}\r\n", answer.body.len()));
    }
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    if stream.write_all(head.as_bytes()).await.is_err() || request.method == "HEAD" {
        return;
    }
    let body = &answer.body[..limit.min(answer.body.len())];
    for piece in body.chunks(4096) {
        if stream.write_all(piece).await.is_err() {
            return;
        }
        if let Some(pace) = pace {
            tokio::time::sleep(pace).await;
        }
    }
    if stall {
        std::future::pending::<()>().await;
    }
    let _ = stream.shutdown().await;
}

async fn read_head(stream: &mut TcpStream) -> Option<(Request, usize, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            // A TLS handshake: say what every server of plain HTTP says.
            Ok(n) if n > 0 && bytes.is_empty() && piece[0] == 0x16 => {
                let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await;
                return None;
            }
            Ok(n) if n > 0 => bytes.extend_from_slice(&piece[..n]),
            _ => return None,
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?);
    // As a proxy is asked: with the whole URL.
    let path = match target.strip_prefix("http://") {
        Some(rest) => format!("/{}", rest.split_once('/')?.1),
        None => target.to_owned(),
    };
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    Some((Request { method, path, headers, body: Vec::new() }, length, bytes.split_off(end + 4)))
}

fn respond(request: &Request, address: SocketAddr, state: &Mutex<State>, fault: Option<&Fault>) -> Answer {
    let state = &mut *state.lock().unwrap();
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    if path == "/token" {
        return token(request, state);
    }
    if let Some(refusal) = refused(request, state) {
        return refusal;
    }
    let Some(rest) = path.strip_prefix("/v2/") else { return error(404, "NOT_FOUND") };
    if rest.is_empty() {
        return Answer { status: 200, headers: Vec::new(), body: b"{}".to_vec() };
    }
    if let Some((repository, target)) = rest.split_once("/manifests/") {
        return manifest(request, state, repository, target);
    }
    if let Some((_, id)) = rest.split_once("/blobs/uploads/") {
        return upload(request, state, address, path, id, query);
    }
    let Some((_, digest)) = rest.split_once("/blobs/") else { return error(404, "NAME_UNKNOWN") };
    let Some(content) = digest.parse().ok().and_then(|digest: Digest| state.blobs.get(&digest)) else {
        return error(404, "BLOB_UNKNOWN");
    };
    let start = request
        .header("range")
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    match start {
        Some(start) if !matches!(fault, Some(Fault::NoRange)) => Answer {
            status: 206,
            headers: vec![(
                "Content-Range",
                format!("bytes {start}-{}/{}", content.len() - 1, content.len()),
            )],
            body: content[start..].to_vec(),
        },
        _ => Answer { status: 200, headers: Vec::new(), body: content.clone() },
    }
}

fn manifest(request: &Request, state: &mut State, repository: &str, target: &str) -> Answer {
    if request.method == "PUT" {
        let digest = Digest::sha256_of(&request.body);
        let kind = request.header("content-type").unwrap_or_default().to_owned();
        for target in [target, digest.as_str()] {
            let value = (kind.clone(), request.body.clone());
            state.manifests.insert(format!("{repository}:{target}"), value);
        }
        let headers = vec![("Docker-Content-Digest", digest.to_string())];
        return Answer { status: 201, headers, body: Vec::new() };
    }
    match state.manifests.get(&format!("{repository}:{target}")) {
        None => error(404, "MANIFEST_UNKNOWN"),
        Some((kind, content)) => Answer {
            status: 200,
            headers: vec![
                ("Content-Type", kind.clone()),
                ("Docker-Content-Digest", Digest::sha256_of(content).to_string()),
            ],
            body: content.clone(),
        },
    }
}

fn upload(
    request: &Request,
    state: &mut State,
    address: SocketAddr,
    path: &str,
    id: &str,
    query: &str,
) -> Answer {
    let parameter =
        |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(decode);
    if request.method == "POST" {
        let wanted = parameter("mount").and_then(|digest| digest.parse::<Digest>().ok());
        if let Some(digest) = wanted
            && state.blobs.contains_key(&digest)
        {
            return Answer { status: 201, headers: Vec::new(), body: Vec::new() };
        }
        state.opened += 1;
        let id = state.opened;
        state.uploads.insert(id, Vec::new());
        // Relative for odd ones, absolute for even ones: both are allowed.
        let location =
            if id % 2 == 1 { format!("{path}{id}?s=1") } else { format!("http://{address}{path}{id}?s=1") };
        return Answer { status: 202, headers: vec![("Location", location)], body: Vec::new() };
    }
    let Some(id) = id.parse::<u64>().ok().filter(|id| state.uploads.contains_key(id)) else {
        return error(404, "BLOB_UPLOAD_UNKNOWN");
    };
    let stored = state.uploads.get_mut(&id).unwrap();
    match request.method.as_str() {
        "PATCH" => {
            let start =
                request.header("content-range").and_then(|range| range.split('-').next()?.parse().ok());
            if start.unwrap_or(0) != stored.len() {
                return error(416, "RANGE_INVALID");
            }
            stored.extend_from_slice(&request.body);
            Answer { status: 202, headers: vec![("Location", format!("{path}?s=2"))], body: Vec::new() }
        }
        "GET" => {
            let range = format!("0-{}", stored.len().saturating_sub(1));
            Answer {
                status: 204,
                headers: vec![("Range", range), ("Location", path.into())],
                body: Vec::new(),
            }
        }
        "PUT" => {
            let content = state.uploads.remove(&id).unwrap();
            let digest = Digest::sha256_of(&content);
            if parameter("digest").as_deref() != Some(digest.as_str()) {
                return error(400, "DIGEST_INVALID");
            }
            state.blobs.insert(digest, content);
            Answer { status: 201, headers: Vec::new(), body: Vec::new() }
        }
        _ => error(405, "UNSUPPORTED"),
    }
}

fn refused(request: &Request, state: &State) -> Option<Answer> {
    let given = request.header("authorization").unwrap_or_default();
    let (allowed, challenge) = match &state.guard {
        Guard::Open => return None,
        Guard::Basic(user) => (format!("Basic {}", base64(user)), "Basic realm=\"fake\"".to_owned()),
        Guard::Bearer { realm, .. } => {
            let path = request.path.trim_start_matches("/v2/");
            let name = path.split("/manifests/").next().unwrap().split("/blobs/").next().unwrap();
            let action =
                if request.method == "GET" || request.method == "HEAD" { "pull" } else { "pull,push" };
            let scope = if name.is_empty() {
                String::new()
            } else {
                format!(",scope=\"repository:{name}:{action}\"")
            };
            (
                format!("Bearer t-{}", state.granted),
                format!("Bearer realm=\"{realm}\",service=\"fake\"{scope}"),
            )
        }
    };
    (given != allowed).then(|| {
        let mut answer = error(401, "UNAUTHORIZED");
        answer.headers.push(("WWW-Authenticate", challenge));
        answer
    })
}

fn token(request: &Request, state: &mut State) -> Answer {
    let Guard::Bearer { password, .. } = &state.guard else { return error(404, "NOT_FOUND") };
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let allowed = match password {
        None => true,
        Some(password) => {
            request.header("authorization") == Some(&format!("Basic {}", base64(password)))
                || body.contains("refresh_token=remembered")
        }
    };
    if !allowed {
        let body = br#"{"details":"incorrect username or password"}"#.to_vec();
        return Answer { status: 401, headers: Vec::new(), body };
    }
    state.granted += 1;
    let body = format!(
        r#"{{"token":"t-{}","expires_in":300,"refresh_token":"{}"}}"#,
        state.granted,
        if request.path.contains("offline_token=true") { "remembered" } else { "" }
    );
    Answer { status: 200, headers: Vec::new(), body: body.into_bytes() }
}

fn error(status: u16, code: &str) -> Answer {
    let body = format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#).into_bytes();
    Answer { status, headers: Vec::new(), body }
}

fn decode(text: &str) -> String {
    text.replace("%3A", ":").replace("%2F", "/")
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
