//! What work in progress needs.
