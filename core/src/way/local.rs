//! Reads in this process, the same for every way in that maps the files: embedded, attached, and a held version.

use std::any::Any;
use std::sync::Arc;

use arc_swap::Guard;
use arrow::datatypes::{DataType, SchemaRef};

use super::misses;
use super::staleness::{Moment, answers_here};
use super::table_info::TableInfo;
use crate::answer::batches::{AnswerInfo, Batches, IteratorSource};
use crate::answer::certificate::Certificate;
use crate::answer::row::Row;
use crate::coverage::{Held, Region, UpstreamSlot, held};
use crate::storage::key::KeyBytes;
use crate::storage::{
    Files, Follower, Found, History, PREFETCHED_KEYS, Pieces, Prefetch, SegmentHandle, State, Store,
    TableState, freshness, key,
};
use crate::types::column::ColumnIndex;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::key::Key;
use crate::types::options::CacheOptions;
use crate::types::recorder::Recording;
use crate::types::value::Value;
use crate::types::version::{Tier, Version};
use crate::way::{Reader, Statement};

/// Where the newest state comes from.
pub(crate) trait Newest: std::fmt::Debug + Send + Sync + 'static {
    /// The newest state.
    fn newest(&self) -> Result<Guard<Arc<State>>>;
}

impl Newest for Arc<Store> {
    #[inline]
    fn newest(&self) -> Result<Guard<Arc<State>>> {
        Store::newest(self)
    }
}

impl Newest for Follower {
    #[inline]
    fn newest(&self) -> Result<Guard<Arc<State>>> {
        Self::newest(self)
    }
}

/// A held version: this state stays the newest.
impl Newest for Arc<State> {
    fn newest(&self) -> Result<Guard<Arc<State>>> {
        Ok(Guard::from_inner(self.clone()))
    }
}

/// Answers reads from the newest state of a source.
#[derive(Debug)]
pub(crate) struct Local<S> {
    source: S,
    engine: Engine,
    moment: Moment,
    recording: Recording,
    /// Where rows come from that are not held.
    upstream: UpstreamSlot,
}

impl<S: Newest> Local<S> {
    pub(crate) fn new(source: S, options: CacheOptions) -> Result<Self> {
        let recording = options.recording.clone();
        let upstream = UpstreamSlot::default();
        let engine = Engine::new(options, upstream.clone())?;
        Ok(Self { source, engine, moment: Moment::Now, recording, upstream })
    }

    /// Who is told what is read.
    pub(crate) fn recording(&self) -> &Recording {
        &self.recording
    }

    /// Where rows come from that are not held.
    pub(crate) fn upstream(&self) -> &UpstreamSlot {
        &self.upstream
    }

    /// Where the newest state comes from.
    pub(crate) fn source(&self) -> &S {
        &self.source
    }

    /// The query engine.
    #[cfg(feature = "sql")]
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether everything of a version is there; `None` if it is of another cache.
    #[cfg(feature = "sidecar")]
    pub(crate) fn includes(&self, version: Version) -> Result<Option<bool>> {
        Ok(self.source.newest()?.includes(version))
    }

    /// The newest state, held.
    pub(crate) fn pin(&self) -> Result<Arc<dyn Reader>> {
        let state = Arc::clone(&*self.source.newest()?);
        let (engine, recording) = (self.engine.clone(), self.recording.clone());
        let (moment, upstream) = (self.moment.hold(), self.upstream.clone());
        Ok(Arc::new(Local { source: state, engine, moment, recording, upstream }))
    }

    /// What commits changed in a table after a version.
    pub(crate) fn changes(&self, files: &Files, table: u64, since: Version) -> Result<Batches> {
        let state = self.source.newest()?;
        let table = table_of(&state, table)?;
        let history = History::read(files, &state, table, since)?;
        let certificate = Certificate::default();
        let info = AnswerInfo {
            version: state.version,
            freshness: freshness(table),
            tier: Tier::Local,
            certificate,
        };
        let schema = history.schema().clone();
        let held = table.clone();
        Ok(Batches::new(schema, info, Box::new(IteratorSource(history.batches()))).holding(held))
    }

    /// The last position of a source.
    pub(crate) fn source_position(&self, source: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.source.newest()?.positions.get(source).map(|position| position.to_vec()))
    }

    /// Plans a query once.
    pub(crate) fn prepare(self: Arc<Self>, text: &str) -> Result<Arc<dyn Statement>> {
        let plan = self.engine.prepare(&*self.source.newest()?, text)?;
        Ok(Arc::new(LocalStatement { local: self, plan }))
    }
}

