//! A copy of tables that applies what comes on a feed, in the plainest way.

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch};
use arrow::util::display::array_value_to_string;
use pillion::source::{FeedEvent, Followed, RowChanges, RowOperation};

type Row = Vec<String>;

/// Rows by their identity, as texts.
#[derive(Clone, Debug)]
struct Copy {
    identity: Vec<usize>,
    rows: BTreeMap<Row, Row>,
    /// A bug that a test plants: which row an update is about is not noticed.
    skips_key_changes: bool,
}

/// Copies of several tables, as of the last transaction.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    committed: Vec<Copy>,
    /// The same with what came since.
    next: Option<Vec<Copy>>,
    transactions: usize,
}

impl Replica {
    pub(super) fn new(columns: &[Followed]) -> Self {
        let copy = |followed: &Followed| {
            let place = |name: &String| followed.schema().index_of(name).unwrap();
            Copy {
                identity: followed.identity().iter().map(place).collect(),
                rows: BTreeMap::new(),
                skips_key_changes: false,
            }
        };
        Self { committed: columns.iter().map(copy).collect(), next: None, transactions: 0 }
    }

    pub(super) fn load(&mut self, relation: usize, batch: &RecordBatch) {
        let copy = &mut self.committed[relation];
        for row in 0..batch.num_rows() {
            assert!(copy.insert(values(batch, row)).is_none(), "a row comes twice in a copy");
        }
    }

    /// Does what an event says; the position behind it if one comes with it.
    pub(super) fn apply(&mut self, event: &FeedEvent) -> Option<Vec<u8>> {
        match event {
            FeedEvent::Rows(changes) => self.next()[changes.relation()].change(changes),
            FeedEvent::Truncated(relations) => {
                for relation in relations {
                    self.next()[*relation].rows.clear();
                }
            }
            FeedEvent::Committed { position, .. } => {
                if let Some(next) = self.next.take() {
                    self.committed = next;
                }
                self.transactions += 1;
                return Some(position.clone());
            }
            FeedEvent::Idle { position, .. } => {
                assert!(self.next.is_none(), "nothing is idle inside of a transaction");
                return Some(position.clone());
            }
            _ => {}
        }
        None
    }

    /// Plants a bug.
    pub(super) fn skip_key_changes(&mut self) {
        self.committed.iter_mut().for_each(|copy| copy.skips_key_changes = true);
    }

    /// Forgets what came without a commit.
    pub(super) fn roll_back(&mut self) {
        self.next = None;
    }

    pub(super) fn transactions(&self) -> usize {
        self.transactions
    }

    pub(super) fn has(&self, relation: usize, key: &[&str]) -> bool {
        let key: Row = key.iter().map(ToString::to_string).collect();
        self.committed[relation].rows.contains_key(&key)
    }

    /// All rows, columns separated by `|`, sorted.
    pub(super) fn lines(&self, relation: usize) -> Vec<String> {
        let mut lines: Vec<String> =
            self.committed[relation].rows.values().map(|row| row.join("|")).collect();
        lines.sort();
        lines
    }

    fn next(&mut self) -> &mut Vec<Copy> {
        self.next.get_or_insert_with(|| self.committed.clone())
    }
}

impl Copy {
    fn key(&self, row: &Row) -> Row {
        self.identity.iter().map(|column| row[*column].clone()).collect()
    }

    fn insert(&mut self, row: Row) -> Option<Row> {
        self.rows.insert(self.key(&row), row)
    }

    fn change(&mut self, changes: &RowChanges) {
        let mut before = None;
        for (number, operation) in changes.operations().iter().enumerate() {
            let mut row = values(changes.rows(), number);
            match operation {
                RowOperation::Insert => assert!(self.insert(row).is_none(), "a row is added twice"),
                RowOperation::Before if self.skips_key_changes => {}
                RowOperation::Before => before = Some(self.key(&row)),
                RowOperation::Update => {
                    let key = before.take().unwrap_or_else(|| self.key(&row));
                    let old = self.rows.remove(&key).unwrap();
                    for (_, column) in changes.unchanged().iter().filter(|(other, _)| *other == number) {
                        row[*column] = old[*column].clone();
                    }
                    assert!(self.insert(row).is_none(), "a row takes the place of another");
                }
                RowOperation::Delete => {
                    let key = self.key(&row);
                    assert!(self.rows.remove(&key).is_some(), "a row that is removed is there");
                }
            }
        }
    }
}

fn values(batch: &RecordBatch, row: usize) -> Row {
    let value = |column: &arrow::array::ArrayRef| {
        if column.is_null(row) { "null".to_owned() } else { array_value_to_string(column, row).unwrap() }
    };
    batch.columns().iter().map(value).collect()
}
