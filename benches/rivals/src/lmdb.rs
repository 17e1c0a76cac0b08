//! LMDB: one environment, its main database keyed by the integer as it is in memory, which LMDB compares as a number, and
//! rows as packed bytes that are read in the map.
//!
//! Rows are appended in the order of the key in one transaction, synced, so that pages are full. A lookup begins a
//! transaction that reads the newest version, as a lookup in Pillion does; where a row says "in a transaction", one is
//! held open around all calls.
#![expect(unsafe_code, reason = "LMDB maps a file, of which nobody else may change a byte")]

use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, IntegerComparator, PutFlags, RoTxn, WithTls};
use pillion_benches::Result;
use pillion_benches::data::{Keys, Points};
use pillion_benches::harness::{Contestant, Sink};

use crate::packed;

/// The name of the contestant.
pub const LMDB: &str = "LMDB";

/// Address space of the map; the file is as large as its rows.
const MAP_BYTES: usize = 8 << 30;

type Rows = Database<'static, Bytes, Bytes, IntegerComparator>;

/// A key as LMDB compares it: in the order of bytes of this machine, which is that of every machine Pillion runs on, and
/// where a number may lie.
#[repr(align(8))]
struct Key([u8; 8]);

impl Key {
    fn of(key: i64) -> Self {
        Self(key.to_le_bytes())
    }
}

/// An environment with all rows.
#[derive(Clone, Debug)]
pub struct Store {
    env: Env<WithTls>,
    rows: Rows,
}

impl Store {
    /// Makes one in a folder, which is created. Each folder is opened once.
    ///
    /// # Errors
    /// LMDB refuses.
    pub fn create(dir: &Path, points: Points) -> Result<Self> {
        std::fs::create_dir(dir)?;
        // SAFETY: the map is sound as long as nothing but LMDB changes its file. The folder was created just now, in a
        // temporary folder of this process, which opens it here and nowhere else.
        let env = unsafe { EnvOpenOptions::new().map_size(MAP_BYTES).open(dir)? };
        let create = env.create_databases_and_commit(env.write_txn()?, |opener, transaction| {
            let options = opener.database_options().types::<Bytes, Bytes>();
            let rows = options.key_comparator::<IntegerComparator>().create(transaction)?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(rows))
        })?;
        let CommitOrAbort::Commit(rows) = create else { return Err("LMDB made no database".into()) };
        let mut transaction = env.write_txn()?;
        for number in 0..points.rows() {
            let point = points.point(number);
            let (key, row) = (Key::of(point.id), packed::write(&point)?);
            rows.put_with_flags(&mut transaction, PutFlags::APPEND, &key.0, &row)?;
        }
        transaction.commit()?;
        Ok(Self { env, rows })
    }
}

/// Version of LMDB.
pub fn version() -> String {
    let version = heed::lmdb_version();
    format!("{}.{}.{}", version.major, version.minor, version.patch)
}

/// Looks a key up and reads every column.
pub struct GetPoint {
    store: Store,
    keys: Keys,
    held: Option<RoTxn<'static, WithTls>>,
}

impl GetPoint {
    /// Each lookup at the newest version.
    pub fn new(store: &Store, keys: Keys) -> Self {
        Self { store: store.clone(), keys, held: None }
    }

    /// All lookups in one transaction, which keeps this thread's place among the readers of `store`: nothing else reads
    /// it meanwhile.
    ///
    /// # Errors
    /// LMDB refuses.
    pub fn in_transaction(store: &Store, keys: Keys) -> Result<Self> {
        let held = store.env.clone().static_read_txn()?;
        Ok(Self { store: store.clone(), keys, held: Some(held) })
    }
}

impl Contestant for GetPoint {
    #[inline]
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        let key = self.keys.present(call);
        match &self.held {
            Some(held) => get(&self.store.rows, held, key, sink),
            None => get(&self.store.rows, &self.store.env.read_txn()?, key, sink),
        }
    }
}

#[inline]
fn get(rows: &Rows, transaction: &RoTxn<'_, WithTls>, key: i64, sink: &mut impl Sink) -> Result<()> {
    packed::read(key, rows.get(transaction, &Key::of(key).0)?.ok_or("a row is missing")?, sink)
}

/// Looks up a key that is not there.
#[derive(Debug)]
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
        let transaction = self.store.env.read_txn()?;
        let absent = self.store.rows.get(&transaction, &Key::of(self.keys.absent(call)).0)?.is_none();
        sink.text(if absent { "absent" } else { "present" });
        sink.end_row();
        Ok(())
    }
}
