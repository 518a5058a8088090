//! The client: version negotiation, one request at a time, streams, hijacked connections.
//!
//! ```text
//! client                            engine
//!   GET /v1.51/…           ──▶      (the newest version that we speak)
//!                          ◀──      200, Api-Version: 1.51
//! ```
//!
//! An older engine answers that with 400 and the newest version that it speaks, having done nothing, and the request goes
//! out once more in that one: with the usual engine, its own, the client never asks. A request that can't be sent
//! twice, or whose form depends on the version, is preceded by a question (`HEAD /_ping`).

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, OnceLock};

use api::version::{ApiVersion, NEWEST, OLDEST};
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::{Answer, Body, Connection, Head, Payload, Unsent};
use crate::query::{Query, clean};
use crate::stream::{Reader, Stream, Writer};
use crate::{Certificates, Error, Host, Result};

/// A list of all that an engine holds stays far below; only a broken engine gets here.
const BODY_LIMIT: u64 = 512 * 1024 * 1024;
/// One progress or event message.
const MESSAGE_LIMIT: usize = 16 * 1024 * 1024;

/// How to reach the engine.
#[derive(Debug, Clone)]
pub struct Options {
    pub host: Host,
    pub tls: Option<Certificates>,
    /// A fixed API version such as `1.44`: nothing is negotiated then.
    pub version: Option<String>,
    /// Sent with every request, after ours.
    pub headers: Vec<(String, String)>,
    pub user_agent: String,
}

/// One engine, and how it is spoken to. A connection that has become idle is kept for the next call.
pub struct Client {
    host: Host,
    tls: Option<Arc<ClientConfig>>,
    fixed: Option<ApiVersion>,
    headers: Vec<(String, String)>,
    spoken: OnceLock<ApiVersion>,
    idle: Mutex<Option<Connection>>,
}

impl Client {
    /// Prepares a client; nothing is sent before the first call.
    pub fn new(options: Options) -> Result<Client> {
        let secure = matches!(options.host, Host::Tcp { secure: true, .. });
        let tls = match (&options.tls, secure) {
            (Some(certificates), _) if matches!(options.host, Host::Tcp { .. }) => Some(certificates.load()?),
            (None, true) => Some(Certificates { verify: true, ..Certificates::default() }.load()?),
            _ => None,
        };
        let fixed = match &options.version {
            Some(text) => Some(parse_version(text).ok_or_else(|| {
                Error::Protocol(format!("invalid API version {text:?}: it must look like 1.44"))
            })?),
            None => None,
        };
        let mut headers = vec![("User-Agent".to_owned(), options.user_agent)];
        headers.extend(options.headers);
        Ok(Client {
            host: options.host,
            tls,
            fixed,
            headers,
            spoken: OnceLock::new(),
            idle: Mutex::new(None),
        })
    }

