//! Tables of Delta Lake, written by delta-rs on disk and on a real S3 server, as a source of tables.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests say what they expect by failing"
)]

mod ends;
mod parts;
mod positions;
mod s3;
mod suite;
mod support;
mod types;
mod vectors;
mod versions;
