//! An engine on a Unix socket of its own, whose answers are a function of the test, and the program
//! under test with a home of its own.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without the version in front.
    pub(crate) target: String,
    pub(crate) version: String,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

pub(crate) enum Reply {
    Json(u16, String),
    /// Raw bytes, after which the connection closes.
    Raw(Vec<u8>),
    /// The connection is handed over.
    Stream(Box<dyn FnOnce(UnixStream) + Send>),
}

pub(crate) fn json(body: &str) -> Reply {
    Reply::Json(200, body.to_owned())
}

pub(crate) fn refuse(status: u16, message: &str) -> Reply {
    Reply::Json(status, serde_json::json!({ "message": message }).to_string())
}

pub(crate) type Answers = dyn Fn(&Request) -> Reply + Send + Sync;

pub(crate) struct Engine {
    pub(crate) home: PathBuf,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

impl Engine {
    pub(crate) fn start(answers: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Engine {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let home = std::env::temp_dir().join(format!("wharf-cli-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&home).expect("a home");
        let listener = UnixListener::bind(home.join("sock")).expect("a socket");
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (noted, answers): (_, Arc<Answers>) = (seen.clone(), Arc::new(answers));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), noted, answers) = (stream, noted.clone(), answers.clone()) else { return };
                std::thread::spawn(move || serve(stream, &noted, &*answers));
            }
        });
        Engine { home, seen }
    }

    /// What was asked, without the pings.
    pub(crate) fn seen(&self) -> Vec<Request> {
        let seen = self.seen.lock().expect("the notes").clone();
        seen.into_iter().filter(|request| request.target != "/_ping").collect()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Request::line).collect()
    }

    pub(crate) fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command
            .args(line)
            .env_clear()
            .env("HOME", &self.home)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("TZ", "UTC")
            .env("DOCKER_HOST", format!("unix://{}", self.home.join("sock").display()))
            .current_dir(&self.home)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, line: &[&str]) -> Output {
        self.command(line).output().expect("the program runs")
    }

    pub(crate) fn run_with_input(&self, line: &[&str], input: &[u8]) -> Output {
        let mut child = self.spawn(line);
        child.stdin.take().expect("a pipe").write_all(input).expect("input is taken");
        child.wait_with_output().expect("the program ends")
    }

    pub(crate) fn spawn(&self, line: &[&str]) -> Child {
        self.command(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs")
    }
}

/// What a command did, as one text.
pub(crate) fn told(output: &Output) -> String {
    let mut text = format!("exit code {}\n", output.status.code().unwrap_or(-1));
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        if !bytes.is_empty() {
            text.push_str(&format!("--- {name}\n{}", String::from_utf8_lossy(bytes)));
        }
    }
    text
}

fn serve(mut stream: UnixStream, seen: &Mutex<Vec<Request>>, answers: &Answers) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer) {
        let ping = request.target == "/_ping";
        seen.lock().expect("the notes").push(request.clone());
        let answer = answers(&request);
        match answer {
            Reply::Json(status, _) if ping => {
                let _ =
                    write!(stream, "HTTP/1.1 {status} OK\r\nApi-Version: 1.51\r\nContent-Length: 0\r\n\r\n");
            }
            Reply::Json(status, body) => {
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let body = if request.method == "HEAD" || status == 204 { String::new() } else { body };
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
            Reply::Raw(bytes) => {
                let _ = stream.write_all(&bytes);
                return;
            }
            Reply::Stream(act) => return act(stream),
        }
    }
}

fn read_request(stream: &mut UnixStream, buffer: &mut Vec<u8>) -> Option<Request> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, buffer)?;
    };
    let head = String::from_utf8(buffer.drain(..end).collect()).ok()?;
    let mut words = head.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let header = |name: &str| {
        head.lines().find_map(|line| {
            line.split_once(": ")
                .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_owned())
        })
    };
    let mut body = Vec::new();
    if let Some(length) = header("content-length").and_then(|length| length.parse::<usize>().ok()) {
        while buffer.len() < length {
            more(stream, buffer)?;
        }
        body = buffer.drain(..length).collect();
    } else if header("transfer-encoding").is_some() {
        loop {
            let end = loop {
                if let Some(at) = buffer.windows(2).position(|window| window == b"\r\n") {
                    break at;
                }
                more(stream, buffer)?;
            };
            let size: Vec<u8> = buffer.drain(..end + 2).collect();
            let size = usize::from_str_radix(std::str::from_utf8(&size).ok()?.trim(), 16).ok()?;
            while buffer.len() < size + 2 {
                more(stream, buffer)?;
            }
            body.extend(buffer.drain(..size));
            buffer.drain(..2);
            if size == 0 {
                break;
            }
        }
    }
    let (version, target) = match target.strip_prefix("/v").and_then(|rest| rest.split_once('/')) {
        Some((version, rest)) if version.contains('.') => (version.to_owned(), format!("/{rest}")),
        _ => (String::new(), target),
    };
    Some(Request { method, target, version, head, body })
}

fn more(stream: &mut UnixStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0u8; 8192];
    let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
    buffer.extend_from_slice(&piece[..count]);
    Some(())
}
