//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::RwLock;
use pillion::{AsyncCache, AsyncTable, Error, ErrorCode, Result, Way};
use pillion_access::Access;
use tokio::sync::watch;

use crate::admission::Admission;
use crate::options::{HttpOptions, Users};
use crate::socket::Connections;

/// How this door is called in the log and in metrics.
pub(crate) const DOOR: &str = "http";

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) cache: AsyncCache,
    pub(crate) options: HttpOptions,
    pub(crate) access: Arc<Access>,
    pub(crate) requests: Admission,
    pub(crate) streams: Admission,
    pub(crate) uploads: Admission,
    pub(crate) connections: Arc<Connections>,
    pub(crate) counts: Counts,
    /// Who may connect to a Unix socket.
    pub(crate) users: RwLock<Users>,
    /// Becomes true when the door closes: streams without an end end then.
    pub(crate) closing: watch::Receiver<bool>,
}

/// Numbers for `status`.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Connections that were refused because too many were open, or because of their user.
    pub(crate) refused_connections: AtomicU64,
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

/// Waits until the door closes.
pub(crate) async fn closed(mut closing: watch::Receiver<bool>) {
    // Its sender lives as long as the door is open; without one, the door is closed.
    drop(closing.wait_for(|is_closing| *is_closing).await);
}
