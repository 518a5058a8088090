//! Filters on system calls, loaded by the real kernel.

use std::io::Read;
use std::os::unix::net::UnixListener;

use linux::seccomp::{Action, Compare, Condition, Filter, Flags, Rule, supports};
use serde_json::{Value, json};

use crate::bundle::Bundle;

/// A container under a filter that allows all but what these rules say.
fn filtered(script: &str, rules: Value) -> Bundle {
    let mut bundle = Bundle::shell(script);
    bundle.config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules });
    bundle
}

const MKDIR: [&str; 2] = ["mkdir", "mkdirat"];

#[test]
fn every_action() {
    let script = "mkdir /a; echo $?; test -d /a && echo made";
    for (action, status, output) in [
        ("SCMP_ACT_KILL", "159\n", "Bad system call"),
        ("SCMP_ACT_KILL_THREAD", "159\n", "Bad system call"),
        ("SCMP_ACT_KILL_PROCESS", "159\n", "Bad system call"),
        ("SCMP_ACT_TRAP", "159\n", "Bad system call"),
        ("SCMP_ACT_ERRNO", "1\n", "Operation not permitted"),
        // Nobody traces.
        ("SCMP_ACT_TRACE", "1\n", "Function not implemented"),
        ("SCMP_ACT_LOG", "0\nmade\n", ""),
        ("SCMP_ACT_ALLOW", "0\nmade\n", ""),
    ] {
        for no_new_privileges in [false, true] {
            let mut bundle = filtered(script, json!([{ "names": MKDIR, "action": action }]));
            bundle.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            let outcome = bundle.run();
            assert_eq!(outcome.stdout, status, "{action}: {}", outcome.stderr);
            assert!(outcome.stderr.contains(output), "{action}: {}", outcome.stderr);
        }
    }
}

#[test]
fn an_errno_of_its_own() {
    for (action, errno) in [("SCMP_ACT_ERRNO", 28), ("SCMP_ACT_ERRNO", 0)] {
        let rules = json!([{ "names": MKDIR, "action": action, "errnoRet": errno }]);
        let outcome = filtered("mkdir /a; test -d /a; echo $?", rules).run();
        assert_eq!(outcome.stdout, "1\n", "it was not made");
        assert_eq!(outcome.stderr.contains("No space left on device"), errno == 28, "{}", outcome.stderr);
    }
}

/// The mode of `chmod` is an argument that a shell chooses.
#[test]
fn every_operator() {
    let cases = [
        ("SCMP_CMP_EQ", 0o700, 0, "700"),
        ("SCMP_CMP_NE", 0o700, 0, "600 750"),
        ("SCMP_CMP_LT", 0o700, 0, "600"),
        ("SCMP_CMP_LE", 0o700, 0, "600 700"),
        ("SCMP_CMP_GT", 0o700, 0, "750"),
        ("SCMP_CMP_GE", 0o700, 0, "700 750"),
        ("SCMP_CMP_MASKED_EQ", 0o070, 0o050, "750"),
    ];
    let script = "for m in 600 700 750; do chmod $m /etc 2> /dev/null || echo $m; done";
    for (operator, value, value_two, refused) in cases {
        let rule = |names: &[&str], index: u32| {
            json!({ "names": names, "action": "SCMP_ACT_ERRNO",
                "args": [{ "index": index, "value": value, "valueTwo": value_two, "op": operator }] })
        };
        let bundle = filtered(script, json!([rule(&["chmod"], 1), rule(&["fchmodat", "fchmodat2"], 2)]));
        let output = bundle.output();
        assert_eq!(output.split_whitespace().collect::<Vec<_>>().join(" "), refused, "{operator}");
    }
}

#[test]
fn every_flag_and_foreign_architectures() {
    let rules = || json!([{ "names": MKDIR, "action": "SCMP_ACT_ERRNO" }]);
    let flags = ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"];
    for flags in [json!([flags[0]]), json!([flags[1]]), json!([flags[2]]), json!(flags)] {
        let mut bundle = filtered("mkdir /a; grep Seccomp: /proc/self/status", rules());
        bundle.config["linux"]["seccomp"]["flags"] = flags;
        bundle.config["linux"]["seccomp"]["architectures"] = json!([
            "SCMP_ARCH_X86",
            "SCMP_ARCH_X32",
            "SCMP_ARCH_ARM",
            "SCMP_ARCH_S390X",
            "SCMP_ARCH_RISCV64"
        ]);
        let outcome = bundle.run();
        assert_eq!(outcome.stdout, "Seccomp:\t2\n", "{}", outcome.stderr);
        assert!(outcome.stderr.contains("Operation not permitted"), "{}", outcome.stderr);
    }
}

