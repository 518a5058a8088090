//! `features` names what the runtime takes, all of it and nothing else.

use std::collections::BTreeSet;

use oci::runtime::{
    MemoryPolicyFlag, MemoryPolicyMode, NamespaceKind, SeccompAction, SeccompFlag, SeccompOperator,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::bundle::Bundle;

fn document() -> Value {
    let bundle = Bundle::new(&["true"]);
    serde_json::from_str(&bundle.call(&["features"]).stdout).unwrap()
}

fn words(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

/// Every word that the configuration may have in a place of this type: a wrong one is answered with all right ones.
fn taken<T: DeserializeOwned>() -> BTreeSet<String> {
    let Err(error) = serde_json::from_value::<T>(json!("no such word")) else { panic!("it takes anything") };
    let message = error.to_string();
    message.split('`').skip(1).step_by(2).filter(|word| *word != "no such word").map(str::to_owned).collect()
}

fn named(list: &Value) -> BTreeSet<String> {
    words(list).into_iter().map(str::to_owned).collect()
}

#[test]
fn the_features_document_and_the_version() {
    let features = document();
    let linux = &features["linux"];
    // What is a list of its own is looked at below.
    let yes = json!({ "enabled": true });
    let mut rest = features.clone();
    for name in ["namespaces", "capabilities", "seccomp", "memoryPolicy"] {
        rest["linux"].as_object_mut().unwrap().remove(name).unwrap();
    }
    rest.as_object_mut().unwrap().remove("mountOptions").unwrap();
    let expected = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": oci::runtime::VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "linux": {
            "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true },
            "apparmor": yes,
            "selinux": yes,
            "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
            "mountExtensions": { "idmap": yes },
            "netDevices": yes,
        },
        "annotations": { "org.opencontainers.runc.checkpoint.enabled": "true" },
        "potentiallyUnsafeConfigAnnotations": ["org.systemd.property.", "org.criu.config"],
    });
    assert_eq!(rest, expected);

    assert_eq!(named(&linux["namespaces"]), taken::<NamespaceKind>());
    let policy = linux["memoryPolicy"].as_object().unwrap();
    assert_eq!(policy.keys().collect::<Vec<_>>(), ["flags", "modes"]);
    assert_eq!(named(&policy["modes"]), taken::<MemoryPolicyMode>());
    assert_eq!(named(&policy["flags"]), taken::<MemoryPolicyFlag>());
    let seccomp = linux["seccomp"].as_object().unwrap();
    let keys: Vec<_> = seccomp.keys().collect();
    assert_eq!(keys, ["actions", "archs", "enabled", "knownFlags", "operators", "supportedFlags"]);
    assert_eq!(seccomp["enabled"], true);
    assert_eq!(named(&seccomp["actions"]), taken::<SeccompAction>());
    assert_eq!(named(&seccomp["operators"]), taken::<SeccompOperator>());
    assert_eq!(named(&seccomp["knownFlags"]), taken::<SeccompFlag>());
    assert!(named(&seccomp["supportedFlags"]).is_subset(&named(&seccomp["knownFlags"])));

    let bundle = Bundle::new(&["true"]);
    assert!(bundle.call(&["--version"]).stdout.starts_with("wharf-runtime version "));
    let unknown = bundle.call(&["create", "--nope", "x"]);
    assert!(unknown.stderr.contains("flag provided but not defined: -nope"), "{}", unknown.stderr);
}

/// What is a word of any kind in the configuration is asked of the runtime.
#[test]
fn every_word_of_it_is_known() {
    let features = document();
    let linux = &features["linux"];

    // As many as this kernel has; a newer one may have more than have names.
    let last: usize =
        std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap();
    let capabilities = words(&linux["capabilities"]);
    let mut bundle = Bundle::shell("grep CapBnd /proc/self/status");
    let all = (1u64 << (last + 1).min(capabilities.len())) - 1;
    bundle.config["process"]["capabilities"]["bounding"] =
        json!(&capabilities[..capabilities.len().min(last + 1)]);
    let outcome = bundle.run();
    assert!(!outcome.stderr.contains("unknown or unavailable capabilities"), "{}", outcome.stderr);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = status.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    let own = u64::from_str_radix(own, 16).unwrap();
    assert_eq!(outcome.stdout, format!("CapBnd:\t{:016x}\n", all & own));

    // No call can come from most of them.
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": linux["seccomp"]["archs"],
        "flags": linux["seccomp"]["supportedFlags"],
        "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO" }],
    });
    bundle.output();

    let mut bundle = Bundle::new(&["true"]);
    // These say more than how something is mounted, and have tests of their own; the last is not for a tmpfs.
    let apart = ["bind", "rbind", "remount", "idmap", "ridmap", "tmpcopyup", "iversion"];
    for option in words(&features["mountOptions"]) {
        if !apart.contains(&option) {
            bundle.mount(&format!("/{option}"), "tmpfs", "tmpfs", &[option]);
        }
    }
    bundle.output();
    bundle.mount("/other", "tmpfs", "tmpfs", &["no-such-option"]);
    assert!(bundle.refused().contains("no-such-option"), "others are for the file system");
}
