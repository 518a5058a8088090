//! `wharf-shim`: the parent of one container. Started by the engine, never by hand; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Already done when the engine has started us, and then nothing happens here.
    if let Err(error) = linux::process::seal_myself(|| None) {
        eprintln!("wharf-shim: its own program file cannot be protected: {error}");
        return ExitCode::FAILURE;
    }
    shim::run()
}
