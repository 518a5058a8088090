//! Links the unwinder of the C compiler into a binary, instead of loading `libgcc_s.so.1` at each start.
//!
//! A client and the processes of a container start thousands of times a day, and live for milliseconds: finding, mapping
//! and relocating one more library is a tenth of a millisecond of each, and a few pages of each shim for as long as
//! it stands. The standard library asks the linker for `-lgcc_s`; this puts a linker script of that name first on its
//! path that stands for the static archives of the same code.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=../../build/unwinder.rs");
    if env::var("CARGO_CFG_TARGET_ENV").as_deref() != Ok("gnu") {
        return;
    }
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(folder.join("libgcc_s.so"), "INPUT(-lgcc_eh -lgcc)\n").expect("OUT_DIR is writable");
    println!("cargo::rustc-link-search=native={}", folder.display());
}
