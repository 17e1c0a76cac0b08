//! What all handles of a cache share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pillion::{Cache, Error, ErrorCode, Result, Way};
use pyo3::prelude::*;

use crate::errors::raise;
use crate::fork::Held;

/// A cache, and whether the program closed it.
pub(crate) struct Shared {
    cache: Held<Cache>,
    closed: AtomicBool,
    pub(crate) way: Way,
}

impl Shared {
    pub(crate) fn new(cache: Cache) -> Arc<Self> {
        let way = cache.way();
        Arc::new(Self { cache: Held::new(cache), closed: AtomicBool::new(false), way })
    }

    /// Whether reads are function calls; otherwise they wait for a sidecar.
    pub(crate) fn is_local(&self) -> bool {
        self.way != Way::Remote
    }

    /// # Errors
    /// [`ErrorCode::Closed`] after [`close`](Self::close), and in a child of a fork.
    #[inline]
    pub(crate) fn cache(&self) -> PyResult<&Cache> {
        self.open().and_then(|()| self.cache.get()).map_err(raise)
    }

    /// A handle of the same cache.
    ///
    /// # Errors
    /// As [`cache`](Self::cache).
    #[inline]
    pub(crate) fn checked<'a, T>(&self, handle: &'a Held<T>) -> PyResult<&'a T> {
        self.open().and_then(|()| handle.get()).map_err(raise)
    }

    /// # Errors
    /// [`ErrorCode::Closed`] in a child of the process that opened the cache, and only there.
    pub(crate) fn same_process(&self) -> Result<()> {
        self.cache.get()?;
        Ok(())
    }

    fn open(&self) -> Result<()> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorCode::Closed, "the cache was closed; open it again"));
        }
        Ok(())
    }

    /// Closes the cache; closing it again does nothing.
    ///
    /// # Errors
    /// Those of [`Cache::close`].
    pub(crate) fn close(&self) -> Result<()> {
        // In the child of a fork there is nothing to close: the parent owns the cache.
        let Ok(cache) = self.cache.get() else { return Ok(()) };
        if self.closed.swap(true, Ordering::Relaxed) { Ok(()) } else { cache.close() }
    }
}
