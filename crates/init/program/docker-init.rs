//! docker-init: starts a command, forwards signals to it, reaps orphans, ends as the command ended.
//!
//! ```text
//! docker-init [--] COMMAND [ARG...]
//! ```
//!
//! All signals are blocked and taken one by one with rt_sigtimedwait(2), so that nothing runs in a handler.

#![no_std]
#![no_main]

#[path = "../../../build/ground.rs"]
mod ground;

use ground::{call, exit, syscall};

/// A NUL-terminated string of the argument or environment block.
type Text = *const u8;

const SIGTTIN: usize = 21;
const SIGTTOU: usize = 22;
const SIGCHLD: usize = 17;
const TIOCSPGRP: usize = 0x5410;
const WNOHANG: usize = 1;
const SIG_SETMASK: usize = 2;
const EACCES: isize = -13;
const ENOENT: isize = -2;
const ENOTDIR: isize = -20;
/// Size of the kernel's signal set.
const SIGNAL_SET: usize = 8;

/// `stack` is what the kernel left: the count of arguments, their pointers, a null, the environment's, a null.
unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: the layout of the initial stack is the kernel's promise (the ABI's "process initialization").
    unsafe {
        let count = *stack;
        let arguments = stack.add(1).cast::<Text>();
        let environment = arguments.add(count + 1);
        let mut command = arguments.add(1);
        if !(*command).is_null() && equal(*command, b"--") {
            command = command.add(1);
        }
        if (*command).is_null() {
            say(b"docker-init: no command given\n");
            exit(1);
        }
        let mut old = 0_u64;
        // The kernel leaves SIGKILL and SIGSTOP out by itself. Faults of our own code would loop if blocked.
        let faults = [4_u32, 5, 7, 8, 11, 6].iter().fold(0_u64, |set, signal| set | 1 << (signal - 1));
        let all = !faults;
        syscall(
            call::SIGPROCMASK,
            [SIG_SETMASK, &raw const all as usize, &raw mut old as usize, SIGNAL_SET, 0],
        );
        match syscall(call::CLONE, [SIGCHLD, 0, 0, 0, 0]) {
            0 => become_command(command, environment, old),
            pid if pid > 0 => watch(pid as usize, all),
            _ => {
                say(b"docker-init: cannot fork\n");
                exit(1)
            }
        }
    }
}

/// The child: a process group of its own, in the foreground where there is a terminal, then the command.
unsafe fn become_command(command: *const Text, environment: *const Text, mask: u64) -> ! {
    // SAFETY: the vectors end with a null; `group` and `mask` outlive the calls that read them.
    unsafe {
        syscall(call::SETPGID, [0, 0, 0, 0, 0]);
        // SIGTTOU is still blocked, so taking the terminal cannot stop us. Without one this fails, harmlessly.
        let group = syscall(call::GETPID, [0; 5]) as u32;
        syscall(call::IOCTL, [0, TIOCSPGRP, &raw const group as usize, 0, 0]);
        syscall(call::SIGPROCMASK, [SIG_SETMASK, &raw const mask as usize, 0, SIGNAL_SET, 0]);
        let error = execute(command, environment);
        say(b"docker-init: exec ");
        say(bytes(*command));
        say(match error {
            ENOENT | ENOTDIR => b" failed: No such file or directory\n",
            EACCES => b" failed: Permission denied\n",
            _ => b" failed\n",
        });
        exit(if error == ENOENT || error == ENOTDIR { 127 } else { 126 })
    }
}

/// execvp(3): a name without a slash is looked for in `PATH`. Returns only with an error.
unsafe fn execute(command: *const Text, environment: *const Text) -> isize {
    // SAFETY: as in `become_command`.
    unsafe {
        let name = bytes(*command);
        if name.contains(&b'/') {
            return syscall(call::EXECVE, [*command as usize, command as usize, environment as usize, 0, 0]);
        }
        let mut path: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let mut variable = environment;
        while !(*variable).is_null() {
            if let Some(value) = bytes(*variable).strip_prefix(b"PATH=") {
                path = value;
            }
            variable = variable.add(1);
        }
        let mut error = ENOENT;
        for folder in path.split(|byte| *byte == b':') {
            // As long as a path may be; longer ones cannot be executed anyway.
            let mut file = [0_u8; 4096];
            if folder.len() + name.len() + 2 > file.len() {
                continue;
            }
            let slash = usize::from(!folder.is_empty());
            copy(&mut file, 0, folder);
            copy(&mut file, folder.len(), &b"/"[..slash]);
            copy(&mut file, folder.len() + slash, name);
            let result =
                syscall(call::EXECVE, [file.as_ptr() as usize, command as usize, environment as usize, 0, 0]);
            if result != ENOENT && result != ENOTDIR {
                error = result;
            }
        }
        error
    }
}

/// Process 1: takes signals until the command has ended.
unsafe fn watch(command: usize, all: u64) -> ! {
    loop {
        // SAFETY: `all` is a signal set of the size that is passed; no information is asked for, and no time limit.
        let signal =
            unsafe { syscall(call::SIGTIMEDWAIT, [&raw const all as usize, 0, 0, SIGNAL_SET, 0]) } as usize;
        match signal {
            SIGCHLD => reap(command),
            // Meant for us as a background process of the terminal, not for the command.
            SIGTTIN | SIGTTOU => {}
            1..=64 => {
                // SAFETY: plain numbers. The command may have ended; then there is nobody to tell.
                unsafe { syscall(call::KILL, [command, signal, 0, 0, 0]) };
            }
            _ => {}
        }
    }
}

/// Takes every child that has ended; the command's end is ours.
fn reap(command: usize) {
    loop {
        let mut status = 0_u32;
        // SAFETY: `status` takes the four bytes that wait4 writes.
        let pid = unsafe { syscall(call::WAIT4, [usize::MAX, &raw mut status as usize, WNOHANG, 0, 0]) };
        if pid <= 0 {
            return;
        }
        if pid as usize == command {
            let signal = status & 0x7f;
            exit(if signal == 0 { (status >> 8) as usize & 0xff } else { 128 + signal as usize });
        }
    }
}

fn say(text: &[u8]) {
    ground::write(2, text);
}

/// The bytes before the NUL.
unsafe fn bytes<'a>(text: Text) -> &'a [u8] {
    let mut length = 0;
    // SAFETY: the caller's text ends with a NUL.
    unsafe {
        // Volatile, or the compiler would call strlen.
        while text.add(length).read_volatile() != 0 {
            length += 1;
        }
        core::slice::from_raw_parts(text, length)
    }
}

unsafe fn equal(text: Text, wanted: &[u8]) -> bool {
    // SAFETY: as `bytes`.
    unsafe { bytes(text) == wanted }
}

fn copy(into: &mut [u8], at: usize, from: &[u8]) {
    for (place, byte) in into.iter_mut().skip(at).zip(from) {
        *place = *byte;
    }
}
