//! What a read gives: rows and batches.

pub(crate) mod batches;
#[cfg(feature = "sidecar")]
pub(crate) mod cells;
pub(crate) mod certificate;
pub(crate) mod observed;
#[cfg(feature = "csv")]
pub(crate) mod csv;
pub(crate) mod row;
