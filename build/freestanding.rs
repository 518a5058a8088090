//! Compiles a program that needs nothing but the kernel: a static executable of a few kilobytes.
//!
//! Such a program runs in root file systems that we know nothing of, so it may not need a C library, not even ours; and
//! cargo has no way to build one binary of a package without the standard library while the others have it. So the
//! compiler is called directly, by the build script of the crate that carries the bytes of the program. What all such
//! programs stand on is in `ground.rs`.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// One segment to read and one to execute, no padding between them, no build id: small, and the same on every machine.
const LINKING: &str = "link-args=-nostartfiles -nostdlib -static -no-pie -Wl,--build-id=none -Wl,--gc-sections \
                       -Wl,-z,noseparate-code,-z,norelro";

/// Compiles `program/NAME.rs` into the file NAME of the folder that cargo gives. For an architecture that `ground.rs` does
/// not know the file is empty, and its crate says so when asked for the program.
pub(crate) fn compile(name: &str) {
    println!("cargo::rerun-if-changed=program");
    for part in ["freestanding.rs", "ground.rs"] {
        println!("cargo::rerun-if-changed=../../build/{part}");
    }
    let output = PathBuf::from(variable("OUT_DIR")).join(name);
    if !matches!(variable("CARGO_CFG_TARGET_ARCH").as_str(), "x86_64" | "aarch64") {
        std::fs::write(&output, []).expect("an empty program can be written");
        return;
    }
    let mut compiler = Command::new(variable("RUSTC"));
    compiler
        .args(["--edition=2024", "--crate-type=bin", "--crate-name", &name.replace('-', "_"), "-Dwarnings"])
        .args(["--target", &variable("TARGET")])
        .args(["-Cpanic=abort", "-Copt-level=s", "-Cstrip=symbols", "-Crelocation-model=static"])
        .args(["-Ctarget-feature=+crt-static", "-C", LINKING])
        .arg("-o")
        .arg(output)
        .arg(format!("program/{name}.rs"));
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        compiler.arg(format!("-Clinker={linker}"));
    }
    // Flags meant for the host's programs (a sanitizer, a profile) do not fit this one.
    compiler.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let status = compiler.status().expect("the compiler that runs this runs");
    assert!(status.success(), "program/{name}.rs does not compile: {compiler:?}");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
