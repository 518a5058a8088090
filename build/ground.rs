//! What a freestanding program stands on (`freestanding.rs`): how it is entered, calls the kernel, and ends.
//!
//! There is no allocator, no C library, no thread and no unwinding. A program is a file that has this as a module, and a
//! function `start`.

#![allow(dead_code, reason = "each program needs something else")]

use core::arch::global_asm;

#[path = "kernel.rs"]
mod kernel;

pub(crate) use kernel::{call, syscall};

// The kernel enters with the arguments on the stack, where no function expects them: `start` is given their place.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {start}", start = sym crate::start);

#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, #0", "mov x30, #0", "mov x0, sp", "bl {start}", start = sym crate::start);

/// Writes all of it, as far as the descriptor takes it.
pub(crate) fn write(descriptor: usize, mut text: &[u8]) {
    while !text.is_empty() {
        // SAFETY: the text is valid for its length.
        let count = unsafe { syscall(call::WRITE, [descriptor, text.as_ptr() as usize, text.len(), 0, 0]) };
        match usize::try_from(count) {
            Ok(count) if count > 0 => text = text.get(count..).unwrap_or_default(),
            _ => return,
        }
    }
}

pub(crate) fn exit(code: usize) -> ! {
    loop {
        // SAFETY: no pointers.
        unsafe { syscall(call::EXIT_GROUP, [code, 0, 0, 0, 0]) };
    }
}

/// Nothing here should; 125 is what docker has for its own failures.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(125)
}

/// Named by objects of `core` that were compiled for unwinding. Nothing here unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// The compiler calls these for copies and comparisons; the C library that usually has them is not here.
mod memory {
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(into: *mut u8, byte: i32, count: usize) -> *mut u8 {
        for at in 0..count {
            // SAFETY: the caller gives `count` writable bytes. Volatile, or this loop would become a call of itself.
            unsafe { into.add(at).write_volatile(byte as u8) };
        }
        into
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(into: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        for at in 0..count {
            // SAFETY: as above, with `count` readable bytes.
            unsafe { into.add(at).write_volatile(from.add(at).read()) };
        }
        into
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
        for at in 0..count {
            // SAFETY: `count` readable bytes in both.
            let (one, other) = unsafe { (one.add(at).read_volatile(), other.add(at).read_volatile()) };
            if one != other {
                return i32::from(one) - i32::from(other);
            }
        }
        0
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
        // SAFETY: as above.
        unsafe { bcmp(one, other, count) }
    }
}
