//! Compiles the program of the embedded image (`src/embedded/hello.rs`) for the target, with the compiler that builds the rest.
//!
//! No libc and no start files: a static ELF of a few KiB that runs in an empty root file system. For an architecture that the program
//! does not know, the embedded image is left out and says so when asked for.

use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = "src/embedded/hello.rs";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=build.rs");
    let program = PathBuf::from(variable("OUT_DIR")).join("hello");
    let known = matches!(variable("CARGO_CFG_TARGET_ARCH").as_str(), "x86_64" | "aarch64");
    if !known {
        std::fs::write(&program, []).expect("write an empty program");
        return;
    }
    compile(&program);
}

fn compile(program: &Path) {
    let mut compiler = Command::new(variable("RUSTC"));
    compiler.arg(SOURCE).arg("-o").arg(program).args([
        "--edition",
        "2024",
        "--crate-name",
        "hello",
        "--crate-type",
        "bin",
    ]);
    compiler.args(["--target", &variable("TARGET")]);
    compiler.args(["-C", "panic=abort", "-C", "opt-level=s", "-C", "strip=symbols", "-C", "debuginfo=0"]);
    compiler.args(["-C", "relocation-model=static", "-C", "target-feature=+crt-static"]);
    // One read-only and one executable segment, no padding between them, no build id: small, and the same on every machine.
    compiler.args(["-C", "link-args=-nostartfiles -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-z,noseparate-code,-z,norelro -Wl,--gc-sections"]);
    if let Ok(linker) = std::env::var("RUSTC_LINKER") {
        compiler.arg("-C").arg(format!("linker={linker}"));
    }
    // Flags meant for the host's programs (a sanitizer, a profile) do not fit this one.
    compiler.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let status = compiler.status().expect("start the compiler");
    assert!(status.success(), "the program of the embedded image does not compile: {compiler:?}");
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is set by cargo"))
}
