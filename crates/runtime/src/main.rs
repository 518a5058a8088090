//! `wharf-runtime`: the command line that container tools expect of an OCI runtime.
//!
//! Each command is a few steps around the library. The program runs from a sealed copy of itself where it lets a
//! container's processes begin, so that no container can write to it through `/proc/<pid>/exe`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main(std::env::args().collect())
}