impl<S: Newest> Reader for Local<S> {
    fn version(&self) -> Result<Version> {
        Ok(self.source.newest()?.version)
    }

    fn tables(&self) -> Result<Vec<TableInfo>> {
        Ok(tables(&*self.source.newest()?))
    }

    fn table(&self, name: &str) -> Result<TableInfo> {
        let state = self.source.newest()?;
        Ok(info(&state, state.table(name)?))
    }

    fn table_by_id(&self, table: u64) -> Result<TableInfo> {
        let state = self.source.newest()?;
        Ok(info(&state, table_of(&state, table)?))
    }

    #[inline]
    fn get(&self, table: u64, key: &dyn Key) -> Result<Option<Row>> {
        get((&*self.source.newest()?, &self.upstream), self.moment, table, key)
    }

    fn get_many(&self, table: u64, keys: &mut dyn Iterator<Item = &dyn Key>) -> Result<Vec<Option<Row>>> {
        get_many((&*self.source.newest()?, &self.upstream), self.moment, table, keys)
    }

    fn scan(&self, table: u64, columns: Option<&[String]>) -> Result<Batches> {
        let state = self.source.newest()?;
        let of = table_of(&state, table)?;
        let is_here = answers_here(&state, of, self.moment)?;
        let whole = if is_here { certified_whole(&state, of)? } else { Whole::Elsewhere(held(&state, of)) };
        match whole {
            Whole::Here(certificate) => scan(&state, table, columns, certificate),
            Whole::Elsewhere(held) => {
                let columns = projection(&of.shape.schema, columns)?;
                misses::scan(&self.upstream, &state, of, held.as_ref(), columns)
            }
        }
    }

    fn sql(&self, text: &str, parameters: &[Value]) -> Result<Batches> {
        self.engine.query(&*self.source.newest()?, text, parameters, &readable(self.moment))
    }

    #[cfg(feature = "sidecar")]
    fn sql_known(&self, text: &str, parameters: &[Value]) -> Result<Option<Batches>> {
        self.engine.query_known(&*self.source.newest()?, text, parameters, &readable(self.moment))
    }
}

#[derive(Debug)]
struct LocalStatement<S> {
    local: Arc<Local<S>>,
    plan: PreparedPlan,
}

impl<S: Newest> Statement for LocalStatement<S> {
    fn parameters(&self) -> usize {
        self.plan.parameters()
    }

    fn planned(&self) -> Option<(SchemaRef, Vec<Option<DataType>>)> {
        self.plan.columns()
    }

    fn execute(&self, at: Option<&dyn Reader>, parameters: &[Value]) -> Result<Batches> {
        let Local { source, engine, moment, .. } = self.local.as_ref();
        match at {
            None => engine.execute(&*source.newest()?, &self.plan, parameters, &readable(*moment)),
            Some(reader) => {
                let held = self.held_by(reader)?;
                engine.execute(&held.source, &self.plan, parameters, &readable(held.moment))
            }
        }
    }

    #[cfg(feature = "sidecar")]
    fn execute_known(&self, at: Option<&dyn Reader>, parameters: &[Value]) -> Result<Option<Batches>> {
        let Local { source, engine, moment, .. } = self.local.as_ref();
        match at {
            None => engine.execute_known(&*source.newest()?, &self.plan, parameters, &readable(*moment)),
            Some(reader) => {
                let held = self.held_by(reader)?;
                engine.execute_known(&held.source, &self.plan, parameters, &readable(held.moment))
            }
        }
    }
}

impl<S: Newest> LocalStatement<S> {
    /// The version that a reader holds.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] for a reader of another cache.
    fn held_by<'a>(&self, reader: &'a dyn Reader) -> Result<&'a Local<Arc<State>>> {
        match (reader as &dyn Any).downcast_ref::<Local<Arc<State>>>() {
            Some(held) if held.engine.is(&self.local.engine) => Ok(held),
            _ => Err(Error::new(ErrorCode::InvalidArgument, "the snapshot is of another cache")),
        }
    }
}

/// Refuses tables whose rows are too old, and finds those whose sources are to be asked.
pub(crate) fn readable(moment: Moment) -> impl Fn(&State, &TableState) -> Result<bool> {
    move |state, table| answers_here(state, table, moment)
}

#[cfg(feature = "datafusion")]
use crate::query::Pinned;
#[cfg(feature = "sql")]
use crate::query::{Engine, PreparedPlan};

#[cfg(not(feature = "sql"))]
pub(crate) use without_sql::unsupported;
#[cfg(not(feature = "sql"))]
use without_sql::{Engine, PreparedPlan};

