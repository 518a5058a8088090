//! Running a client and looking at what it did.

use std::fmt;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Long enough for an emulated machine, short enough that a hanging test ends.
const LIMIT: Duration = Duration::from_secs(180);

/// What a finished program left.
#[derive(Debug, Clone)]
pub struct Output {
    pub command: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Fails the test unless the exit code was 0; gives the standard output without its last newline.
    #[track_caller]
    pub fn ok(self) -> String {
        self.code(0).stdout.trim_end_matches('\n').to_owned()
    }

    /// Fails the test unless the exit code is this one.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "unexpected exit code\n{self}");
        self
    }

    /// Fails the test unless standard error has this text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "standard error lacks {text:?}\n{self}");
        self
    }

    /// Fails the test unless standard output has this text.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "standard output lacks {text:?}\n{self}");
        self
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}\nexit code: {}", self.command, self.code)?;
        writeln!(f, "--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr)
    }
}

/// A client that runs while the test does other things. Ended when dropped.
#[derive(Debug)]
pub struct Session {
    command: String,
    child: Option<Child>,
}

impl Session {
    /// Starts a program with all three streams piped.
    pub fn start(mut command: Command) -> Self {
        let shown = show(&command);
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
        Session { command: shown, child: Some(child) }
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the session is not finished").id()
    }

    /// Whether the program has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Writes to the program's standard input.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let stdin =
            self.child.as_mut().and_then(|child| child.stdin.as_mut()).expect("standard input is open");
        stdin.write_all(bytes.as_ref()).expect("the program reads its standard input");
        stdin.flush().expect("a pipe has nothing to flush");
        self
    }

    /// Takes the program's standard input, to be written elsewhere and closed there.
    pub fn take_input(&mut self) -> std::process::ChildStdin {
        self.child.as_mut().and_then(|child| child.stdin.take()).expect("standard input is open")
    }

    /// Ends the program's standard input.
    pub fn end_input(&mut self) -> &mut Self {
        self.child.as_mut().expect("the session is not finished").stdin.take();
        self
    }

    /// Reads standard output until it has this text; gives all that was read. The test fails when it does not come.
    pub fn read_until(&mut self, text: &str) -> String {
        use std::io::Read;
        let watchdog = Watchdog::over(self.pid());
        let stdout =
            self.child.as_mut().and_then(|child| child.stdout.as_mut()).expect("standard output is open");
        let mut read = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&read).contains(text) {
            match stdout.read(&mut byte) {
                Ok(1) => read.push(byte[0]),
                end => panic!(
                    "{}: {end:?} before {text:?} came: {}",
                    self.command,
                    String::from_utf8_lossy(&read)
                ),
            }
        }
        watchdog.call_off();
        String::from_utf8_lossy(&read).into_owned()
    }

    /// Sends a signal by name, as `kill` does.
    pub fn signal(&mut self, name: &str) -> &mut Self {
        let status =
            Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().expect("kill runs");
        assert!(status.success(), "no process to send {name} to");
        self
    }

    /// Waits for the end; the test fails when it does not come.
    pub fn finish(mut self) -> Output {
        let mut child = self.child.take().expect("a session is finished once");
        drop(child.stdin.take());
        let pid = child.id();
        let watchdog = Watchdog::over(pid);
        let output = child.wait_with_output().expect("a child can be waited for");
        let expired = watchdog.call_off();
        let output = Output {
            command: self.command.clone(),
            code: code(&output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        assert!(!expired, "did not end within {LIMIT:?}\n{output}");
        output
    }
}

/// Kills a program that takes too long: whoever waits for it goes on.
struct Watchdog {
    done: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<bool>,
}

impl Watchdog {
    fn over(pid: u32) -> Watchdog {
        let (done, timeout) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let expired = timeout.recv_timeout(LIMIT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
            if expired {
                // With all that it has started, if it is a group: who waits for the end of its output waits for theirs.
                for whom in [format!("-{pid}"), pid.to_string()] {
                    let _ = Command::new("kill").args(["-KILL", "--", &whom]).stderr(Stdio::null()).status();
                }
            }
            expired
        });
        Watchdog { done, thread }
    }

    /// Whether it had to bite.
    fn call_off(self) -> bool {
        drop(self.done);
        self.thread.join().expect("the watchdog does not panic")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// As a shell has it: 128 and the signal's number for a program that a signal ended.
fn code(status: &std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

fn show(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Asks again until the answer is there; the test fails when it does not come.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
