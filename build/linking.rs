//! How the binaries are linked: for a start that costs little.
//!
//! A client and the processes of a container start thousands of times a day, and live for milliseconds. The C library as a
//! file of its own has to be found, mapped and relocated each time: a quarter of a millisecond and thirty copied pages.
//! So those programs carry what they use of it:
//!
//! | program | linked | because |
//! |---|---|---|
//! | `wharf` | static, at a fixed address | reads what its own user's engine says, in safe Rust; has no privileges to lose |
//! | `wharf-shim`, `wharf-runtime`, `wharf-tls` | static, where chance puts them | run as root beside containers |
//! | `wharfd` | with the shared C library | starts once, and asks the system's name service for registries |
//!
//! What such a program has to be read from the disk for, after a boot or where memory is short, is kept small: relocations
//! are packed, and there are no tables to unwind by where nothing unwinds. That is an eighth of `wharf-runtime`.
//!
//! Without shared libraries there is no name service with its modules: the client asks `getent(1)` instead, and the
//! others are given addresses. `+crt-static` would do the same to all programs and tests of the workspace at once; cargo
//! has no stable way to say it for some.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

pub(crate) fn main() {
    println!("cargo::rerun-if-changed=../../build/linking.rs");
    if env::var("CARGO_CFG_TARGET_ENV").as_deref() != Ok("gnu") {
        return;
    }
    match env::var("CARGO_PKG_NAME").as_deref() {
        Ok("cli") => embed_the_c_library(&["-static", "-no-pie"]),
        Ok("shim" | "runtime" | "tls") => embed_the_c_library(&["-static-pie"]),
        _ => {}
    }
    embed_the_unwinder();
}

/// The C compiler's unwinder becomes part of the binary, instead of being loaded from `libgcc_s.so.1`. The standard
/// library asks the linker for `-lgcc_s`; this puts a linker script of that name first on its path that stands for the
/// static archives of the same code.
fn embed_the_unwinder() {
    let folder = scripts("unwinder", &[("gcc_s", "INPUT(-lgcc_eh -lgcc)")]);
    println!("cargo::rustc-link-search=native={}", folder.display());
}

/// Whether this package's programs are linked without shared libraries.
#[allow(dead_code, reason = "asked by build scripts that do more than this one")]
pub(crate) fn is_static() -> bool {
    env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("gnu") && has_a_static_c_library()
}

/// Distributions put it beside the C library's headers (Debian) or into a package of its own (Fedora).
fn has_a_static_c_library() -> bool {
    let asked = Command::new("cc").arg("-print-file-name=libc.a").output();
    asked.is_ok_and(|told| Path::new(String::from_utf8_lossy(&told.stdout).trim()).is_absolute())
}

/// The same for `-lc` and `-lm`, in this package's programs only: a search path would be passed on to whatever is linked
/// with its library, and half a C library in a dynamic program is none.
fn embed_the_c_library(kind: &[&str]) {
    if !has_a_static_c_library() {
        println!("cargo::warning=no libc.a (glibc-static on some systems): programs start more slowly");
        return;
    }
    let folder = scripts("libc", &[("c", "GROUP(-l:libc.a -lgcc_eh -lgcc)"), ("m", "INPUT(-l:libm.a)")]);
    println!("cargo::rustc-link-arg-bins=-L{}", folder.display());
    for argument in kind {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    if relocates_by_packed_tables() {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    // The profile of that name aborts on a panic. (CARGO_CFG_PANIC tells what is usual for the target.)
    if env::var("PROFILE").as_deref() == Ok("release") {
        omit_the_tables_to_unwind_by();
    }
}

/// A static program relocates itself, by the C library's start code: it reads DT_RELR from glibc 2.36 on.
fn relocates_by_packed_tables() -> bool {
    let Ok(told) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else { return false };
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let mut numbers = told.trim().trim_start_matches("glibc ").split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (2, 36),
        _ => false,
    }
}

/// Compilers write them for all code, also for what can only abort. Both GNU's linker and LLVM's take this beside the
/// layout that they have built in.
fn omit_the_tables_to_unwind_by() {
    let script = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("unwinding.ld");
    let discard = "SECTIONS { /DISCARD/ : { *(.eh_frame) *(.gcc_except_table*) } } INSERT AFTER .rodata;\n";
    fs::write(&script, discard).expect("OUT_DIR is writable");
    println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
}

/// Linker scripts in the place of shared libraries.
fn scripts(name: &str, libraries: &[(&str, &str)]) -> PathBuf {
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join(name);
    fs::create_dir_all(&folder).expect("OUT_DIR is writable");
    for (library, script) in libraries {
        fs::write(folder.join(format!("lib{library}.so")), format!("{script}\n"))
            .expect("OUT_DIR is writable");
    }
    folder
}
