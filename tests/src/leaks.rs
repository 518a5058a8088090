//! What an engine may not leave behind, looked for with the eyes of the system.

use std::fs;
use std::path::Path;

/// Everything on this machine that still belongs to the world with these roots, a line each.
pub(crate) fn find(roots: &Path) -> Vec<String> {
    // With the slash: the second world is not the twentieth.
    let mark = format!("{}/", roots.display());
    let mut left = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(arguments) = fs::read(process.path().join("cmdline")) else { continue };
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        if process.file_name().to_string_lossy().parse::<u32>().is_ok_and(|pid| pid != std::process::id())
            && arguments.contains(&mark)
        {
            left.push(format!("process {}: {arguments}", process.file_name().to_string_lossy()));
        }
    }
    for mount in fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines() {
        if mount.contains(&mark) {
            left.push(format!("mount {mount}"));
        }
    }
    left
}
