//! The program: who it is, what it gets, and those executed beside it.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use serde_json::json;

use crate::bundle::Bundle;
use crate::seccomp::where_it_is_refused;

#[test]
fn user_groups_home_and_directory() {
    let mut bundle = Bundle::shell("id; echo $HOME; pwd; umask; touch /dev/stdout");
    bundle.config["process"]["user"] =
        json!({ "uid": 1000, "gid": 50, "additionalGids": [60, 70], "umask": 0o037 });
    bundle.config["process"]["cwd"] = json!("/made/for/me");
    let output = bundle.output();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "uid=1000(user) gid=50 groups=60,70");
    assert_eq!(&lines[1..4], ["/home/user", "/made/for/me", "0037"]);
}

#[test]
fn programs_that_cannot_be_executed() {
    for (name, message) in [
        ("nosuch", "exec: \\\"nosuch\\\": executable file not found in $PATH"),
        ("/nosuch", "exec: \\\"/nosuch\\\": stat /nosuch: no such file or directory"),
        ("/etc/passwd", "exec: \\\"/etc/passwd\\\": permission denied"),
        ("/etc", "exec: \\\"/etc\\\": is a directory"),
    ] {
        let error = Bundle::new(&[name]).refused();
        assert!(error.contains(message), "{error}");
        assert!(error.contains("error during container init"), "{error}");
    }
}

#[test]
fn a_directory_that_is_none() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["process"]["cwd"] = json!("/etc/passwd");
    let error = bundle.refused();
    assert!(error.contains("chdir to cwd") && error.contains("not a directory"), "{error}");
}

#[test]
fn executed_beside_the_first() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    let outcome = bundle.call(&[
        "exec",
        "-e",
        "A=b c",
        "--cwd",
        "/tmp",
        "-u",
        "1000:7",
        &bundle.id,
        "sh",
        "-c",
        "echo $A; pwd; id; hostname; echo err >&2; exit 5",
    ]);
    assert_eq!(outcome.status, 5);
    assert_eq!(outcome.stdout, "b c\n/tmp\nuid=1000(user) gid=7\ninside\n");
    assert_eq!(outcome.stderr, "err\n");
    let missing = bundle.call(&["exec", &bundle.id, "nosuch"]);
    assert_eq!(missing.status, 255);
    assert!(missing.stderr.contains("executable file not found in $PATH"), "{}", missing.stderr);
    let killed = bundle.exec("kill -9 $$");
    assert_eq!(killed.status, 137);
}

/// Whatever the first one is.
#[test]
fn a_later_process_is_what_its_own_words_say() {
    let mut bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.config["process"]["oomScoreAdj"] = json!(100);
    bundle.create();
    bundle.start();
    let script = "echo $A; pwd; id; umask; ulimit -n; cat /proc/self/oom_score_adj; hostname; \
                  grep -E 'CapEff|NoNewPrivs' /proc/self/status; echo err >&2; exit 5";
    let outcome = bundle.execute_with(&json!({
        "args": ["sh", "-c", script], "env": ["PATH=/bin", "A=b c"], "cwd": "/tmp", "oomScoreAdj": 200,
        "user": { "uid": 1000, "gid": 7, "additionalGids": [8], "umask": 0o027 }, "noNewPrivileges": true,
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 33, "hard": 44 }],
        "capabilities": { "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"],
            "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"] },
    }));
    let expected = "b c\n/tmp\nuid=1000(user) gid=7 groups=8\n0027\n33\n200\ninside\n\
                    CapEff:\t0000000000000020\nNoNewPrivs:\t1\n";
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str(), outcome.status), (expected, "err\n", 5));
    let missing = bundle.execute(&["nosuch"]);
    assert_eq!(missing.status, 255);
    assert!(missing.stderr.contains("executable file not found in $PATH"), "{}", missing.stderr);
    assert_eq!(bundle.exec("kill -9 $$").status, 137);
}

#[test]
fn a_process_from_a_file() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    let process = json!({ "args": ["/bin/sh", "-c", "echo $X; ulimit -n"], "cwd": "/", "env": ["X=y"],
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 33, "hard": 44 }] });
    std::fs::write(bundle.directory.join("process.json"), process.to_string()).unwrap();
    let outcome = bundle.call(&["exec", "-p", "process.json", &bundle.id]);
    assert_eq!(outcome.stdout, "y\n33\n", "{}", outcome.stderr);
}

