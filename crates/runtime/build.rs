//! Links `wharf-runtime` for a start that costs little, and has it begin with `program/seal.rs`.

#[path = "../../build/freestanding.rs"]
mod freestanding;
#[path = "../../build/linking.rs"]
mod linking;

fn main() {
    linking::main();
    if linking::is_static() {
        freestanding::begin_with("seal", "wharf_begin");
    }
}
