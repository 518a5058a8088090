//! The runtime's own program, reached from inside and overwritten: root on the host at its next use.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use linux::Errno;
use linux::mount::{self, Attributes};
use rustix::fs::{Mode, OFlags};

use super::add_capability;
use crate::bundle::{Bundle, wait_until};

const OVERLAYFS: i64 = 0x794c_7630;

/// A directory whose name an overlay takes only with backslashes before some letters.
const ESCAPED: &str = "a:b\\c";

/// A runtime of the test's own, so that nobody else executes it at the end.
struct Runtime {
    program: PathBuf,
    bytes: Vec<u8>,
}

impl Runtime {
    fn copy_into(bundle: &Bundle) -> Runtime {
        Runtime::copy_to(bundle.directory.join("runtime"))
    }

    fn copy_to(program: PathBuf) -> Runtime {
        // By another process: what is open for writing here, or in a child that another test forks just now, is busy.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_wharf-runtime")).arg(&program).status();
        assert!(copied.unwrap().success());
        Runtime { bytes: std::fs::read(&program).unwrap(), program }
    }

    fn command(&self, bundle: &Bundle, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(bundle.directory.join("state")).args(words).current_dir(&bundle.directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn call(&self, bundle: &Bundle, words: &[&str]) -> bool {
        self.command(bundle, words).status().unwrap().success()
    }

    fn assert_untouched(&self) {
        assert!(std::fs::read(&self.program).unwrap() == self.bytes, "the runtime's program was overwritten");
    }
}

/// The waiting process is still the runtime's program. The attacker holds it through `/proc/<pid>/exe` and opens it for
/// writing once nobody executes it any more.
#[test]
fn cve_2019_5736_the_runtimes_binary_cannot_be_overwritten() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    let runtime = Runtime::copy_into(&bundle);
    bundle.write_config();
    assert!(runtime.call(&bundle, &["create", &bundle.id]));
    let held = linux::path::Root::open(Path::new(&format!("/proc/{}", bundle.pid()))).unwrap();
    let exe = File::open(linux::path::of(&held).join("exe")).unwrap();
    assert!(runtime.call(&bundle, &["delete", "--force", &bundle.id]));
    let again = format!("/proc/self/fd/{}", exe.as_raw_fd());
    let mut refused = None;
    wait_until(|| {
        let error = OpenOptions::new().write(true).open(&again).unwrap_err();
        refused = Some(error.kind());
        error.kind() != ErrorKind::ExecutableFileBusy
    });
    assert_eq!(refused, Some(ErrorKind::ReadOnlyFilesystem));
    runtime.assert_untouched();
}

/// And what keeps it from being written is nobody's to take away, however it is done: where the path is longer than an
/// option of a mount can be (256 bytes) there is no overlay, and where it has to be escaped another part of the program
/// makes it.
#[test]
fn cve_2019_5736_the_seal_stays() {
    for (directory, overlaid) in
        [("x".to_owned(), true), (ESCAPED.to_owned(), true), ("x".repeat(255), false)]
    {
        let bundle = Bundle::new(&["/bin/sleep", "1000"]);
        let directory = bundle.directory.join(directory);
        std::fs::create_dir(&directory).unwrap();
        let runtime = Runtime::copy_to(directory.join("runtime"));
        bundle.write_config();
        assert!(runtime.call(&bundle, &["create", &bundle.id]));
        let held = linux::path::Root::open(Path::new(&format!("/proc/{}", bundle.pid()))).unwrap();
        let exe = rustix::fs::open(linux::path::of(&held).join("exe"), OFlags::PATH, Mode::empty()).unwrap();
        assert_eq!(linux::disk::magic(&exe).unwrap() == OVERLAYFS, overlaid);
        let writable = Attributes { clear: mount::RDONLY, ..Attributes::default() };
        assert!(mount::set_attributes(&exe, &writable, false).unwrap_err().is(Errno::INVAL));
        assert!(mount::clone_handle(&exe, false).unwrap_err().is(Errno::INVAL));
        assert!(runtime.call(&bundle, &["delete", "--force", &bundle.id]));
        runtime.assert_untouched();
    }
}

/// A program that carries its C library is sealed before that begins, and executed again from there. It looks for itself
/// only where that was left to it.
#[test]
fn the_program_is_sealed_first_thing() {
    for (directory, left_to_itself) in [("x", false), (ESCAPED, true)] {
        let bundle = Bundle::new(&["/bin/true"]);
        let directory = bundle.directory.join(directory);
        std::fs::create_dir(&directory).unwrap();
        let runtime = Runtime::copy_to(directory.join("runtime"));
        let loader = b"/lib64/ld-linux-x86-64.so.2";
        if runtime.bytes.windows(loader.len()).any(|bytes| bytes == loader) {
            println!("this program's C library is shared: nothing comes before that");
            return;
        }
        bundle.write_config();
        let words = ["--spans", "run", &bundle.id];
        let told = runtime.command(&bundle, &words).stderr(Stdio::piped()).output().unwrap();
        let told = String::from_utf8_lossy(&told.stderr);
        assert!(told.contains("configuration read"), "{told}");
        assert_eq!(told.contains("program executed again"), left_to_itself, "{told}");
    }
}

/// The attack as it was published: a program of the container is a script whose interpreter is `/proc/self/exe`, so that
/// whoever is asked to execute it executes the runtime again, inside; a process that waits there takes hold of every
/// program it sees and writes to it. It may even trace.
#[test]
fn cve_2019_5736_nobody_inside_writes_to_what_is_executed() {
    use std::os::unix::fs::PermissionsExt;
    let script = "while :; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] || { echo seen > /seen; \
                  for i in 1 2 3 4 5 6 7 8; do { echo overwritten > /proc/self/fd/9; } 2> /dev/null; done; \
                  } 9< $p/exe; done 2> /dev/null; done";
    let mut bundle = Bundle::shell(script);
    add_capability(&mut bundle, "CAP_SYS_PTRACE");
    let runtime = Runtime::copy_into(&bundle);
    let evil = bundle.rootfs().join("bin/evil");
    std::fs::write(&evil, "#!/proc/self/exe\n").unwrap();
    std::fs::set_permissions(&evil, std::fs::Permissions::from_mode(0o755)).unwrap();
    bundle.write_config();
    assert!(runtime.call(&bundle, &["create", &bundle.id]) && runtime.call(&bundle, &["start", &bundle.id]));
    let mut calls = 0;
    wait_until(|| {
        runtime.call(&bundle, &["exec", &bundle.id, "/bin/evil"]);
        runtime.call(&bundle, &["exec", &bundle.id, "true"]);
        calls += 1;
        calls >= super::ROUNDS && bundle.rootfs().join("seen").exists()
    });
    assert!(runtime.call(&bundle, &["delete", "--force", &bundle.id]));
    runtime.assert_untouched();
}

/// The container's own program is a link to `/proc/self/exe`: the runtime executes itself, and gains nothing.
#[test]
fn cve_2019_5736_a_program_that_is_the_runtime_gains_nothing() {
    let bundle = Bundle::new(&["/evil"]);
    let runtime = Runtime::copy_into(&bundle);
    symlink("/proc/self/exe", bundle.rootfs().join("evil")).unwrap();
    bundle.write_config();
    runtime.call(&bundle, &["run", &bundle.id]);
    runtime.assert_untouched();
}
