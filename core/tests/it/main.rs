//! Integration tests of the core: one binary, because each that links the query engine costs minutes to build.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests say what they expect by failing"
)]

mod conformance;
mod zz_exp;
