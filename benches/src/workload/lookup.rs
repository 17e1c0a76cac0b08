//! Lookups by key.

use pillion::{Row, Table, ValueRef};

use super::MANY;
use crate::Result;
use crate::data::{Keys, Trip, TripKeys};
use crate::harness::{Contestant, Sink};

/// Looks a key up and reads every column.
#[derive(Debug)]
pub struct Get {
    table: Table,
    keys: Keys,
}

impl Get {
    /// Lookups in `table`.
    pub fn new(table: Table, keys: Keys) -> Self {
        Self { table, keys }
    }
}

impl Contestant for Get {
    #[inline]
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        read_point(self.table.get(self.keys.present(call))?.as_ref(), sink)
    }
}

/// Looks up a key that is not there.
#[derive(Debug)]
pub struct GetAbsent {
    table: Table,
    keys: Keys,
}

impl GetAbsent {
    /// Lookups in `table`.
    pub fn new(table: Table, keys: Keys) -> Self {
        Self { table, keys }
    }
}

impl Contestant for GetAbsent {
    #[inline]
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        let row = self.table.get(self.keys.absent(call))?;
        sink.text(if row.is_none() { "absent" } else { "present" });
        sink.end_row();
        Ok(())
    }
}

/// Looks up a key of three columns and reads every column.
#[derive(Debug)]
pub struct GetTrip {
    table: Table,
    keys: TripKeys,
    asked: Trip,
}

impl GetTrip {
    /// Lookups in `table`.
    pub fn new(table: Table, keys: TripKeys) -> Self {
        Self { table, keys, asked: keys.present(0) }
    }
}

impl Contestant for GetTrip {
    fn prepare(&mut self, call: u64) -> Result<()> {
        self.asked = self.keys.present(call);
        Ok(())
    }

    #[inline]
    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        let Trip { moment, carrier, number, .. } = &self.asked;
        let moment = ValueRef::Timestamp { value: *moment, unit: arrow::datatypes::TimeUnit::Microsecond };
        let row = self.table.get((moment, carrier.as_str(), *number))?.ok_or("a row is missing")?;
        match row.get(0)? {
            ValueRef::Timestamp { value, .. } => sink.int(value),
            other => return Err(format!("{other} is not a moment").into()),
        }
        sink.text(row.get(1)?);
        sink.int(row.get(2)?);
        sink.float(row.get(3)?);
        sink.text(row.get(4)?);
        sink.end_row();
        Ok(())
    }
}

/// Looks many keys up at once and reads every column of every row.
#[derive(Debug)]
pub struct GetMany {
    table: Table,
    keys: Keys,
    asked: Vec<i64>,
}

impl GetMany {
    /// Lookups in `table`.
    pub fn new(table: Table, keys: Keys) -> Self {
        Self { table, keys, asked: Vec::new() }
    }
}

impl Contestant for GetMany {
    fn prepare(&mut self, call: u64) -> Result<()> {
        self.asked = self.keys.many(call, MANY).collect();
        Ok(())
    }

    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        let rows = self.table.get_many(&self.asked)?;
        rows.iter().try_for_each(|row| read_point(row.as_ref(), sink))
    }
}

/// Looks the same keys up one by one.
#[derive(Debug)]
pub struct GetEach {
    table: Table,
    keys: Keys,
    asked: Vec<i64>,
}

impl GetEach {
    /// Lookups in `table`.
    pub fn new(table: Table, keys: Keys) -> Self {
        Self { table, keys, asked: Vec::new() }
    }
}

impl Contestant for GetEach {
    fn prepare(&mut self, call: u64) -> Result<()> {
        self.asked = self.keys.many(call, MANY).collect();
        Ok(())
    }

    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        self.asked.iter().try_for_each(|&key| read_point(self.table.get(key)?.as_ref(), sink))
    }
}

/// Reads every column of a row of [`Points`](crate::data::Points).
#[inline]
pub(super) fn read_point(row: Option<&Row>, sink: &mut impl Sink) -> Result<()> {
    let row = row.ok_or("a row is missing")?;
    sink.int(row.get(0)?);
    sink.int(row.get(1)?);
    sink.float(row.get(2)?);
    sink.text(row.get(3)?);
    sink.text(row.get(4)?);
    sink.end_row();
    Ok(())
}
