//! The state of tables from which on their changes are followed.

use std::fmt;
use std::time::SystemTime;

use pillion::source::{Call, FeedSnapshot, Fetch, Fetched, Follow, Followed};
use pillion::{Error, ErrorCode, Result};

use super::Tables;
use super::position::LogPosition;
use super::table::FollowedTable;
use crate::replication::Connection;
use crate::session::Session;
use crate::source::Postgres;

/// A snapshot that sessions can import.
pub(super) struct Exported {
    /// Holds the locks of the tables.
    pub(super) locks: Session,
    /// Exports the snapshot, as long as it does nothing else.
    pub(super) exporter: Connection,
    pub(super) name: String,
    /// A moment before it, by the server's clock.
    pub(super) moment: Option<SystemTime>,
}

/// One state of several tables.
pub(super) struct PostgresSnapshot {
    source: Postgres,
    snapshot: Exported,
    follow: Follow,
    tables: Tables,
    position: Vec<u8>,
}

impl PostgresSnapshot {
    pub(super) fn new(
        source: Postgres,
        snapshot: Exported,
        follow: Follow,
        tables: Tables,
        position: &LogPosition,
    ) -> Self {
        Self { source, snapshot, follow, tables, position: position.encode() }
    }
}

impl FeedSnapshot for PostgresSnapshot {
    fn position(&self) -> &[u8] {
        &self.position
    }

    fn describe(&mut self, relation: usize, call: &Call) -> Result<Followed> {
        call.check()?;
        self.tables.get(relation).map(FollowedTable::followed).ok_or_else(|| unknown(relation))
    }

    fn fetch(&mut self, relation: usize, call: &Call) -> Result<Fetched> {
        let relation = self.follow.relations().get(relation).ok_or_else(|| unknown(relation))?;
        let name = self.snapshot.name.clone();
        let fetched = crate::source::fetched(&self.source, &Fetch::of(relation.clone()), Some(name), call)?;
        Ok(match self.snapshot.moment {
            Some(moment) => fetched.as_of(moment),
            None => fetched,
        })
    }
}

impl fmt::Debug for PostgresSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSnapshot")
            .field("name", &self.snapshot.name)
            .field("place", &self.snapshot.exporter.place())
            .field("locks", &self.snapshot.locks.place())
            .finish_non_exhaustive()
    }
}

fn unknown(relation: usize) -> Error {
    Error::new(
        ErrorCode::InvalidArgument,
        format!("relation {relation} is not one of those that are followed"),
    )
}
