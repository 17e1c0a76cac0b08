//! Pillion for ADBC: a driver that driver managers load as a shared library.

mod binding;
mod cancelling;
mod connection;
mod database;
mod errors;
mod export;
mod ingest;
mod metadata;
mod options;
mod results;
mod statement;
