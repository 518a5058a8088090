//! `system dial-stdio`: carries standard input and output to the engine's socket. It is what a
//! client on another host runs over ssh.

use std::io;
use std::thread;

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed};
use crate::session::Session;
use crate::tree::Spec;

pub(crate) const SPEC: Spec = Spec::new(
    &["system dial-stdio"],
    &[""],
    "Carry standard input and output to the engine's socket",
    Count::None,
    Vec::new,
    run,
)
.hidden();

fn run(session: &Session, _parsed: &Parsed) -> Outcome {
    let (mut reader, mut writer) = session.client()?.dial()?;
    thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut writer);
        let _ = writer.finish();
    })?;
    let mut out = io::stdout();
    let mut buffer = vec![0u8; 32 * 1024];
    loop {
        let count = io::Read::read(&mut reader, &mut buffer)
            .map_err(|error| Failure::new(format!("reading from the engine: {error}")))?;
        if count == 0 {
            return Ok(0);
        }
        // The other side waits for each answer, so nothing may stay in a buffer.
        io::Write::write_all(&mut out, &buffer[..count])?;
        io::Write::flush(&mut out)?;
    }
}
