//! Files on disk, on a real S3 server and on an HTTP server, as a source of tables.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests say what they expect by failing"
)]

#[cfg(feature = "azure")]
mod azure;
mod cases;
mod changes;
#[cfg(any(feature = "http", feature = "aws"))]
mod encryption;
mod formats;
#[cfg(feature = "gcp")]
mod google;
mod hive;
#[cfg(feature = "http")]
mod http;
mod oracle;
#[cfg(feature = "aws")]
mod s3;
mod suite;
mod support;
mod watched;
