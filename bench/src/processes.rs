//! What processes hold and use, by their command names. Others of that name on the machine are told apart by their
//! network namespace: it is the shell's for those of its own side.

use crate::shell::Shell;

/// Proportional set sizes, in MiB: memory that a process has to itself, and its share of what it shares.
pub(crate) fn memory(shell: &mut Shell, names: &[&str]) -> f64 {
    sum(shell, names, "sed -n 's/^Pss: *\\([0-9]*\\).*/\\1/p' $p/smaps_rollup 2>/dev/null") / 1024.0
}

/// Time on processors since each started, in milliseconds: fields 14 to 17 of `stat` (its own and its children's), in
/// hundredths of a second.
pub(crate) fn processor_time(shell: &mut Shell, names: &[&str]) -> f64 {
    sum(shell, names, "sed 's/.*) //' $p/stat 2>/dev/null | cut -d' ' -f12-15 | tr ' ' '\\n'") * 10.0
}

/// Whatever numbers a command prints of `$p`, the directory of a process, summed over all of them.
fn sum(shell: &mut Shell, names: &[&str], command: &str) -> f64 {
    let pattern = names.join("|");
    // One process's numbers may vanish while they are read; what is left is still the sum.
    let line = format!(
        "here=$(readlink /proc/$$/ns/net); for p in /proc/[0-9]*; do \
         [ \"$(readlink $p/ns/net)\" = \"$here\" ] || continue; case $(cat $p/comm 2>/dev/null) in {pattern}) \
         {command};; esac; done"
    );
    shell.run(&line).output.lines().filter_map(|line| line.trim().parse::<f64>().ok()).sum()
}
