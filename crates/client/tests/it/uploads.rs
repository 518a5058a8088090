//! What is sent piece by piece.

use std::io::{self, Read};
use std::os::unix::net::UnixListener;
use std::thread;

use client::{Client, Host, Options, Query};

/// Begins well.
struct Broken(u8);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.checked_sub(1) {
            Some(left) => self.0 = left,
            None => return Err(io::Error::other("read x: it is broken")),
        }
        buffer[0] = b'x';
        Ok(1)
    }
}

#[test]
fn nobody_waits_for_an_answer_to_half_a_request() {
    let place = scratch::Directory::new("uploads");
    let socket = place.join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    // An engine that answers when it has read all of a request.
    let engine = thread::spawn(move || {
        let mut request = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut request).unwrap();
        String::from_utf8(request).unwrap()
    });
    let host = Host::parse(&format!("unix://{}", socket.display()), false).unwrap();
    let version = Some("1.51".to_owned());
    let user_agent = "test".to_owned();
    let client = Client::new(Options { host, tls: None, version, headers: Vec::new(), user_agent }).unwrap();
    let Err(error) = client.upload("POST", "/images/load", &Query::new(), &mut Broken(1)) else {
        panic!("it was sent")
    };
    assert!(error.to_string().ends_with("/v1.51/images/load\": read x: it is broken"), "{error}");
    assert!(engine.join().unwrap().ends_with("\r\n\r\n1\r\nx\r\n"));
}
