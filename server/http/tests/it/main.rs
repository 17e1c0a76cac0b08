//! The door as its clients see it: over real sockets, with a client that knows HTTP and one that does not.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests say what they expect by failing"
)]

mod answers;
mod changes;
mod documents;
mod encryption;
mod hostile;
mod metrics;
mod permissions;
mod rows;
mod sources;
mod support;
mod uploads;
