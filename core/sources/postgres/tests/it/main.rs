//! Tests against a real server, which each test starts for itself on this machine.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests say what they expect by failing")]

mod connections;
mod delegation;
mod encryption;
mod ends;
mod feeds;
mod keys;
mod positions;
mod recorder;
mod relations;
mod session;
mod suite;
mod support;
mod types;
