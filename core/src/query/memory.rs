//! Memory that a statement holds outside of its query.

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};

use super::engine::Engine;
use crate::types::error::{Error, ErrorCode, Result};

/// Memory that counts against `query_memory` until it is dropped.
#[derive(Debug)]
pub(crate) struct HeldMemory {
    reservation: MemoryReservation,
    what: &'static str,
}

impl HeldMemory {
    /// # Errors
    /// [`ErrorCode::MemoryLimit`] if `query_memory` has no room for as many more bytes.
    pub(crate) fn grow(&self, bytes: usize) -> Result<()> {
        self.reservation.try_grow(bytes).map_err(|_| {
            let (held, what) = (self.reservation.size(), self.what);
            let message = format!(
                "{what} take more than the {held} bytes that `query_memory` has left for them; change fewer rows at a time, or \
                 raise it"
            );
            Error::new(ErrorCode::MemoryLimit, message)
        })
    }
}

impl Engine {
    /// Memory of a statement, none so far. `what`: what it is for, in the plural.
    pub(crate) fn held_memory(&self, what: &'static str) -> HeldMemory {
        HeldMemory { reservation: MemoryConsumer::new(what).register(self.memory_pool()), what }
    }
}
