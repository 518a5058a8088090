//! One member of an archive, after every dialect's way of writing it has been understood.

use std::ffi::OsString;

pub(crate) use linux::entry::Time;

/// A member: its name, what it is, and its attributes. A file's bytes follow separately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As written in the archive: may be absolute, may contain `..`, may not be UTF-8.
    pub path: Vec<u8>,
    pub content: Content,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub modified: Time,
    pub xattrs: Vec<(OsString, Vec<u8>)>,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file of `size` bytes. The archive holds all of them, or, for a sparse file, those of the segments.
    File {
        size: u64,
        segments: Option<Vec<Segment>>,
    },
    Directory,
    Symlink {
        target: Vec<u8>,
    },
    /// Another name of a file that came earlier or lies in a layer below.
    HardLink {
        target: Vec<u8>,
    },
    Fifo,
    Character {
        major: u32,
        minor: u32,
    },
    Block {
        major: u32,
        minor: u32,
    },
}

/// A part of a sparse file that has data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub offset: u64,
    pub length: u64,
}

impl Entry {
    /// The name for messages.
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }
}

impl Content {
    /// Bytes of a file that follow in the archive.
    pub fn stored(&self) -> u64 {
        match self {
            Self::File { size, segments: None } => *size,
            Self::File { segments: Some(segments), .. } => segments.iter().map(|s| s.length).sum(),
            _ => 0,
        }
    }
}