#[test]
fn descriptors_are_only_those_given() {
    // The directory itself is one while it is read.
    let bundle = Bundle::shell("ls /proc/self/fd | wc -l");
    bundle.write_config();
    let leak = std::fs::File::open("/").unwrap();
    linux::fd::set_inheritable(&leak, true).unwrap();
    assert_eq!(bundle.output(), "4\n");
}

#[test]
fn streams_pass_through() {
    let bundle = Bundle::new(&["/bin/cat"]);
    bundle.write_config();
    let mut child =
        bundle.command(&["run", &bundle.id]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"back and forth").unwrap();
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert_eq!((output.as_str(), child.wait().unwrap().code()), ("back and forth", Some(0)));
}

/// Listens for a terminal's master.
pub(crate) fn console(bundle: &Bundle) -> (String, UnixListener) {
    let path = bundle.directory.join("console.sock");
    let listener = UnixListener::bind(&path).unwrap();
    (path.to_str().unwrap().to_owned(), listener)
}

pub(crate) fn take_terminal(listener: &UnixListener) -> OwnedFd {
    let (connection, _) = listener.accept().unwrap();
    let mut descriptors = Vec::new();
    linux::fd::receive(&connection, &mut [0; 256], &mut descriptors).unwrap();
    descriptors.pop().unwrap()
}

pub(crate) fn read_terminal(terminal: OwnedFd) -> String {
    let mut text = Vec::new();
    let mut file = std::fs::File::from(terminal);
    // Ends with EIO when the last program has closed it.
    let _end = file.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn a_terminal_of_its_own() {
    let mut bundle = Bundle::shell(
        "tty; stty size; test -t 0 && echo yes; stat -c %t:%T /dev/console /dev/pts/0; ls -l /dev/ptmx",
    );
    bundle.config["process"]["terminal"] = json!(true);
    bundle.config["process"]["consoleSize"] = json!({ "height": 40, "width": 132 });
    bundle.write_config();
    let (path, listener) = console(&bundle);
    assert!(bundle.command(&["create", "--console-socket", &path, &bundle.id]).status().unwrap().success());
    let terminal = take_terminal(&listener);
    bundle.start();
    let text = read_terminal(terminal);
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert_eq!(&lines[..3], ["/dev/pts/0", "40 132", "yes"], "{text:?}");
    assert_eq!(lines[3], lines[4], "the console is the terminal");
    assert!(lines[5].ends_with("/dev/ptmx -> pts/ptmx"), "{text:?}");
}

/// As everybody makes them: an end of line becomes two characters, as a screen wants it, whatever the caller's has.
#[test]
fn the_modes_of_a_terminal() {
    let mut bundle = Bundle::shell("stty -a; sleep 1000");
    bundle.config["process"]["terminal"] = json!(true);
    bundle.write_config();
    let (path, listener) = console(&bundle);
    let words = ["run", "--detach", "--console-socket", &path, &bundle.id];
    assert!(bundle.command(&words).status().unwrap().success());
    let words =
        ["exec", "-t", "-d", "--console-socket", &path, &bundle.id, "/bin/sh", "-c", "sleep 0.2; stty -a"];
    let first = take_terminal(&listener);
    assert!(bundle.command(&words).status().unwrap().success());
    let later = read_terminal(take_terminal(&listener));
    assert_eq!(bundle.call(&["kill", &bundle.id, "KILL"]).status, 0);
    for modes in [read_terminal(first), later] {
        let has = |mode: &str| modes.split([' ', '\r', '\n', ';']).any(|word| word == mode);
        for mode in ["onlcr", "opost", "icanon", "echo", "isig", "icrnl"] {
            assert!(has(mode), "{mode}: {modes}");
        }
    }
}

#[test]
fn a_terminal_for_a_later_process() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    let (path, listener) = console(&bundle);
    let words = [
        "exec",
        "-t",
        "-d",
        "--console-socket",
        &path,
        &bundle.id,
        "/bin/sh",
        "-c",
        "sleep 0.2; tty; echo x",
    ];
    assert!(bundle.command(&words).status().unwrap().success());
    assert_eq!(read_terminal(take_terminal(&listener)), "/dev/pts/0\r\nx\r\n");
}

