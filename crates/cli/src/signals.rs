//! Signals that come to this program.
//!
//! SIGINT and SIGTERM make it exit with 130 and 143. It does not die of them, so that a shell whose script called it goes on
//! with the next line. While it is joined to a container more is due:
//!
//! | | `Forward` | `Withstand` | `Leave` |
//! |---|---|---|---|
//! | SIGINT, SIGTERM | sent on, but the third ends us | nothing, but the third ends us | end us |
//! | others | sent on | their usual effect | their usual effect |
//!
//! Whichever of them ends us, a terminal that is raw is put back before. Where there is one, SIGWINCH makes the
//! container's as large as ours.
//!
//! They come to a thread that waits for nothing else: whoever insists gets away from an engine that does not answer, too.
//! What is sent on has a thread and a client of its own, because the first one's connections are busy.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use client::Client;
use signal_hook::consts::signal::{self, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::failure::Failure;
use crate::terminal;

/// So often somebody insists that we end.
const PATIENCE: u32 = 3;

/// Signals that no one can catch, that the kernel raises for a fault of ours, or that are about
/// this program alone.
const OWN_SIGNALS: [i32; 9] = [
    signal::SIGKILL,
    signal::SIGSTOP,
    signal::SIGILL,
    signal::SIGFPE,
    signal::SIGSEGV,
    signal::SIGCHLD,
    signal::SIGPIPE,
    signal::SIGURG,
    signal::SIGBUS,
];

/// Whether a signal makes us exit at once: until somebody else has to do with it.
static AT_ONCE: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on SIGINT and SIGTERM end this program as an exit does. That takes no thread.
pub(crate) fn exit_orderly() -> Result<(), Failure> {
    let at_once = AT_ONCE.get_or_init(|| Arc::new(AtomicBool::new(true)));
    for number in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(number, 128 + number, at_once.clone())?;
    }
    Ok(())
}

fn set_at_once(on: bool) {
    if let Some(at_once) = AT_ONCE.get() {
        at_once.store(on, Ordering::Relaxed);
    }
}

/// Asks somebody something. Meanwhile SIGINT and SIGTERM are a no: there is nothing left to do, and a line to end.
pub(crate) fn or_no<T>(ask: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let handle = signals.handle();
    set_at_once(false);
    thread::Builder::new().name("no".to_owned()).spawn(move || {
        if signals.forever().next().is_some() {
            let _ = writeln!(std::io::stdout());
            std::process::exit(0);
        }
    })?;
    let answer = ask();
    set_at_once(true);
    handle.close();
    answer
}

/// What becomes of signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    Forward,
    Withstand,
    Leave,
}

/// Whom signals are sent to, and whose terminal is kept as large as ours.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Container(String),
    Exec(String),
}

/// Signals that are caught. Until they are heeded, they wait.
pub(crate) struct Caught {
    signals: Signals,
    duty: Duty,
    tty: bool,
}

impl Caught {
    /// Catches signals from now on; `tty` says whether the container's process has a terminal. There is nothing to catch
    /// where all have their usual effect.
    pub(crate) fn begin(duty: Duty, tty: bool) -> Result<Option<Caught>, Failure> {
        let tty = tty && (terminal::stdin_is_terminal() || terminal::stdout_is_terminal());
        let numbers: Vec<i32> = (1..=64).filter(|number| is_caught(*number, duty, tty)).collect();
        if numbers.is_empty() {
            return Ok(None);
        }
        let signals = Signals::new(numbers)?;
        set_at_once(false);
        Ok(Some(Caught { signals, duty, tty }))
    }

    /// Does with signals what is due, from now on.
    pub(crate) fn heed(mut self, client: Client, target: Target) -> Result<(), Failure> {
        let queue = Queue::new(client, target);
        thread::Builder::new().name("signals".to_owned()).spawn(move || self.listen(queue))?;
        Ok(())
    }

