//! The process 1 that `--init` puts before a container's command.
//!
//! A container's first process has duties that most programs do not know: orphans become its children and must be
//! reaped, and signals that it does not handle are ignored. [`PROGRAM`] does both and nothing else. It is a static
//! executable without a C library, because it runs in root file systems that we know nothing of; the engine
//! writes it out once and bind-mounts it as `/sbin/docker-init`.

/// The executable's bytes.
pub const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/docker-init"));

#[cfg(test)]
mod tests {
    use super::PROGRAM;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::process::Command;

    /// The program as a file, gone when dropped.
    struct File(PathBuf);

    impl File {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("wharf-init-{name}-{}", std::process::id()));
            fs::write(&path, PROGRAM).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            File(path)
        }

        fn run(&self, words: &[&str]) -> std::process::Output {
            // `write` in another test's thread may hold the file open over a fork.
            loop {
                match Command::new(&self.0).arg("--").args(words).output() {
                    Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
                    other => return other.unwrap(),
                }
            }
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn exit_codes_are_passed_on() {
        let init = File::new("codes");
        assert_eq!(init.run(&["sh", "-c", "exit 7"]).status.code(), Some(7));
        assert_eq!(init.run(&["sh", "-c", "kill -TERM $$"]).status.code(), Some(143));
        let absent = init.run(&["no-such-program"]);
        assert_eq!(absent.status.code(), Some(127));
        assert!(String::from_utf8_lossy(&absent.stderr).contains("no-such-program"));
        assert_eq!(init.run(&["/etc/passwd"]).status.code(), Some(126));
    }

    #[test]
    fn the_environment_and_arguments_arrive() {
        let init = File::new("words");
        let output = init.run(&["sh", "-c", "echo $1-$2; test -n \"$PATH\"", "name", "a b", ""]);
        assert_eq!((output.stdout.as_slice(), output.status.code()), (&b"a b-\n"[..], Some(0)));
    }

    #[test]
    fn signals_are_forwarded() {
        let init = File::new("signals");
        let script = "trap 'exit 5' USR1; kill -USR1 $PPID; while true; do sleep 0.05; done";
        assert_eq!(init.run(&["sh", "-c", script]).status.code(), Some(5));
    }

    #[test]
    fn orphans_do_not_end_it() {
        let init = File::new("orphans");
        assert_eq!(init.run(&["sh", "-c", "(sleep 0.01 &) ; sleep 0.2; exit 3"]).status.code(), Some(3));
    }
}
