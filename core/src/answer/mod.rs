//! What a read gives: rows and batches.

pub(crate) mod batches;
#[cfg(feature = "sidecar")]
pub(crate) mod cells;
#[cfg_attr(not(feature = "sql"), expect(dead_code, reason = "only statements are observed"))]
pub(crate) mod observed;
pub(crate) mod row;
