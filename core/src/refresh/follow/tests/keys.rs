//! Keys that are not unique at the source: no row takes the place of another one.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use parking_lot::Mutex;

use super::{options, status, wait_until};
use crate::source::RowOperation::{Before, Delete, Insert, Update};
use crate::source::{
    Call, Capabilities, ChangeFeed, Changes, Description, FeedEvent, FeedSnapshot, Fetch, Fetched, Follow,
    Followed, Relation, RowChanges, RowOperation, Source, TableSource,
};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::options::Durability;
use crate::{Cache, TableDefinition};

/// How long a feed rests that has nothing to send.
const PAUSE: Duration = Duration::from_millis(2);

type Transaction = Vec<(RowOperation, i64)>;

#[derive(Debug, Default)]
struct State {
    rows: Vec<i64>,
    log: Vec<Transaction>,
}

/// A source with one relation, whose rows are numbers: each may be there several times. This is also what is left of rows of which another
/// column of the key is left out.
#[derive(Clone, Debug)]
struct Numbers {
    state: Arc<Mutex<State>>,
    /// What it says of its identity.
    says_unique: bool,
}

impl Numbers {
    /// A source that has 1 and 2.
    fn new(says_unique: bool) -> Self {
        let numbers = Self { state: Arc::default(), says_unique };
        numbers.commit(&[(Insert, 1), (Insert, 2)]);
        numbers
    }

    fn commit(&self, changes: &[(RowOperation, i64)]) {
        let mut state = self.state.lock();
        for (operation, number) in changes {
            match operation {
                Insert | Update => state.rows.push(*number),
                Before | Delete => {
                    let place = state.rows.iter().position(|row| row == number).unwrap();
                    state.rows.remove(place);
                }
            }
        }
        state.log.push(changes.to_vec());
    }

    fn sorted(&self) -> Vec<i64> {
        let mut rows = self.state.lock().rows.clone();
        rows.sort_unstable();
        rows
    }

    fn followed(&self) -> Followed {
        let followed = Followed::new(schema(false), vec!["number".to_owned()]);
        if self.says_unique { followed.unique_identity() } else { followed }
    }
}

fn schema(is_nullable: bool) -> SchemaRef {
    Schema::new(vec![Field::new("number", DataType::Int64, is_nullable)]).into()
}

fn batch(numbers: Vec<i64>, schema: SchemaRef) -> RecordBatch {
    RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(numbers))]).unwrap()
}

/// The position behind some transactions.
fn position(transactions: usize) -> Vec<u8> {
    transactions.to_string().into_bytes()
}

fn transactions(position: &[u8]) -> Result<usize> {
    let number = std::str::from_utf8(position).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Error::new(ErrorCode::InvalidArgument, "not a position"))
}

#[derive(Debug)]
struct Snapshot {
    position: Vec<u8>,
    rows: Vec<i64>,
    followed: Followed,
}

impl FeedSnapshot for Snapshot {
    fn position(&self) -> &[u8] {
        &self.position
    }

    fn describe(&mut self, _: usize, _: &Call) -> Result<Followed> {
        Ok(self.followed.clone())
    }

    fn fetch(&mut self, _: usize, _: &Call) -> Result<Fetched> {
        Ok(Fetched::new(schema(false), [Ok(batch(self.rows.clone(), schema(false)))]))
    }
}

#[derive(Debug)]
struct Feed {
    numbers: Numbers,
    sent: usize,
    events: VecDeque<FeedEvent>,
}

impl ChangeFeed for Feed {
    fn next(&mut self, call: &Call) -> Result<FeedEvent> {
        loop {
            call.check()?;
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let next = self.numbers.state.lock().log.get(self.sent).cloned();
            let Some(changes) = next else {
                std::thread::sleep(PAUSE);
                continue;
            };
            self.sent += 1;
            let (operations, numbers) = changes.into_iter().unzip();
            let rows = RowChanges::new(0, operations, batch(numbers, schema(true)), Vec::new())?;
            self.events.push_back(FeedEvent::Rows(rows));
            let (position, at) = (position(self.sent), SystemTime::now());
            self.events.push_back(FeedEvent::Committed { position, at });
        }
    }

