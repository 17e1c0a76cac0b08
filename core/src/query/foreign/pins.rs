//! Which version the tables of one query see.
//!
//! DataFusion asks each table for its rows by itself, and hands it the session. All tables of one plan get the same session, which was
//! started once: then it chose its time, and made a generator of names. The generator is an object of its own for each start, so
//! it tells apart which scans belong together. A session that plans again long after its start sees a newer version.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use datafusion::catalog::Session;
use datafusion::common::alias::AliasGenerator;
use parking_lot::Mutex;

use crate::query::engine::{Engine, Readable};
use crate::storage::State;
use crate::types::error::Result;

/// How long plans of one start of a session get the same version: longer than the planning of a query takes.
const SHARED_FOR: Duration = Duration::from_secs(10);

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

/// The version of all plans that were made shortly after one start of a session, as long as one of them is there.
pub(super) struct PinnedPlan {
    pub(super) pinned: Pinned,
    /// Kept, so that no later start has the same address.
    start: Arc<AliasGenerator>,
    since: Instant,
}

impl PinnedPlan {
    fn new(pinned: Pinned, start: &Arc<AliasGenerator>) -> Self {
        Self { pinned, start: start.clone(), since: Instant::now() }
    }

    /// Whether a scan that is planned `now` after the same start belongs to the same query.
    fn is_shared(&self, start: &Arc<AliasGenerator>, now: Instant) -> bool {
        Arc::ptr_eq(&self.start, start) && now.saturating_duration_since(self.since) < SHARED_FOR
    }
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
    /// Whether answers may lack rows of tables that hold only some.
    pub(super) is_partial: bool,
}

impl Origin {
    /// The version for what `session` plans: that of the other tables of the same plan, or the newest.
    pub(super) fn pin(&self, session: &dyn Session) -> Result<Arc<PinnedPlan>> {
        let start = &session.execution_props().alias_generator;
        if self.is_held {
            return Ok(Arc::new(PinnedPlan::new((self.newest)()?, start)));
        }
        let mut held = self.engine.pins().held.lock();
        held.retain(|pin| pin.strong_count() > 0);
        let now = Instant::now();
        let same = held.iter().filter_map(Weak::upgrade).find(|pin| pin.is_shared(start, now));
        if let Some(pin) = same {
            return Ok(pin);
        }
        let pin = Arc::new(PinnedPlan::new((self.newest)()?, start));
        held.push(Arc::downgrade(&pin));
        Ok(pin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_planned_shortly_after_one_start_has_one_version() {
        let dir = tempfile::tempdir().unwrap();
        let cache = crate::Cache::open(dir.path()).unwrap();
        let (_, pinned) = crate::way::local::shown(cache.backend.pin().unwrap().as_ref(), None).unwrap();
        let (start, other) = (Arc::new(AliasGenerator::new()), Arc::new(AliasGenerator::new()));
        let pin = PinnedPlan::new(pinned, &start);
        assert!(pin.is_shared(&start, pin.since));
        assert!(!pin.is_shared(&other, pin.since));
        assert!(pin.is_shared(&start, pin.since + SHARED_FOR / 2));
        assert!(!pin.is_shared(&start, pin.since + SHARED_FOR));
        cache.close().unwrap();
    }
}
