//! Images for tests, made here: a busybox root file system in the archive format of `docker save`.

use std::path::Path;

use sha2::{Digest, Sha256};

/// An archive under construction: layers of plain files, one configuration.
#[derive(Debug, Default)]
pub struct Archive {
    layers: Vec<Vec<u8>>,
    config: serde_json::Map<String, serde_json::Value>,
}

impl Archive {
    pub fn new() -> Self {
        Archive::default()
    }

    /// Adds a layer that the closure fills.
    pub fn layer(mut self, fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Self {
        let mut builder = tar::Builder::new(Vec::new());
        fill(&mut builder);
        self.layers.push(builder.into_inner().expect("a vector takes every byte"));
        self
    }

    /// Sets a member of the image configuration's `config` object.
    pub fn set(mut self, key: &str, value: serde_json::Value) -> Self {
        self.config.insert(key.to_owned(), value);
        self
    }

    /// The archive's bytes, the image under this name.
    pub fn build(self, name: &str) -> Vec<u8> {
        // Archives hold full names: Docker refuses one without a tag.
        let last = name.rsplit('/').next().unwrap_or(name);
        let name = if last.contains(':') { name.to_owned() } else { format!("{name}:latest") };
        let diff_ids: Vec<String> =
            self.layers.iter().map(|layer| format!("sha256:{}", sha256(layer))).collect();
        let config = serde_json::json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "created": "2024-01-02T03:04:05Z",
            "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": self.layers.iter().map(|_| serde_json::json!({
                "created": "2024-01-02T03:04:05Z", "created_by": "test" })).collect::<Vec<_>>(),
        })
        .to_string();
        let config_name = format!("{}.json", sha256(config.as_bytes()));
        let layer_names: Vec<String> =
            self.layers.iter().map(|layer| format!("{}/layer.tar", sha256(layer))).collect();
        let manifest =
            serde_json::json!([{ "Config": config_name, "RepoTags": [name], "Layers": layer_names }])
                .to_string();

        let mut archive = tar::Builder::new(Vec::new());
        file(&mut archive, &config_name, config.as_bytes(), 0o644);
        for (name, layer) in layer_names.iter().zip(&self.layers) {
            file(&mut archive, name, layer, 0o644);
        }
        file(&mut archive, "manifest.json", manifest.as_bytes(), 0o644);
        archive.into_inner().expect("a vector takes every byte")
    }
}

/// A small image with a shell: `/bin/busybox` and links for its applets, users, an empty `/tmp`.
pub fn busybox_image(name: &str) -> Vec<u8> {
    busybox().build(name)
}

/// The same, open for more.
pub fn busybox() -> Archive {
    let busybox = std::fs::read("/bin/busybox").expect("the package busybox-static is installed");
    Archive::new()
        .layer(|layer| {
            for (name, mode) in [
                ("bin", 0o755),
                ("etc", 0o755),
                ("home", 0o755),
                ("root", 0o700),
                ("tmp", 0o1777),
                ("usr", 0o755),
                ("var", 0o755),
                ("www", 0o755),
            ] {
                directory(layer, name, mode);
            }
            file(layer, "bin/busybox", &busybox, 0o755);
            for applet in APPLETS {
                link(layer, &format!("bin/{applet}"), "busybox");
            }
            file(layer, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\nweb:x:1000:1001:web:/home:/bin/sh\n", 0o644);
            file(layer, "etc/group", b"root:x:0:\nweb:x:1001:\nextra:x:1002:web\nnogroup:x:65534:\n", 0o644);
            file(layer, "www/index.html", b"hello from inside\n", 0o644);
        })
        .set("Cmd", serde_json::json!(["sh"]))
        .set("Env", serde_json::json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]))
}

const APPLETS: &[&str] = &[
    "sh",
    "ash",
    "cat",
    "chmod",
    "chown",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "echo",
    "env",
    "expr",
    "false",
    "grep",
    "head",
    "hostname",
    "httpd",
    "id",
    "ifconfig",
    "ip",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mknod",
    "mount",
    "mv",
    "nc",
    "nslookup",
    "od",
    "ping",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "sleep",
    "sort",
    "stat",
    "stty",
    "sync",
    "tail",
    "tar",
    "tee",
    "test",
    "top",
    "touch",
    "tr",
    "true",
    "tty",
    "uname",
    "umount",
    "vi",
    "wc",
    "wget",
    "which",
    "whoami",
    "yes",
    "sysctl",
    "setsid",
    "unshare",
    "awk",
    "basename",
    "telnet",
    "traceroute",
];

/// Adds a regular file.
pub fn file(builder: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8], mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_mtime(1_700_000_000);
    builder.append_data(&mut header, name, bytes).expect("a vector takes every byte");
}

/// Adds a directory.
pub fn directory(builder: &mut tar::Builder<Vec<u8>>, name: &str, mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(mode);
    header.set_mtime(1_700_000_000);
    builder.append_data(&mut header, Path::new(name), std::io::empty()).expect("a vector takes every byte");
}

/// Adds a symbolic link.
pub fn link(builder: &mut tar::Builder<Vec<u8>>, name: &str, target: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    header.set_mode(0o777);
    builder.append_link(&mut header, name, target).expect("a vector takes every byte");
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
