//! Bytes between the terminal and a container.
//!
//! ```text
//!   stdin ──▶ [detach keys] ──▶ socket          a thread of its own; end of input closes this half
//!   stdout, stderr ◀── [frames] ◀── socket      the calling thread; its end is the end of all
//! ```
//!
//! The keys that detach are found here, before they reach the container: the thread hangs up, which
//! wakes the reader.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use api::stream::{Decoder, Stream};
use client::{Hijacked, Writer};

use crate::failure::Failure;
use crate::terminal::{self, Raw};

/// Of one read, at most.
const BUFFER: usize = 32 * 1024;
/// Most that is carried is short, and memory that nothing is read into costs time, too.
const FIRST_READ: usize = 4 * 1024;

/// How an attachment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The other side closed: the process has ended, or closed its output. With its exit code if that was told.
    Closed(Option<i32>),
    /// The user typed the keys.
    Detached,
}

/// What to connect.
pub(crate) struct Plan {
    pub(crate) tty: bool,
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    /// The sequence that detaches; it works only at a terminal.
    pub(crate) detach_keys: Vec<u8>,
}

/// Carries bytes until the end. The terminal is raw meanwhile, if the container has one.
pub(crate) fn carry(hijacked: Hijacked, plan: &Plan) -> Result<End, Failure> {
    let raw = match plan.tty && plan.stdin && terminal::stdin_is_terminal() {
        true => Some(Raw::enter()?),
        false => None,
    };
    let Hijacked { mut reader, writer, .. } = hijacked;
    let detached = Arc::new(AtomicBool::new(false));
    let mut idle_writer = None;
    if plan.stdin {
        let keys = if plan.tty { plan.detach_keys.clone() } else { Vec::new() };
        let told = detached.clone();
        thread::Builder::new().name("stdin".to_owned()).spawn(move || feed(writer, keys, &told))?;
    } else {
        // Kept open: hanging up would take the output with it on some transports.
        idle_writer = Some(writer);
    }
    let result = match plan.tty {
        true => pass(&mut reader, plan).map(|()| None),
        false => demultiplex(&mut reader, plan.stdout, plan.stderr),
    };
    drop(idle_writer);
    drop(raw);
    if detached.load(Ordering::Acquire) {
        return Ok(End::Detached);
    }
    Ok(End::Closed(result?))
}

/// Standard input to the container, until it ends or the keys are typed.
fn feed(mut writer: Writer, keys: Vec<u8>, detached: &AtomicBool) {
    let mut input = io::stdin().lock();
    let mut keys = Keys::new(keys);
    let mut buffer = vec![0u8; BUFFER];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A closed terminal reads as an error; for the container both are the end of input.
            Err(_) => break,
        };
        let (bytes, leave) = keys.filter(&buffer[..count]);
        // The container may have closed its input; it still may speak, so that is not the end.
        if writer.write_all(&bytes).and_then(|()| writer.flush()).is_err() {
            return;
        }
        if leave {
            detached.store(true, Ordering::Release);
            let _ = writer.hang_up();
            return;
        }
    }
    let _ = writer.finish();
}

/// Raw bytes of a terminal to standard output.
fn pass(reader: &mut dyn Read, plan: &Plan) -> Result<(), Failure> {
    if !plan.stdout && !plan.stderr {
        io::copy(reader, &mut io::sink())?;
        return Ok(());
    }
    let mut output = io::stdout();
    let mut window = Window::new();
    loop {
        let bytes = window.read(reader)?;
        if bytes.is_empty() {
            return Ok(());
        }
        output.write_all(bytes)?;
        output.flush()?;
    }
}

