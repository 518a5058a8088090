//! A shell that stands ready and is sent one line at a time.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Printed by the shell after each line, with the exit code.
const MARK: &str = "@@@@ end of the line";

#[derive(Debug)]
pub(crate) struct Shell {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What became of one line.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) took: Duration,
    pub(crate) code: i32,
    pub(crate) output: String,
}

impl Answer {
    /// A benchmark of something that fails measures nothing.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.output);
        self
    }
}

impl Shell {
    /// Starts `sh` behind a command.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let input = process.stdin.take().expect("was asked for");
        let output = BufReader::new(process.stdout.take().expect("was asked for"));
        Shell { process, input, output }
    }

    /// Runs a line and waits for it.
    pub(crate) fn run(&mut self, line: &str) -> Answer {
        let line = format!("{{ {line}\n}} </dev/null 2>&1; echo {MARK} $?\n");
        let start = Instant::now();
        self.input.write_all(line.as_bytes()).expect("the shell lives");
        let mut output = String::new();
        loop {
            let begin = output.len();
            let read = self.output.read_line(&mut output).expect("the shell prints text");
            assert!(read > 0, "the shell has ended: {output}");
            if let Some(at) = output[begin..].find(MARK) {
                let took = start.elapsed();
                let code =
                    output[begin + at + MARK.len()..].trim().parse().expect("an exit code follows the mark");
                output.truncate(begin + at);
                return Answer { took, code, output };
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