/// What this thread does, and whatever it starts, is refused these calls; or only those with such an argument.
pub(crate) fn where_it_is_refused(
    call: &'static str,
    argument: Option<(u8, Compare)>,
    work: impl FnOnce() + Send,
) {
    const EPERM: u16 = 1;
    let conditions =
        argument.map(|(argument, compare)| Condition { argument, compare }).into_iter().collect();
    let rule = Rule { calls: vec![call], action: Action::Errno(EPERM), conditions };
    let filter = Filter { default: Action::Allow, architectures: Vec::new(), rules: vec![rule] };
    let program = filter.compile().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            program.load(Flags::default()).unwrap();
            work();
        });
    });
}

/// What the kernel does with a flag is nothing that every machine shows. So one that looks at the flags of each filter refuses
/// those that have it, or those that do not.
#[test]
fn flags_reach_the_kernel() {
    let (log, speculation, killable) = (
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    );
    let asks = Flags { wait_killable: true, listener: true, ..Flags::default() };
    let bit = |flag: &str| match flag {
        _ if flag == log => Flags { log: true, ..Flags::default() },
        _ if flag == speculation => Flags { allow_speculation: true, ..Flags::default() },
        _ => Flags { wait_killable: true, ..Flags::default() },
    };
    for (named, flag, has) in [
        (json!([log]), log, true),
        (json!([speculation]), log, false),
        (json!([log, speculation]), speculation, true),
        (json!([speculation]), speculation, true),
        (json!([]), speculation, false),
        // Who says nothing at all would not pay for what filters cost otherwise.
        (json!(null), speculation, true),
        (json!([killable]), killable, true),
        (json!([log]), killable, false),
    ] {
        let mut bundle = filtered("exit 0", json!([{ "names": MKDIR, "action": "SCMP_ACT_ERRNO" }]));
        let path = bundle.directory.join("listener.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        let seccomp = &mut bundle.config["linux"]["seccomp"];
        if !named.is_null() {
            seccomp["flags"] = named.clone();
        }
        if flag == killable {
            if !supports(asks) {
                scratch::skip("the kernel knows no other way to wait for who is notified");
                continue;
            }
            seccomp["syscalls"][0]["action"] = json!("SCMP_ACT_NOTIFY");
            seccomp["listenerPath"] = json!(path);
        }
        let mask = u64::from(bit(flag).bits());
        let which = |value| Some((1, Compare::Masked { mask, value }));
        let (with, without) = (which(mask), which(0));
        where_it_is_refused("seccomp", if has { without } else { with }, || {
            assert_eq!(bundle.output(), "", "{named} {flag}");
        });
        // Asked whether it knows the one that nobody named, such a kernel says no.
        if !named.is_null() {
            where_it_is_refused("seccomp", if has { with } else { without }, || {
                let message = bundle.refused();
                assert!(
                    message.contains("seccomp") && message.contains("EPERM"),
                    "{named} {flag}: {message}"
                );
            });
        }
    }
}

/// Nothing of one thread is to be brought in line with others: there are none, neither in the first process nor in a later.
#[test]
fn who_is_put_under_a_filter_is_alone() {
    let rules = json!([{ "names": MKDIR, "action": "SCMP_ACT_ERRNO" }]);
    let script = "ls /proc/$$/task | wc -l";
    let mut bundle = filtered(&format!("{script}; exec sleep 1000"), rules);
    bundle.config["linux"]["seccomp"]["flags"] = json!(["SECCOMP_FILTER_FLAG_TSYNC"]);
    bundle.create();
    let tasks = || std::fs::read_dir(format!("/proc/{}/task", bundle.pid())).unwrap().count();
    assert_eq!(tasks(), 1, "waiting");
    bundle.start();
    crate::bundle::wait_until(|| bundle.log() == "1\n");
    let later = bundle.exec(&format!("{script}; grep Seccomp: /proc/self/status"));
    assert_eq!(later.stdout, "1\nSeccomp:\t2\n", "{}", later.stderr);
}

/// Some kernels on some processors make whoever is filtered pay for it.
#[test]
fn speculation_is_left_alone_where_it_is_allowed() {
    let script = "grep -i specul /proc/self/status";
    let free = Bundle::shell(script).run().stdout;
    let with = |flags: Value| {
        let mut bundle = filtered(script, json!([{ "names": MKDIR, "action": "SCMP_ACT_ERRNO" }]));
        if !flags.is_null() {
            bundle.config["linux"]["seccomp"]["flags"] = flags;
        }
        bundle.run().stdout
    };
    assert_eq!(with(json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"])), free);
    assert_eq!(with(json!(null)), free);
    if with(json!([])) == free {
        scratch::skip("the kernel does not slow down who is filtered");
    }
}

#[test]
fn what_makes_no_sense_is_named() {
    let cases = [
        (json!({ "defaultAction": "SCMP_ACT_DANCE" }), "SCMP_ACT_DANCE"),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_X"] }),
            "SECCOMP_FILTER_FLAG_X",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PDP11"] }),
            "SCMP_ARCH_PDP11",
        ),
        (json!({ "defaultAction": "SCMP_ACT_NOTIFY" }), "default action"),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{ "names": ["open"], "action": "SCMP_ACT_NOTIFY" }] }),
            "listenerPath",
        ),
    ];
    for (filter, word) in cases {
        let mut bundle = Bundle::new(&["true"]);
        bundle.config["linux"]["seccomp"] = filter;
        let outcome = bundle.run();
        assert!(outcome.status != 0 && outcome.stderr.contains(word), "{word}: {}", outcome.stderr);
    }
}

