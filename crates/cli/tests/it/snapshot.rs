//! Whole outputs, kept in files beside the tests. `WHARF_UPDATE_SNAPSHOTS=1` writes them anew.

use std::path::Path;

pub(crate) fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots").join(format!("{name}.txt"));
    if std::env::var_os("WHARF_UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("the directory of snapshots");
        std::fs::write(&path, text).expect("a snapshot is written");
        return;
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text,
        known,
        "{} is no longer what it was; look, then run with WHARF_UPDATE_SNAPSHOTS=1",
        path.display()
    );
}
