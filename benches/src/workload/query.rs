//! Queries.

use pillion::{Batches, Cache, Prepared, Value};

use super::{COMPUTED_SQL, GROUPS_SQL, POINT_SQL, RANGE_ROWS, RANGE_SQL, point_text};
use crate::Result;
use crate::data::{Keys, read_batches};
use crate::harness::{Contestant, Sink};

/// A prepared query of one row.
#[derive(Debug)]
pub struct PreparedPoint {
    query: Prepared,
    keys: Keys,
}

impl PreparedPoint {
    /// Prepares it.
    ///
    /// # Errors
    /// The cache refuses it.
    pub fn new(cache: &Cache, keys: Keys) -> Result<Self> {
        Ok(Self { query: cache.prepare(POINT_SQL)?, keys })
    }
}

impl Contestant for PreparedPoint {
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        read(self.query.execute(&[self.keys.present(call).into()])?, sink)
    }
}

/// A query of one row, as text.
#[derive(Debug)]
pub struct PointText {
    cache: Cache,
    keys: Keys,
    text: String,
}

impl PointText {
    /// Queries of `cache`.
    pub fn new(cache: &Cache, keys: Keys) -> Self {
        Self { cache: cache.clone(), keys, text: String::new() }
    }
}

impl Contestant for PointText {
    fn prepare(&mut self, call: u64) -> Result<()> {
        self.text = point_text(self.keys.present(call));
        Ok(())
    }

    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        read(self.cache.sql(&self.text, &[])?, sink)
    }
}

/// A prepared query of a range of keys.
#[derive(Debug)]
pub struct PreparedRange {
    query: Prepared,
    keys: Keys,
}

impl PreparedRange {
    /// Prepares it.
    ///
    /// # Errors
    /// The cache refuses it.
    pub fn new(cache: &Cache, keys: Keys) -> Result<Self> {
        Ok(Self { query: cache.prepare(RANGE_SQL)?, keys })
    }
}

impl Contestant for PreparedRange {
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        let (from, to) = self.keys.range(call, RANGE_ROWS);
        read(self.query.execute(&[Value::Int(from), Value::Int(to)])?, sink)
    }
}

/// A query of all rows, as text.
#[derive(Debug)]
pub struct Groups {
    cache: Cache,
}

impl Groups {
    /// Queries of `cache`.
    pub fn new(cache: &Cache) -> Self {
        Self { cache: cache.clone() }
    }
}

impl Contestant for Groups {
    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        read(self.cache.sql(GROUPS_SQL, &[])?, sink)
    }
}

/// A query whose answer is computed from a tenth of the rows, as text.
#[derive(Debug)]
pub struct Computed {
    cache: Cache,
}

impl Computed {
    /// Queries of `cache`.
    pub fn new(cache: &Cache) -> Self {
        Self { cache: cache.clone() }
    }
}

impl Contestant for Computed {
    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        read(self.cache.sql(COMPUTED_SQL, &[])?, sink)
    }
}

pub(super) fn read(batches: Batches, sink: &mut impl Sink) -> Result<()> {
    for batch in batches {
        read_batches([batch?], sink)?;
    }
    Ok(())
}
