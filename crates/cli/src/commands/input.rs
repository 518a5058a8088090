//! Where archives come from: a file, or standard input. What cannot be read is named.

use std::fs::File;
use std::io::{self, Read};

use crate::failure::{Failure, doing, words};

pub(crate) struct Source {
    name: String,
    reader: Box<dyn Read>,
}

impl Source {
    pub(crate) fn standard() -> Source {
        Source { name: "/dev/stdin".to_owned(), reader: Box::new(io::stdin().lock()) }
    }

    pub(crate) fn open(path: &str) -> Result<Source, Failure> {
        let file = File::open(path).map_err(doing("open", path))?;
        Ok(Source { name: path.to_owned(), reader: Box::new(file) })
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            kind => io::Error::new(kind, format!("read {}: {}", self.name, words(&error))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_no_archive() {
        let error = Source::open("/").unwrap().read(&mut [0]).unwrap_err();
        assert_eq!(error.to_string(), "read /: is a directory");
        assert!(Source::open("/absent").is_err());
    }
}
