//! A source in memory that does what a test says: it answers, fails, hangs, or sends something else than it announced.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use arrow::array::{Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parking_lot::Mutex;
use pillion::source::{
    Call, Capabilities, Changed, Description, Fetch, Fetched, Relation, Source, TableSource, Watch,
};
use pillion::{Cache, Error, ErrorCode, Result, TableDefinition, Value};

use super::eventually;

/// A row: `id`, `changed` in milliseconds, `name`.
pub(crate) type SourceRow = (i64, i64, &'static str);

/// A key by which the source cannot find rows.
pub(crate) const UNKNOWN_KEY: i64 = -1;

/// What the source does when rows are asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mood {
    Answers,
    /// Fails when it is asked anything.
    Fails(ErrorCode),
    /// Sends a batch, and then an error.
    BreaksOff,
    /// Sends a batch, and then nothing until the call ends.
    Hangs,
    /// Does not say which columns there are until the call ends; it sends rows.
    HangsWhenDescribed,
    /// Sends other columns than it announced.
    SendsOtherColumns,
    Panics,
}

#[derive(Clone, Debug)]
pub(crate) struct Scripted {
    pub(crate) rows: Arc<Mutex<Vec<SourceRow>>>,
    pub(crate) mood: Arc<Mutex<Mood>>,
    pub(crate) has_marks: bool,
    pub(crate) has_keys: bool,
    /// Which place it says to be.
    pub(crate) place: Option<&'static str>,
    pub(crate) has_changes: bool,
    /// Whom to tell that rows changed; each is gone when its watch is.
    watched: Arc<Mutex<Vec<Weak<Told>>>>,
    /// Held by a test that lets nobody watch yet.
    pub(crate) watch_gate: Arc<Mutex<()>>,
    /// How often somebody wanted to watch.
    pub(crate) watches: Arc<AtomicU32>,
    /// The keys of each fetch that asked for some.
    pub(crate) keys: Arc<Mutex<Vec<Vec<Vec<Value>>>>>,
    /// How long ago rows were what is sent, by the clock of the source.
    pub(crate) lag: Arc<Mutex<Option<Duration>>>,
    /// How far its clock is ahead.
    pub(crate) lead: Arc<Mutex<Duration>>,
    /// Whether its names are in a dictionary.
    pub(crate) has_dictionary: bool,
    /// How often rows were asked for, and the relation was described.
    pub(crate) fetches: Arc<AtomicU32>,
    pub(crate) descriptions: Arc<AtomicU32>,
    /// Rows that the last fetch sends.
    pub(crate) sent: Arc<AtomicU32>,
    /// Hanging fetches fail once this is set.
    pub(crate) is_released: Arc<AtomicBool>,
    /// Fetches under way, and the most of them at a time.
    pub(crate) at_once: Arc<(AtomicU32, AtomicU32)>,
}

impl Scripted {
    pub(crate) fn new(rows: &[SourceRow]) -> Self {
        Self {
            rows: Arc::new(Mutex::new(rows.to_vec())),
            mood: Arc::new(Mutex::new(Mood::Answers)),
            has_marks: false,
            has_keys: false,
            place: None,
            has_changes: false,
            watched: Arc::default(),
            watch_gate: Arc::default(),
            watches: Arc::default(),
            keys: Arc::default(),
            lag: Arc::default(),
            lead: Arc::default(),
            has_dictionary: false,
            fetches: Arc::default(),
            descriptions: Arc::default(),
            sent: Arc::default(),
            is_released: Arc::default(),
            at_once: Arc::default(),
        }
    }

    pub(crate) fn with_marks(mut self) -> Self {
        self.has_marks = true;
        self
    }

    pub(crate) fn at(mut self, place: &'static str) -> Self {
        self.place = Some(place);
        self
    }

    pub(crate) fn with_keys(mut self) -> Self {
        self.has_keys = true;
        self
    }

    pub(crate) fn with_changes(mut self) -> Self {
        self.has_changes = true;
        self
    }

