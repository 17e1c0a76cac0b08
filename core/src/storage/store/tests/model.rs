//! Random commits, moves and reopenings against a model, read by the owner, by a follower and through held states.

use crate::types::mode::WriteMode;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use crate::storage::live::follower::Follower;
use crate::storage::planted::{self, Bug};
use crate::storage::store::*;
use crate::storage::table::Found;
use crate::storage::tail::KeyColumn;
use crate::storage::vfs::OsVfs;

/// Keys are numbers below this.
const KEYS: u64 = 60;

type Rows = BTreeMap<i64, String>;
type Model = BTreeMap<&'static str, Rows>;

/// A fixed sequence of numbers that look random (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("text", DataType::Utf8, true),
        Field::new("id", DataType::Int64, false),
    ]))
}

fn shape(name: &str) -> TableShape {
    TableShape::keyed(name, schema(), 1)
}

fn batch(rows: &[(i64, String)]) -> RecordBatch {
    let texts = StringArray::from_iter_values(rows.iter().map(|(_, text)| text));
    let ids = Int64Array::from_iter_values(rows.iter().map(|(id, _)| *id));
    RecordBatch::try_new(schema(), vec![Arc::new(texts), Arc::new(ids)]).unwrap()
}

fn keys(ids: &[i64]) -> KeyColumn {
    let rows: Vec<_> = ids.iter().map(|&id| (id, String::new())).collect();
    KeyColumn::of(&batch(&rows), &[1]).unwrap()
}

/// The rows of every table, by scan; a lookup of every key must say the same.
fn content(state: &State) -> Model {
    let mut content = Model::new();
    for name in ["a", "b"] {
        let Ok(table) = state.table(name) else { continue };
        let sequence = state.version.sequence;
        let mut parts = table.tail_parts().unwrap();
        parts.extend(table.segments.iter().flat_map(|segment| TableState::segment_parts(segment).unwrap()));
        let mut rows = Rows::new();
        for part in &parts {
            let batches = table.read_part(part, None, sequence, &[0, 1], &schema()).unwrap();
            let read: usize = batches.iter().map(RecordBatch::num_rows).sum();
            assert_eq!(table.part_live_rows(part, sequence).unwrap(), read);
            for batch in batches {
                let ids = batch.column(1).as_primitive::<Int64Type>().clone();
                for (row, &id) in ids.values().iter().enumerate() {
                    let text = batch.column(0).as_string::<i32>().value(row).to_owned();
                    assert_eq!(rows.insert(id, text), None, "{id} comes twice");
                }
            }
        }
        assert_eq!(table.rows, rows.len() as u64);
        let all: Vec<i64> = (0..i64::try_from(KEYS).unwrap()).collect();
        for (&id, (key, _)) in all.iter().zip(keys(&all).iter()) {
            let found = table.find(key, sequence).unwrap().map(|found| {
                let is_tail = matches!(found, Found::Tail(..));
                assert!(!is_tail || !table.tails.is_empty());
                found.read(&[0], &Arc::new(schema().project(&[0]).unwrap())).unwrap()
            });
            let text = found.map(|row| row.column(0).as_string::<i32>().value(0).to_owned());
            assert_eq!(text.as_ref(), rows.get(&id), "key {id}");
        }
        content.insert(name, rows);
    }
    content
}

