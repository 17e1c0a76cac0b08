//! redb: one table whose key is the integer and whose value is redb's own tuple of the other columns, read in place.
//!
//! Rows are inserted in the order of the key in one transaction, synced, and the file is compacted. The page cache is
//! the default, 1 GiB, and holds everything. A lookup begins a transaction and opens the table, so that it reads the
//! newest version, as a lookup in Pillion does; where a row says "in a transaction", one table is held open around all
//! calls.

use std::path::Path;
use std::sync::Arc;

use pillion_benches::Result;
use pillion_benches::data::{Keys, Points};
use pillion_benches::harness::{Contestant, Sink};
use redb::{Database, ReadOnlyTable, ReadableDatabase, TableDefinition};

/// The name of the contestant.
pub const REDB: &str = "redb";

/// Version of redb, which has no constant for it.
pub const VERSION: &str = "4.6";

type Row = (i64, f64, &'static str, &'static str);

const ROWS: TableDefinition<'_, i64, Row> = TableDefinition::new(Points::NAME);

/// A file with all rows, open.
#[derive(Clone)]
pub struct Store {
    database: Arc<Database>,
}

impl Store {
    /// Makes one.
    ///
    /// # Errors
    /// redb refuses.
    pub fn create(file: &Path, points: Points) -> Result<Self> {
        let mut database = Database::create(file)?;
        let transaction = database.begin_write()?;
        {
            let mut rows = transaction.open_table(ROWS)?;
            for number in 0..points.rows() {
                let point = points.point(number);
                let row = (point.amount, point.price, point.city.as_str(), point.code.as_str());
                rows.insert(point.id, row)?;
            }
        }
        transaction.commit()?;
        database.compact()?;
        Ok(Self { database: Arc::new(database) })
    }

    fn newest(&self) -> Result<ReadOnlyTable<i64, Row>> {
        Ok(self.database.begin_read()?.open_table(ROWS)?)
    }
}

/// Looks a key up and reads every column.
pub struct GetPoint {
    store: Store,
    keys: Keys,
    held: Option<ReadOnlyTable<i64, Row>>,
}

impl GetPoint {
    /// Each lookup at the newest version.
    pub fn new(store: &Store, keys: Keys) -> Self {
        Self { store: store.clone(), keys, held: None }
    }

    /// All lookups in one transaction.
    ///
    /// # Errors
    /// redb refuses.
    pub fn in_transaction(store: &Store, keys: Keys) -> Result<Self> {
        Ok(Self { store: store.clone(), keys, held: Some(store.newest()?) })
    }
}

impl Contestant for GetPoint {
    #[inline]
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        let key = self.keys.present(call);
        match &self.held {
            Some(held) => get(held, key, sink),
            None => get(&self.store.newest()?, key, sink),
        }
    }
}

#[inline]
fn get(rows: &ReadOnlyTable<i64, Row>, key: i64, sink: &mut impl Sink) -> Result<()> {
    let row = rows.get(key)?.ok_or("a row is missing")?;
    let (amount, price, city, code) = row.value();
    sink.int(key);
    sink.int(amount);
    sink.float(price);
    sink.text(city);
    sink.text(code);
    sink.end_row();
    Ok(())
}

/// Looks up a key that is not there.
pub struct GetAbsent {
    store: Store,
    keys: Keys,
}

impl GetAbsent {
    /// Each lookup at the newest version.
    pub fn new(store: &Store, keys: Keys) -> Self {
        Self { store: store.clone(), keys }
    }
}

impl Contestant for GetAbsent {
    #[inline]
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        let absent = self.store.newest()?.get(self.keys.absent(call))?.is_none();
        sink.text(if absent { "absent" } else { "present" });
        sink.end_row();
        Ok(())
    }
}
