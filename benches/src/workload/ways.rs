//! The three ways in, side by side.

use std::time::Duration;

use pillion::Cache;
use tempfile::TempDir;

use super::stored::{Stored, warm_up};
use crate::Result;
use crate::harness::{Contestant, Goal, Row};
use crate::process::{Echo, Placement, RoundTrip, Sidecar, Sizes};

/// The cache runs in the process of the bench.
pub const EMBEDDED: &str = "embedded";
/// A sidecar owns the cache; the process of the bench maps its files.
pub const ATTACHED: &str = "attached";
/// A sidecar owns the cache; the process of the bench sends it every call.
pub const REMOTE: &str = "remote";
/// What a socket between two processes costs.
pub const ROUND_TRIP: &str = "socket round trip";

/// The goal of lookups.
pub fn lookup_goal(row: Row) -> Row {
    row.goal(ATTACHED, ATTACHED_GOAL)
}

/// An attached lookup should take at most this multiple of an embedded one.
pub const ATTACHED_GOAL: Goal = Goal::Ratio { to: EMBEDDED, at_most: 1.15 };
/// A remote lookup should take at most this multiple of a bare round trip with the same placement of its ends.
const REMOTE_GOAL: f64 = 1.25;
/// Many lookups in a remote call should take at most this multiple of an embedded call.
pub const REMOTE_MANY_GOAL: Goal = Goal::Ratio { to: EMBEDDED, at_most: 1.6 };
/// A computed remote answer should take at most this multiple of an embedded one.
pub const REMOTE_COMPUTED_GOAL: Goal = Goal::Ratio { to: EMBEDDED, at_most: 1.3 };
/// A whole table should arrive remotely within this time, whatever its size.
pub const REMOTE_WHOLE_GOAL: Goal = Goal::Time { at_most: Duration::from_millis(1) };

/// Two caches with the same tables: this process owns one, and a sidecar, which is reached in two ways, owns the other.
/// There are two because a directory has one owner at a time.
#[derive(Debug)]
pub struct Ways {
    attached: Cache,
    remote: Cache,
    // Declared after its clients.
    sidecar: Sidecar,
    // Declared after the sidecar, whose files are in it.
    _served: TempDir,
    embedded: Stored,
}

impl Ways {
    /// Loads both caches, and starts the sidecar. Every table is read once in every way, so that its files are mapped and
    /// checked.
    ///
    /// # Errors
    /// A cache refuses, or the sidecar does not serve.
    pub fn create(load: impl Fn(&Stored) -> Result<()>) -> Result<Self> {
        let served = Stored::create()?;
        load(&served)?;
        let served = served.close()?;
        let embedded = Stored::create()?;
        load(&embedded)?;
        let sidecar = Sidecar::start(served.path())?;
        let ways = Self {
            attached: sidecar.attached()?,
            remote: sidecar.remote()?,
            sidecar,
            _served: served,
            embedded,
        };
        for cache in [ways.embedded(), &ways.attached, &ways.remote] {
            for info in cache.tables()? {
                warm_up(&cache.table(&info.name)?)?;
            }
        }
        Ok(ways)
    }

    /// The cache that this process owns.
    pub fn embedded(&self) -> &Cache {
        self.embedded.cache()
    }

    /// Adds a contestant for each way to a row.
    ///
    /// # Errors
    /// A contestant cannot be made.
    pub fn enter<C: Contestant + 'static>(
        &self,
        row: Row,
        make: impl Fn(&Cache) -> Result<C>,
    ) -> Result<Row> {
        Ok(row
            .with(EMBEDDED, make(self.embedded())?)
            .with(ATTACHED, make(&self.attached)?)
            .with(REMOTE, make(&self.remote)?))
    }

    /// The same as [`enter`](Self::enter), with a bare round trip of as many bytes as the remote call sends and
    /// receives.
    ///
    /// # Errors
    /// A contestant cannot be made.
    pub fn enter_with_round_trip<C: Contestant + 'static>(
        &self,
        row: Row,
        echo: &Echo,
        make: impl Fn(&Cache) -> Result<C>,
    ) -> Result<Row> {
        let round_trip = RoundTrip::new(echo, Sizes::of(&self.sidecar, &make)?)?;
        Ok(self.enter(row, make)?.beside(ROUND_TRIP, round_trip))
    }

    /// Adds remote calls and bare round trips of as many bytes, with their ends on one processor and on two.
    ///
    /// # Errors
    /// A contestant cannot be made.
    pub fn enter_placed<C: Contestant + 'static>(
        &self,
        mut row: Row,
        echo: &Echo,
        make: impl Fn(&Cache) -> Result<C>,
    ) -> Result<Row> {
        for (placement, remote, round_trip) in [
            (Placement::Apart, "remote, two processors", "round trip, two processors"),
            (Placement::Together, "remote, one processor", "round trip, one processor"),
        ] {
            if !placement.is_possible() {
                row = row.without(remote).without(round_trip);
                continue;
            }
            let bare = RoundTrip::new(echo, Sizes::of(&self.sidecar, &make)?)?;
            row = row
                .with(remote, self.sidecar.placed(make(&self.remote)?, placement))
                .beside(round_trip, echo.placed(bare, placement))
                .goal(remote, Goal::Ratio { to: round_trip, at_most: REMOTE_GOAL });
        }
        Ok(row)
    }

    /// Checks that the attached client sent nothing, and ends the sidecar.
    ///
    /// # Errors
    /// It did, or the sidecar failed.
    pub fn end(self) -> Result<()> {
        let Self { attached, remote, sidecar, _served, embedded } = self;
        let sent = attached.messages_sent();
        if sent > 0 {
            return Err(format!("the attached client sent {sent} messages; it only read").into());
        }
        drop((attached, remote, embedded));
        sidecar.stop()
    }
}