#[test]
fn programs_that_are_where_the_process_happens_to_be() {
    for path in ["bin", ":/nope", "/nope:bin:/bin", "./bin:/bin"] {
        let mut bundle = Bundle::new(&["busybox", "true"]);
        bundle.config["process"]["cwd"] = json!(if path.starts_with(':') { "/bin" } else { "/" });
        bundle.config["process"]["env"] = json!([format!("PATH={path}")]);
        let message = bundle.refused();
        assert!(message.contains("cannot run executable found relative to current directory"), "{message}");
        bundle.config["process"]["args"] = json!(["./bin/busybox", "true"]);
        bundle.config["process"]["cwd"] = json!("/");
        assert_eq!(bundle.output(), "");
    }
    let mut bundle = Bundle::new(&["busybox", "true"]);
    bundle.config["process"]["env"] = json!(["PATH=/bin:bin"]);
    assert_eq!(bundle.output(), "", "the first place counts");
}

/// Its terminal hangs up only when the reason has been told.
#[test]
fn why_a_later_process_with_a_terminal_fails() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    let (path, _listener) = console(&bundle);
    for (program, reason) in
        [("nope", "executable file not found in $PATH"), ("/etc/passwd", "permission denied")]
    {
        let told = bundle.call(&["exec", "-t", "-d", "--console-socket", &path, &bundle.id, program]);
        assert!(told.stderr.contains(reason), "{}", told.stderr);
    }
}

/// A descriptor by which a process can be told from any that later has its number.
#[test]
fn a_handle_on_the_process() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.write_config();
    let (path, listener) = console(&bundle);
    let quietly = |words: &[&str]| {
        let mut command = bundle.command(words);
        assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
        take_terminal(&listener)
    };
    let first = quietly(&["run", "-d", "--pidfd-socket", &path, &bundle.id]);
    let words = ["exec", "-d", "--pidfd-socket", &path, &bundle.id, "/bin/sleep", "1000"];
    let second = quietly(&words);
    for handle in [second, first] {
        linux::process::send_signal(handle.as_fd(), 0).unwrap();
        linux::process::send_signal(handle.as_fd(), linux::signal::SIGKILL).unwrap();
        assert!(linux::poll::wait_readable(&handle, None).unwrap());
    }
    bundle.wait_for_status("stopped");
}

#[test]
fn further_groups_of_a_later_process() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    let told =
        bundle.call(&["exec", "-g", "7", "--additional-gids", "8", "-u", "5:6", &bundle.id, "id", "-G"]);
    assert_eq!(told.stdout, "6 7 8\n", "{}", told.stderr);
}

#[test]
fn a_terminal_needs_somebody_to_hold_it() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["process"]["terminal"] = json!(true);
    bundle.write_config();
    let outcome = bundle.tell("create");
    assert!(outcome.stderr.contains("without setting console socket"), "{}", outcome.stderr);
}

#[test]
fn a_foreground_run_relays_its_terminal() {
    let mut bundle = Bundle::shell("tty; read line; echo got $line");
    bundle.config["process"]["terminal"] = json!(true);
    bundle.write_config();
    let mut child =
        bundle.command(&["run", &bundle.id]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"this\n").unwrap();
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(output.contains("/dev/pts/0\n") && output.ends_with("got this\n"), "{output:?}");
    assert!(child.wait().unwrap().success());
}

/// What is not there is not replaced by something of the runtime's, like its log.
#[test]
fn descriptors_that_are_missing_are_told() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    let told = |words: &str| {
        let runtime = env!("CARGO_BIN_EXE_wharf-runtime");
        let state = bundle.directory.join("state");
        let script = format!("exec 3<&- 4<&-; exec {runtime} --log own --root {} {words}", state.display());
        let mut shell = std::process::Command::new("/bin/sh");
        let output = shell.args(["-c", &script]).current_dir(&bundle.directory).output().unwrap();
        assert!(!output.status.success(), "{words}");
        String::from_utf8(output.stderr).unwrap()
    };
    let missing = "please check that preserved-fd 0 (of 1) is present";
    for words in ["run --preserve-fds 1 new", "create --preserve-fds=1 new"] {
        assert!(told(words).contains(missing), "{words}");
    }
    assert!(told(&format!("exec --preserve-fds 1 {} true", bundle.id)).contains(missing));
    assert!(
        told(&format!("checkpoint --status-fd 3 {}", bundle.id)).contains("invalid --status-fd argument 3")
    );
}