#[test]
fn how_one_waits_for_nobody_does_not_matter() {
    let mut bundle = Bundle::new(&["grep", "^Seccomp:", "/proc/self/status"]);
    bundle.config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
            "syscalls": [{ "names": ["mount"], "action": "SCMP_ACT_ERRNO" }] });
    assert_eq!(bundle.output(), "Seccomp:\t2\n");
}

/// The listener goes to whoever waits at the socket, with the state of the container and the metadata; also that of each
/// later process. Nobody holds it any more afterwards, so the calls fail.
#[test]
fn listeners_are_handed_over() {
    for flags in [json!([]), json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])] {
        let rules = json!([{ "names": MKDIR, "action": "SCMP_ACT_NOTIFY" }]);
        let mut bundle = filtered("while ! test -e /go; do sleep 0.02; done; mkdir /a; sleep 1000", rules);
        let path = bundle.directory.join("listener.sock");
        let socket = UnixListener::bind(&path).unwrap();
        bundle.config["linux"]["seccomp"]["listenerPath"] = json!(path);
        bundle.config["linux"]["seccomp"]["listenerMetadata"] = json!("some words");
        bundle.config["linux"]["seccomp"]["flags"] = flags;
        let take = || {
            let (mut connection, _) = socket.accept().unwrap();
            let (mut bytes, mut descriptors) = (vec![0; 64 << 10], Vec::new());
            let count = linux::fd::receive(&connection, &mut bytes, &mut descriptors).unwrap();
            bytes.truncate(count);
            connection.read_to_end(&mut bytes).unwrap();
            let message: Value = serde_json::from_slice(&bytes).unwrap();
            (message, descriptors)
        };
        bundle.create();
        let (message, descriptors) = take();
        assert_eq!(descriptors.len(), 1);
        assert_eq!(message["fds"], json!(["seccompFd"]));
        assert_eq!(message["metadata"], "some words");
        assert_eq!(message["pid"], bundle.pid());
        assert_eq!(message["state"]["id"], bundle.id);
        assert_eq!(message["state"]["status"], "creating");
        drop(descriptors);
        bundle.start();
        std::fs::write(bundle.rootfs().join("go"), "").unwrap();
        crate::bundle::wait_until(|| bundle.log().contains("Function not implemented"));

        let later = std::thread::scope(|scope| {
            let exec = scope.spawn(|| bundle.exec("mkdir /b; echo $?"));
            let (message, descriptors) = take();
            assert_eq!(message["state"]["status"], "running");
            assert_ne!(message["pid"], bundle.pid());
            drop(descriptors);
            exec.join().unwrap()
        });
        assert_eq!(later.stdout, "1\n", "{}", later.stderr);
        assert!(later.stderr.contains("Function not implemented"), "{}", later.stderr);
    }
}

