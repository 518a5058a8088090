//! The program of the embedded image: says hello, and what stands between it and the host.
//!
//! It is the whole root file system of its image. It prints what it can see, not what it was promised: the seccomp and
//! capability lines come from its own `/proc/self/status`.

#![no_std]
#![no_main]

#[path = "../../../build/ground.rs"]
mod ground;

use core::mem::MaybeUninit;

use ground::{call, exit, syscall};

fn print(text: &[u8]) {
    ground::write(1, text);
}

fn print_number(mut number: usize) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    while let Some(slot) = at.checked_sub(1).and_then(|i| digits.get_mut(i)) {
        *slot = b'0' + (number % 10) as u8;
        at -= 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    print(digits.get(at..).unwrap_or_default());
}

/// `utsname` is six fields of 65 bytes; the second is the host name.
fn print_hostname() {
    let mut names = MaybeUninit::<[u8; 390]>::uninit();
    // SAFETY: the buffer has the size of struct utsname.
    if unsafe { syscall(call::UNAME, [names.as_mut_ptr() as usize, 0, 0, 0, 0]) } != 0 {
        return;
    }
    // SAFETY: the call succeeded, so the kernel has filled all of it.
    let names = unsafe { names.assume_init_ref() };
    let name = names.get(65..130).unwrap_or_default();
    print(name.split(|b| *b == 0).next().unwrap_or_default());
}

fn read_status(buffer: &mut MaybeUninit<[u8; 4096]>) -> &[u8] {
    const AT_FDCWD: usize = -100isize as usize;
    // SAFETY: the path ends with a NUL; no flags, no mode.
    let fd = unsafe { syscall(call::OPENAT, [AT_FDCWD, c"/proc/self/status".as_ptr() as usize, 0, 0, 0]) };
    let Ok(fd) = usize::try_from(fd) else { return &[] };
    // SAFETY: the buffer has the length that is passed.
    let n = unsafe { syscall(call::READ, [fd, buffer.as_mut_ptr() as usize, 4096, 0, 0]) };
    let Ok(n) = usize::try_from(n) else { return &[] };
    // SAFETY: the kernel has filled `n` bytes of the buffer.
    unsafe { core::slice::from_raw_parts(buffer.as_ptr().cast(), n) }
}

fn value<'a>(status: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let line = status
        .split(|b| *b == b'\n')
        .find(|line| line.iter().zip(key).take_while(|(a, b)| a == b).count() == key.len())?;
    line.get(key.len()..).map(<[u8]>::trim_ascii)
}

extern "C" fn start(_stack: *const usize) -> ! {
    print(b"\nHello from Wharf!\n\n");
    print(b"This is a container. A moment ago it was a few kilobytes inside the engine's own\n");
    print(b"binary; now it is a process with a world of its own:\n\n");
    print(b"  process id   ");
    // SAFETY: no arguments.
    let id = unsafe { syscall(call::GETPID, [0, 0, 0, 0, 0]) }.unsigned_abs();
    print_number(id);
    print(if id == 1 { b" - the first of its PID namespace\n" } else { b"\n" });
    print(b"  host name    ");
    print_hostname();
    print(b"\n");
    let mut buffer = MaybeUninit::uninit();
    let status = read_status(&mut buffer);
    if let Some(mode) = value(status, b"Seccomp:") {
        print(b"  system calls ");
        print(if mode.first() == Some(&b'2') { b"filtered by seccomp\n" } else { b"not filtered\n" });
    }
    if let Some(held) = value(status, b"CapEff:") {
        print(b"  capabilities ");
        print(held);
        print(b" of what root could have\n");
    }
    print(b"  files        its own overlay; there is nothing in it but this program\n\n");
    print(b"What next:\n");
    print(b"  wharf pull IMAGE            bring something bigger from a registry\n");
    print(b"  wharf run -it IMAGE sh      look around inside\n");
    print(b"  wharf ps -a                 see what ran\n\n");
    exit(0)
}
