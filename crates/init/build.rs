//! Compiles `program/docker-init.rs`, whose bytes the library carries.

#[path = "../../build/freestanding.rs"]
mod freestanding;

fn main() {
    freestanding::compile("docker-init");
}
