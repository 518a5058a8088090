//! As much of D-Bus as three calls to systemd need: authentication, marshalling, waiting for a job.
//!
//! Root talks to the machine's systemd, others to their own; the message bus is for where root finds no socket. The
//! format is that of the D-Bus specification, <https://dbus.freedesktop.org/doc/dbus-specification.html>: a fixed header,
//! header fields as an array of (byte, variant), a body; everything aligned to its own size.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Error, Kind, Result, error::Step};

const PRIVATE: &str = "/run/systemd/private";
const PUBLIC: &str = "/run/dbus/system_bus_socket";

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";

/// systemd answers within milliseconds; a machine that takes longer than this is not going to.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers to our calls are a path or a sentence. Signals of others may be longer, not by much.
const MAX_MESSAGE: usize = 1 << 20;

/// A unit that is stopped is gone within milliseconds: ten seconds in all.
const STOP_TRIES: u32 = 1000;
const STOP_PAUSE: Duration = Duration::from_millis(10);

/// Messages of others that are passed over while waiting for ours.
const MAX_PASSED_OVER: usize = 10_000;

/// A property's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Flag(bool),
    Number(u64),
    Numbers(Vec<u32>),
    Bytes(Vec<u8>),
    Texts(Vec<String>),
    Pairs(Vec<(String, String)>),
    /// A number of another width, by its signature.
    Plain(char, Vec<u8>),
}

/// A name and what it is to be.
pub(crate) type Property = (String, Value);

pub(super) struct Bus {
    socket: UnixStream,
    serial: u32,
    /// Jobs that ended before anybody asked: path and result.
    ended: Vec<(String, String)>,
}

impl Bus {
    /// To the systemd that gives us cgroups.
    pub(super) fn ours() -> Result<Bus> {
        let user = linux::credentials::user();
        if user != 0 {
            let given = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
            let directory = given.map_or_else(|| PathBuf::from(format!("/run/user/{user}")), PathBuf::from);
            let path = directory.join("systemd/private");
            return Bus::authenticated(UnixStream::connect(&path).step(|| path.display().to_string())?);
        }
        if let Ok(socket) = UnixStream::connect(PRIVATE) {
            return Bus::authenticated(socket);
        }
        let mut bus = Bus::authenticated(UnixStream::connect(PUBLIC).step(|| PUBLIC)?)?;
        let destination = "org.freedesktop.DBus";
        bus.call(&Call {
            destination,
            path: "/org/freedesktop/DBus",
            interface: destination,
            member: "Hello",
            body: None,
        })?;
        bus.call(&Call {
            destination: SYSTEMD,
            path: MANAGER_PATH,
            interface: MANAGER,
            member: "Subscribe",
            body: None,
        })?;
        Ok(bus)
    }

    fn authenticated(mut socket: UnixStream) -> Result<Bus> {
        socket.set_read_timeout(Some(PATIENCE)).step(|| "D-Bus")?;
        let uid: String =
            linux::credentials::user().to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
        // All of the handshake at once, and nothing more until it is answered: systemd looks at what it has read
        // only when more arrives, so a message that comes along with BEGIN is left lying.
        socket.write_all(format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n").as_bytes()).step(|| "D-Bus")?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") && answer.len() < 512 {
            let mut byte = [0];
            socket.read_exact(&mut byte).step(|| "D-Bus authentication")?;
            answer.push(byte[0]);
        }
        if !answer.starts_with(b"OK ") {
            return Err(Error::other(format_args!(
                "D-Bus authentication: {}",
                String::from_utf8_lossy(&answer).trim()
            )));
        }
        Ok(Bus { socket, serial: 0, ended: Vec::new() })
    }

    pub(super) fn start_transient(&mut self, unit: &str, properties: &[Property]) -> Result<()> {
        let mut body = Writer::default();
        body.text(unit);
        body.text("replace");
        body.properties(properties);
        // No auxiliary units: an empty array of (sa(sv)).
        body.array(8, |_| {});
        self.manage("StartTransientUnit", "ssa(sv)a(sa(sv))", body)
    }

