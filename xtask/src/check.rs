//! `check`: what a machine can say about a change without running it.

use std::collections::BTreeMap;
use std::fs;

use crate::run::{Failure, Outcome, cargo, root};

/// Formatting, lints with warnings denied, the order of the floors, and where unsafe code stands.
pub(crate) fn run() -> Outcome {
    cargo(["fmt", "--all", "--check"])?;
    cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    floors()?;
    unsafety()
}

/// The crate with unsafe code, of what is linked together.
const UNSAFE: &str = "linux";

/// Crates with a program, or the beginning of one, that is compiled alone (`build/freestanding.rs`), out of sight of cargo's
/// lints.
const FREESTANDING: [&str; 3] = ["image", "init", "runtime"];

/// Fails when another crate does not forbid unsafe code, or has such a program.
fn unsafety() -> Outcome {
    let mut wrong = Vec::new();
    let crates = fs::read_dir(root().join("crates"))
        .map_err(|error| Failure::new(format!("cannot list crates: {error}")))?;
    for entry in crates.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let manifest = read(&format!("crates/{name}/Cargo.toml"))?;
        if name != UNSAFE && !manifest.contains("[lints]\nworkspace = true\n") {
            wrong.push(format!("crates/{name}: does not forbid unsafe code ([lints] workspace = true)"));
        }
        if entry.path().join("program").exists() && !FREESTANDING.contains(&name.as_str()) {
            wrong.push(format!("crates/{name}/program: freestanding programs are those of {FREESTANDING:?}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(wrong.join("\n"))) }
}

fn read(path: &str) -> Result<String, Failure> {
    fs::read_to_string(root().join(path))
        .map_err(|error| Failure::new(format!("cannot read {path}: {error}")))
}

/// Fails when a crate depends on one that the table in `docs/architecture.md` does not allow it.
fn floors() -> Outcome {
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
    fn unsafe_code_stands_where_it_may() {
        unsafety().unwrap();
    }

    #[test]
    fn the_floors_are_kept() {
        floors().unwrap();
    }
}
