//! Tables and statements of Flight SQL servers: of a real one, and of one that misbehaves as it is told.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "helpers of tests say what they expect by failing"
)]

mod encryption;
mod endpoints;
mod faults;
mod logins;
mod positions;
mod relations;
mod suite;
mod support;