    /// Tells whoever watches that rows changed. Returns how many that are.
    pub(crate) fn tell(&self) -> usize {
        let watched: Vec<_> = self.watched.lock().iter().filter_map(Weak::upgrade).collect();
        watched.iter().for_each(|told| (told.changed)());
        watched.len()
    }

    /// The relations that somebody watches.
    pub(crate) fn watched(&self) -> Vec<String> {
        let watched = self.watched.lock();
        watched.iter().filter_map(Weak::upgrade).map(|told| told.relation.clone()).collect()
    }

    pub(crate) fn with_dictionary(mut self) -> Self {
        self.has_dictionary = true;
        self
    }

    /// A batch of some rows in the form in which this source sends it.
    fn batch(&self, rows: &[SourceRow]) -> RecordBatch {
        let plain = batch(rows);
        if !self.has_dictionary {
            return plain;
        }
        let of = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let names = cast(plain.column(2), &of).unwrap();
        let [id, changed, _] =
            plain.schema().fields().iter().cloned().collect::<Vec<_>>().try_into().unwrap();
        let schema = Schema::new(vec![id, changed, Arc::new(Field::new("name", of, true))]);
        RecordBatch::try_new(Arc::new(schema), vec![plain.column(0).clone(), plain.column(1).clone(), names])
            .unwrap()
    }

    pub(crate) fn set_rows(&self, rows: &[SourceRow]) {
        *self.rows.lock() = rows.to_vec();
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }

    pub(crate) fn set_lag(&self, lag: Duration) {
        *self.lag.lock() = Some(lag);
    }

    /// Ends the fetches that hang with an error, and those that will.
    #[cfg(all(feature = "sidecar", feature = "sql"))]
    pub(crate) fn end_hanging(&self) {
        self.is_released.store(true, Ordering::SeqCst);
    }

    /// Waits for the end of a call, or until the test ends the waiting.
    fn hang(&self, call: &Call) -> Error {
        loop {
            if let Err(error) = call.check() {
                return error;
            }
            if self.is_released.load(Ordering::SeqCst) {
                return Error::new(ErrorCode::SourceInvalid, "the test ended the waiting");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn fetches(&self) -> u32 {
        self.fetches.load(Ordering::SeqCst)
    }

    pub(crate) fn sent(&self) -> u32 {
        self.sent.load(Ordering::SeqCst)
    }

    pub(crate) fn descriptions(&self) -> u32 {
        self.descriptions.load(Ordering::SeqCst)
    }

    fn refuse(&self) -> Result<()> {
        match *self.mood.lock() {
            Mood::Fails(code) => Err(Error::new(code, "as the test said")),
            _ => Ok(()),
        }
    }
}

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("changed", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("name", DataType::Utf8, true),
    ]))
}

pub(crate) fn batch(rows: &[SourceRow]) -> RecordBatch {
    let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
    let changed = TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.1));
    let names = StringArray::from_iter_values(rows.iter().map(|row| row.2));
    RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(changed), Arc::new(names)]).unwrap()
}

pub(crate) const ROWS: [SourceRow; 4] =
    [(1, 100, "one"), (2, 200, "two"), (3, 300, "three"), (4, 400, "four")];

pub(crate) fn by_call() -> TableSource {
    TableSource::new("shop", Relation::table("orders")).on_call()
}

pub(crate) fn keyed(source: TableSource) -> TableDefinition {
    TableDefinition::from_source(source).primary_key(["id"])
}

/// A cache with the source as `shop`.
pub(crate) fn open(dir: &tempfile::TempDir, source: &Scripted) -> Cache {
    let cache = Cache::open(dir.path()).unwrap();
    cache.add_source("shop", source.clone()).unwrap();
    cache
}

#[track_caller]
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    eventually(is_so, || format!("waited for {what}"));
}

