//! `try` and `dev`: from a clone to a running container; `man`: to its manual.

use crate::run::{self, Outcome, cargo};

/// Builds the release binaries and runs the image that is embedded in them; the engine starts by itself.
pub(crate) fn run() -> Outcome {
    cargo(["build", "--release"])?;
    let binaries = run::target().join("release");
    let wharf = binaries.join("wharf");
    run::run(&wharf.to_string_lossy(), ["run", "--rm", "localhost/hello"])?;
    println!(
        "\nThat was a container. The engine (wharfd) goes on in the background; go on with\n\n  \
         {0} --help\n  {0} images\n\nand end the engine with: kill $(cat /run/wharf.pid)",
        wharf.display()
    );
    Ok(())
}

/// The engine in the foreground, from a development build.
pub(crate) fn develop(flags: &[String]) -> Outcome {
    cargo(["build"])?;
    let wharfd = run::target().join("debug/wharfd");
    run::run(&wharfd.to_string_lossy(), flags)
}

/// The manual pages of `wharf`, which knows its own commands.
pub(crate) fn manual(arguments: &[String]) -> Outcome {
    cargo(["build", "--package", "cli"])?;
    let wharf = run::target().join("debug/wharf");
    let directory = match arguments.first() {
        Some(directory) => directory.clone(),
        None => run::target().join("man").to_string_lossy().into_owned(),
    };
    run::run(&wharf.to_string_lossy(), ["man", &directory])
}
