//! The kinds of writes, each for the cache and for the model: one method of the [driver](Driver) for each.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::contents;
use super::driver::{Driver, Step};
use super::model::{Content, TableContent};
use crate::storage::Change;
use crate::test_random::Random;
use crate::types::error::Error;
use crate::types::mode::WriteMode;
use crate::types::version::Version;

/// A commit of more rows than this writes segments.
const LOGGED_ROWS_MAX: usize = 1 << 15;

type Written = Result<Version, Error>;

impl Driver {
    pub(super) fn create(&mut self, name: &str, rows: usize) -> Step {
        let (name, as_of, rows) = (name.to_owned(), self.next(), self.rows(rows));
        let content = TableContent { as_of, rows };
        let written = content.rows.clone();
        let shape = contents::shape(&name);
        self.commit(
            |content_of_all| drop(content_of_all.tables.insert(name, content)),
            move |store| {
                let mut batches = contents::batches(&written);
                Ok(store.create_table(shape, time(as_of), &mut batches)?.version)
            },
        )
    }

    pub(super) fn append(&mut self, name: &str, rows: usize) -> Step {
        let (as_of, rows) = (self.next(), self.rows(rows));
        let written = rows.clone();
        self.change(
            name,
            as_of,
            |table| table.rows.extend(rows),
            move |table, write| {
                let rows = &mut contents::batches(&written);
                write(vec![Change::Rows { table, mode: WriteMode::Append, rows }])
            },
        )
    }

    /// Appends rows to some table, or makes one with rows.
    pub(super) fn append_to_any(&mut self) -> Step {
        match self.history().newest().tables.keys().next().cloned() {
            Some(name) => self.append(&name, 2),
            None => self.create("after", 2),
        }
    }

    pub(super) fn replace(&mut self, name: &str, rows: usize) -> Step {
        let (as_of, rows) = (self.next(), self.rows(rows));
        let written = rows.clone();
        self.change(
            name,
            as_of,
            |table| table.rows = rows,
            move |table, write| {
                let rows = &mut contents::batches(&written);
                write(vec![Change::Rows { table, mode: WriteMode::Replace, rows }])
            },
        )
    }

    /// Upserts new rows, and rows that replace existing ones. With `many` they become segments at once.
    pub(super) fn upsert(&mut self, name: &str, rows: usize, many: bool) -> Step {
        let (as_of, rows) = (self.next(), self.changed_rows(name, rows));
        let written = rows.clone();
        self.change(
            name,
            as_of,
            |table| table.rows.extend(rows),
            move |table, write| {
                // Repeats the rows until they are too many for the log.
                let times = if many { LOGGED_ROWS_MAX / written.len().max(1) + 1 } else { 1 };
                let mut batches = (0..times).flat_map(|_| contents::batches(&written));
                write(vec![Change::Rows { table, mode: WriteMode::Upsert, rows: &mut batches }])
            },
        )
    }

    /// Deletes some rows, and a key that is not there.
    pub(super) fn delete(&mut self, name: &str, rows: usize) -> Step {
        let as_of = self.next();
        let mut ids: Vec<i64> = self.changed_rows(name, rows).into_keys().collect();
        ids.push(-1);
        let keys = contents::keys(&ids);
        self.change(
            name,
            as_of,
            |table| ids.iter().for_each(|id| drop(table.rows.remove(id))),
            move |table, write| write(vec![Change::Delete { table, keys, invalidates: false }]),
        )
    }

    /// Deletes all rows.
    pub(super) fn truncate(&mut self, name: &str) -> Step {
        let as_of = self.next();
        self.change(
            name,
            as_of,
            |table| table.rows.clear(),
            |table, write| write(vec![Change::Truncate { table }]),
        )
    }

