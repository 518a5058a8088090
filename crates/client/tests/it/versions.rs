//! The API version: presumed, corrected by an engine that is older, asked for where a request can't be sent twice.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use client::{Client, Error, Host, Options, Query};

/// An engine that speaks up to 1.43, and tells at its end what it was asked, one line each.
struct Old {
    socket: PathBuf,
    engine: JoinHandle<Vec<String>>,
}

impl Old {
    /// Serves so many connections, one after the other.
    fn start(name: &str, connections: usize) -> Old {
        let socket = std::env::temp_dir().join(format!("wharf-version-{name}-{}", std::process::id()));
        let listener = UnixListener::bind(&socket).unwrap();
        let engine = thread::spawn(move || {
            let mut asked = Vec::new();
            for _ in 0..connections {
                let (mut connection, _) = listener.accept().unwrap();
                serve(&mut connection, &mut asked);
            }
            asked
        });
        Old { socket, engine }
    }

    fn client(&self) -> Client {
        let host = Host::parse(&format!("unix://{}", self.socket.display()), false).unwrap();
        let user_agent = "test".to_owned();
        Client::new(Options { host, tls: None, version: None, headers: Vec::new(), user_agent }).unwrap()
    }

    fn asked(self) -> Vec<String> {
        let _ = std::fs::remove_file(&self.socket);
        self.engine.join().unwrap()
    }
}

fn serve(connection: &mut UnixStream, asked: &mut Vec<String>) {
    while let Some(line) = request(connection) {
        let (status, body) = if line.contains("/v1.43/") || line.contains("/_ping") {
            ("200 OK", "{}")
        } else {
            let refusal =
                r#"{"message":"client version 1.51 is too new. Maximum supported API version is 1.43"}"#;
            ("400 Bad Request", refusal)
        };
        let body = if line.starts_with("HEAD") { "" } else { body };
        asked.push(line);
        let head = format!(
            "HTTP/1.1 {status}\r\nApi-Version: 1.43\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if connection.write_all((head + body).as_bytes()).is_err() {
            return;
        }
    }
}

/// The first line of a request without its protocol; bodies are read and forgotten.
fn request(connection: &mut UnixStream) -> Option<String> {
    let mut reader = BufReader::with_capacity(1, connection);
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    std::io::Read::read_exact(&mut reader, &mut vec![0; length]).ok()?;
    Some(first.trim().trim_end_matches(" HTTP/1.1").to_owned())
}

#[test]
fn an_older_engine_is_spoken_to_in_its_own_version() {
    let old = Old::start("old", 1);
    let client = old.client();
    client.call_with("POST", "/things", &Query::default(), &[], Some(&1)).unwrap();
    client.call("GET", "/things", &Query::default()).unwrap();
    drop(client);
    assert_eq!(old.asked(), ["POST /v1.51/things", "POST /v1.43/things", "GET /v1.43/things"]);
}

#[test]
fn what_can_be_sent_but_once_is_preceded_by_a_question() {
    let old = Old::start("once", 2);
    let client = old.client();
    client.upload("PUT", "/things", &Query::default(), &mut std::io::empty()).unwrap();
    drop(client);
    let asked = old.asked();
    assert_eq!(asked[..2], ["HEAD /_ping", "PUT /v1.43/things"]);
}

#[test]
fn a_fixed_version_is_not_changed() {
    let old = Old::start("fixed", 1);
    let host = Host::parse(&format!("unix://{}", old.socket.display()), false).unwrap();
    let options = Options {
        host,
        tls: None,
        version: Some("1.50".into()),
        headers: Vec::new(),
        user_agent: "test".into(),
    };
    let client = Client::new(options).unwrap();
    let error = client.call("GET", "/things", &Query::default()).unwrap_err();
    assert!(matches!(error, Error::Api { status: 400, .. }), "{error}");
    drop(client);
    assert_eq!(old.asked(), ["GET /v1.50/things"]);
}
