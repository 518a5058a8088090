//! `wharf-tls`: one connection to a TLS server, for a process that has no TLS of its own.
//!
//! ```text
//!   wharf-tls ADDRESS NAME [--ca FILE] [--cert FILE] [--key FILE] [--skip-verify]
//!
//!   starter ◀── plain bytes ──▶ descriptor 0 │ this │ ◀── TLS ──▶ ADDRESS, which must prove to be NAME
//!           ◀──── a sentence ── descriptor 2 │      │
//! ```
//!
//! A shim sends logs through it. There is a shim for each container, started while somebody waits, and hardly one of
//! them speaks TLS: linked in, it would cost all of them relocations at their start and pages for as long as they stand.
//! So it is a program of its own, started for each connection and gone with it.
//!
//! Descriptor 0 is a stream socket. The first byte that comes out of it is a `+`: the connection is up. What follows are
//! the server's bytes; what is written into it goes to the server. Its end is the end of the connection, from either side.
//! Why a connection failed is on descriptor 2 before descriptor 0 ends, in the words that Go has for it; nothing is there
//! when the server has closed it in order. When the starter is gone, what it wrote is still sent, for ten seconds at most.
//!
//! This contract is kept between versions: an older shim may find a newer program at its path.
//!
//! *Limits*: the certificates are read when the program starts. It holds 32 KiB of what is on the way, each direction.

mod carry;
mod session;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use linux::credentials;
use trust::words;

use crate::session::Trust;

const USAGE: &str = "wharf-tls ADDRESS NAME [--ca FILE] [--cert FILE] [--key FILE] [--skip-verify]";

/// For the connection, and once more for the handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whom to talk to, and whom to believe.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    address: SocketAddr,
    /// What the server's certificate must be made out to.
    name: String,
    trust: Trust,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let local = linux::fd::take_inherited(0).map(UnixStream::from);
    let (Ok(told), Ok(local)) = (Told::parse(words), local) else {
        complain(&format!("usage, with a socket on descriptor 0: {USAGE}"));
        return ExitCode::from(2);
    };
    // The complaint comes first: whoever reads the end looks for it then.
    let Ok(_held) = local.try_clone() else { return ExitCode::FAILURE };
    match serve(&told, local) {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            complain(&words);
            ExitCode::FAILURE
        }
    }
}

/// Nobody may be listening any more.
fn complain(words: &str) {
    let _ = std::io::stderr().write_all(words.as_bytes());
}

fn serve(told: &Told, local: UnixStream) -> Result<(), String> {
    let session = told.trust.session(&told.name)?;
    let remote = TcpStream::connect_timeout(&told.address, PATIENCE)
        .map_err(|error| format!("dial tcp {}: connect: {}", told.address, words::of_io(&error)))?;
    disarm().map_err(|error| format!("cannot give privileges up: {error}"))?;
    carry::carry(local, remote, session)
}

/// What a server sends is read without privileges: all files are open by now.
fn disarm() -> linux::Result<()> {
    credentials::set_no_new_privs()?;
    let none = credentials::Set::default();
    credentials::set(none, none, none)
}

impl Told {
    fn parse(words: impl IntoIterator<Item = String>) -> Result<Told, &'static str> {
        let mut words = words.into_iter();
        let address = words.next().and_then(|word| word.parse().ok()).ok_or(USAGE)?;
        let name = words.next().ok_or(USAGE)?;
        let mut trust = Trust { verify: true, ..Trust::default() };
        while let Some(word) = words.next() {
            let slot = match word.as_str() {
                "--skip-verify" => {
                    trust.verify = false;
                    continue;
                }
                "--ca" => &mut trust.authority,
                "--cert" => &mut trust.certificate,
                "--key" => &mut trust.key,
                _ => return Err(USAGE),
            };
            *slot = Some(PathBuf::from(words.next().ok_or(USAGE)?));
        }
        Ok(Told { address, name, trust })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Told, &'static str> {
        Told::parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_command_line_is_the_whole_configuration() {
        let told = parse("[::1]:6514 logs.example --ca /ca --cert /c --key /k").unwrap();
        assert_eq!((told.address, told.name.as_str()), ("[::1]:6514".parse().unwrap(), "logs.example"));
        assert_eq!(told.trust.authority, Some("/ca".into()));
        assert_eq!((told.trust.certificate, told.trust.key), (Some("/c".into()), Some("/k".into())));
        assert!(told.trust.verify && !parse("1.2.3.4:5 n --skip-verify").unwrap().trust.verify);
        for wrong in ["", "1.2.3.4:5", "host:5 n", "1.2.3.4:5 n --ca", "1.2.3.4:5 n --other"] {
            assert_eq!(parse(wrong), Err(USAGE), "{wrong}");
        }
    }
}
