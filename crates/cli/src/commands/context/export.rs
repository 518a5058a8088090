//! `context export`: a context with its certificates, as a tar archive.
//!
//! ```text
//! meta.json
//! tls/docker/{ca,cert,key}.pem
//! ```

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;

use super::{Context, DEFAULT, Endpoint, Reached, Store};
use crate::failure::{Failure, Outcome, doing};
use crate::flags::{Count, Parsed};
use crate::session::Session;
use crate::terminal;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["context export"],
    &["[OPTIONS] CONTEXT [FILE|-]"],
    "Write a context as a tar archive",
    Count::Between(1, 2),
    Vec::new,
    run,
)
.details("Write a context as a tar archive: to a file, or with '-' to standard output.")
.names(Names::Contexts);

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let name = parsed.first();
    let archive = pack(session, name)?;
    let target = match parsed.arguments().get(1) {
        Some(target) => target.clone(),
        None => format!("{name}.dockercontext"),
    };
    if target == "-" {
        if terminal::stdout_is_terminal() {
            return Err(Failure::new("cowardly refusing to export to a terminal, specify a file path"));
        }
        io::stdout().write_all(&archive)?;
        return Ok(0);
    }
    // It holds private keys, and nothing that was there before is overwritten.
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&target)
        .map_err(doing("open", &target))?;
    file.write_all(&archive).map_err(doing("could not write", &target))?;
    writeln!(io::stderr(), "Written file {target:?}")?;
    Ok(0)
}

fn pack(session: &Session, name: &str) -> Result<Vec<u8>, Failure> {
    let store = Store::new(session);
    let (context, certificates) = match name == DEFAULT {
        true => (default(session)?, Vec::new()),
        false => (store.load(name)?, store.certificates(name)?),
    };
    let meta = serde_json::to_vec(&context).map_err(|error| Failure::new(error.to_string()))?;
    let mut builder = tar::Builder::new(Vec::new());
    append(&mut builder, "meta.json", 0o644, &meta)?;
    // The first is there without certificates, too.
    for directory in if certificates.is_empty() { &["tls"][..] } else { &["tls", "tls/docker"] } {
        let mut header = header(0o700, 0);
        header.set_entry_type(tar::EntryType::Directory);
        builder.append_data(&mut header, directory, io::empty())?;
    }
    for (file, bytes) in &certificates {
        append(&mut builder, &format!("tls/docker/{file}"), 0o600, bytes)?;
    }
    Ok(builder.into_inner()?)
}

pub(super) fn default(session: &Session) -> Result<Context, Failure> {
    let Reached { host, tls } = session.default_engine()?;
    let endpoint = Endpoint { host, skip_tls_verify: tls.is_some_and(|tls| !tls.verify) };
    Ok(Context {
        name: DEFAULT.to_owned(),
        endpoints: [("docker".to_owned(), endpoint)].into(),
        ..Context::default()
    })
}

fn header(mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(size as u64);
    header
}

fn append(builder: &mut tar::Builder<Vec<u8>>, name: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    builder.append_data(&mut header(mode, bytes.len()), name, bytes)
}