/// Frames to standard output and standard error. Gives the exit code if one is told behind them.
pub(crate) fn demultiplex(reader: &mut dyn Read, stdout: bool, stderr: bool) -> Result<Option<i32>, Failure> {
    let mut decoder = Decoder::default();
    let mut window = Window::new();
    let (mut failure, mut exit) = (Vec::new(), Vec::new());
    let (mut out, mut err) = (io::stdout(), io::stderr());
    loop {
        let mut input = window.read(reader)?;
        if input.is_empty() {
            break;
        }
        while let Some((stream, bytes)) =
            decoder.next(&mut input).map_err(|error| Failure::new(error.to_string()))?
        {
            match stream {
                Stream::Stdin | Stream::Stdout if stdout => out.write_all(bytes)?,
                Stream::Stderr if stderr => err.write_all(bytes)?,
                Stream::SystemError => failure.extend_from_slice(bytes),
                Stream::Exit => exit.extend_from_slice(bytes),
                _ => {}
            }
        }
        // Prompts have no line end, and are wanted at once.
        out.flush()?;
        if let Ok(code) = exit.as_slice().try_into() {
            // The last frame: nothing comes but the end.
            return Ok(Some(i32::from_be_bytes(code)));
        }
    }
    if failure.is_empty() {
        return Ok(None);
    }
    Err(Failure::new(format!("error from daemon in stream: {}", String::from_utf8_lossy(&failure))))
}

/// What one read brought; the room grows once a read has filled it.
struct Window {
    buffer: Vec<u8>,
    filled: bool,
}

impl Window {
    fn new() -> Window {
        Window { buffer: vec![0; FIRST_READ], filled: false }
    }

    /// Nothing at the end. A connection that was torn down has ended.
    fn read(&mut self, reader: &mut dyn Read) -> Result<&[u8], Failure> {
        if self.filled {
            self.buffer.resize((self.buffer.len() * 2).min(BUFFER), 0);
        }
        loop {
            match reader.read(&mut self.buffer) {
                Ok(count) => {
                    self.filled = count == self.buffer.len();
                    return Ok(&self.buffer[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(&[]),
                Err(error) => return Err(Failure::new(format!("reading from the container: {error}"))),
            }
        }
    }
}

/// Finds the detach sequence in what is typed, and holds back what may become it.
struct Keys {
    sequence: Vec<u8>,
    matched: usize,
}

impl Keys {
    fn new(sequence: Vec<u8>) -> Keys {
        Keys { sequence, matched: 0 }
    }

    /// The bytes to pass on, and whether the sequence was completed.
    fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        if self.sequence.is_empty() {
            return (typed.to_vec(), false);
        }
        let mut passed = Vec::with_capacity(typed.len());
        for byte in typed {
            if *byte != self.sequence[self.matched] {
                passed.extend_from_slice(&self.sequence[..self.matched]);
                self.matched = 0;
            }
            if *byte == self.sequence[self.matched] {
                self.matched += 1;
                if self.matched == self.sequence.len() {
                    return (passed, true);
                }
            } else {
                passed.push(*byte);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_found_across_reads() {
        let mut keys = Keys::new(vec![16, 17]);
        assert_eq!(keys.filter(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(keys.filter(b"c"), (b"\x10c".to_vec(), false));
        assert_eq!(keys.filter(b"x\x10\x10\x11rest"), (b"x\x10".to_vec(), true));
    }

    #[test]
    fn without_a_sequence_all_passes() {
        assert_eq!(Keys::new(Vec::new()).filter(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }

    #[test]
    fn an_exit_code_ends_a_stream() {
        let mut bytes = Stream::Exit.header(4).to_vec();
        bytes.extend([0, 0, 0, 137]);
        for length in 0..=bytes.len() {
            let told = demultiplex(&mut &bytes[..length], true, true).unwrap();
            assert_eq!(told, (length == bytes.len()).then_some(137));
        }
    }

    #[test]
    fn a_failure_within_the_stream_is_told() {
        let mut bytes = Stream::Stdout.header(0).to_vec();
        bytes.extend(Stream::SystemError.header(4));
        bytes.extend(b"oops");
        let failure = demultiplex(&mut bytes.as_slice(), true, true).unwrap_err();
        assert_eq!(failure.message, "error from daemon in stream: oops");
    }
}