    /// Takes over a connection that somebody made to see whether the engine is there.
    pub fn adopt_connection(&self, socket: UnixStream) {
        if let Ok(mut idle) = self.idle.lock() {
            *idle = Some(Connection::new(Stream::Unix(socket)));
        }
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The version spoken with this engine, which may ask it first.
    pub fn version(&self) -> Result<ApiVersion> {
        self.negotiate()
    }

    /// Fixes the version from what the engine told us by other means, saving the question.
    pub fn adopt_version(&self, newest_of_engine: &str) -> Result<()> {
        if let Some(theirs) = parse_version(newest_of_engine) {
            self.settle(theirs)?;
        }
        Ok(())
    }

    /// Whether the engine speaks at least this version.
    pub fn speaks(&self, major: u16, minor: u16) -> Result<bool> {
        Ok(self.negotiate()? >= ApiVersion::new(major, minor))
    }

    fn negotiate(&self) -> Result<ApiVersion> {
        if let Some(fixed) = self.fixed {
            return Ok(fixed);
        }
        if let Some(spoken) = self.spoken.get() {
            return Ok(*spoken);
        }
        let mut theirs = None;
        for method in ["HEAD", "GET"] {
            let (answer, body) = self.exchange(method, "/_ping", &[], &mut Sending::Nothing, false)?;
            theirs = answer.header("api-version").and_then(parse_version);
            self.finish(body)?;
            if answer.status == 200 {
                break;
            }
        }
        self.settle(theirs.unwrap_or(NEWEST))
    }

    fn settle(&self, theirs: ApiVersion) -> Result<ApiVersion> {
        if theirs < OLDEST {
            return Err(Error::Protocol(format!(
                "the engine speaks API version {}, and this client needs at least {}",
                theirs, OLDEST
            )));
        }
        Ok(*self.spoken.get_or_init(|| theirs.min(NEWEST)))
    }

    /// Sends a request and returns the whole body of its answer.
    pub fn call(&self, method: &str, path: &str, query: &Query) -> Result<Vec<u8>> {
        self.call_with(method, path, query, &[], None::<&()>)
    }

    /// The same with a JSON body.
    pub fn call_with<B: Serialize>(
        &self,
        method: &str,
        path: &str,
        query: &Query,
        headers: &[(String, String)],
        body: Option<&B>,
    ) -> Result<Vec<u8>> {
        let body = self.stream_with(method, path, query, headers, body)?;
        self.finish(body)
    }

    /// Sends a request whose answer is read piece by piece.
    pub fn stream_with<B: Serialize>(
        &self,
        method: &str,
        path: &str,
        query: &Query,
        headers: &[(String, String)],
        body: Option<&B>,
    ) -> Result<Body> {
        let mut sending = match body {
            Some(body) => Sending::Json(to_json(body)?),
            None => Sending::Nothing,
        };
        self.open(method, path, query, headers, &mut sending, false).map(|(_, body)| body)
    }

    pub fn stream(&self, method: &str, path: &str, query: &Query) -> Result<Body> {
        self.stream_with(method, path, query, &[], None::<&()>)
    }

    /// Sends an archive (or any bytes of unknown length) and returns the answer's body.
    pub fn upload(&self, method: &str, path: &str, query: &Query, reader: &mut dyn Read) -> Result<Body> {
        let mut sending = Sending::Stream(reader);
        self.open(method, path, query, &[], &mut sending, false).map(|(_, body)| body)
    }

    /// The value of one header of the answer to a `HEAD`.
    pub fn head(&self, path: &str, query: &Query, header: &str) -> Result<Option<String>> {
        let (answer, body) = self.open("HEAD", path, query, &[], &mut Sending::Nothing, false)?;
        let value = answer.header(header).map(str::to_owned);
        self.finish(body)?;
        Ok(value)
    }

    /// Like [`Client::stream`], with the value of one header.
    pub fn stream_and_header(
        &self,
        path: &str,
        query: &Query,
        header: &str,
    ) -> Result<(Body, Option<String>)> {
        let (answer, body) = self.open("GET", path, query, &[], &mut Sending::Nothing, false)?;
        Ok((body, answer.header(header).map(str::to_owned)))
    }

    /// An unversioned GET, which needs no negotiation.
    pub fn call_unversioned(&self, path: &str) -> Result<Vec<u8>> {
        let (answer, body) = self.exchange("GET", path, &[], &mut Sending::Nothing, false)?;
        let bytes = self.finish(body)?;
        if answer.status >= 400 {
            return Err(refusal(answer.status, &bytes));
        }
        Ok(bytes)
    }

    /// Turns a request into a raw connection in both directions.
    pub fn hijack<B: Serialize>(&self, path: &str, query: &Query, body: Option<&B>) -> Result<Hijacked> {
        let mut sending = match body {
            Some(body) => Sending::Json(to_json(body)?),
            None => Sending::Nothing,
        };
        let (answer, body) =
            self.open("POST", path, query, &[], &mut sending, true).map_err(|error| match error {
                Error::Api { status, message } => Error::Upgrade { status, message },
                other => other,
            })?;
        Self::leave_http(&answer, body)
    }

    /// Offers to turn a request into a raw connection. Besides that, or the answer of an engine that does not, the value of
    /// one header of the answer.
    pub(crate) fn offer<B: Serialize>(
        &self,
        path: &str,
        headers: &[(String, String)],
        body: &B,
        header: &str,
    ) -> Result<(Offered, Option<String>)> {
        let mut sending = Sending::Json(to_json(body)?);
        let (answer, body) = self.open("POST", path, &Query::new(), headers, &mut sending, true)?;
        let value = answer.header(header).map(str::to_owned);
        let offered = match answer.status {
            101 => Offered::Taken(Self::leave_http(&answer, body)?),
            _ => Offered::Answered(self.finish(body)?),
        };
        Ok((offered, value))
    }

    fn leave_http(answer: &Answer, body: Body) -> Result<Hijacked> {
        let multiplexed = answer
            .header("content-type")
            .is_some_and(|kind| kind == "application/vnd.docker.multiplexed-stream");
        let (stream, early) = body.into_connection().into_parts();
        let (reader, writer) = stream.split().map_err(Error::io("sharing the connection"))?;
        Ok(Hijacked { reader: HijackedReader { early, at: 0, reader }, writer, multiplexed })
    }

    /// A bare connection, for those who speak to the engine themselves.
    pub fn dial(&self) -> Result<(Reader, Writer)> {
        let stream = Stream::connect(&self.host, self.tls.as_ref())?;
        stream.split().map_err(Error::io("sharing the connection"))
    }

    fn open(
        &self,
        method: &str,
        path: &str,
        query: &Query,
        headers: &[(String, String)],
        sending: &mut Sending<'_>,
        upgrade: bool,
    ) -> Result<(Answer, Body)> {
        let settled = self.fixed.or(self.spoken.get().copied());
        let version = match settled {
            Some(version) => version,
            // The answer to HEAD has no body to say what the engine speaks instead.
            None if sending.repeatable() && method != "HEAD" => NEWEST,
            None => self.negotiate()?,
        };
        let target = format!("{}{}", clean(&format!("/v{version}{path}")), query.as_str());
        let (answer, body) = self.exchange(method, &target, headers, sending, upgrade)?;
        if is_redirect(answer.status) {
            return Err(self.unanswered(method, &target, "unexpected redirect in response"));
        }
        if answer.status >= 400 {
            let bytes = self.finish(body)?;
            let refusal = refusal(answer.status, &bytes);
            return match newest_of_refusing(&refusal) {
                Some(theirs) if self.fixed.is_none() && theirs < version => {
                    self.settle(theirs)?;
                    self.open(method, path, query, headers, sending, upgrade)
                }
                _ => Err(refusal),
            };
        }
        self.settle(version)?;
        Ok((answer, body))
    }

    /// One request and the head of its answer. Where TLS fails, the request is named, as by docker.
    fn exchange(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        sending: &mut Sending<'_>,
        upgrade: bool,
    ) -> Result<(Answer, Body)> {
        self.ask(method, target, headers, sending, upgrade).map_err(|error| match error {
            Error::Tls(why) => self.unanswered(method, target, &why),
            other => other,
        })
    }

    /// Asks on the idle connection if there is one. That may have died meanwhile: then the request
    /// goes out once more on a new one, if the engine cannot have acted on it or acting twice
    /// changes nothing.
    fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        sending: &mut Sending<'_>,
        upgrade: bool,
    ) -> Result<(Answer, Body)> {
        let host = self.host.header();
        let headers: Vec<_> = self.headers.iter().chain(headers).cloned().collect();
        let head = Head { method, target, host: &host, headers: &headers, upgrade };
        if let Some(mut connection) = self.take_idle()
            && sending.repeatable()
            && connection.send(&head, sending.payload()).is_ok()
        {
            match connection.answer() {
                Ok(Some(answer)) => {
                    let body = Body::new(connection, &answer, method)?;
                    return Ok((answer, body));
                }
                Ok(None) | Err(Error::Io { .. }) if matches!(method, "GET" | "HEAD") => {}
                Ok(None) => return Err(self.unanswered(method, target, "EOF")),
                Err(error) => return Err(error),
            }
        }
        let mut connection = Connection::new(Stream::connect(&self.host, self.tls.as_ref())?);
        let sent = match connection.send(&head, sending.payload()) {
            Err(Unsent::Source(error)) => return Err(self.unanswered(method, target, &error.to_string())),
            Err(Unsent::Socket(error)) => Err(error),
            Ok(()) => Ok(()),
        };
        // An engine that refuses an upload may answer and close before it has read all of it.
        match (connection.answer(), sent) {
            (Ok(Some(answer)), _) => {
                let body = Body::new(connection, &answer, method)?;
                Ok((answer, body))
            }
            (Err(error @ Error::Tls(_)), _) => Err(error),
            (_, Err(source)) => Err(Error::Io { doing: "sending the request", source }),
            (Ok(None), Ok(())) => Err(self.unanswered(method, target, "EOF")),
            (Err(error), Ok(())) => Err(error),
        }
    }

