//! What a user holds. No type of the query engine leaks out, except by the feature `datafusion`; Arrow's are part of the interface.

pub(crate) mod cache;
mod checking;
#[cfg(feature = "sidecar")]
pub(crate) mod connect;
#[cfg(feature = "datafusion")]
mod contexts;
pub(crate) mod nonblocking;
pub(crate) mod prepared;
pub(crate) mod snapshot;
pub(crate) mod subscription;
pub(crate) mod table;
pub(crate) mod transaction;
