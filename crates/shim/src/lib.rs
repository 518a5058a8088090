//! The parent of one container.
pub mod clock;
pub mod log;
pub mod paths;
pub mod protocol;
#[cfg(test)]
mod testing;
