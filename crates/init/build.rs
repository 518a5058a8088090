//! Compiles `program/main.rs` into a static executable of a few kilobytes.
//!
//! It runs in any root file system, so it may not need a C library, not even ours; and cargo has no way to build one
//! binary of a package without the standard library while the others have it. So the compiler is called directly.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=program");
    let output = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("docker-init");
    let status = Command::new(env::var_os("RUSTC").expect("cargo sets RUSTC"))
        .args(["--edition=2024", "--crate-type=bin", "--crate-name=docker_init", "--target"])
        .arg(env::var_os("TARGET").expect("cargo sets TARGET"))
        .args(["-Cpanic=abort", "-Copt-level=s", "-Cstrip=symbols", "-Crelocation-model=static"])
        .args(["-Clink-arg=-nostartfiles", "-Clink-arg=-nostdlib", "-Clink-arg=-static"])
        .args(["-Clink-arg=-Wl,--build-id=none", "-Clink-arg=-Wl,-z,noseparate-code", "-Dwarnings"])
        .arg("-o")
        .arg(&output)
        .arg("program/main.rs")
        .status()
        .expect("the compiler that runs this runs");
    assert!(status.success(), "program/main.rs does not compile");
}
