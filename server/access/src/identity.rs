//! Who a client is, as far as a door knows.

use std::sync::Arc;

use super::denial::{Denials, Denied};
use super::permissions::{Permissions, Right, Tables};
use super::token_file::Digest;

/// Who a client is and what it may do. Made by [`Access::identify`](crate::Access::identify); cloning is cheap.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(crate) name: Arc<str>,
    pub(crate) permissions: Arc<Permissions>,
    /// The token that it showed; `None` if it showed none.
    pub(crate) digest: Option<Digest>,
    pub(crate) denials: Arc<Denials>,
}

impl Identity {
    /// The name of its token in the configuration, or `anonymous`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it may do.
    pub fn permissions(&self) -> &Permissions {
        &self.permissions
    }

    /// Whether it may do something with a table, or with what belongs to no table. Says nothing to the log: for listings,
    /// which leave out what may not be seen.
    pub fn may(&self, right: Right, table: Option<&str>) -> bool {
        self.permissions.allow(right, table)
    }

    /// Whether it may read every table, also those that are defined later.
    pub fn reads_all(&self) -> bool {
        self.permissions.read == Tables::All
    }

    /// Whether it may read and change every table, also those that are defined later.
    pub fn changes_all(&self) -> bool {
        self.reads_all() && self.permissions.write == Tables::All
    }

    /// Whether it may read any table.
    pub fn reads_any(&self) -> bool {
        self.permissions.read != Tables::None
    }

    /// As [`may`](Self::may), for a step that was asked for: a refusal is counted and logged with `door`.
    ///
    /// # Errors
    /// [`Denied::Forbidden`].
    pub fn demand(&self, door: &'static str, right: Right, table: Option<&str>) -> Result<(), Denied> {
        if self.may(right, table) {
            return Ok(());
        }
        let denied = Denied::Forbidden { name: self.name.clone(), right, table: table.map(str::to_owned) };
        self.denials.count(door, &denied);
        Err(denied)
    }

    /// As [`demand`](Self::demand), for reads of whichever tables it may read.
    ///
    /// # Errors
    /// [`Denied::Forbidden`] if there are none.
    pub fn demand_any_read(&self, door: &'static str) -> Result<(), Denied> {
        if self.reads_any() { Ok(()) } else { self.demand(door, Right::Read, None) }
    }

    /// As [`demand`](Self::demand), for changes of whichever tables it may change.
    ///
    /// # Errors
    /// [`Denied::Forbidden`] if there are none.
    pub fn demand_any_write(&self, door: &'static str) -> Result<(), Denied> {
        if self.permissions.write != Tables::None { Ok(()) } else { self.demand(door, Right::Write, None) }
    }
}