/// Waits for the end of a call, and for nothing else.
fn until_end(call: &Call) -> Error {
    loop {
        if let Err(error) = call.check() {
            return error;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whom to tell that rows changed.
struct Told {
    relation: String,
    changed: Changed,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

/// Counts a fetch under way.
struct UnderWay(Arc<(AtomicU32, AtomicU32)>);

impl UnderWay {
    fn new(counts: &Arc<(AtomicU32, AtomicU32)>) -> Self {
        let now = counts.0.fetch_add(1, Ordering::SeqCst) + 1;
        counts.1.fetch_max(now, Ordering::SeqCst);
        Self(counts.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Source for Scripted {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            positions: true,
            keys: self.has_keys,
            watch: self.has_changes,
            marks: self.has_marks,
            ..Capabilities::default()
        }
    }

    fn identity(&self) -> Option<String> {
        self.place.map(str::to_owned)
    }

    fn relations(&self, _: &Call) -> Result<Vec<String>> {
        Err(Error::new(ErrorCode::Unsupported, "there is one relation"))
    }

    fn describe(&self, _: &Relation, call: &Call) -> Result<Description> {
        self.descriptions.fetch_add(1, Ordering::SeqCst);
        self.refuse()?;
        if *self.mood.lock() == Mood::HangsWhenDescribed {
            return Err(until_end(call));
        }
        let rows = self.rows.lock();
        let description = Description::new(self.batch(&[]).schema()).rows(rows.len() as u64);
        Ok(if self.has_marks { description.mark(format!("{rows:?}")) } else { description })
    }

    fn watch(&self, relation: &Relation, changed: Changed) -> Result<Watch> {
        self.watches.fetch_add(1, Ordering::SeqCst);
        drop(self.watch_gate.lock());
        self.refuse()?;
        let kept = Arc::new(Told { relation: relation.text().to_owned(), changed });
        self.watched.lock().push(Arc::downgrade(&kept));
        Ok(Watch::new(kept))
    }

    fn fetch(&self, fetch: &Fetch, call: &Call) -> Result<Fetched> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let under_way = UnderWay::new(&self.at_once);
        self.refuse()?;
        let first = fetch.from_position().map(|after| match (after.column.as_str(), &after.value) {
            ("changed", Value::Timestamp { value, unit: TimeUnit::Millisecond }) => *value,
            other => panic!("a position like {other:?}"),
        });
        let mut rows = self.rows.lock().clone();
        rows.retain(|row| first.is_none_or(|first| row.1 >= first));
        if let Some(wanted) = fetch.wanted_keys() {
            if wanted.values.iter().any(|key| *key == [Value::Int(UNKNOWN_KEY)]) {
                return Err(Error::new(ErrorCode::InvalidArgument, "there are no such keys"));
            }
            rows.retain(|row| match wanted.columns.as_slice() {
                [id] if id == "id" => wanted.values.contains(&vec![Value::Int(row.0)]),
                [name] if name == "name" => wanted.values.contains(&vec![Value::from(row.2)]),
                other => panic!("keys of columns like {other:?}"),
            });
            self.keys.lock().push(wanted.values.clone());
        }
        let (mood, call, source) = (*self.mood.lock(), call.clone(), self.clone());
        assert!(mood != Mood::Panics, "as the test said");
        self.sent.store(u32::try_from(rows.len()).unwrap(), Ordering::SeqCst);
        let half = rows.len() / 2;
        let mut step = 0;
        let batches = std::iter::from_fn(move || {
            let _under_way = &under_way;
            step += 1;
            match (step, mood) {
                (1, Mood::SendsOtherColumns) => Some(Ok(source.batch(&rows).project(&[0, 2]).unwrap())),
                (1, _) => Some(Ok(source.batch(&rows[..half]))),
                (2, Mood::BreaksOff) => {
                    Some(Err(Error::new(ErrorCode::SourceUnavailable, "the connection was cut")))
                }
                (2, Mood::Hangs) => Some(Err(source.hang(&call))),
                (2, _) => Some(Ok(source.batch(&rows[half..]))),
                _ => None,
            }
        });
        let fetched = Fetched::new(self.batch(&[]).schema(), batches);
        Ok(match *self.lag.lock() {
            Some(lag) => fetched.as_of(SystemTime::now() + *self.lead.lock() - lag),
            None => fetched,
        })
    }
}
