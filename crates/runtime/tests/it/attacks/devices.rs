//! Devices of the host that nobody allowed.

use serde_json::json;

use crate::bundle::Bundle;

/// The list of device rules was read as one of exceptions: what it did not mention (or everything, where there was none)
/// could be opened by whoever may make a node for it.
#[test]
fn ghsa_g54h_m393_cpwq_what_no_rule_allows_is_denied() {
    let rules = [
        json!(null),
        json!([]),
        json!([{ "allow": true, "type": "c", "major": 4, "minor": 64, "access": "rwm" }]),
        json!([{ "allow": false, "type": "c", "major": 4, "minor": 64, "access": "rwm" }]),
    ];
    for rules in rules {
        let mut bundle = Bundle::shell("mknod /dev/made c 10 229 && : < /dev/made");
        bundle.config["linux"]["resources"]["devices"] = rules.clone();
        let outcome = bundle.run();
        assert!(outcome.stderr.contains("/dev/made: Operation not permitted"), "{rules}: {}", outcome.stderr);
        let mut bundle = Bundle::shell("head -c 2 /dev/zero | wc -c");
        bundle.config["linux"]["resources"]["devices"] = rules;
        assert_eq!(bundle.output(), "2\n", "what every container may use");
    }
    let mut bundle = Bundle::shell("mknod /dev/made b 7 9 && : < /dev/made");
    bundle.config["linux"].as_object_mut().unwrap().remove("resources");
    assert!(bundle.run().stderr.contains("Operation not permitted"));
}

crate::door::by_the_library! {
    ghsa_g54h_m393_cpwq_what_no_rule_allows_is_denied
}
