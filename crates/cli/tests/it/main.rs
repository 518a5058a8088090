//! The built program against an engine that answers what a test tells it to.

mod configuration;
mod engine;
mod failures;
mod help;
mod lists;
mod run;
mod snapshot;
mod state;