    /// Returns when systemd has forgotten the unit, so that its name can be used again: the end of the job alone
    /// does not say that, and one that systemd has ended as failed (`RuntimeMaxSec`) is kept for whoever asks why.
    pub(super) fn stop(&mut self, unit: &str) -> Result<()> {
        let mut body = Writer::default();
        body.text(unit);
        body.text("replace");
        let mut answer = self.ask("StopUnit", "ss", body).map(drop);
        for _ in 0..STOP_TRIES {
            match answer {
                Err(error) if error.kind() == Kind::NoContainer => return Ok(()),
                other => other?,
            }
            std::thread::sleep(STOP_PAUSE);
            let mut body = Writer::default();
            body.text(unit);
            // Refused where it has not failed, or is gone: the question that follows tells.
            let _kept_no_more = self.ask("ResetFailedUnit", "s", body);
            let mut body = Writer::default();
            body.text(unit);
            answer = self.ask("GetUnit", "s", body).map(drop);
        }
        Err(Error::other("the unit does not end"))
    }

    pub(super) fn set_properties(&mut self, unit: &str, properties: &[Property]) -> Result<()> {
        let mut body = Writer::default();
        body.text(unit);
        // For as long as the machine runs, not longer.
        body.number(1);
        body.properties(properties);
        self.ask("SetUnitProperties", "sba(sv)", body).map(drop)
    }

    /// Where its own part of the tree begins.
    pub(super) fn control_group(&mut self) -> Result<String> {
        self.property("ControlGroup")
    }

    /// The release: `252.39-1~deb12u1` is 252.
    pub(super) fn release(&mut self) -> Result<u32> {
        let version = self.property("Version")?;
        let digits = version.trim_start_matches(|letter: char| !letter.is_ascii_digit());
        let number = digits.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
        number.parse().map_err(|_| Error::other(format_args!("systemd's version is {version:?}")))
    }

    fn property(&mut self, name: &str) -> Result<String> {
        let mut body = Writer::default();
        body.text(MANAGER);
        body.text(name);
        let answer = self.call(&Call {
            destination: SYSTEMD,
            path: MANAGER_PATH,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            body: Some(("ss", body)),
        })?;
        let mut body = Reader::new(&answer.body);
        body.signature()?;
        body.text()
    }

    fn ask(&mut self, member: &str, signature: &str, body: Writer) -> Result<Message> {
        let body = Some((signature, body));
        self.call(&Call { destination: SYSTEMD, path: MANAGER_PATH, interface: MANAGER, member, body })
    }

    /// A call that starts a job; waits until the job has ended.
    fn manage(&mut self, member: &str, signature: &str, body: Writer) -> Result<()> {
        let answer = self.ask(member, signature, body)?;
        let job = Reader::new(&answer.body).text()?;
        for _ in 0..MAX_PASSED_OVER {
            if let Some(at) = self.ended.iter().position(|(path, _)| *path == job) {
                return match self.ended.swap_remove(at).1.as_str() {
                    "done" => Ok(()),
                    result => Err(Error::other(format_args!("systemd's job ended as {result:?}"))),
                };
            }
            let message = self.receive()?;
            self.note(&message)?;
        }
        Err(Error::other("systemd's job did not end"))
    }

    /// Keeps the end of a job for whoever waits for it.
    fn note(&mut self, message: &Message) -> Result<()> {
        const SIGNAL: u8 = 4;
        if message.kind == SIGNAL && message.member == "JobRemoved" {
            let mut body = Reader::new(&message.body);
            let (_id, job, _unit, result) = (body.number()?, body.text()?, body.text()?, body.text()?);
            self.ended.push((job, result));
        }
        Ok(())
    }

