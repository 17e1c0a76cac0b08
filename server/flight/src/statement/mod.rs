//! Statements: prepared, with parameters, run, and kept until they are fetched.

pub(crate) mod held;
pub(crate) mod ingest;
pub(crate) mod parameters;
pub(crate) mod prepared;
pub(crate) mod query;
mod spool;
pub(crate) mod update;
mod work;
