//! Devices by the Container Device Interface.

use blackbox::{IMAGE, Settings, World, busybox_image};

const FILE: &str = r#"{
  "cdiVersion": "0.6.0",
  "kind": "vendor.com/sensor",
  "devices": [
    {"name": "left", "containerEdits": {"env": ["SIDE=left"], "deviceNodes": [{"path": "/dev/left", "hostPath": "/dev/null"}]}},
    {"name": "all", "containerEdits": {"mounts": [{"hostPath": "HERE/driver", "containerPath": "/driver", "options": ["ro", "bind"]}]}}
  ],
  "containerEdits": {"env": ["SENSOR=vendor"]}
}"#;

const GPUS: &str = "---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: all
  containerEdits:
    mounts:
    - hostPath: HERE/driver
      containerPath: /driver
      options: [ro, bind]
";

/// An engine that knows one vendor's devices, and another kind for `--gpus`.
fn world() -> World {
    let mut world = World::empty(Settings::default());
    let directory = world.directory().join("cdi");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("driver"), "the driver\n").unwrap();
    let text = FILE.replace("HERE", directory.to_str().unwrap());
    std::fs::write(directory.join("sensor.json"), &text).unwrap();
    let text = GPUS.replace("HERE", directory.to_str().unwrap());
    std::fs::write(directory.join("gpu.yaml"), text).unwrap();
    world.stop_engine();
    world.set_flags(&["--cdi-spec-dir", directory.to_str().unwrap()]);
    world.start_engine();
    world.load(&busybox_image(IMAGE));
    world
}

#[test]
fn a_vendors_file_says_what_a_device_needs() {
    let world = world();
    for client in world.clients() {
        let script = "echo $SENSOR $SIDE; test -c /dev/left && echo x > /dev/left && cat /driver";
        let output = client.run(&[
            "run",
            "--rm",
            "--device",
            "vendor.com/sensor=left",
            "--device",
            "vendor.com/sensor=all",
            IMAGE,
            "sh",
            "-c",
            script,
        ]);
        assert_eq!(output.ok(), "vendor left\nthe driver");
        assert_eq!(client.run(&["run", "--rm", "--gpus", "all", IMAGE, "cat", "/driver"]).ok(), "the driver");
        client
            .run(&["run", "--rm", "--device", "vendor.com/sensor=right", IMAGE, "true"])
            .code(125)
            .says("CDI device injection failed: unresolvable CDI devices vendor.com/sensor=right");
        client
            .run(&["run", "--rm", "--gpus", "driver=tpu", IMAGE, "true"])
            .code(125)
            .says("could not select device driver \"tpu\" with capabilities: [[gpu]]");
        world.tidy();
    }
}
