//! A small version of `cargo xtask soak`.

use blackbox::soak::{Plan, run};

#[test]
fn nothing_is_lost_however_often_the_engine_is_killed() {
    let wrong = run(Plan { containers: 5, kills: 10, seed: 1, other: None });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
