//! Content by digest.
