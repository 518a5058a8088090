//! As much of systemd as a scope needs: it makes the cgroup in the trees that it knows, moves the process that it is
//! told of there, and remembers the properties. Everything else on the machine stays unaware of it: the runtime sees its
//! socket in a mount namespace of its own.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use linux::cgroup::Layout;
use serde_json::{Value, json};

/// The controllers that systemd manages on v1, and the tree that it counts processes by.
const KNOWN: [&str; 7] = ["name=systemd", "cpu", "cpuacct", "blkio", "memory", "devices", "pids"];

pub(crate) struct Fake {
    directory: PathBuf,
    unit: Arc<Mutex<Unit>>,
    layout: Layout,
}

#[derive(Default)]
struct Unit {
    properties: BTreeMap<String, Value>,
    /// Below every tree; while there is a unit.
    path: Option<PathBuf>,
    slices: Vec<PathBuf>,
}

impl Fake {
    pub(crate) fn start(directory: PathBuf, layout: Layout) -> Fake {
        std::fs::create_dir_all(&directory).unwrap();
        let listener = UnixListener::bind(directory.join("private")).unwrap();
        let unit = Arc::new(Mutex::new(Unit::default()));
        let (served, trees) = (Arc::clone(&unit), layout.clone());
        // Ends with the tests' process: nobody connects any more when the test is over.
        std::thread::spawn(move || {
            for caller in listener.incoming() {
                serve(caller.unwrap(), &trees, &served);
            }
        });
        Fake { directory, unit, layout }
    }

    /// The same command where this is the machine's systemd.
    pub(crate) fn seen_by(&self, command: &Command) -> Command {
        let script = "mount -t tmpfs none /run && mkdir /run/systemd && mount --bind \"$0\" /run/systemd && exec \"$@\"";
        let mut inside = Command::new("unshare");
        inside.args(["--mount", "sh", "-c", script]).arg(&self.directory);
        inside.arg(command.get_program()).args(command.get_args());
        if let Some(directory) = command.get_current_dir() {
            inside.current_dir(directory);
        }
        inside.stdin(std::process::Stdio::null());
        inside
    }

    /// All that was told of the unit so far.
    pub(crate) fn properties(&self) -> Value {
        json!(self.unit.lock().unwrap().properties)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let unit = self.unit.lock().unwrap();
        for slice in &unit.slices {
            for tree in trees(&self.layout, &[]) {
                let _never_made = std::fs::remove_dir(tree.join(slice));
            }
        }
    }
}

/// Where trees are mounted: those with one of these controllers and v2; or all.
fn trees(layout: &Layout, only: &[&str]) -> Vec<PathBuf> {
    let known = |tree: &&linux::cgroup::Tree| {
        only.is_empty() || tree.controllers.iter().any(|name| only.contains(&name.as_str()))
    };
    layout
        .legacy
        .iter()
        .filter(known)
        .map(|tree| tree.mounted.clone())
        .chain(layout.unified.clone())
        .collect()
}

fn serve(mut caller: UnixStream, layout: &Layout, unit: &Mutex<Unit>) {
    let mut greeting = Vec::new();
    while !greeting.ends_with(b"BEGIN\r\n") {
        let mut byte = [0];
        if caller.read_exact(&mut byte).is_err() {
            return;
        }
        greeting.push(byte[0]);
    }
    caller.write_all(b"OK 0123456789abcdef0123456789abcdef\r\n").unwrap();
    while let Some((serial, member, arguments)) = receive(&mut caller) {
        let answer = unit.lock().unwrap().perform(layout, &member, &arguments);
        match answer {
            Ok(job) => {
                let (kind, fields) = (2, [(5, Value::from(serial))].to_vec());
                caller.write_all(&message(kind, fields, "o", &[json!("/job/1")])).unwrap();
                if job {
                    let path = json!("/org/freedesktop/systemd1");
                    let fields = vec![(1, path), (3, json!("JobRemoved"))];
                    let body = [json!(1), json!("/job/1"), json!("unit"), json!("done")];
                    caller.write_all(&message(4, fields, "uoss", &body)).unwrap();
                }
            }
            Err(name) => {
                let name = format!("org.freedesktop.systemd1.{name}");
                let fields = vec![(5, Value::from(serial)), (4, json!(name))];
                caller.write_all(&message(3, fields, "s", &[json!("no")])).unwrap();
            }
        }
    }
}

impl Unit {
    /// Whether a job was started, or the name of an error.
    fn perform(&mut self, layout: &Layout, member: &str, arguments: &[Value]) -> Result<bool, &'static str> {
        let name = arguments[0].as_str().unwrap();
        match member {
            "StartTransientUnit" if self.path.is_some() => Err("UnitExists"),
            "StartTransientUnit" => {
                self.properties.clear();
                self.note(&arguments[2]);
                let slice = PathBuf::from(self.properties["Slice"].as_str().unwrap());
                let path = slice.join(name);
                for tree in trees(layout, &KNOWN) {
                    std::fs::create_dir_all(tree.join(&path)).unwrap();
                    for pid in self.properties["PIDs"].as_array().unwrap() {
                        std::fs::write(tree.join(&path).join("cgroup.procs"), pid.to_string()).unwrap();
                    }
                }
                self.slices.push(slice);
                self.path = Some(path);
                Ok(true)
            }
            "SetUnitProperties" => {
                self.note(&arguments[2]);
                Ok(false)
            }
            "StopUnit" => {
                let path = self.path.take().ok_or("NoSuchUnit")?;
                for tree in trees(layout, &KNOWN) {
                    let _removed_already = std::fs::remove_dir(tree.join(&path));
                }
                Ok(true)
            }
            _ => Err("NoSuchUnit"),
        }
    }

    /// Lists grow, and an empty one makes them empty; all else is replaced.
    fn note(&mut self, properties: &Value) {
        for property in properties.as_array().unwrap() {
            let (name, value) = (property[0].as_str().unwrap().to_owned(), property[1].clone());
            match (self.properties.get_mut(&name), value) {
                (Some(Value::Array(known)), Value::Array(more)) if !more.is_empty() => known.extend(more),
                (_, value) => drop(self.properties.insert(name, value)),
            }
        }
    }
}

