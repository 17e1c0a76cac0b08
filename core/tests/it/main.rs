//! Integration tests of the core: one binary, because each that links the query engine costs minutes to build.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests say what they expect by failing"
)]

mod support;

#[cfg(feature = "sidecar")]
mod access;
#[cfg(feature = "sidecar")]
mod attaching;
#[cfg(all(feature = "parquet", feature = "csv"))]
mod bad_input;
mod checked;
#[cfg(feature = "sql")]
mod chosen_tables;
mod conformance;
mod corruption;
#[cfg(all(feature = "sql", target_os = "linux"))]
mod costly_queries;
#[cfg(feature = "csv")]
mod csv_values;
mod damaged_logs;
#[cfg(target_os = "linux")]
mod damaged_pages;
#[cfg(all(feature = "datafusion", feature = "sidecar"))]
mod datafusion_contexts;
#[cfg(feature = "sql")]
mod deep_queries;
#[cfg(feature = "sql")]
mod delegation;
mod directories;
mod disk_limit;
#[cfg(target_os = "linux")]
mod faults;
mod format_reader;
#[cfg(target_os = "linux")]
mod full_disk;
mod golden;
mod history;
#[cfg(all(feature = "sidecar", feature = "sql", target_os = "linux"))]
mod hostile;
mod house;
mod invalidated;
#[cfg(feature = "sql")]
mod kept_answers;
#[cfg(all(feature = "sidecar", feature = "sql", target_os = "linux"))]
mod killed;
#[cfg(all(feature = "parquet", feature = "csv"))]
mod kinds_of_files;
mod lifetimes;
#[cfg(all(feature = "sql", target_os = "linux"))]
mod long_rows;
#[cfg(feature = "sidecar")]
mod nonblocking;
#[cfg(target_os = "linux")]
mod opening;
mod parts;
#[cfg(all(feature = "sidecar", feature = "sql", target_os = "linux"))]
mod raw;
#[cfg(all(feature = "sidecar", feature = "sql", target_os = "linux"))]
mod raw_client;
#[cfg(feature = "parquet")]
mod real_data;
#[cfg(all(feature = "sidecar", feature = "sql", target_os = "linux"))]
mod recorded;
mod recorder;
mod recovery;
mod refreshes;
#[cfg(all(feature = "sidecar", feature = "sql", target_os = "linux"))]
mod restarts;
mod small_memory;
mod stale_reads;
#[cfg(feature = "sidecar")]
mod through_socket;
mod tidy;
mod told_changes;
#[cfg(feature = "sql")]
mod working_sets;
