//! Tests on real SQLite files, which each test writes for itself, often while they are read.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "helpers of tests say what they expect by failing"
)]

mod access;
mod ends;
mod follow;
mod marks;
mod positions;
mod relations;
mod suite;
mod support;
mod types;