fn receive(caller: &mut UnixStream) -> Option<(u32, String, Vec<Value>)> {
    let mut fixed = [0; 16];
    caller.read_exact(&mut fixed).ok()?;
    let word = |at: usize| u32::from_le_bytes(fixed[at..at + 4].try_into().unwrap());
    let (body, serial, fields) = (word(4) as usize, word(8), word(12) as usize);
    let mut rest = vec![0; fields.next_multiple_of(8) + body];
    caller.read_exact(&mut rest).ok()?;
    let (mut member, mut signature) = (String::new(), String::new());
    let mut header = Reader { bytes: &rest[..fields], at: 0 };
    while header.at < fields {
        header.align(8);
        let code = header.take(1)[0];
        match (code, header.value("v")) {
            (3, value) => member = value.as_str().unwrap().to_owned(),
            (8, value) => signature = value.as_str().unwrap().to_owned(),
            _ => {}
        }
    }
    let mut body = Reader { bytes: &rest[fields.next_multiple_of(8)..], at: 0 };
    let mut left = signature.as_str();
    let mut arguments = Vec::new();
    while !left.is_empty() {
        let (first, rest) = left.split_at(one(left));
        arguments.push(body.value(first));
        left = rest;
    }
    Some((serial, member, arguments))
}

/// How long the first complete type is.
fn one(signature: &str) -> usize {
    match signature.as_bytes()[0] {
        b'a' => 1 + one(&signature[1..]),
        b'(' => {
            let mut at = 1;
            while signature.as_bytes()[at] != b')' {
                at += one(&signature[at..]);
            }
            at + 1
        }
        _ => 1,
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        self.at += count;
        &self.bytes[self.at - count..self.at]
    }

    fn number(&mut self, width: usize) -> u64 {
        self.align(width);
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(self.take(width));
        u64::from_le_bytes(wide)
    }

    fn text(&mut self, length: usize) -> String {
        let text = String::from_utf8(self.take(length).to_vec()).unwrap();
        self.take(1);
        text
    }

    fn value(&mut self, signature: &str) -> Value {
        match signature.as_bytes()[0] {
            b's' | b'o' => {
                let length = self.number(4) as usize;
                json!(self.text(length))
            }
            b'g' => {
                let length = self.take(1)[0] as usize;
                json!(self.text(length))
            }
            b'b' => json!(self.number(4) != 0),
            b'y' => json!(self.take(1)[0]),
            b'u' | b'i' => json!(self.number(4)),
            b't' => json!(self.number(8)),
            b'v' => {
                let length = self.take(1)[0] as usize;
                let inner = self.text(length);
                self.value(&inner)
            }
            b'(' => {
                self.align(8);
                let mut left = &signature[1..signature.len() - 1];
                let mut members = Vec::new();
                while !left.is_empty() {
                    let (first, rest) = left.split_at(one(left));
                    members.push(self.value(first));
                    left = rest;
                }
                Value::Array(members)
            }
            b'a' => {
                let length = self.number(4) as usize;
                self.align(if "(tx".contains(&signature[1..2]) { 8 } else { 1 });
                let end = self.at + length;
                let mut members = Vec::new();
                while self.at < end {
                    members.push(self.value(&signature[1..]));
                }
                Value::Array(members)
            }
            other => panic!("type {}", char::from(other)),
        }
    }
}

fn message(kind: u8, fields: Vec<(u8, Value)>, signature: &str, body: &[Value]) -> Vec<u8> {
    let mut content = Vec::new();
    for value in body {
        plain(&mut content, value);
    }
    let mut header = Vec::new();
    for (code, value) in fields.into_iter().chain([(8, json!(signature))]) {
        header.resize(header.len().next_multiple_of(8), 0);
        header.push(code);
        match code {
            8 => {
                header.extend(b"\x01g\0");
                header.push(signature.len() as u8);
                header.extend(signature.as_bytes());
                header.push(0);
            }
            _ => {
                let kind = if value.is_number() {
                    'u'
                } else if code == 1 {
                    'o'
                } else {
                    's'
                };
                header.extend([1, kind as u8, 0]);
                plain(&mut header, &value);
            }
        }
    }
    let mut out = vec![b'l', kind, 0, 1];
    for word in [content.len(), 1, header.len()] {
        out.extend((word as u32).to_le_bytes());
    }
    header.resize(header.len().next_multiple_of(8), 0);
    out.extend(header);
    out.extend(content);
    out
}

/// A number of 32 bits or a text.
fn plain(out: &mut Vec<u8>, value: &Value) {
    out.resize(out.len().next_multiple_of(4), 0);
    match value {
        Value::String(text) => {
            out.extend((text.len() as u32).to_le_bytes());
            out.extend(text.as_bytes());
            out.push(0);
        }
        number => out.extend((number.as_u64().unwrap() as u32).to_le_bytes()),
    }
}