    fn listen(&mut self, mut queue: Queue) {
        if self.tty {
            queue.send(Message::FirstSize);
        }
        let mut insisted = 0;
        for number in self.signals.forever() {
            match number {
                SIGWINCH if self.tty => queue.send(Message::Size),
                SIGINT | SIGTERM if self.duty != Duty::Leave => {
                    insisted += 1;
                    if insisted == PATIENCE {
                        leave(1, &format!("\ngot {PATIENCE} SIGTERM/SIGINTs, forcefully exiting\n"));
                    }
                    if self.duty == Duty::Forward {
                        queue.send(Message::Signal(number));
                    }
                }
                _ if self.duty == Duty::Forward => queue.send(Message::Signal(number)),
                _ => leave(128 + number, ""),
            }
        }
    }
}

/// Ends this program in the midst of whatever it does.
fn leave(code: i32, words: &str) -> ! {
    terminal::restore();
    eprint!("{words}");
    std::process::exit(code)
}

/// What the engine is told.
enum Message {
    /// The size of a terminal that may not be there yet.
    FirstSize,
    Size,
    Signal(i32),
}

/// Messages on their way to the engine, one after the other, in a thread that begins with the first: most clients have none.
struct Queue {
    sender: Sender<Message>,
    worker: Option<Worker>,
}

impl Queue {
    fn new(client: Client, target: Target) -> Queue {
        let (sender, messages) = mpsc::channel();
        Queue { sender, worker: Some(Worker { client, target, messages }) }
    }

    fn send(&mut self, message: Message) {
        let _ = self.sender.send(message);
        if let Some(worker) = self.worker.take() {
            // Without it nothing is sent; whoever insists still gets away.
            let _ = thread::Builder::new().name("messages".to_owned()).spawn(move || worker.run());
        }
    }
}

struct Worker {
    client: Client,
    target: Target,
    messages: Receiver<Message>,
}

impl Worker {
    fn run(self) {
        for message in &self.messages {
            match message {
                Message::FirstSize => self.first_size(),
                Message::Size => drop(self.size()),
                // A container that has ended cannot be signalled; the wait tells of its end.
                Message::Signal(number) => drop(self.signal(number)),
            }
        }
    }

    fn signal(&self, number: i32) -> client::Result<()> {
        match &self.target {
            Target::Container(id) => self.client.kill_container(id, &number.to_string()),
            Target::Exec(_) => Ok(()),
        }
    }

    fn size(&self) -> client::Result<()> {
        match (terminal::size(), &self.target) {
            (Some((rows, columns)), Target::Container(id)) => self.client.resize_container(id, rows, columns),
            (Some((rows, columns)), Target::Exec(id)) => self.client.resize_exec(id, rows, columns),
            (None, _) => Ok(()),
        }
    }

    /// The process may not be there yet when its terminal is to be sized, so a few attempts are made.
    fn first_size(&self) {
        const ATTEMPTS: u32 = 10;
        for attempt in 1..=ATTEMPTS {
            if self.size().is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(10) * attempt);
        }
    }
}

/// Whether a signal has another effect than its usual one.
fn is_caught(number: i32, duty: Duty, tty: bool) -> bool {
    // 32 and 33 belong to the C library.
    let everybodys = !OWN_SIGNALS.contains(&number) && !matches!(number, 32 | 33);
    match (duty, number) {
        (Duty::Forward, _) => everybodys,
        (Duty::Withstand, SIGINT | SIGTERM) => true,
        (_, SIGINT | SIGTERM | SIGHUP | SIGQUIT | SIGWINCH) => tty,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duty_takes_the_signals_that_it_is_about() {
        let taken = |duty, tty| (1..=64).filter(|number| is_caught(*number, duty, tty)).collect::<Vec<_>>();
        let all = taken(Duty::Forward, false);
        assert_eq!(all.len(), 64 - 9 - 2);
        assert!(!all.iter().any(|number| [signal::SIGKILL, signal::SIGCHLD, 32].contains(number)));
        assert_eq!(taken(Duty::Withstand, false), [SIGINT, SIGTERM]);
        assert_eq!(taken(Duty::Leave, false), [0; 0]);
        let at_a_terminal = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH];
        assert_eq!(taken(Duty::Withstand, true), at_a_terminal);
        assert_eq!(taken(Duty::Leave, true), at_a_terminal);
    }
}
