//! How the binaries are linked: for a start that costs little.
//!
//! A client and the processes of a container start thousands of times a day, and live for milliseconds. Finding, mapping
//! and relocating one more library is a tenth of a millisecond of each, and a few pages of each shim for as long as
//! it stands.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=../../build/linking.rs");
    if env::var("CARGO_CFG_TARGET_ENV").as_deref() != Ok("gnu") {
        return;
    }
    embed_the_unwinder();
    if env::var("CARGO_PKG_NAME").as_deref() == Ok("cli") {
        fix_the_address();
    }
}

/// The C compiler's unwinder becomes part of the binary, instead of being loaded from `libgcc_s.so.1`. The standard
/// library asks the linker for `-lgcc_s`; this puts a linker script of that name first on its path that stands for the
/// static archives of the same code.
fn embed_the_unwinder() {
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(folder.join("libgcc_s.so"), "INPUT(-lgcc_eh -lgcc)\n").expect("OUT_DIR is writable");
    println!("cargo::rustc-link-search=native={}", folder.display());
}

/// The client's code lies at an address known when it is linked, as that of most programs written in Go does. Otherwise
/// each start writes thousands of addresses into its tables of strings and functions: twenty-five copied pages, a fifth
/// of a millisecond. It has no privileges to lose and reads what its own user's engine says, in safe Rust; what runs as
/// root or beside containers stays where chance puts it.
fn fix_the_address() {
    println!("cargo::rustc-link-arg-bins=-no-pie");
}
