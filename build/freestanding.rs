//! Compiles what needs nothing but the kernel: a program, a static executable of a few kilobytes; or the first steps of a
//! program, which are done before its C library's own.
//!
//! Such a program runs in root file systems that we know nothing of, so it may not need a C library, not even ours; and
//! cargo has no way to build one binary of a package without the standard library while the others have it. So the
//! compiler is called directly, by the build script of the crate that carries the bytes of the program. What all such
//! programs stand on is in `ground.rs`, how the kernel is called in `kernel.rs`.

#![allow(dead_code, reason = "a build script compiles one thing or the other")]

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// One segment to read and one to execute, no padding between them, no build id: small, and the same on every machine.
const LINKING: &str = "link-args=-nostartfiles -nostdlib -static -no-pie -Wl,--build-id=none -Wl,--gc-sections \
                       -Wl,-z,noseparate-code,-z,norelro";

/// Compiles `program/NAME.rs` into the file NAME of the folder that cargo gives. For an architecture that `ground.rs` does
/// not know the file is empty, and its crate says so when asked for the program.
pub(crate) fn compile(name: &str) {
    rerun_if_changed();
    let output = PathBuf::from(variable("OUT_DIR")).join(name);
    if !is_known() {
        std::fs::write(&output, []).expect("an empty program can be written");
        return;
    }
    let mut compiler = compiler(name, "bin");
    compiler
        .args(["-Cstrip=symbols", "-Crelocation-model=static", "-Ctarget-feature=+crt-static", "-C", LINKING])
        .arg("-o")
        .arg(output);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        compiler.arg(format!("-Clinker={linker}"));
    }
    succeed(compiler);
}

/// Compiles `program/NAME.rs`, and has the program of this package entered there, at `entry`, which ends with going to where
/// the C library begins. Only for programs that carry theirs. For an architecture that `kernel.rs` does not know the program
/// begins as all do.
pub(crate) fn begin_with(name: &str, entry: &str) {
    rerun_if_changed();
    if !is_known() {
        return;
    }
    let folder = PathBuf::from(variable("OUT_DIR"));
    let object = folder.join(format!("{name}.o"));
    let mut compiler = compiler(name, "lib");
    compiler.args(["--emit=obj", "-Crelocation-model=pie"]).arg("-o").arg(&object);
    succeed(compiler);
    // Alone it can be linked only if it needs no other code, which could not be called before it has found its place.
    let mut linker = Command::new("cc");
    linker
        .args(["-nostdlib", "-no-pie", "-Wl,--defsym=_start=0", &format!("-Wl,-e,{entry}"), "-o"])
        .arg(folder.join(format!("{name}-alone")))
        .arg(&object);
    succeed(linker);
    println!("cargo::rustc-link-arg-bins={}", object.display());
    println!("cargo::rustc-link-arg-bins=-Wl,-e,{entry}");
}

fn rerun_if_changed() {
    println!("cargo::rerun-if-changed=program");
    for part in ["freestanding.rs", "ground.rs", "kernel.rs"] {
        println!("cargo::rerun-if-changed=../../build/{part}");
    }
}

fn is_known() -> bool {
    matches!(variable("CARGO_CFG_TARGET_ARCH").as_str(), "x86_64" | "aarch64")
}

fn compiler(name: &str, kind: &str) -> Command {
    let mut compiler = Command::new(variable("RUSTC"));
    compiler
        .args(["--edition=2024", "--crate-type", kind, "--crate-name", &name.replace('-', "_"), "-Dwarnings"])
        .args(["--target", &variable("TARGET")])
        .args(["-Cpanic=abort", "-Copt-level=s"])
        .arg(format!("program/{name}.rs"))
        // Flags meant for the host's programs (a sanitizer, a profile) do not fit this one.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    compiler
}

fn succeed(mut command: Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "this fails: {command:?}");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