/// Takes the place of the query engine in a build without one.
#[cfg(not(feature = "sql"))]
mod without_sql {
    use super::*;

    #[derive(Clone, Debug)]
    pub(super) struct Engine;

    #[derive(Debug)]
    pub(super) enum PreparedPlan {}

    type Readable = dyn Fn(&State, &TableState) -> Result<bool>;

    impl Engine {
        #[expect(clippy::unnecessary_wraps, reason = "as the query engine")]
        pub(super) fn new(_: CacheOptions, _: UpstreamSlot) -> Result<Self> {
            Ok(Self)
        }

        #[expect(clippy::unused_self, reason = "as the query engine")]
        pub(super) fn is(&self, _: &Self) -> bool {
            true
        }

        pub(super) fn query(&self, _: &Arc<State>, _: &str, _: &[Value], _: &Readable) -> Result<Batches> {
            Err(unsupported())
        }

        #[cfg(feature = "sidecar")]
        #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "as the query engine")]
        pub(super) fn query_known(
            &self,
            _: &Arc<State>,
            _: &str,
            _: &[Value],
            _: &Readable,
        ) -> Result<Option<Batches>> {
            Ok(None)
        }

        pub(super) fn prepare(&self, _: &Arc<State>, _: &str) -> Result<PreparedPlan> {
            Err(unsupported())
        }

        pub(super) fn execute(
            &self,
            _: &Arc<State>,
            plan: &PreparedPlan,
            _: &[Value],
            _: &Readable,
        ) -> Result<Batches> {
            match *plan {}
        }

        #[cfg(feature = "sidecar")]
        pub(super) fn execute_known(
            &self,
            _: &Arc<State>,
            plan: &PreparedPlan,
            _: &[Value],
            _: &Readable,
        ) -> Result<Option<Batches>> {
            match *plan {}
        }
    }

    impl PreparedPlan {
        pub(super) fn parameters(&self) -> usize {
            match *self {}
        }

        pub(super) fn columns(&self) -> Option<(SchemaRef, Vec<Option<DataType>>)> {
            match *self {}
        }
    }

    pub(crate) fn unsupported() -> Error {
        Error::new(
            ErrorCode::Unsupported,
            "this build has no SQL: enable the feature `sql` of the crate `pillion`",
        )
    }
}

/// A table by its number.
///
/// # Errors
/// [`ErrorCode::TableNotFound`] if it was dropped.
pub(crate) fn table_of(state: &State, id: u64) -> Result<&Arc<TableState>> {
    state.tables.get(&id).ok_or_else(|| {
        Error::new(ErrorCode::TableNotFound, "the table was dropped; look it up again by its name")
    })
}

#[inline]
fn get(
    (state, upstream): (&State, &UpstreamSlot),
    moment: Moment,
    id: u64,
    key: &dyn Key,
) -> Result<Option<Row>> {
    let table = table_of(state, id)?;
    let is_here = answers_here(state, table, moment)?;
    let shape = &table.shape;
    if shape.primary_key.is_empty() {
        return Err(shape.no_primary_key());
    }
    let key = key::encode_key(&shape.schema, &shape.primary_key, key)?;
    if !is_here {
        return misses::row(upstream, state, table, held(state, table).as_ref(), &key);
    }
    look_up(state, table, &key, key::hash(&key), |held| misses::row(upstream, state, table, Some(held), &key))
}

fn get_many(
    (state, upstream): (&State, &UpstreamSlot),
    moment: Moment,
    id: u64,
    keys: &mut dyn Iterator<Item = &dyn Key>,
) -> Result<Vec<Option<Row>>> {
    let table = table_of(state, id)?;
    let is_here = answers_here(state, table, moment)?;
    let shape = &table.shape;
    if shape.primary_key.is_empty() {
        return Err(shape.no_primary_key());
    }
    let mut rows = Vec::with_capacity(keys.size_hint().0);
    let mut missing: Vec<(usize, KeyBytes)> = Vec::new();
    let mut some = Vec::with_capacity(PREFETCHED_KEYS);
    loop {
        some.clear();
        for key in (&mut *keys).take(PREFETCHED_KEYS) {
            let key = key::encode_key(&shape.schema, &shape.primary_key, key)?;
            let hash = key::hash(&key);
            some.push((key, hash));
        }
        if some.is_empty() {
            break;
        }
        table.prefetch(&some, Prefetch::Values);
        for (key, hash) in &some {
            let number = rows.len();
            if !is_here {
                missing.push((number, key.clone()));
                rows.push(None);
                continue;
            }
            rows.push(look_up(state, table, key, *hash, |_| {
                missing.push((number, key.clone()));
                Ok(None)
            })?);
        }
    }
    if !missing.is_empty() {
        let held = held(state, table);
        let keys: Vec<KeyBytes> = missing.iter().map(|(_, key)| key.clone()).collect();
        let found = misses::rows(upstream, state, table, held.as_ref(), &keys)?;
        for (number, key) in missing {
            if let Some(row) = rows.get_mut(number) {
                *row = found.get(&key).cloned();
            }
        }
    }
    Ok(rows)
}

