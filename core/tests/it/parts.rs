//! Tables from a source that describes parts: only those that changed are fetched, and the table is what a load of all rows gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use parking_lot::Mutex;
use pillion::source::{Call, Capabilities, Description, Fetch, Fetched, Part, Relation, Source, TableSource};
use pillion::{Cache, Error, ErrorCode, Result, TableDefinition};

use crate::support::random::Random;
use crate::support::scripted_source::wait_until;

/// Rows of an `id` and a `year`, in a folder for each year.
#[derive(Clone, Debug, Default)]
struct Years {
    state: Arc<Mutex<YearsState>>,
}

#[derive(Debug, Default)]
struct YearsState {
    /// Each with the number of the change that made it.
    folders: BTreeMap<Option<i64>, (u64, Vec<i64>)>,
    puts: u64,
    /// The parts of each fetch; `None` for all.
    fetches: Vec<Option<Vec<String>>>,
    /// Sends a row of this year with every fetch of parts.
    lies: Option<i64>,
    fails: bool,
}

impl Years {
    fn put(&self, year: Option<i64>, ids: &[i64]) {
        let mut state = self.state.lock();
        state.puts += 1;
        let version = state.puts;
        state.folders.insert(year, (version, ids.to_vec()));
    }

    fn remove(&self, year: Option<i64>) {
        self.state.lock().folders.remove(&year);
    }

    fn all(&self) -> Vec<(i64, Option<i64>)> {
        let state = self.state.lock();
        let rows = state.folders.iter().flat_map(|(year, (_, ids))| ids.iter().map(|id| (*id, *year)));
        let mut rows: Vec<_> = rows.collect();
        rows.sort_unstable();
        rows
    }

    /// The parts of the fetches since the last call.
    fn fetches(&self) -> Vec<Option<Vec<String>>> {
        std::mem::take(&mut self.state.lock().fetches)
    }
}

fn schema() -> SchemaRef {
    let fields = vec![Field::new("id", DataType::Int64, false), Field::new("year", DataType::Int64, true)];
    Arc::new(Schema::new(fields))
}

fn name_of(year: Option<i64>) -> String {
    format!("year={}", year.map_or_else(|| "%".to_owned(), |year| year.to_string()))
}

impl Source for Years {
    fn capabilities(&self) -> Capabilities {
        Capabilities { parts: true, marks: true, ..Capabilities::default() }
    }

    fn relations(&self, _: &Call) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn describe(&self, _: &Relation, _: &Call) -> Result<Description> {
        let state = self.state.lock();
        let part = |(year, (version, _)): (&Option<i64>, &(u64, Vec<i64>))| Part {
            name: name_of(*year),
            mark: version.to_le_bytes().to_vec(),
            values: vec![("year".to_owned(), year.map(|year| year.to_string()))],
        };
        let mark = format!("{:?}", state.folders);
        Ok(Description::new(schema()).mark(mark).parts(state.folders.iter().map(part).collect()))
    }

    fn fetch(&self, fetch: &Fetch, _: &Call) -> Result<Fetched> {
        let mut state = self.state.lock();
        state.fetches.push(fetch.wanted_parts().map(<[String]>::to_vec));
        if state.fails {
            return Err(Error::new(ErrorCode::SourceUnavailable, "as the test said"));
        }
        let is_wanted =
            |year: Option<i64>| fetch.wanted_parts().is_none_or(|parts| parts.contains(&name_of(year)));
        let folders = state.folders.iter().filter(|(year, _)| is_wanted(**year));
        let mut batches: Vec<_> = folders.map(|(year, (_, ids))| batch(*year, ids)).collect();
        if let (Some(year), Some(_)) = (state.lies, fetch.wanted_parts()) {
            batches.push(batch(Some(year), &[1_000_000]));
        }
        Ok(Fetched::new(schema(), batches.into_iter().map(Ok)))
    }
}

fn batch(year: Option<i64>, ids: &[i64]) -> RecordBatch {
    let years = Int64Array::from(vec![year; ids.len()]);
    RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(ids.to_vec())), Arc::new(years)]).unwrap()
}

fn by_call() -> TableSource {
    TableSource::new("lake", Relation::table("years")).on_call()
}

fn open(dir: &tempfile::TempDir, source: &Years) -> Cache {
    let cache = Cache::open(dir.path()).unwrap();
    cache.add_source("lake", source.clone()).unwrap();
    cache
}

fn rows(cache: &Cache) -> Vec<(i64, Option<i64>)> {
    let mut rows = Vec::new();
    for batch in cache.table("years").unwrap().scan_columns(["id", "year"]).unwrap() {
        let batch = batch.unwrap();
        let (ids, years) =
            (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_primitive::<Int64Type>());
        rows.extend(ids.values().iter().copied().zip(years.iter()));
    }
    rows.sort_unstable();
    rows
}

fn of_parts(names: &[&str]) -> Vec<Option<Vec<String>>> {
    vec![Some(names.iter().map(|name| (*name).to_owned()).collect())]
}

