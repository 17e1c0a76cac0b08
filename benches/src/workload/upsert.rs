//! Commits of some rows, one after another.

use arrow::array::RecordBatch;
use pillion::{CacheOptions, Durability, Table};

use super::Stored;
use super::lookup::read_point;
use crate::Result;
use crate::data::Points;
use crate::harness::{Contestant, Forget, Sink};

/// Upserts rows in one commit.
#[derive(Debug)]
pub struct Upsert {
    // Declared before its cache, so that nothing refers to the folder when the folder is removed.
    table: Table,
    _stored: Stored,
    changes: Vec<RecordBatch>,
    next: Option<RecordBatch>,
}

impl Upsert {
    /// Upserts `changes` in turn into a new table of all `points`.
    ///
    /// # Errors
    /// The cache refuses.
    pub fn new(points: Points, durability: Durability, changes: &[RecordBatch]) -> Result<Self> {
        let stored = Stored::create_with(CacheOptions::new().durability(durability))?;
        let table = stored.load_points(points.batches()?)?;
        Ok(Self { table, _stored: stored, changes: changes.to_vec(), next: None })
    }
}

impl Contestant for Upsert {
    fn prepare(&mut self, call: u64) -> Result<()> {
        self.next = Some(change(&self.changes, call)?.clone());
        Ok(())
    }

    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        let version = self.table.upsert(self.next.take().ok_or("nothing to upsert")?)?;
        sink.int(version.sequence.cast_signed());
        Ok(())
    }

    fn check(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        self.call(call, &mut Forget)?;
        for key in keys(change(&self.changes, call)?) {
            read_point(self.table.get(key)?.as_ref(), sink)?;
        }
        Ok(())
    }
}

/// The change of a call.
///
/// # Errors
/// There are none.
pub fn change(changes: &[RecordBatch], call: u64) -> Result<&RecordBatch> {
    let at = call.checked_rem(changes.len() as u64).ok_or("no changes")?;
    Ok(&changes[usize::try_from(at)?])
}

/// The keys of a change.
pub fn keys(change: &RecordBatch) -> Vec<i64> {
    use arrow::array::AsArray;
    change.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec()
}