    fn call(&mut self, call: &Call<'_>) -> Result<Message> {
        const ERROR: u8 = 3;
        self.serial += 1;
        self.socket.write_all(&call.bytes(self.serial)).step(|| "D-Bus")?;
        for _ in 0..MAX_PASSED_OVER {
            let message = self.receive()?;
            if message.reply_to != self.serial {
                self.note(&message)?;
                continue;
            }
            if message.kind != ERROR {
                return Ok(message);
            }
            let sentence = Reader::new(&message.body).text().unwrap_or_default();
            let kind = match message.error.rsplit('.').next() {
                Some("NoSuchUnit") => Kind::NoContainer,
                Some("UnitExists") => Kind::WrongState,
                _ => Kind::Other,
            };
            return Err(Error::new(kind, format_args!("{}: {sentence}", message.error)));
        }
        Err(Error::other("D-Bus: no answer"))
    }

    fn receive(&mut self) -> Result<Message> {
        let mut fixed = [0; 16];
        self.socket.read_exact(&mut fixed).step(|| "D-Bus")?;
        if fixed[0] != b'l' {
            return Err(Error::other("D-Bus: a message of the other byte order"));
        }
        let word =
            |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]) as usize;
        let (body, fields) = (word(4), word(12));
        if body > MAX_MESSAGE || fields > MAX_MESSAGE {
            return Err(Error::other("D-Bus: a message that is too long"));
        }
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        self.socket.read_exact(&mut rest).step(|| "D-Bus")?;
        let mut message = Message {
            kind: fixed[1],
            body: rest.split_off(fields.next_multiple_of(8)),
            ..Message::default()
        };
        message.read_fields(&rest[..fields])?;
        Ok(message)
    }
}

struct Call<'a> {
    destination: &'a str,
    path: &'a str,
    interface: &'a str,
    member: &'a str,
    /// Signature and bytes.
    body: Option<(&'a str, Writer)>,
}

impl Call<'_> {
    fn bytes(&self, serial: u32) -> Vec<u8> {
        let body = self.body.as_ref().map(|(_, body)| body.bytes.as_slice()).unwrap_or_default();
        let mut out = Writer { bytes: vec![b'l', 1, 0, 1] };
        out.number(body.len() as u32);
        out.number(serial);
        out.array(8, |out| {
            let fields = [
                (1, 'o', self.path),
                (2, 's', self.interface),
                (3, 's', self.member),
                (6, 's', self.destination),
            ];
            for (code, kind, text) in fields {
                out.align(8);
                out.bytes.push(code);
                out.signature(&kind.to_string());
                out.text(text);
            }
            if let Some((signature, _)) = &self.body {
                out.align(8);
                out.bytes.push(8);
                out.signature("g");
                out.signature(signature);
            }
        });
        out.align(8);
        out.bytes.extend_from_slice(body);
        out.bytes
    }
}

#[derive(Debug, Default)]
struct Message {
    kind: u8,
    reply_to: u32,
    member: String,
    error: String,
    body: Vec<u8>,
}

impl Message {
    fn read_fields(&mut self, bytes: &[u8]) -> Result<()> {
        let mut fields = Reader::new(bytes);
        loop {
            fields.align(8);
            if fields.at >= bytes.len() {
                return Ok(());
            }
            let code = fields.byte()?;
            match (code, fields.signature()?.as_str()) {
                (3, "s") => self.member = fields.text()?,
                (4, "s") => self.error = fields.text()?,
                (_, "s" | "o") => drop(fields.text()?),
                (5, "u") => self.reply_to = fields.number()?,
                (_, "u") => drop(fields.number()?),
                (_, "g") => drop(fields.signature()?),
                (_, other) => {
                    return Err(Error::other(format_args!("D-Bus: a header field of type {other:?}")));
                }
            }
        }
    }
}

