//! The `pillion` command as its users run it: the real binary, on caches that the tests make through the API.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers say what they expect as tests do: by failing"
)]

mod config;
mod errors;
mod export;
#[cfg(all(feature = "flight", feature = "flight-sql"))]
mod flight_sql;
#[cfg(feature = "postgres")]
mod following;
mod health;
#[cfg(feature = "http")]
mod http;
mod kubernetes;
mod load;
mod logs;
mod manual;
mod metrics;
mod pipes;
mod probes;
mod reload;
mod serve;
mod shell;
mod sidecar;
mod sources;
mod splitter;
mod sql;
mod status;
mod supervisor;
mod support;
