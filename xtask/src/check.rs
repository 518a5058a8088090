//! `check`: what a machine can say about a change without running it.

use std::collections::BTreeMap;
use std::fs;

use crate::run::{Failure, Outcome, cargo, root};

/// Formatting, lints with warnings denied, and the order of the floors.
pub(crate) fn run() -> Outcome {
    cargo(["fmt", "--all", "--check"])?;
    cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    floors()
}

/// Fails when a crate depends on one that the table in `docs/architecture.md` does not allow it.
fn floors() -> Outcome {
    let read = |path: &str| {
        fs::read_to_string(root().join(path))
            .map_err(|error| Failure::new(format!("cannot read {path}: {error}")))
    };
    let allowed = allowed(&read("docs/architecture.md")?);
    let mut wrong = Vec::new();
    for (name, may_use) in &allowed {
        let manifest = format!("crates/{name}/Cargo.toml");
        for used in used(&read(&manifest)?) {
            if allowed.contains_key(&used) && !may_use.contains(&used) {
                wrong.push(format!("{manifest}: {name} may not use {used}"));
            }
        }
    }
    if allowed.is_empty() {
        wrong.push("docs/architecture.md: no table of crates found".into());
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(wrong.join("\n"))) }
}

/// Rows of the form ``| `name` | sentence | `a`, `b` | never |``.
fn allowed(page: &str) -> BTreeMap<String, Vec<String>> {
    let mut table = BTreeMap::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        if let [_, name, _, may_use, _, _] = cells[..] {
            let may_use = may_use.split(',').map(|word| word.trim().trim_matches('`').to_owned()).collect();
            table.insert(name.trim_matches('`').to_owned(), may_use);
        }
    }
    table
}

/// The names under `[dependencies]` of a manifest.
fn used(manifest: &str) -> Vec<String> {
    manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_and_a_manifest_are_understood() {
        let table =
            allowed("| crate | is | may use | never |\n| `image` | images | `oci`, `store` | containers |\n");
        assert_eq!(table["image"], ["oci", "store"]);
        let manifest = "[package]\nname = \"x\"\n\n[dependencies]\noci.workspace = true\nserde = \"1\"\n\n[lints]\na = 1\n";
        assert_eq!(used(manifest), ["oci", "serde"]);
    }

    #[test]
    fn the_floors_are_kept() {
        floors().unwrap();
    }
}