    fn acknowledge(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

impl Source for Numbers {
    fn capabilities(&self) -> Capabilities {
        Capabilities { changes: true, ..Capabilities::default() }
    }

    fn relations(&self, _: &Call) -> Result<Vec<String>> {
        Err(Error::new(ErrorCode::Unsupported, "no list"))
    }

    fn describe(&self, _: &Relation, _: &Call) -> Result<Description> {
        Ok(Description::new(schema(false)))
    }

    fn fetch(&self, _: &Fetch, _: &Call) -> Result<Fetched> {
        Ok(Fetched::new(schema(false), [Ok(batch(self.sorted(), schema(false)))]))
    }

    fn snapshot(&self, _: &Follow, _: &Call) -> Result<Box<dyn FeedSnapshot>> {
        let state = self.state.lock();
        let (position, rows) = (position(state.log.len()), state.rows.clone());
        Ok(Box::new(Snapshot { position, rows, followed: self.followed() }))
    }

    fn changes(&self, _: &Follow, columns: &[Followed], after: &[u8], _: &Call) -> Result<Changes> {
        assert_eq!(columns, [self.followed()], "the columns are remembered as they were described");
        let sent = transactions(after)?;
        Ok(Changes::Feed(Box::new(Feed { numbers: self.clone(), sent, events: VecDeque::new() })))
    }

    fn newest_position(&self, _: &Call) -> Result<Vec<u8>> {
        Ok(position(self.state.lock().log.len()))
    }

    fn behind(&self, position: &[u8], wanted: &[u8]) -> Result<u64> {
        Ok(transactions(wanted)?.saturating_sub(transactions(position)?) as u64)
    }

    fn forget(&self, _: &Follow, _: &Call) -> Result<()> {
        Ok(())
    }
}

/// A cache that follows numbers, by whose values it knows them.
fn open(dir: &Path, numbers: &Numbers) -> Cache {
    let cache = options(dir, Durability::Never);
    cache.add_source("numbers", numbers.clone()).unwrap();
    let origin = TableSource::new("numbers", Relation::table("numbers")).changes();
    cache.define_table("numbers", TableDefinition::from_source(origin).primary_key(["number"])).unwrap();
    cache
}

fn held(cache: &Cache) -> Vec<i64> {
    let mut numbers = Vec::new();
    for batch in cache.table("numbers").unwrap().scan().unwrap() {
        numbers.extend_from_slice(batch.unwrap().column(0).as_primitive::<Int64Type>().values());
    }
    numbers.sort_unstable();
    numbers
}

#[test]
fn two_rows_of_one_key_are_found_out_and_neither_is_lost() {
    let twice: [(&[(RowOperation, i64)], i64); 4] = [
        (&[(Insert, 1)], 1),
        (&[(Insert, 3), (Insert, 3)], 3),
        (&[(Before, 2), (Update, 1)], 1),
        (&[(Delete, 1), (Insert, 1), (Insert, 1)], 1),
    ];
    for (changes, double) in twice {
        let (dir, numbers) = (tempfile::tempdir().unwrap(), Numbers::new(false));
        let cache = open(dir.path(), &numbers);
        numbers.commit(changes);
        let error = cache.refresh("numbers").unwrap_err();
        assert_eq!(error.code(), ErrorCode::DuplicateKey, "{changes:?}: {error}");
        assert!(error.message().contains(&format!("two rows have number={double}")), "{error}");
        assert_eq!(held(&cache), [1, 2], "the old rows serve, after {changes:?}");
        let why = status(&cache, "numbers").last_error.map(|error| error.code());
        assert_eq!(why, Some(ErrorCode::DuplicateKey));
        // One of the two goes, and the other one is there.
        numbers.commit(&[(Delete, double)]);
        wait_until(|| cache.refresh("numbers").is_ok());
        assert_eq!(held(&cache), numbers.sorted(), "after {changes:?}");
        assert!(held(&cache).contains(&double));
    }
}

#[test]
fn keys_that_are_not_known_to_be_unique_are_followed_while_they_are() {
    let (dir, numbers) = (tempfile::tempdir().unwrap(), Numbers::new(false));
    let cache = open(dir.path(), &numbers);
    for changes in [
        &[(Insert, 3)][..],
        &[(Delete, 1), (Insert, 1)],
        &[(Before, 1), (Update, 4), (Insert, 1)],
        &[(Before, 2), (Update, 2)],
        &[(Insert, 5), (Delete, 5), (Insert, 5)],
    ] {
        numbers.commit(changes);
        cache.refresh("numbers").unwrap();
        assert_eq!(held(&cache), numbers.sorted(), "after {changes:?}");
    }
    assert_eq!(status(&cache, "numbers").succeeded, 1, "nothing is copied anew");
}

#[test]
fn a_source_that_wrongly_says_unique_loses_a_row() {
    let (dir, numbers) = (tempfile::tempdir().unwrap(), Numbers::new(true));
    let cache = open(dir.path(), &numbers);
    for change in [(Insert, 1), (Delete, 1)] {
        numbers.commit(&[change]);
        cache.refresh("numbers").unwrap();
    }
    // What the tests above would see if it were not for what the source says.
    assert_eq!((held(&cache), numbers.sorted()), (vec![2], vec![1, 2]));
}
