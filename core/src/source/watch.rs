//! Changes that a source tells by itself.

use std::fmt;
use std::sync::Arc;

/// What a source calls when rows of a relation may have changed: from any thread, and as often as it likes. It returns at once.
pub type Changed = Arc<dyn Fn() + Send + Sync>;

/// A source tells changes of a relation as long as this is kept; see [`Source::watch`](super::Source::watch).
pub struct Watch {
    _kept: Box<dyn Send>,
}

impl Watch {
    /// Keeps what the source needs for it. Dropping it ends the watch.
    pub fn new(kept: impl Send + 'static) -> Self {
        Self { _kept: Box::new(kept) }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}
