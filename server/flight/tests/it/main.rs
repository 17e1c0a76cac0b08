//! The door as its clients see it: over real sockets, with clients of Flight SQL in Rust and Python, and with some that misbehave.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of tests say what they expect by failing"
)]

mod catalogs;
mod encryption;
mod hostile;
mod metrics;
mod permissions;
mod python;
mod sources;
mod statements;
mod streams;
mod support;
mod updates;
mod uploads;