#[test]
fn socket_activation_descriptors_are_passed() {
    let bundle = Bundle::shell("echo $LISTEN_FDS $LISTEN_PID; cat <&3");
    bundle.write_config();
    let file = bundle.directory.join("given");
    std::fs::write(&file, "through\n").unwrap();
    // A shell puts the file at number 3, and becomes the runtime.
    let run = |whose: &str| {
        let script = format!(
            "exec 3<{} ; LISTEN_FDS=1 LISTEN_PID={whose} exec {} --root {} run {}",
            file.display(),
            env!("CARGO_BIN_EXE_wharf-runtime"),
            bundle.directory.join("state").display(),
            bundle.id
        );
        let mut shell = std::process::Command::new("/bin/sh");
        let output = shell.args(["-c", &script]).current_dir(&bundle.directory).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(run("$$"), "1 1\nthrough\n");
    assert!(!run("1").contains("through"), "they were meant for another process");
}

#[test]
fn memory_comes_from_where_the_policy_says() {
    let mut bundle = Bundle::shell("head -n 1 /proc/self/numa_maps");
    bundle.config["linux"]["memoryPolicy"] =
        json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] });
    let output = bundle.output();
    assert!(output.contains(" bind=static:0 "), "{output}");
    bundle.config["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_DEFAULT" });
    assert!(bundle.output().contains(" default "));
    bundle.config["linux"]["memoryPolicy"] = json!({ "nodes": "0" });
    assert!(bundle.refused().contains("invalid memory policy mode"));
    let cases = [
        (json!({ "mode": "BIND", "nodes": "0" }), "invalid memory policy mode"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["X"] }), "invalid memory policy flag"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0-9876543210" }), "invalid memory policy node"),
        (json!({ "mode": "MPOL_DEFAULT", "nodes": "0" }), "set_mempolicy: invalid argument"),
    ];
    for (policy, expected) in cases {
        bundle.config["linux"]["memoryPolicy"] = policy;
        let told = bundle.refused();
        assert!(told.contains(expected), "{told}");
    }
}

/// A later process is born on some CPUs and goes on, on others. What the first one may use is its cgroup's matter.
#[test]
fn cpus_of_later_processes() {
    let script = "grep Cpus_allowed_list /proc/self/status";
    let own = Bundle::shell(script).output();
    let list = linux::process::cpu_list(own.split_whitespace().last().unwrap()).unwrap();
    let (first, last) = (list[0].to_string(), list[list.len() - 1].to_string());
    let on = |cpu: &str| format!("Cpus_allowed_list:\t{cpu}\n");
    let mut bundle = Bundle::shell(&format!("{script}; exec sleep 1000"));
    bundle.config["process"]["execCPUAffinity"] = json!({ "initial": first, "final": last });
    bundle.create();
    bundle.start();
    crate::bundle::wait_until(|| bundle.log() == own);
    let later = bundle.exec(script);
    assert_eq!(later.stdout, on(&last), "{}", later.stderr);
    let of_its_own = |affinity: serde_json::Value| {
        bundle.execute_with(&json!({ "args": ["/bin/sh", "-c", script], "execCPUAffinity": affinity }))
    };
    assert_eq!(of_its_own(json!({ "final": first })).stdout, on(&first));
    assert_eq!(of_its_own(json!({ "initial": last })).stdout, on(&last), "there it stays");
    assert_eq!(of_its_own(json!({})).stdout, own);
    let refused = of_its_own(json!({ "initial": "first" }));
    assert!(refused.stderr.contains("execCPUAffinity"), "{}", refused.stderr);
}

/// Where it is born, nothing shows once it is there.
#[test]
fn the_cpus_that_a_later_process_is_born_on_are_told() {
    let mut bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.config["process"]["execCPUAffinity"] = json!({ "initial": "0" });
    bundle.create();
    bundle.start();
    let later = bundle.call(&["--debug", "exec", &bundle.id, "true"]);
    assert!(later.stderr.contains("affinity: 0x1"), "{}", later.stderr);
}

