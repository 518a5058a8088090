//! `context import`: what `context export` wrote becomes a context, under a name of its own.
//!
//! The archive is foreign: it is read through bounds, and nothing in it but the three certificates
//! has a say in where something is written.

use std::fs::File;
use std::io::{self, Read, Write as _};

use super::{CERTIFICATES, Context, Store, check_name, zip};
use crate::failure::{Failure, Outcome, doing};
use crate::flags::{Count, Parsed};
use crate::session::Session;
use crate::tree::Spec;

pub(crate) const SPEC: Spec = Spec::new(
    &["context import"],
    &["CONTEXT FILE|-"],
    "Read a context from a tar or zip archive",
    Count::Exactly(2),
    Vec::new,
    run,
);

/// Metadata and three certificates are far smaller.
const LIMIT: u64 = 10 * 1024 * 1024;

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let [name, source] = parsed.arguments() else {
        return Err(Failure::new("a name and a file are required"));
    };
    check_name(name)?;
    let store = Store::new(session);
    if store.exists(name) {
        return Err(Failure::new(format!("context {name:?} already exists")));
    }
    let archive = read(source)?;
    let (mut context, certificates) = unpack(&archive)?;
    context.name.clone_from(name);
    store.save(&context, &certificates)?;
    writeln!(io::stdout(), "{name}")?;
    writeln!(io::stderr(), "Successfully imported context \"{name}\"")?;
    Ok(0)
}

fn read(source: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    match source {
        "-" => io::stdin().lock().take(LIMIT).read_to_end(&mut bytes)?,
        path => File::open(path)
            .and_then(|file| file.take(LIMIT).read_to_end(&mut bytes))
            .map_err(doing("open", path))?,
    };
    if bytes.len() as u64 == LIMIT {
        return Err(Failure::new(format!("invalid context: it is longer than {LIMIT} bytes")));
    }
    Ok(bytes)
}

type Unpacked = (Context, Vec<(&'static str, Vec<u8>)>);

fn unpack(archive: &[u8]) -> Result<Unpacked, Failure> {
    let wrong = |why: String| Failure::new(format!("invalid context: {why}"));
    let members = if zip::is_zip(archive) { zip::members(archive, LIMIT) } else { members_of_tar(archive) };
    let mut context = None;
    let mut certificates = Vec::new();
    for (name, bytes) in members.map_err(wrong)? {
        if name == "meta.json" {
            let read = serde_json::from_slice::<Context>(&bytes);
            context = Some(read.map_err(|error| wrong(format!("meta.json: {error}")))?);
            continue;
        }
        let file = name.strip_prefix("tls/docker/");
        match CERTIFICATES.iter().find(|certificate| file == Some(**certificate)) {
            Some(certificate) => certificates.push((*certificate, bytes)),
            None => return Err(wrong(format!("{name:?} is no part of one"))),
        }
    }
    Ok((context.ok_or_else(|| wrong("no metadata found".to_owned()))?, certificates))
}

/// Docker's client ends an archive with the last byte of the last file: what fills its block is added.
fn members_of_tar(archive: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
    const BLOCK: usize = 512;
    let missing = archive.len().next_multiple_of(BLOCK) - archive.len();
    let read = || -> io::Result<Vec<(String, Vec<u8>)>> {
        let mut members = Vec::new();
        for entry in tar::Archive::new(archive.chain(&[0; BLOCK][..missing])).entries()? {
            let mut entry = entry?;
            if entry.raw_file_position().saturating_add(entry.size()) > archive.len() as u64 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if entry.header().entry_type() != tar::EntryType::Directory {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                members.push((String::from_utf8_lossy(&entry.path_bytes()).into_owned(), bytes));
            }
        }
        Ok(members)
    };
    read().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            builder.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn an_archive_is_taken_apart() {
        let meta =
            r#"{"Name":"old","Metadata":{"Description":"d"},"Endpoints":{"docker":{"Host":"tcp://x:1"}}}"#;
        let (context, certificates) =
            unpack(&archive(&[("meta.json", meta), ("tls/docker/ca.pem", "c")])).unwrap();
        assert_eq!(context.docker_host(), "tcp://x:1");
        assert_eq!(certificates, [("ca.pem", b"c".to_vec())]);
    }

    #[test]
    fn an_archive_may_end_with_its_last_file() {
        let whole = archive(&[("meta.json", "{}"), ("tls/docker/key.pem", "secret")]);
        let end = 3 * 512 + "secret".len();
        assert_eq!(unpack(&whole[..end]).unwrap().1, [("key.pem", b"secret".to_vec())]);
        for cut in [end - 1, 3 * 512, 512 + 1] {
            assert!(unpack(&whole[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn what_is_no_context_is_refused() {
        let told = |bytes: &[u8]| unpack(bytes).err().map(|failure| failure.message).unwrap_or_default();
        assert_eq!(told(&archive(&[])), "invalid context: no metadata found");
        assert!(told(&archive(&[("meta.json", "{}"), ("tls/docker/x", "")])).contains("is no part"));
        assert!(told(&archive(&[("meta.json", "{")])).contains("meta.json: "));
        assert_eq!(told(b"PK\x03\x04rest"), "invalid context: zip: not a valid zip file");
    }
}
