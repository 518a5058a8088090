//! The host's cgroup trees, seen by a container that has no cgroup namespace of its own.

use serde_json::json;

use crate::bundle::Bundle;

/// Without a cgroup namespace the host's hierarchy is bound where the configuration has a cgroup mount: as read-only as it
/// says, in a user namespace too.
#[test]
fn cve_2023_25809_the_hosts_cgroups_are_read_only_where_they_shall_be() {
    for user in [false, true] {
        let script = "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do [ -f $d/cgroup.procs ] || continue; \
                      echo seen; mkdir $d/made 2> /dev/null && echo made; \
                      { echo 0 > $d/cgroup.procs; } 2> /dev/null && echo written; done; true";
        let mut bundle = Bundle::shell(script);
        let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
        if user {
            namespaces.push(json!({ "type": "user" }));
            let map = json!([{ "containerID": 0, "hostID": 0, "size": 65_536 }]);
            bundle.config["linux"]["uidMappings"] = map.clone();
            bundle.config["linux"]["gidMappings"] = map;
        }
        bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]);
        let output = bundle.output();
        assert!(output.lines().count() > 0 && output.lines().all(|line| line == "seen"), "{output}");
    }
}

crate::door::by_the_library! {
    cve_2023_25809_the_hosts_cgroups_are_read_only_where_they_shall_be
}
