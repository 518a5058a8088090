//! Classes of cache and memory bandwidth, where the machine has them and where not. What is written where is tested
//! at the bottom of `rdt.rs`, on a directory that looks like the file system.

use serde_json::json;

use crate::bundle::Bundle;

fn has_resctrl() -> bool {
    linux::mount::list().unwrap().iter().any(|mount| mount.kind == "resctrl")
}

#[test]
fn a_class_that_cannot_be_had_is_refused_by_name() {
    for wanted in [json!({ "closID": "wharf-nobody-made-this" }), json!({ "schemata": ["NONSENSE:0=1"] })] {
        let mut bundle = Bundle::new(&["true"]);
        bundle.config["linux"]["intelRdt"] = wanted;
        let message = bundle.refused();
        let expected = if has_resctrl() {
            "intelRdt"
        } else {
            "linux.intelRdt is specified in config, but no resctrl file system is mounted"
        };
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn amounts_that_the_machine_cannot_share_out_are_refused() {
    if has_resctrl() {
        scratch::skip("the machine shares out caches");
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.create();
    for (option, expected) in [
        ("--l3-cache-schema=L3:0=f", "Intel RDT/CAT: l3 cache schema is not enabled"),
        ("--mem-bw-schema=MB:0=50", "Intel RDT/MBA: memory bandwidth schema is not enabled"),
    ] {
        let outcome = bundle.call(&["update", option, &bundle.id]);
        assert_eq!(outcome.status, 1);
        assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
    }
}
