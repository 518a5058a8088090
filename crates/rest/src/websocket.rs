//! Attach over a WebSocket ([RFC 6455]): frames on the client's side, a plain socket pair on the engine's.
//!
//! ```text
//!   browser ══ frames ══▶ this relay ══ socket pair ══▶ whoever serves the container's streams
//! ```
//!
//! Output is sent as binary messages and is never multiplexed: Docker's WebSocket clients do not know frames within
//! frames. The relay lives in the engine, so this kind of attachment ends with it.
//!
//! [RFC 6455]: https://www.rfc-editor.org/rfc/rfc6455

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;

use api::stream::{Decoder, Stream as Kind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::{Client, Preface, Ticket};
use hyper::HeaderMap;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use crate::call::Call;
use crate::reply::{Answer, Failure, Reply};

/// What the protocol appends to a client's key.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// A piece of payload under way.
const PIECE: usize = 16 << 10;
/// Why a conversation ends.
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
/// The protocol's own limit for control frames.
const CONTROL: usize = 125;

/// Why somebody is no WebSocket client, in the words of Go's library.
pub(crate) const WRONG_VERSION: &str = "missing or bad WebSocket Version";

/// Checks the client's half of the handshake and gives the head of the answer.
pub(crate) fn handshake(headers: &HeaderMap) -> Result<String, &'static str> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !header("upgrade").eq_ignore_ascii_case("websocket")
        || !header("connection").to_ascii_lowercase().contains("upgrade")
    {
        return Err("not websocket protocol");
    }
    let key = header("sec-websocket-key");
    if key.is_empty() {
        return Err("mismatch challenge/response");
    }
    if header("sec-websocket-version") != "13" {
        return Err(WRONG_VERSION);
    }
    let protocol = match header("sec-websocket-protocol").trim() {
        "" => String::new(),
        // No protocol means anything here: there is none to choose.
        several if several.contains(',') => return Err("bad WebSocket Protocol"),
        one => format!("Sec-WebSocket-Protocol: {one}\r\n"),
    };
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{protocol}\r\n",
        accept(key)
    ))
}

fn accept(key: &str) -> String {
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{MAGIC}").as_bytes()))
}

/// Takes the client out of HTTP and relays between it and the holder of `ticket`.
pub(crate) async fn deliver(call: &Call, ticket: Ticket, head: String) -> Answer {
    let broken = |error: io::Error| Failure::system(format!("cannot make a socket pair: {error}"));
    let (ours, theirs) = StdUnixStream::pair().map_err(broken)?;
    ours.set_nonblocking(true).map_err(broken)?;
    let ours = UnixStream::from_std(ours).map_err(broken)?;
    let taken = call.seat.take().ok_or_else(|| Failure::invalid("a WebSocket request has no body"))?;
    let multiplexed = ticket.multiplexed();
    tokio::spawn(async move {
        let unread = io::Cursor::new(taken.unread);
        let (reader, mut writer) = tokio::io::split(taken.stream);
        if writer.write_all(head.as_bytes()).await.is_err() {
            return;
        }
        relay(unread.chain(reader), writer, ours, multiplexed).await;
    });
    if let Err(error) = ticket
        .deliver(Client { socket: theirs.into(), preface: Preface::default(), unread: Vec::new() })
        .await
    {
        tracing::warn!(%error, "a client was lost on its way to its container");
    }
    Ok(Reply::Taken)
}

async fn relay(
    from_client: impl AsyncRead + Unpin,
    to_client: impl AsyncWrite + Unpin,
    container: UnixStream,
    multiplexed: bool,
) {
    let (output, input) = container.into_split();
    let to_client = Mutex::new(to_client);
    let inward = inward(from_client, &to_client, input);
    let outward = outward(output, &to_client, multiplexed);
    // The output decides: input may end long before it.
    tokio::pin!(inward, outward);
    let ended = tokio::select! {
        result = &mut outward => result,
        closed = &mut inward => match closed {
            Ok(Closed::ByPeer) | Err(_) => closed.map(|_| ()),
            Ok(Closed::Stream) => outward.await,
        },
    };
    let mut reason = NORMAL;
    if let Err(error) = ended {
        tracing::debug!(%error, "a WebSocket client went away");
        if error.kind() == io::ErrorKind::InvalidData {
            reason = PROTOCOL_ERROR;
        }
    }
    // The client may be gone already.
    let _ = send(&mut *to_client.lock().await, Opcode::Close, &reason.to_be_bytes()).await;
    let _ = to_client.lock().await.shutdown().await;
}

/// How the client's side of the conversation ended.
enum Closed {
    /// It said so.
    ByPeer,
    /// Its bytes ended.
    Stream,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn from_byte(byte: u8) -> io::Result<Opcode> {
        [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong]
            .into_iter()
            .find(|opcode| *opcode as u8 == byte & 0x0f)
            .ok_or_else(|| wrong(format!("unknown WebSocket opcode {}", byte & 0x0f)))
    }

    fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

struct Frame {
    opcode: Opcode,
    length: u64,
    mask: [u8; 4],
}

/// The client does not keep to the protocol.
fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// `None` where the client's bytes end between frames.
async fn read_frame(client: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut start = [0; 2];
    if client.read(&mut start[..1]).await? == 0 {
        return Ok(None);
    }
    client.read_exact(&mut start[1..]).await?;
    let opcode = Opcode::from_byte(start[0])?;
    if start[1] & 0x80 == 0 {
        return Err(wrong("a WebSocket client must mask its frames"));
    }
    let length = match start[1] & 0x7f {
        126 => u64::from(client.read_u16().await?),
        127 => client.read_u64().await?,
        length => u64::from(length),
    };
    if opcode.is_control() && length > CONTROL as u64 {
        return Err(wrong("a WebSocket control frame is too long"));
    }
    let mut mask = [0; 4];
    client.read_exact(&mut mask).await?;
    Ok(Some(Frame { opcode, length, mask }))
}

async fn inward(
    mut client: impl AsyncRead + Unpin,
    answers: &Mutex<impl AsyncWrite + Unpin>,
    mut container: impl AsyncWrite + Unpin,
) -> io::Result<Closed> {
    let mut buffer = vec![0; PIECE];
    while let Some(frame) = read_frame(&mut client).await? {
        let mut done = 0;
        while done < frame.length || frame.length == 0 {
            let want = (frame.length - done).min(PIECE as u64) as usize;
            let piece = &mut buffer[..want];
            client.read_exact(piece).await?;
            for (at, byte) in piece.iter_mut().enumerate() {
                *byte ^= frame.mask[(done as usize + at) % 4];
            }
            match frame.opcode {
                // Whoever reads the container's input may have stopped; output goes on.
                Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                    drop(container.write_all(piece).await)
                }
                Opcode::Ping => send(&mut *answers.lock().await, Opcode::Pong, piece).await?,
                Opcode::Pong => {}
                Opcode::Close => return Ok(Closed::ByPeer),
            }
            done += want as u64;
            if frame.length == 0 {
                break;
            }
        }
    }
    // The end of input is told to the container.
    let _ = container.shutdown().await;
    Ok(Closed::Stream)
}

async fn outward(
    mut container: impl AsyncRead + Unpin,
    client: &Mutex<impl AsyncWrite + Unpin>,
    multiplexed: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut decoder = Decoder::default();
    loop {
        let count = container.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let mut rest = &buffer[..count];
        if !multiplexed {
            send(&mut *client.lock().await, Opcode::Binary, rest).await?;
            continue;
        }
        while let Some((kind, piece)) = decoder.next(&mut rest).map_err(io::Error::other)? {
            if kind != Kind::SystemError {
                send(&mut *client.lock().await, Opcode::Binary, piece).await?;
            }
        }
    }
}

async fn send(client: &mut (impl AsyncWrite + Unpin), opcode: Opcode, payload: &[u8]) -> io::Result<()> {
    const FINAL: u8 = 0x80;
    let mut frame = vec![FINAL | opcode as u8];
    match payload.len() {
        length @ 0..=CONTROL => frame.push(length as u8),
        length => {
            // Pieces are at most 16 KiB: sixteen bits are enough.
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend(payload);
    client.write_all(&frame).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_is_the_specifications() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8];
        frame.extend(mask);
        frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
        frame
    }

    #[tokio::test]
    async fn bytes_go_both_ways_and_pings_are_answered() {
        let (mut client, server) = tokio::io::duplex(4096);
        let (ours, mut container) = UnixStream::pair().unwrap();
        let (reader, writer) = tokio::io::split(server);
        let relay = tokio::spawn(relay(reader, writer, ours, true));

        client.write_all(&masked(2, b"hello")).await.unwrap();
        client.write_all(&masked(9, b"p")).await.unwrap();
        let mut five = [0; 5];
        container.read_exact(&mut five).await.unwrap();
        assert_eq!(&five, b"hello");
        let mut pong = [0; 3];
        client.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, &[0x8a, 1, b'p']);

        container.write_all(&Kind::Stdout.header(3)).await.unwrap();
        container.write_all(b"out").await.unwrap();
        let mut out = [0; 5];
        client.read_exact(&mut out).await.unwrap();
        assert_eq!(&out, b"\x82\x03out");

        drop(container);
        let mut close = Vec::new();
        client.read_to_end(&mut close).await.unwrap();
        assert_eq!(close, [0x88, 2, 0x03, 0xe8]);
        relay.await.unwrap();
    }

    #[test]
    fn whoever_is_no_websocket_client_hears_why() {
        let good = [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
        ];
        let told = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            for (name, value) in good {
                headers.insert(name, value.parse().unwrap());
            }
            headers.insert(name, value.parse().unwrap());
            handshake(&headers)
        };
        assert!(told("origin", "http://anywhere").unwrap().ends_with("kYGzzhZRbK+xOo=\r\n\r\n"));
        assert!(told("sec-websocket-protocol", "one").unwrap().ends_with("Protocol: one\r\n\r\n"));
        assert_eq!(told("upgrade", "tcp"), Err("not websocket protocol"));
        assert_eq!(told("connection", "close"), Err("not websocket protocol"));
        assert_eq!(told("sec-websocket-key", ""), Err("mismatch challenge/response"));
        assert_eq!(told("sec-websocket-version", "8"), Err(WRONG_VERSION));
        assert!(told("sec-websocket-protocol", "one, two").is_err());
    }

    #[tokio::test]
    async fn a_client_that_breaks_the_protocol_is_told_so() {
        let (mut client, server) = tokio::io::duplex(4096);
        let (ours, _container) = UnixStream::pair().unwrap();
        let (reader, writer) = tokio::io::split(server);
        let relay = tokio::spawn(relay(reader, writer, ours, true));
        client.write_all(&[0x82, 1, b'x']).await.unwrap();
        let mut close = Vec::new();
        client.read_to_end(&mut close).await.unwrap();
        assert_eq!(close, [0x88, 2, 0x03, 0xea]);
        relay.await.unwrap();
    }

    #[tokio::test]
    async fn unmasked_and_unknown_frames_are_refused() {
        assert!(read_frame(&mut &[0x82, 1, b'x'][..]).await.is_err());
        assert!(read_frame(&mut &[0x83, 0x80, 0, 0, 0, 0][..]).await.is_err());
        assert!(read_frame(&mut &[][..]).await.unwrap().is_none());
    }
}