#[derive(Debug, Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u32);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.bytes.push(text.len() as u8);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    /// The length goes first and does not count the padding before the first element.
    fn array(&mut self, alignment: usize, fill: impl FnOnce(&mut Writer)) {
        self.number(0);
        let place = self.bytes.len() - 4;
        self.align(alignment);
        let start = self.bytes.len();
        fill(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[place..place + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn properties(&mut self, properties: &[Property]) {
        self.array(8, |out| {
            for (name, value) in properties {
                out.align(8);
                out.text(name);
                out.variant(value);
            }
        });
    }

    fn variant(&mut self, value: &Value) {
        match value {
            Value::Text(text) => {
                self.signature("s");
                self.text(text);
            }
            Value::Flag(flag) => {
                self.signature("b");
                self.number(u32::from(*flag));
            }
            Value::Number(number) => {
                self.signature("t");
                self.align(8);
                self.bytes.extend(number.to_le_bytes());
            }
            Value::Numbers(numbers) => {
                self.signature("au");
                self.array(4, |out| numbers.iter().for_each(|number| out.number(*number)));
            }
            Value::Bytes(bytes) => {
                self.signature("ay");
                self.array(1, |out| out.bytes.extend_from_slice(bytes));
            }
            Value::Texts(texts) => {
                self.signature("as");
                self.array(4, |out| texts.iter().for_each(|text| out.text(text)));
            }
            Value::Pairs(pairs) => {
                self.signature("a(ss)");
                self.array(8, |out| {
                    for (first, second) in pairs {
                        out.align(8);
                        out.text(first);
                        out.text(second);
                    }
                });
            }
            Value::Plain(signature, bytes) => {
                self.signature(&signature.to_string());
                self.align(bytes.len());
                self.bytes.extend_from_slice(bytes);
            }
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| Error::other("D-Bus: a message that is too short"))?;
        self.at += count;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u32> {
        self.align(4);
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn text(&mut self) -> Result<String> {
        let length = self.number()? as usize;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Ok(text)
    }

    fn signature(&mut self) -> Result<String> {
        let length = usize::from(self.byte()?);
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_reads_back() {
        let mut body = Writer::default();
        body.text("unit");
        body.properties(&[
            ("PIDs".to_owned(), Value::Numbers(vec![7])),
            ("Max".to_owned(), Value::Number(9)),
            ("D".to_owned(), Value::Flag(true)),
        ]);
        let call =
            Call { destination: "d", path: "/p", interface: "i", member: "M", body: Some(("sa(sv)", body)) };
        let bytes = call.bytes(3);
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let (body, fields) = (word(4), word(12));
        assert_eq!(bytes.len(), (16 + fields).next_multiple_of(8) + body);
        let mut message = Message::default();
        message.read_fields(&bytes[16..16 + fields]).unwrap();
        assert_eq!(message.member, "M");
        let mut read = Reader::new(&bytes[bytes.len() - body..]);
        assert_eq!(read.text().unwrap(), "unit");
    }

    #[test]
    fn values_are_aligned_to_their_own_size() {
        let written = |value: &Value| {
            let mut out = Writer::default();
            out.variant(value);
            out.bytes
        };
        let pair = Value::Pairs(vec![("char-*".to_owned(), "m".to_owned())]);
        // Signature to 8, length to 12, and the first pair at a multiple of 8.
        let expected = b"\x05a(ss)\0\0\x12\0\0\0\0\0\0\0\x06\0\0\0char-*\0\0\x01\0\0\0m\0";
        assert_eq!(written(&pair), expected);
        assert_eq!(written(&Value::Plain('n', vec![1, 2])), b"\x01n\0\0\x01\x02");
        assert_eq!(written(&Value::Texts(Vec::new())), b"\x02as\0\0\0\0\0");
    }

    #[test]
    fn messages_that_end_too_early_are_errors() {
        assert!(Reader::new(&[5, 0, 0, 0, b'x']).text().is_err());
        assert!(Reader::new(&[255, 255, 255, 255]).text().is_err());
        assert!(Message::default().read_fields(&[1, 1, b'z', 0]).is_err());
    }
}
