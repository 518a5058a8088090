//! What is written: logs, layers.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::rows::{FILES, FOLDERS, small_file};

/// As the rows about logs and big files have it.
const LOGGED: usize = 200 << 20;
const BIG: usize = 128 << 20;
/// Of one read.
const PIECE: usize = 64 << 10;

/// A directory that goes when it is let go.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Self {
        let path = std::env::temp_dir().join(format!("wharf-floor-{}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary directory is writable");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Megabytes per second from a pipe to a file.
pub(super) fn log() -> linux::Result<f64> {
    let (reader, writer) = linux::fd::pipe()?;
    let took = carry(File::from(reader), File::from(writer), LOGGED);
    Ok(LOGGED as f64 / 1e6 / took.as_secs_f64())
}

/// A file that comes by a socket.
pub(super) fn file() -> linux::Result<Duration> {
    let (reader, writer) = UnixStream::pair().expect("sockets can be made");
    Ok(carry(reader, writer, BIG))
}

fn carry(mut from: impl Read, mut into: impl Write + Send + 'static, length: usize) -> Duration {
    let folder = Folder::make();
    let mut file = File::create(folder.0.join("file")).expect("the temporary directory is writable");
    let began = Instant::now();
    let source = std::thread::spawn(move || -> io::Result<()> {
        let piece = vec![b'x'; PIECE];
        (0..length / PIECE).try_for_each(|_| into.write_all(&piece))
    });
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece).expect("the other end is ours") {
            0 => break,
            count => file.write_all(&piece[..count]).expect("there is room"),
        }
    }
    let took = began.elapsed();
    source.join().expect("it only writes").expect("the other end is ours");
    took
}

/// The tree of the row about many small files: each is made, written and given its time.
pub(super) fn files(_: usize) -> linux::Result<Duration> {
    let texts: Vec<(String, String)> = (0..FOLDERS)
        .flat_map(|folder| {
            (0..FILES).map(move |number| (format!("{folder}/{number}"), small_file(folder, number)))
        })
        .collect();
    let place = Folder::make();
    let began = Instant::now();
    for folder in 0..FOLDERS {
        fs::create_dir(place.0.join(folder.to_string())).expect("the temporary directory is writable");
    }
    let time = std::time::SystemTime::UNIX_EPOCH;
    for (name, text) in &texts {
        let written = File::create_new(place.0.join(name)).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.set_modified(time)
        });
        written.expect("the temporary directory is writable");
    }
    Ok(began.elapsed())
}
