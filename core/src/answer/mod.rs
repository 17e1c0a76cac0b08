//! What a read gives: rows and batches.

pub(crate) mod batches;
#[cfg(feature = "sidecar")]
pub(crate) mod cells;
pub(crate) mod certificate;
#[cfg(feature = "csv")]
pub(crate) mod csv;
pub(crate) mod observed;
pub(crate) mod row;
