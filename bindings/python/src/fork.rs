//! Handles in a process that was forked: they refuse calls there, and dropping them does nothing.

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU64, Ordering};

use pillion::{Error, ErrorCode, Result};

/// How often this process was forked from another one since the module was imported.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Says that this process is the child of a fork. Python calls it.
pub(crate) fn forked() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// The number of this process in a line of forks.
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Something of a cache that belongs to the process that made it.
///
/// A child of a fork has none of the threads of its parent, and shares its locks and sockets. Dropped there, a handle would close
/// the cache of the parent; so it is leaked.
pub(crate) struct Held<T> {
    /// `None` only while it is dropped.
    value: Option<T>,
    generation: u64,
}

impl<T> Held<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Some(value), generation: generation() }
    }

    /// # Errors
    /// [`ErrorCode::Closed`] in a child of the process that made it.
    #[inline]
    pub(crate) fn get(&self) -> Result<&T> {
        match &self.value {
            Some(value) if self.generation == generation() => Ok(value),
            _ => Err(of_parent()),
        }
    }

    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) fn get_mut(&mut self) -> Result<&mut T> {
        match &mut self.value {
            Some(value) if self.generation == generation() => Ok(value),
            _ => Err(of_parent()),
        }
    }

    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) fn into_inner(mut self) -> Result<T> {
        self.get()?;
        self.value.take().ok_or_else(of_parent)
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        if self.generation != generation() {
            let _leaked = ManuallyDrop::new(self.value.take());
        }
    }
}

#[cold]
fn of_parent() -> Error {
    Error::new(
        ErrorCode::Closed,
        "this handle was made before the process was forked; open the cache again in this process",
    )
}