/// A process is put under the filter of its container, whoever made that.
#[test]
fn later_processes_are_under_it() {
    let rules = json!([{ "names": MKDIR, "action": "SCMP_ACT_ERRNO", "errnoRet": 28 }]);
    for no_new_privileges in [false, true] {
        let mut bundle = filtered("sleep 1000", rules.clone());
        bundle.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        bundle.create();
        bundle.start();
        let outcome = bundle.exec("mkdir /a; grep Seccomp: /proc/self/status");
        assert_eq!(outcome.stdout, "Seccomp:\t2\n");
        assert!(outcome.stderr.contains("No space left on device"), "{}", outcome.stderr);
    }
}

#[test]
fn features_name_what_the_kernel_takes() {
    let bundle = Bundle::new(&["true"]);
    let features: Value = serde_json::from_str(&bundle.call(&["features"]).stdout).unwrap();
    let seccomp = &features["linux"]["seccomp"];
    assert_eq!(seccomp["enabled"], true);
    let known = seccomp["knownFlags"].as_array().unwrap();
    let supported = seccomp["supportedFlags"].as_array().unwrap();
    assert!(supported.iter().all(|flag| known.contains(flag)));
    assert!(supported.contains(&json!("SECCOMP_FILTER_FLAG_LOG")), "{supported:?}");
    // It is for filters that ask somebody: see `listeners_are_handed_over`.
    assert!(known.contains(&json!("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")), "{known:?}");
    let mut bundle = Bundle::new(&["true"]);
    for flags in [&Vec::new(), supported] {
        bundle.config["linux"]["seccomp"] =
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": seccomp["archs"], "flags": flags });
        bundle.output();
    }
}

/// A program for x86-64 that makes one call without valid arguments, and ends with the errno.
#[cfg(target_arch = "x86_64")]
fn probe(number: u32, instruction: [u8; 2]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let mut code = vec![0xb8];
    code.extend(number.to_le_bytes()); // mov eax, number
    code.extend([0x31, 0xdb, 0x31, 0xc9, 0x31, 0xff, 0x31, 0xf6]); // ebx, ecx, edi, esi = 0
    code.extend(instruction);
    code.extend([0xf7, 0xd8, 0x89, 0xc7, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]); // exit(-eax)
    let size = HEADERS + code.len() as u64;
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 62, 0, 1, 0, 0, 0];
    for word in [BASE + HEADERS, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, BASE, BASE, size, size, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(code);
    elf
}

/// One process makes calls of three architectures. Those that the filter does not name kill; in those that it names, the
/// rules hold by each one's own numbers.
#[cfg(target_arch = "x86_64")]
#[test]
fn calls_of_other_architectures() {
    use std::os::unix::fs::PermissionsExt;
    const INT_80: [u8; 2] = [0xcd, 0x80];
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    const FAULT: i32 = 14;
    const KILLED: i32 = 128 + 31;
    let run = |number: u32, instruction, filter: Value| {
        let mut bundle = Bundle::new(&["/probe"]);
        let path = bundle.rootfs().join("probe");
        std::fs::write(&path, probe(number, instruction)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        bundle.config["linux"]["seccomp"] = filter;
        bundle.run().status
    };
    let filter = |architectures: Value| {
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures,
            "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7 }] })
    };
    let mkdir = [(83, SYSCALL), (39, INT_80), (0x4000_0000 | 83, SYSCALL)];
    assert_eq!(run(mkdir[0].0, mkdir[0].1, json!(null)), FAULT);
    for architectures in [json!([]), json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])] {
        let named = architectures != json!([]);
        for (index, (number, instruction)) in mkdir.into_iter().enumerate() {
            // A kernel may be built without calls of x86; those of x32 are filtered before they are missed.
            if index == 1 && run(number, instruction, json!(null)) != FAULT {
                continue;
            }
            let expected = if named || index == 0 { 7 } else { KILLED };
            assert_eq!(
                run(number, instruction, filter(architectures.clone())),
                expected,
                "{number:#x} {architectures}"
            );
        }
    }
}

crate::door::by_the_library! {
    every_action an_errno_of_its_own every_operator every_flag_and_foreign_architectures flags_reach_the_kernel
    who_is_put_under_a_filter_is_alone speculation_is_left_alone_where_it_is_allowed what_makes_no_sense_is_named
    how_one_waits_for_nobody_does_not_matter listeners_are_handed_over later_processes_are_under_it
}