#[test]
fn a_machine_of_another_width() {
    let script = "cat /proc/self/personality; uname -m";
    let machine = std::process::Command::new("uname").arg("-m").output().unwrap().stdout;
    let machine = String::from_utf8(machine).unwrap();
    let mut bundle = Bundle::new(&["/bin/sleep", "1000"]);
    for (domain, expected) in
        [("LINUX", format!("00000000\n{machine}")), ("LINUX32", "00000008\ni686\n".to_owned())]
    {
        bundle.config["linux"]["personality"] = json!({ "domain": domain });
        bundle.create();
        bundle.start();
        let told = bundle.exec(script);
        let expected = if machine == "x86_64\n" { expected } else { expected.replace("i686", "armv8l") };
        assert_eq!(told.stdout, expected, "{}", told.stderr);
        bundle.delete();
    }
    bundle.config["linux"]["personality"] = json!({ "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] });
    assert!(bundle.refused().contains("linux.personality.flags is not supported"));
}

/// On a ramdisk pivot_root(2) is impossible; elsewhere it can be made so.
#[test]
fn a_root_that_cannot_be_pivoted() {
    let bundle = Bundle::shell("ls /; exec 2>/dev/null; ls /..");
    bundle.write_config();
    where_it_is_refused("pivot_root", None, || {
        let refused = bundle.tell("run");
        assert!(refused.stderr.contains("pivot_root"), "{}", refused.stderr);
        let outcome = bundle.call(&["run", "--no-pivot", &bundle.id]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        let whole = "bin\ndev\netc\nproc\nsys\ntmp\n";
        assert_eq!(outcome.stdout, format!("{whole}{whole}"), "there is no way up");
    });
}

#[test]
fn keys_are_of_its_own_or_the_callers() {
    if !std::path::Path::new("/proc/keys").exists() {
        return scratch::skip("the kernel has no keys");
    }
    for (option, own) in [(None, true), (Some("--no-new-keyring"), false)] {
        // Keys of those that have ended are taken away late: each run has an id of its own.
        let bundle = Bundle::shell("cat /proc/keys");
        bundle.write_config();
        let words: Vec<&str> = ["run"].into_iter().chain(option).chain([bundle.id.as_str()]).collect();
        let outcome = bundle.call(&words);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        let found = outcome.stdout.contains(&format!(" _ses.{}: ", bundle.id));
        assert_eq!(found, own, "{option:?}: {}", outcome.stdout);
    }
}

#[test]
fn the_callers_cpus_are_not_the_containers() {
    let script = "grep Cpus_allowed_list /proc/self/status";
    let free = Bundle::shell(script).output();
    let bundle = Bundle::shell(script);
    // Of the thread, and of what it starts.
    let bound = std::thread::scope(|scope| {
        let bound = scope.spawn(|| {
            let mut first = rustix::thread::CpuSet::new();
            first.set(0);
            rustix::thread::sched_setaffinity(None, &first).unwrap();
            bundle.output()
        });
        bound.join().unwrap()
    });
    assert_eq!(bound, free);
}

/// What runs systemd or another manager of cgroups moves itself out of the way first, and lets nobody in there any more.
#[test]
fn a_later_process_goes_where_the_first_has_gone() {
    if !linux::cgroup::Layout::detect().unwrap().is_unified() {
        scratch::skip("cgroup v2 alone");
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.create();
    bundle.start();
    let own = bundle.cgroup().unified().unwrap().to_owned();
    let below = own.join("below");
    std::fs::create_dir(&below).unwrap();
    std::fs::write(below.join("cgroup.procs"), bundle.pid().to_string()).unwrap();
    let controllers = std::fs::read_to_string(own.join("cgroup.controllers")).unwrap();
    let controller = controllers.split_whitespace().next().expect("some controller");
    std::fs::write(own.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
    let outcome = bundle.exec("cat /proc/self/cgroup");
    assert!(outcome.stdout.trim_end().ends_with("/below"), "{}{}", outcome.stdout, outcome.stderr);
    // Who names a place gets that one or none.
    let refused = bundle.call(&["exec", "--cgroup", "/", &bundle.id, "true"]);
    assert!(refused.stderr.contains("resource busy"), "{} {}", refused.status, refused.stderr);
}

crate::door::by_the_library! {
    user_groups_home_and_directory programs_that_cannot_be_executed a_directory_that_is_none
    a_later_process_is_what_its_own_words_say descriptors_are_only_those_given
    programs_that_are_where_the_process_happens_to_be memory_comes_from_where_the_policy_says
    cpus_of_later_processes a_machine_of_another_width the_callers_cpus_are_not_the_containers
}