    fn unanswered(&self, method: &str, target: &str, why: &str) -> Error {
        let url = format!("{}{target}", self.host.url());
        Error::Unanswered { method: method.to_owned(), url, why: why.to_owned() }
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut connection = self.idle.lock().ok()?.take()?;
        (!connection.is_closed()).then_some(connection)
    }

    /// Reads a body to its end and keeps the connection for the next call.
    fn finish(&self, body: Body) -> Result<Vec<u8>> {
        let (bytes, body) = read_all(body)?;
        if let (Some(connection), Ok(mut idle)) = (body.into_idle(), self.idle.lock()) {
            *idle = Some(connection);
        }
        Ok(bytes)
    }
}

/// A body that can, or cannot, be sent a second time.
enum Sending<'a> {
    Nothing,
    Json(Vec<u8>),
    Stream(&'a mut dyn Read),
}

impl Sending<'_> {
    fn repeatable(&self) -> bool {
        !matches!(self, Sending::Stream(_))
    }

    fn payload(&mut self) -> Payload<'_> {
        match self {
            Sending::Nothing => Payload::Nothing,
            Sending::Json(bytes) => Payload::Json(bytes.clone()),
            Sending::Stream(reader) => Payload::Stream { content_type: "application/x-tar", reader },
        }
    }
}