/// The row with an encoded key, however old it is; `elsewhere` asks the source of a table that delegates what it does not hold.
#[inline]
pub(crate) fn look_up(
    state: &State,
    table: &TableState,
    key: &[u8],
    hash: u64,
    elsewhere: impl FnOnce(&Held<'_>) -> Result<Option<Row>>,
) -> Result<Option<Row>> {
    let (version, freshness) = (state.version, freshness(table));
    Ok(match table.find_hashed(key, hash, version.sequence)? {
        Some(Found::Segment(segment, row)) => Some(Row::new(segment.clone(), row, version, freshness)?),
        Some(Found::Tail(batch, row)) => {
            Some(Row::of_batch(batch.rows.clone(), row as usize, version, freshness))
        }
        None if table.shape.rules.working_set.is_some() => return absent(state, table, key, elsewhere),
        None => None,
    })
}

/// The version that a reader holds, with only the tables whose names are chosen.
///
/// # Errors
/// [`ErrorCode::Unsupported`] if another process holds it.
pub(crate) fn only(reader: &dyn Reader, is_chosen: &dyn Fn(&str) -> bool) -> Result<Arc<dyn Reader>> {
    let held = held_here(reader)?;
    Ok(Arc::new(held.at(Arc::new(held.source.only(is_chosen)))))
}

/// Plans a query over what a snapshot shows.
///
/// # Errors
/// Those of planning; [`ErrorCode::Unsupported`] if a sidecar holds the snapshot.
pub(crate) fn prepare(reader: &dyn Reader, text: &str) -> Result<(Arc<dyn Statement>, Recording)> {
    let held = held_here(reader)?;
    let statement = Arc::new(held.at(held.source.clone())).prepare(text)?;
    Ok((statement, held.recording.clone()))
}

fn held_here(reader: &dyn Reader) -> Result<&Local<Arc<State>>> {
    (reader as &dyn Any).downcast_ref::<Local<Arc<State>>>().ok_or_else(|| {
        Error::new(
            ErrorCode::Unsupported,
            "a sidecar holds the snapshot, and shows all of its tables: leave some out in the process that reads the files",
        )
    })
}

impl Local<Arc<State>> {
    /// The same, at another state.
    fn at(&self, source: Arc<State>) -> Self {
        let (engine, recording) = (self.engine.clone(), self.recording.clone());
        Self { source, engine, moment: self.moment, recording, upstream: self.upstream.clone() }
    }
}

/// What a held version shows to other contexts of DataFusion, and the engine that knows which of their plans hold it. Its rows must
/// be young enough at `moment`, or when the version was held.
///
/// # Errors
/// [`ErrorCode::Unsupported`] if another process holds it.
#[cfg(feature = "datafusion")]
pub(crate) fn shown(reader: &dyn Reader, moment: Option<Moment>) -> Result<(Engine, Pinned)> {
    let held = (reader as &dyn Any).downcast_ref::<Local<Arc<State>>>().ok_or_else(|| {
        Error::new(
            ErrorCode::Unsupported,
            "a sidecar has the rows: attach to its directory, so that this process reads the files, or query it with `sql`",
        )
    })?;
    let readable = Box::new(readable(moment.unwrap_or(held.moment)));
    let state = held.source.clone();
    Ok((held.engine.clone(), Pinned { state, readable }))
}

/// A key without a row in a table that holds only some rows of its source.
///
/// # Errors
/// [`ErrorCode::NotCovered`] if the source may have a row with it.
#[cold]
fn absent(
    state: &State,
    table: &TableState,
    key: &[u8],
    elsewhere: impl FnOnce(&Held<'_>) -> Result<Option<Row>>,
) -> Result<Option<Row>> {
    match held(state, table) {
        Some(held) if held.delegates() && !held.covers_key(key) => elsewhere(&held),
        Some(held) if !held.covers_key(key) && !held.answers_partially() => Err(held.not_covered(
            "the source may have another row with this key: ask it, or query the columns of the condition too",
        )),
        _ => Ok(None),
    }
}

/// Who has all rows of a table.
enum Whole<'a> {
    /// The table, as far as this says.
    Here(Certificate),
    /// Its source, which is to be asked.
    Elsewhere(Option<Held<'a>>),
}

/// What is said of an answer of all rows of a table.
///
/// # Errors
/// [`ErrorCode::NotCovered`] if it holds only some rows of its source.
fn certified_whole<'a>(state: &State, table: &'a TableState) -> Result<Whole<'a>> {
    let Some(held) = held(state, table) else { return Ok(Whole::Here(Certificate::default())) };
    let is_complete = held.covers(&Region::everything());
    let reason = match is_complete {
        true => "it holds all rows of its source".to_owned(),
        false if held.answers_partially() => "a scan needs all rows, and it holds only some".to_owned(),
        false if held.delegates() => return Ok(Whole::Elsewhere(Some(held))),
        false => {
            return Err(held.not_covered(
                "a scan needs all rows: query it with that condition, or let it answer with what it has (`on_miss`)",
            ));
        }
    };
    Ok(Whole::Here(Certificate::new(vec![held.certificate(is_complete, reason)])))
}

