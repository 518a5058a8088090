//! The parent of one container.
pub mod clock;
pub mod frame;
pub mod health;
pub mod journal;
pub mod log;
pub mod paths;
pub mod protocol;
pub mod restart;
#[cfg(test)]
mod testing;
