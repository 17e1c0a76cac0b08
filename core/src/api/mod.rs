//! What a user holds. No type of the query engine leaks out; Arrow's are part of the interface.

pub(crate) mod backend;
pub(crate) mod batches;
pub(crate) mod cache;
#[cfg(feature = "sidecar")]
pub(crate) mod cells;
#[cfg(feature = "sidecar")]
pub(crate) mod connect;
pub(crate) mod definition;
pub(crate) mod error;
pub(crate) mod key;
#[cfg(feature = "sidecar")]
pub(crate) mod nonblocking;
pub(crate) mod options;
pub(crate) mod prepared;
pub(crate) mod row;
pub(crate) mod rules;
pub(crate) mod snapshot;
pub(crate) mod subscription;
pub(crate) mod table;
pub(crate) mod transaction;
pub(crate) mod url;
pub(crate) mod value;
pub(crate) mod version;
