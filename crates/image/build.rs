//! Compiles `program/hello.rs`, the program of the embedded image.

#[path = "../../build/freestanding.rs"]
mod freestanding;

fn main() {
    freestanding::compile("hello");
}
