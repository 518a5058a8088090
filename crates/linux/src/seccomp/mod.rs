//! System call filters.
