//! What a test leaves out, because this machine lacks something: told where people look.
//!
//! A test that returns early counts as passed, and what it prints is not shown. So the reason goes into the file that
//! `WHARF_SKIPS` names, a line each, which `cargo xtask test` prints at its end. Where nothing may be left out,
//! `WHARF_NO_SKIPS` makes each a failure. A test that has nothing to do here, because another one does it where things
//! are as they are, leaves nothing out.

use std::io::Write as _;

/// Notes that the running test leaves something out, and why.
///
/// # Panics
/// Where `WHARF_NO_SKIPS` is set.
pub fn skip(why: &str) {
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let thread = std::thread::current();
    let line =
        format!("{package} {}: {}\n", thread.name().unwrap_or("a thread"), why.trim().replace('\n', "; "));
    assert!(std::env::var_os("WHARF_NO_SKIPS").is_none(), "not tested here: {line}");
    eprint!("not tested here: {line}");
    if let Some(list) = std::env::var_os("WHARF_SKIPS") {
        // In one piece, since tests of one process write beside each other.
        let file = std::fs::File::options().create(true).append(true).open(&list);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .unwrap_or_else(|error| panic!("append to {}: {error}", list.display()));
    }
}
