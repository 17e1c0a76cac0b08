//! Which version the tables of one query see.
//!
//! DataFusion asks each table for its rows by itself, and hands it the session. All tables of one plan get the same session, which was
//! started once: then it chose its time, and made a generator of names. The generator is an object of its own for each start, so
//! it tells apart which scans belong together.

use std::fmt;
use std::sync::{Arc, Weak};

use datafusion::catalog::Session;
use datafusion::common::alias::AliasGenerator;
use parking_lot::Mutex;

use crate::query::engine::{Engine, Readable};
use crate::storage::State;
use crate::types::error::Result;

/// Says whether a query may read a table of a state.
pub(crate) type ReadableAt = Box<Readable>;

/// A version, and which of its tables may be read.
pub(crate) struct Pinned {
    pub(crate) state: Arc<State>,
    pub(crate) readable: ReadableAt,
}

/// Gives the version that a query sees that is planned now.
pub(crate) type PinState = dyn Fn() -> Result<Pinned> + Send + Sync;

/// The versions that plans of other contexts hold.
#[derive(Default)]
pub(crate) struct Pins {
    held: Mutex<Vec<Weak<PinnedPlan>>>,
}

/// The version of all plans that were made after one start of a session, as long as one of them is there.
pub(super) struct PinnedPlan {
    pub(super) pinned: Pinned,
    /// Kept, so that no later start has the same address.
    start: Arc<AliasGenerator>,
}

impl fmt::Debug for PinnedPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinnedPlan({})", self.pinned.state.version)
    }
}

/// Where a catalog finds the version of a query.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) engine: Engine,
    pub(super) newest: Arc<PinState>,
    /// Whether it is one version for ever, and not that of other catalogs of the cache.
    pub(super) is_held: bool,
    /// Whether scans report the bounds of their columns to the planner.
    pub(super) tells_bounds: bool,
}

impl Origin {
    /// The version for what `session` plans: that of the other tables of the same plan, or the newest.
    pub(super) fn pin(&self, session: &dyn Session) -> Result<Arc<PinnedPlan>> {
        let start = &session.execution_props().alias_generator;
        if self.is_held {
            return Ok(Arc::new(PinnedPlan { pinned: (self.newest)()?, start: start.clone() }));
        }
        let mut held = self.engine.pins().held.lock();
        held.retain(|pin| pin.strong_count() > 0);
        let same = held.iter().filter_map(Weak::upgrade).find(|pin| Arc::ptr_eq(&pin.start, start));
        if let Some(pin) = same {
            return Ok(pin);
        }
        let pin = Arc::new(PinnedPlan { pinned: (self.newest)()?, start: start.clone() });
        held.push(Arc::downgrade(&pin));
        Ok(pin)
    }
}
