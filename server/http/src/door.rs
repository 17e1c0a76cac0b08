//! What all requests share.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use pillion::{AsyncTable, Error, ErrorCode, Result, Way};
use pillion_door::{Admission, Gate};

use crate::options::HttpOptions;

/// How this door is called in the log and in metrics.
pub(crate) const DOOR: &str = "http";

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Door {
    /// The cache, who may use it, and the connections.
    pub(crate) gate: Arc<Gate>,
    pub(crate) options: HttpOptions,
    pub(crate) requests: Admission,
    pub(crate) streams: Admission,
    pub(crate) uploads: Admission,
    pub(crate) counts: Counts,
}

impl Deref for Door {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.gate
    }
}

/// Numbers for `status`.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Requests so far.
    pub(crate) requests: AtomicU64,
}

impl Door {
    /// A table by its name.
    ///
    /// # Errors
    /// Those of [`Cache::table`](pillion::Cache::table), which name no other table.
    pub(crate) async fn table(&self, name: &str) -> Result<AsyncTable> {
        self.cache.table(name).await.map_err(|error| without_others(name, error))
    }

    /// Whether reads are mere function calls.
    pub(crate) fn is_local(&self) -> bool {
        self.cache.blocking().way() != Way::Remote
    }
}

/// An error of looking for a table, without the names of others: a token may not see all of them.
pub(crate) fn without_others(name: &str, error: Error) -> Error {
    match error.code() {
        ErrorCode::TableNotFound => {
            Error::new(ErrorCode::TableNotFound, format!("there is no table `{name}`"))
        }
        _ => error,
    }
}