/// A connection that left HTTP: what the engine sends, and what it is sent.
pub struct Hijacked {
    pub reader: HijackedReader,
    pub writer: Writer,
    /// Whether the engine said that the bytes come in frames; old ones do not say.
    pub multiplexed: bool,
}

/// What became of an offer to leave HTTP.
pub(crate) enum Offered {
    Taken(Hijacked),
    /// The engine stays with HTTP: the body of its answer.
    Answered(Vec<u8>),
}

/// Reads what came too early with the head first.
pub struct HijackedReader {
    early: Vec<u8>,
    at: usize,
    reader: Reader,
}

impl Read for HijackedReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at < self.early.len() {
            let count = buffer.len().min(self.early.len() - self.at);
            buffer[..count].copy_from_slice(&self.early[self.at..self.at + count]);
            self.at += count;
            return Ok(count);
        }
        self.reader.read(buffer)
    }
}

/// The JSON messages of a stream, one a line, as they come.
pub struct Messages<T> {
    body: Body,
    buffer: Vec<u8>,
    ended: bool,
    kind: std::marker::PhantomData<T>,
}

impl<T: DeserializeOwned> Messages<T> {
    pub fn new(body: Body) -> Messages<T> {
        Messages { body, buffer: Vec::new(), ended: false, kind: std::marker::PhantomData }
    }

    /// The next line as it came, without its end.
    pub fn next_raw(&mut self) -> Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            if let Some(found) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(searched + found + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.truncate(line.trim_ascii_end().len());
                if !line.is_empty() {
                    return Ok(Some(line));
                }
                searched = 0;
                continue;
            }
            searched = self.buffer.len();
            if searched > MESSAGE_LIMIT {
                return Err(Error::Protocol(format!("a message is longer than {MESSAGE_LIMIT} bytes")));
            }
            if self.ended {
                let line = std::mem::take(&mut self.buffer);
                return Ok((!line.trim_ascii().is_empty()).then_some(line));
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<()> {
        let start = self.buffer.len();
        self.buffer.resize(start + 16 * 1024, 0);
        let result = self.body.read(&mut self.buffer[start..]);
        self.buffer.truncate(start + result.as_ref().copied().unwrap_or(0));
        self.ended = result.map_err(Error::io("reading the stream"))? == 0;
        Ok(())
    }
}

impl<T: DeserializeOwned> Iterator for Messages<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        match self.next_raw() {
            Ok(Some(line)) => Some(from_json(&line)),
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

fn read_all(mut body: Body) -> Result<(Vec<u8>, Body)> {
    let mut bytes = Vec::new();
    let count =
        (&mut body).take(BODY_LIMIT).read_to_end(&mut bytes).map_err(Error::io("reading the answer"))?;
    if count as u64 == BODY_LIMIT {
        return Err(Error::Protocol(format!("the answer is longer than {BODY_LIMIT} bytes")));
    }
    Ok((bytes, body))
}

/// Somewhere else the answer may be; 304 is one: there is nothing to do.
fn is_redirect(status: u16) -> bool {
    (300..400).contains(&status) && status != 304
}

/// The engine's words out of an error body, which is JSON by rule and plain text from proxies.
fn refusal(status: u16, body: &[u8]) -> Error {
    #[derive(serde::Deserialize)]
    struct Message {
        message: String,
    }
    let message = match serde_json::from_slice::<Message>(body) {
        Ok(message) => message.message.trim().to_owned(),
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    };
    let message = if message.is_empty() {
        format!(
            "the engine answered with status {status} and no message: check whether it supports this request"
        )
    } else {
        message
    };
    Error::Api { status, message }
}

pub(crate) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    api::json::from_slice(bytes)
        .map_err(|error| Error::Protocol(format!("the engine's answer cannot be understood: {error}")))
}

pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::Protocol(format!("the request cannot be written: {error}")))
}

/// What an engine speaks that refuses a newer version.
fn newest_of_refusing(refusal: &Error) -> Option<ApiVersion> {
    let Error::Api { status: 400, message } = refusal else { return None };
    let (_, theirs) = message.split_once("is too new. Maximum supported API version is ")?;
    parse_version(theirs.trim_end_matches('.'))
}

fn parse_version(text: &str) -> Option<ApiVersion> {
    text.trim().trim_start_matches('v').parse().ok()
}
