//! Proportional set sizes: memory that a process has to itself, and its share of what it shares.

use crate::shell::Shell;

/// Sum over all processes whose command name is one of these, in MiB. Others of that name on the machine are told
/// apart by their network namespace: it is the shell's for those of its own side.
pub(crate) fn of(shell: &mut Shell, names: &[&str]) -> f64 {
    let pattern = names.join("|");
    // One process's numbers may vanish while they are read; what is left is still the sum.
    let line = format!(
        "here=$(readlink /proc/$$/ns/net); for p in /proc/[0-9]*; do \
         [ \"$(readlink $p/ns/net)\" = \"$here\" ] || continue; case $(cat $p/comm 2>/dev/null) in {pattern}) \
         sed -n 's/^Pss: *\\([0-9]*\\).*/\\1/p' $p/smaps_rollup 2>/dev/null;; esac; done"
    );
    let kibibytes: f64 =
        shell.run(&line).output.lines().filter_map(|line| line.trim().parse::<f64>().ok()).sum();
    kibibytes / 1024.0
}