    /// In one commit, replaces all rows of a table, changes some of the new ones, and changes another table.
    pub(super) fn replace_with_upserts(&mut self, name: &str, other: &str, rows: usize) -> Step {
        let (as_of, mut new) = (self.next(), self.rows(rows));
        let replaced = new.clone();
        let mut changed = self.rows(2);
        changed.extend(new.keys().next().map(|&id| (id, "changed".to_owned())));
        let gone: Vec<i64> = new.keys().nth(1).copied().into_iter().collect();
        new.extend(changed.clone());
        gone.iter().for_each(|id| drop(new.remove(id)));
        let elsewhere = self.changed_rows(other, rows);
        let written = elsewhere.clone();
        let (name, other) = (name.to_owned(), other.to_owned());
        let (named, other_named) = (name.clone(), other.clone());
        self.commit(
            move |content| {
                content.tables.insert(name, TableContent { as_of, rows: new });
                let table = content.tables.get_mut(&other).unwrap();
                table.as_of = as_of;
                table.rows.extend(elsewhere);
            },
            move |store| {
                let id = |name: &str| store.state().table(name).map(|table| table.shape.id);
                let (table, other) = (id(&named)?, id(&other_named)?);
                let (mut replaced, mut changed) = (contents::batches(&replaced), contents::batches(&changed));
                let mut written = contents::batches(&written);
                let changes = vec![
                    Change::Rows { table, mode: WriteMode::Replace, rows: &mut replaced },
                    Change::Rows { table: other, mode: WriteMode::Upsert, rows: &mut written },
                    Change::Rows { table, mode: WriteMode::Upsert, rows: &mut changed },
                    Change::Delete { table, keys: contents::keys(&gone), invalidates: false },
                ];
                store.write(changes, time(as_of))
            },
        )
    }

    pub(super) fn drop_table(&mut self, name: &str) -> Step {
        let (name, position) = (name.to_owned(), self.next());
        let dropped = name.clone();
        self.commit(
            |content| {
                content.tables.remove(&name);
                tell(content, position);
            },
            move |store| {
                let table = store.state().table(&dropped)?.shape.id;
                store.write(vec![Change::Drop { table }, told(position)], time(0))
            },
        )
    }

    /// Commits one change of a table, and the position of a source.
    fn change(
        &mut self,
        name: &str,
        as_of: u64,
        change: impl FnOnce(&mut TableContent),
        write: impl FnOnce(u64, &mut dyn FnMut(Vec<Change<'_>>) -> Written) -> Written + Send + 'static,
    ) -> Step {
        let changed = name.to_owned();
        self.commit(
            |content| {
                let table = content.tables.get_mut(name).unwrap();
                table.as_of = as_of;
                change(table);
                tell(content, as_of);
            },
            move |store| {
                let table = store.state().table(&changed)?.shape.id;
                write(table, &mut |mut changes| {
                    changes.push(told(as_of));
                    store.write(changes, time(as_of))
                })
            },
        )
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// New rows, and new notes for rows of a table.
    fn changed_rows(&mut self, name: &str, rows: usize) -> BTreeMap<i64, String> {
        let table =
            self.history().newest().tables.get(name).map(|table| table.rows.clone()).unwrap_or_default();
        let random = &mut Random::new(&[self.counter, 7]);
        let mut changed = self.rows(rows.div_ceil(2));
        let note = self.next();
        for _ in 0..rows / 2 {
            if let Some((&id, _)) = table.iter().nth(random.below(table.len().max(1))) {
                changed.insert(id, format!("changed at {note}"));
            }
        }
        changed
    }

    fn rows(&mut self, rows: usize) -> BTreeMap<i64, String> {
        let random = &mut Random::new(&[self.counter]);
        let keys: Vec<u64> = (0..rows).map(|_| self.next()).collect();
        keys.into_iter().map(|key| (key.cast_signed(), "x".repeat(random.below(60)))).collect()
    }
}

fn time(as_of: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(as_of)
}

/// The source of the commit with this number.
fn source(number: u64) -> String {
    format!("source {}", number % 3)
}

/// Sets the position of that source in the model. Now and then forgets it.
fn tell(content: &mut Content, number: u64) {
    match number % 7 {
        0 => drop(content.positions.remove(&source(number))),
        _ => drop(content.positions.insert(source(number), number)),
    }
}

fn told<'a>(number: u64) -> Change<'a> {
    let position = if number.is_multiple_of(7) { Vec::new() } else { number.to_le_bytes().into() };
    Change::Position { source: source(number), position }
}