struct Run {
    dir: tempfile::TempDir,
    random: Random,
    store: Option<Store>,
    follower: Follower,
    model: Model,
    held: Vec<(Arc<State>, Model)>,
    step: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path().to_owned(), Arc::new(OsVfs));
        let store = Store::open(files.clone(), Sync::Later, 1 << 20, 0).unwrap();
        let follower = Follower::open(files).unwrap().0;
        let (random, store) = (Random(seed), Some(store));
        let mut run = Self { dir, random, store, follower, model: Model::new(), held: Vec::new(), step: 0 };
        run.define("a");
        run.define("b");
        run
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn rows(&mut self) -> Vec<(i64, String)> {
        let count = 1 + self.random.below(8);
        (0..count)
            .map(|row| {
                let id = i64::try_from(self.random.below(KEYS)).unwrap();
                (id, format!("{id} at {}.{row}", self.step))
            })
            .collect()
    }

    fn define(&mut self, name: &'static str) {
        let rows: Vec<_> = (0..30).map(|id| (2 * id, format!("{id} at first"))).collect();
        let mut batches = std::iter::once(Ok(batch(&rows)));
        self.store().create_table(shape(name), SystemTime::now(), &mut batches).unwrap();
        self.model.insert(name, rows.into_iter().collect());
    }

    /// One to three changes in one commit, applied to the model as they come.
    fn commit(&mut self) {
        let count = if self.random.below(3) == 0 { 1 + self.random.below(3) } else { 1 };
        let mut model = self.model.clone();
        let mut planned = Vec::new();
        for _ in 0..count {
            let name = if self.random.below(3) == 0 { "b" } else { "a" };
            let Some(rows) = model.get_mut(name) else { continue };
            let kind = self.random.below(20);
            let mut new = self.rows();
            let is_bulk = self.random.below(12) == 0;
            match kind {
                0 => rows.clear(),
                1 => {
                    new.sort();
                    new.dedup_by_key(|row| row.0);
                    *rows = new.iter().cloned().collect();
                }
                2..5 => {
                    new.sort();
                    new.dedup_by_key(|row| row.0);
                    new.retain(|(id, _)| !rows.contains_key(id));
                    rows.extend(new.iter().cloned());
                }
                5..9 => new.iter().for_each(|(id, _)| drop(rows.remove(id))),
                _ => rows.extend(new.iter().cloned()),
            }
            planned.push((name, kind, new, is_bulk && planned.is_empty()));
        }
        let state = self.store().state.load_full();
        let mut inputs: Vec<Vec<RecordBatch>> = planned
            .iter()
            .map(|(_, _, rows, is_bulk)| match is_bulk {
                // More rows than go into the log: the same ones again and again, and then once more.
                true => {
                    vec![batch(&rows.iter().cycle().take(40_000).cloned().collect::<Vec<_>>()), batch(rows)]
                }
                false => vec![batch(rows)],
            })
            .collect();
        let mut iterators: Vec<_> = inputs.drain(..).map(|input| input.into_iter().map(Ok)).collect();
        let changes = planned.iter().zip(&mut iterators).map(|((name, kind, rows, is_bulk), iterator)| {
            let table = state.table(name).unwrap().shape.id;
            match kind {
                0 => Change::Truncate { table },
                1 if !is_bulk => Change::Rows { table, mode: WriteMode::Replace, rows: iterator },
                2..5 if !is_bulk => Change::Rows { table, mode: WriteMode::Append, rows: iterator },
                5..9 => Change::Delete {
                    table,
                    keys: keys(&rows.iter().map(|row| row.0).collect::<Vec<_>>()),
                    invalidates: false,
                },
                _ => Change::Rows { table, mode: WriteMode::Upsert, rows: iterator },
            }
        });
        let changes: Vec<_> = changes.collect();
        let is_odd = planned.iter().any(|(_, kind, _, is_bulk)| *is_bulk && (1..5).contains(kind));
        if is_odd {
            return;
        }
        self.store().write(changes, SystemTime::now()).unwrap();
        self.model = model;
    }

    fn reopen(&mut self) {
        let is_clean = self.random.below(2) == 0;
        let store = self.store.take().unwrap();
        if is_clean {
            store.close(true).unwrap();
        }
        drop(store);
        let files = Files::new(self.dir.path().to_owned(), Arc::new(OsVfs));
        self.store = Some(Store::open(files, Sync::Later, 1 << 20, 0).unwrap());
    }

    fn step(&mut self) {
        self.step += 1;
        match self.random.below(30) {
            0 => self.reopen(),
            1..4 => self.store().fold().unwrap(),
            4 => {
                let table = self.store().state().table("a").unwrap().shape.id;
                self.store().merge_table(table, 1).unwrap();
            }
            5 => {
                let held = self.store().state.load_full();
                // Mapped as by a clean close, because the next owner may remove the files.
                held.open_segments().unwrap();
                self.held.push((held, self.model.clone()));
            }
            6 if self.held.len() > 3 => drop(self.held.remove(0)),
            7 if self.random.below(4) == 0 => {
                let table = self.store().state().table("b").unwrap().shape.id;
                self.store().write(vec![Change::Drop { table }], SystemTime::now()).unwrap();
                self.define("b");
            }
            _ => self.commit(),
        }
        assert_eq!(content(&self.store().state()), self.model, "owner");
        if self.random.below(3) == 0 {
            let followed = self.follower.newest().unwrap();
            assert_eq!(content(&followed), self.model, "follower");
        }
        if self.random.below(20) == 0 {
            for (state, model) in &self.held {
                assert_eq!(&content(state), model, "held at {}", state.version);
            }
        }
    }
}

/// Seeds within which a planted bug must be found.
const CANARY_SEEDS: u64 = 100;

/// All steps of a seed.
fn run(seed: u64) {
    let mut run = Run::new(seed);
    for step in 0..150 {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.step()));
        if let Err(panic) = outcome {
            eprintln!("seed {seed}, step {step}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn whatever_is_committed_is_read_and_nothing_else() {
    let seeds = std::env::var("PILLION_MODEL_SEEDS").map_or(20, |seeds| seeds.parse().unwrap());
    (0..seeds).for_each(run);
}

/// Asserts that a planted bug is noticed. Otherwise it would mean nothing that no other is.
fn caught(bug: Bug) {
    let _planted = planted::plant(bug);
    let found = (0..CANARY_SEEDS).find(|&seed| std::panic::catch_unwind(|| run(seed)).is_err());
    eprintln!("model canary {bug:?}: caught by seed {}", found.expect("the planted bug is found"));
}

#[test]
fn readers_that_do_not_see_that_rows_are_deleted_are_noticed() {
    caught(Bug::DeletedRows);
}

#[test]
fn readers_that_see_rows_of_later_commits_are_noticed() {
    caught(Bug::Sequences);
}