#[test]
fn only_changed_parts_are_fetched() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Years::default());
    source.put(Some(2013), &[1, 2]);
    source.put(Some(2014), &[3]);
    source.put(None, &[4]);
    let cache = open(&dir, &source);
    cache.define_table("years", TableDefinition::from_source(by_call()).primary_key(["id"])).unwrap();
    assert_eq!(source.fetches(), [None]);
    source.put(Some(2014), &[5, 6]);
    source.put(Some(2015), &[7]);
    cache.refresh("years").unwrap();
    assert_eq!((rows(&cache), source.fetches()), (source.all(), of_parts(&["year=2014", "year=2015"])));
    // A restart changes nothing of it, and neither does a refresh that finds nothing new.
    cache.refresh("years").unwrap();
    drop(cache);
    let cache = open(&dir, &source);
    cache.follow_table("years", TableDefinition::from_source(by_call()).primary_key(["id"])).unwrap();
    cache.refresh("years").unwrap();
    assert_eq!(source.fetches(), []);
    source.remove(Some(2013));
    cache.refresh("years").unwrap();
    assert_eq!((rows(&cache), source.fetches()), (source.all(), vec![]), "what is gone need not be fetched");
    source.put(None, &[]);
    cache.refresh("years").unwrap();
    assert_eq!((rows(&cache), source.fetches()), (source.all(), of_parts(&["year=%"])));
    source.put(Some(2014), &[8]);
    source.put(None, &[9]);
    source.put(Some(2015), &[10]);
    cache.refresh("years").unwrap();
    assert_eq!((rows(&cache), source.fetches()), (source.all(), vec![None]), "everything changed");
}

#[test]
fn all_rows_are_fetched_where_parts_would_not_do() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Years::default());
    source.put(Some(2013), &[1, 2]);
    source.put(Some(2014), &[3]);
    let cache = open(&dir, &source);
    let keyed = || TableDefinition::from_source(by_call()).primary_key(["id"]);
    let table = cache.define_table("years", keyed()).unwrap();
    source.fetches();
    // Rows that were invalidated are rows of parts that did not change.
    table.invalidate(&[1]).unwrap();
    wait_until("the row", || rows(&cache) == source.all());
    assert_eq!(source.fetches(), [None]);
    // Nothing is tried again by itself from here on.
    cache.pause_refreshes("years").unwrap();
    // Rows that a source sends with a part that they are not of are not taken for others.
    source.state.lock().lies = Some(2013);
    source.put(Some(2014), &[4]);
    cache.refresh("years").unwrap();
    assert_eq!(rows(&cache), source.all());
    let fetches = source.fetches();
    assert_eq!(fetches, [Some(vec!["year=2014".to_owned()]), None]);
    source.state.lock().lies = None;
    // A key that is in two parts is a key twice, as in a load of all rows.
    source.put(Some(2014), &[2]);
    assert_eq!(cache.refresh("years").unwrap_err().code(), ErrorCode::DuplicateKey);
    assert_eq!(rows(&cache), [(1, Some(2013)), (2, Some(2013)), (4, Some(2014))]);
    source.put(Some(2014), &[4, 5]);
    source.state.lock().fails = true;
    assert_eq!(cache.refresh("years").unwrap_err().code(), ErrorCode::SourceUnavailable);
    source.state.lock().fails = false;
    source.fetches();
    cache.refresh("years").unwrap();
    assert_eq!((rows(&cache), source.fetches()), (source.all(), of_parts(&["year=2014"])));
    // A table without the column does not show which part a row is of.
    cache
        .follow_table("years", TableDefinition::from_source(by_call().columns(["id"])).primary_key(["id"]))
        .unwrap();
    cache.refresh("years").unwrap();
    source.put(Some(2014), &[6]);
    source.fetches();
    cache.refresh("years").unwrap();
    assert_eq!(source.fetches(), [None]);
    assert_eq!(cache.table("years").unwrap().info().unwrap().rows, 3);
}

/// The source is the oracle.
#[test]
fn random_histories_of_parts_are_followed() {
    for seed in 0..6 {
        let mut random = Random::new(seed);
        let (dir, source) = (tempfile::tempdir().unwrap(), Years::default());
        source.put(Some(0), &[1]);
        let definition = || match seed % 3 {
            0 => TableDefinition::from_source(by_call()).primary_key(["id"]),
            1 => TableDefinition::from_source(by_call()).sort_by(["year"]),
            _ => TableDefinition::from_source(by_call()),
        };
        let mut cache = open(&dir, &source);
        cache.define_table("years", definition()).unwrap();
        let (mut next, mut in_parts) = (10, 0);
        for _ in 0..25 {
            for _ in 0..random.below(4) {
                let year = Some(i64::try_from(random.below(7)).unwrap()).filter(|year| *year > 0);
                let count = i64::try_from(random.below(5)).unwrap();
                match random.below(5) {
                    0 => source.remove(year),
                    _ => source.put(year, &(next..next + count).collect::<Vec<_>>()),
                }
                next += count;
            }
            if random.below(6) == 0 {
                drop(cache);
                cache = open(&dir, &source);
                cache.follow_table("years", definition()).unwrap();
            }
            cache.refresh("years").unwrap();
            assert_eq!(rows(&cache), source.all(), "seed {seed}");
            in_parts += source.fetches().iter().flatten().count();
        }
        assert!(in_parts > 5, "seed {seed}: {in_parts} fetches of parts");
    }
}