/// All rows of a table, however old they are, and whatever its source has beside them.
pub(crate) fn scan(
    state: &State,
    id: u64,
    columns: Option<&[String]>,
    certificate: Certificate,
) -> Result<Batches> {
    scan_some(state, id, columns, certificate, |_| true)
}

/// All rows of a table whose encoded keys are within bounds, and perhaps others, however old they are.
pub(crate) fn scan_between(
    state: &State,
    id: u64,
    columns: Option<&[String]>,
    from: Option<&[u8]>,
    below: Option<&[u8]>,
) -> Result<Batches> {
    scan_some(state, id, columns, Certificate::default(), |segment| {
        let record = segment.record();
        !from.is_some_and(|from| record.is_below(from))
            && below.is_none_or(|below| record.min_key.as_slice() < below)
    })
}

fn scan_some(
    state: &State,
    id: u64,
    columns: Option<&[String]>,
    certificate: Certificate,
    is_wanted: impl Fn(&SegmentHandle) -> bool,
) -> Result<Batches> {
    let table = table_of(state, id)?;
    let full = &table.shape.schema;
    let projection = projection(full, columns)?;
    let schema: SchemaRef = match columns {
        Some(_) => {
            let projected = full.project(&projection);
            Arc::new(
                projected.map_err(|error| Error::internal("cannot project a schema").with_source(error))?,
            )
        }
        None => full.clone(),
    };
    let answer = schema.clone();
    let (table_state, sequence) = (table.clone(), state.version.sequence);
    // Opens each segment when the answer reaches it.
    let wanted: Vec<usize> =
        (0..table.segments.len()).filter(|number| is_wanted(&table.segments[*number])).collect();
    let segments = wanted.into_iter().flat_map({
        let table = table.clone();
        move |number| match TableState::segment_parts(&table.segments[number]) {
            Ok(parts) => parts.map(Ok).collect(),
            Err(error) => vec![Err(error)],
        }
    });
    let parts = segments.chain(table.tail_parts()?.into_iter().map(Ok));
    let batches = parts.flat_map(move |part| {
        part.map_or_else(Pieces::from, |part| table_state.pieces(&part, None, sequence, &projection, &schema))
    });
    let info =
        AnswerInfo { version: state.version, freshness: freshness(table), tier: Tier::Local, certificate };
    Ok(Batches::new(answer, info, Box::new(IteratorSource(batches))))
}

/// The places of some columns, or of all.
fn projection(schema: &SchemaRef, columns: Option<&[String]>) -> Result<Vec<usize>> {
    match columns {
        Some(columns) => columns.iter().map(|name| name.index_in(schema)).collect(),
        None => Ok((0..schema.fields().len()).collect()),
    }
}

/// The information on every table, in the order of their names.
pub(crate) fn tables(state: &State) -> Vec<TableInfo> {
    let mut tables: Vec<_> = state.tables.values().map(|table| info(state, table)).collect();
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    tables
}

/// The information on a table.
pub(crate) fn info(state: &State, table: &TableState) -> TableInfo {
    let shape = &table.shape;
    TableInfo {
        id: shape.id,
        name: shape.name.clone(),
        schema: shape.schema.clone(),
        rules: shape.rules.clone(),
        rows: table.rows,
        bytes: table.bytes(),
        segments: table.segments.len(),
        logged_rows: table.tails.iter().map(|tail| tail.rows as u64).sum(),
        damage: table.damage().map(str::to_owned),
        coverage: held(state, table).and_then(|held| held.coverage().map(str::to_owned)),
        freshness: freshness(table),
        version: state.version,
    }
}
