//! A history of transactions over two tables that follows from a seed, and what the tables hold after each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::types::Int64Type;
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use pillion::{Cache, Result, Snapshot, Table, TableDefinition, Version};

use crate::support::random::Random;

const TABLES: [&str; 2] = ["a", "b"];
/// The source; its position is the number of the last transaction.
const SOURCE: &str = "history";
/// Key of the row that every transaction writes, in both tables.
const COUNTER: i64 = 0;
/// Rows are upserted and deleted below this key ...
const KEYS: u64 = 200;
/// ... and appended from this one on.
const APPENDED: i64 = 1_000_000;
/// One transaction in this many has more rows than a commit logs.
const LARGE: u64 = 40;
/// Rows of a large transaction, and bytes of the text of each.
const LARGE_ROWS: i64 = 300;
const LARGE_TEXT: usize = 8 << 10;

/// A row is identified by the transaction that wrote it and the length of its text.
type Rows = BTreeMap<i64, (u64, usize)>;

enum Change {
    Append(i64),
    Upsert(BTreeSet<i64>),
    Delete(Vec<i64>),
    Truncate,
    Replace(BTreeSet<i64>),
}

/// The changes of a transaction, and the length of the texts that it writes.
fn changes(seed: u64, number: u64) -> (Vec<(usize, Change)>, usize) {
    let mut random = Random::of(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let is_large = random.below(LARGE) == 0;
    let text = if is_large { LARGE_TEXT } else { usize::try_from(random.below(80)).unwrap() };
    let counted = i64::try_from(number).unwrap();
    let mut changes = Vec::new();
    for table in 0..TABLES.len() {
        let some = |random: &mut Random| -> BTreeSet<i64> {
            let rows = random.below(12);
            (0..rows).map(|_| i64::try_from(1 + random.below(KEYS)).unwrap()).collect()
        };
        match random.below(16) {
            // This many rows must come before other changes of their table.
            _ if is_large => {}
            0 => changes.push((table, Change::Truncate)),
            1 => changes.push((table, Change::Replace(some(&mut random)))),
            2..=5 => {
                let mut keys: Vec<i64> = some(&mut random).into_iter().collect();
                keys.push(APPENDED + (counted - i64::try_from(random.below(8)).unwrap()).max(0));
                changes.push((table, Change::Delete(keys)));
            }
            6..=8 => changes.push((table, Change::Append(APPENDED + counted))),
            _ => {}
        }
        let mut keys = if is_large { (1..=LARGE_ROWS).collect() } else { some(&mut random) };
        keys.insert(COUNTER);
        changes.push((table, Change::Upsert(keys)));
    }
    (changes, text)
}

fn text(id: i64, number: u64, len: usize) -> String {
    let mut text = format!("{number}/{id} ").repeat(len / 4 + 1);
    text.truncate(len);
    text
}

fn rows(ids: impl IntoIterator<Item = i64>, number: u64, len: usize) -> RecordBatch {
    let ids: Vec<i64> = ids.into_iter().collect();
    let texts = ids.iter().map(|&id| text(id, number, len));
    let columns: [(&str, ArrayRef); 3] = [
        ("text", Arc::new(StringArray::from_iter_values(texts))),
        ("by", Arc::new(Int64Array::from(vec![i64::try_from(number).unwrap(); ids.len()]))),
        ("id", Arc::new(Int64Array::from(ids))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Defines the tables as they are before the first transaction.
pub(super) fn begin(cache: &Cache) -> Result<()> {
    for name in TABLES {
        cache.define_table(name, TableDefinition::new(rows([COUNTER], 0, 0)).primary_key(["id"]))?;
    }
    Ok(())
}

/// Makes a transaction.
pub(super) fn commit(cache: &Cache, seed: u64, number: u64) -> Result<Version> {
    let tables: Vec<Table> = TABLES.iter().map(|name| cache.table(name)).collect::<Result<_>>()?;
    let (changes, len) = changes(seed, number);
    let mut transaction = cache.transaction().source_position(SOURCE, number.to_string());
    for (table, change) in changes {
        let table = &tables[table];
        transaction = match change {
            Change::Append(id) => transaction.append(table, rows([id], number, len)),
            Change::Upsert(ids) => transaction.upsert(table, rows(ids, number, len)),
            Change::Delete(keys) => transaction.delete(table, &keys)?,
            Change::Truncate => transaction.truncate(table),
            Change::Replace(ids) => transaction.replace(table, rows(ids, number, len)),
        };
    }
    transaction.commit()
}

/// The number of the last transaction in a cache, by the position of its source.
pub(super) fn position(cache: &Cache) -> Result<u64> {
    let position = cache.source_position(SOURCE)?;
    Ok(position.map_or(0, |position| String::from_utf8(position).unwrap().parse().unwrap()))
}

/// The number of the last transaction in a snapshot.
pub(super) fn number(snapshot: &Snapshot) -> Result<u64> {
    let mut numbers = [0; TABLES.len()];
    for (number, name) in numbers.iter_mut().zip(TABLES) {
        let row = snapshot.table(name)?.get(COUNTER)?.expect("every transaction counts");
        *number = row.get::<i64>("by")?.cast_unsigned();
    }
    assert_eq!(numbers[0], numbers[1], "half of a transaction at version {}", snapshot.version()?);
    Ok(numbers[0])
}

/// The expected contents of the tables after a transaction; only moves forward.
#[derive(Clone, Debug)]
pub(super) struct Model {
    seed: u64,
    number: u64,
    tables: [Rows; TABLES.len()],
}

impl Model {
    /// Before the first transaction.
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, number: 0, tables: [const { Rows::new() }; TABLES.len()].map(with_counter) }
    }

    fn advance(&mut self) {
        self.number += 1;
        let (changes, len) = changes(self.seed, self.number);
        let row = (self.number, len);
        for (table, change) in changes {
            let rows = &mut self.tables[table];
            match change {
                Change::Append(id) => {
                    rows.insert(id, row);
                }
                Change::Upsert(ids) => rows.extend(ids.into_iter().map(|id| (id, row))),
                Change::Delete(keys) => keys.iter().for_each(|key| {
                    rows.remove(key);
                }),
                Change::Truncate => rows.clear(),
                Change::Replace(ids) => *rows = ids.into_iter().map(|id| (id, row)).collect(),
            }
        }
    }

    /// Moves forward to the transaction of a snapshot, fails unless the snapshot has exactly the expected rows, by
    /// scan and by key, and returns its number.
    ///
    /// # Errors
    /// Those of reading the snapshot.
    pub(super) fn check(&mut self, snapshot: &Snapshot) -> Result<u64> {
        let number = number(snapshot)?;
        let of = format!("seed {}, transaction {number}, version {}", self.seed, snapshot.version()?);
        assert!(number >= self.number, "{of}: {} was there before", self.number);
        while self.number < number {
            self.advance();
        }
        for (name, expected) in TABLES.iter().zip(&self.tables) {
            let table = snapshot.table(name)?;
            assert_eq!(table.info().rows, expected.len() as u64, "{of}: rows of `{name}`");
            let mut found = Rows::new();
            for batch in table.scan()? {
                let batch = batch?;
                let column = |name: &str| batch.column_by_name(name).unwrap().clone();
                let (ids, numbers) = (column("id"), column("by"));
                let texts = column("text");
                let texts = texts.as_string::<i32>();
                for (row, &id) in ids.as_primitive::<Int64Type>().values().iter().enumerate() {
                    let by = numbers.as_primitive::<Int64Type>().value(row).cast_unsigned();
                    let value = texts.value(row);
                    assert_eq!(value, text(id, by, value.len()), "{of}: a text that was never written");
                    assert!(found.insert(id, (by, value.len())).is_none(), "{of}: `{name}` has {id} twice");
                }
            }
            assert_eq!(&found, expected, "{of}: `{name}`");
            let mut random = Random::of(number);
            for id in (0..8).map(|_| i64::try_from(random.below(2 * KEYS)).unwrap()) {
                let row =
                    table.get(id)?.map(|row| row.get::<i64>("by").map(i64::cast_unsigned)).transpose()?;
                assert_eq!(row, expected.get(&id).map(|row| row.0), "{of}: `{name}`, key {id}");
            }
        }
        Ok(number)
    }
}

fn with_counter(mut rows: Rows) -> Rows {
    rows.insert(COUNTER, (0, 0));
    rows
}
