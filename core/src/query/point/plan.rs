//! What remains to be done for a statement of the point path.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use datafusion::physical_plan::ExecutionPlan;
use smallvec::SmallVec;

use super::literals::Literal;
use super::recognise::{Leaf, leaf_of};
use super::value::{Given, KeyValue};
use super::work::Work;
use crate::answer::batches::{AnswerInfo, Batches, Canceller, IteratorSource};
use crate::answer::certificate::Certificate;
use crate::coverage::held;
use crate::query::contain::contain;
use crate::query::engine::Readable;
use crate::query::key_filter::KEYS_MAX;
use crate::query::lookup::BATCH_BYTES_MAX;
use crate::storage::key::KeyBytes;
use crate::storage::{Found, State, TableState, batch_len, freshness};
use crate::types::value::Value;
use crate::types::version::Tier;

/// A statement that names rows by their keys, planned.
#[derive(Debug)]
pub(in crate::query) struct PointPlan {
    /// Number of the table.
    pub(super) table: u64,
    /// How many parameters the statement takes.
    pub(super) parameters: usize,
    /// The values of each column of the key, one of which it must have.
    pub(super) key: Vec<Vec<KeyValue>>,
    /// What is wanted of the rows.
    pub(super) wanted: Wanted,
    /// The columns of the answer.
    pub(super) schema: SchemaRef,
    pub(super) limit: Limit,
}

/// What is wanted of the rows of keys.
#[derive(Debug)]
pub(super) enum Wanted {
    /// Columns of the table.
    Columns(Vec<usize>),
    /// Columns of the rows that satisfy further conditions.
    Work(Work),
    /// The number of all rows, whatever their keys.
    Count,
}

/// How much one answer may take.
#[derive(Clone, Copy, Debug)]
pub(in crate::query) struct Effort {
    keys: usize,
    bytes: usize,
    counts: bool,
}

impl Effort {
    /// As much as the ordinary path takes at once.
    pub(in crate::query) const ANY: Self = Self { keys: KEYS_MAX, bytes: BATCH_BYTES_MAX, counts: true };
    /// As much as others can wait for.
    #[cfg(feature = "sidecar")]
    pub(in crate::query) const BRIEF: Self = Self { keys: 16, bytes: 256 << 10, counts: false };

    /// The most bytes of an answer.
    pub(in crate::query) fn bytes(self) -> usize {
        self.bytes
    }
}

/// The most rows that are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Limit {
    None,
    Fixed(usize),
    /// A literal of the text.
    Literal(usize),
}

impl PointPlan {
    /// Number of the table.
    pub(in crate::query) fn table(&self) -> u64 {
        self.table
    }

    /// The answer. `None` if the ordinary path has to make it, or its error.
    pub(in crate::query) fn answer(
        &self,
        state: &State,
        parameters: &[Value],
        literals: &[Literal<'_>],
        (readable, effort): (&Readable, Effort),
    ) -> Option<Batches> {
        if taken::is_off() {
            return None;
        }
        let table = state.tables.get(&self.table)?;
        if parameters.len() != self.parameters || Canceller::is_current_cancelled() {
            return None;
        }
        if !readable(state, table).ok()? {
            return None;
        }
        let given = Given { parameters, literals };
        // What panics here is left to the ordinary path too.
        let batch = contain(|| self.rows(table, state.version.sequence, given, effort)).ok()??;
        let certificate = held(state, table).map_or_else(Certificate::default, |held| {
            Certificate::new(vec![held.certificate(true, "a row with each key is held".to_owned())])
        });
        let info = AnswerInfo {
            version: state.version,
            freshness: freshness(table),
            tier: Tier::Local,
            certificate,
        };
        taken::count();
        Some(Batches::new(self.schema.clone(), info, Box::new(IteratorSource(batch.map(Ok).into_iter()))))
    }

    /// The rows as one batch; without a batch if there are none.
    fn rows(
        &self,
        table: &TableState,
        sequence: u64,
        given: Given<'_>,
        effort: Effort,
    ) -> Option<Option<RecordBatch>> {
        let is_working_set = table.shape.rules.working_set.is_some();
        let limit = match self.limit {
            Limit::None => usize::MAX,
            Limit::Fixed(limit) => limit,
            Limit::Literal(number) => match given.literals.get(number)? {
                Literal::Int(limit) => usize::try_from(*limit).ok()?,
                Literal::Text(_) => return None,
            },
        };
        // What is wrong with a value is told whether there are rows or not.
        let values = match &self.wanted {
            Wanted::Work(work) => work.values(given)?,
            Wanted::Columns(_) | Wanted::Count => Vec::new(),
        };
        let (columns, schema, most) = match &self.wanted {
            // The ordinary path asks whether all rows are held.
            Wanted::Count if is_working_set => return None,
            Wanted::Count => return effort.counts.then(|| self.count(table)).flatten().map(Some),
            Wanted::Columns(columns) => (columns, &self.schema, limit),
            // Conditions may drop some.
            Wanted::Work(work) => (&work.columns, &work.read, if limit == 0 { 0 } else { usize::MAX }),
        };
        let mut rows: SmallVec<[RecordBatch; 1]> = SmallVec::new();
        let keys = self.keys(given).filter(|keys| keys.len() <= effort.keys)?;
        for key in keys {
            if rows.len() >= most {
                break;
            }
            if Canceller::is_current_cancelled() {
                return None;
            }
            match table.find(&key, sequence).ok()? {
                Some(found) => rows.push(read(found, columns, schema)?),
                // The source may have the row. The ordinary path asks.
                None if is_working_set => return None,
                None => {}
            }
        }
        let rows = match rows.as_slice() {
            [] => return Some(None),
            [_] => rows.pop()?,
            // DataFusion's path knows what to do with very long rows.
            rows if rows.iter().map(batch_len).sum::<usize>() > effort.bytes => return None,
            rows => concat_batches(schema, rows).ok()?,
        };
        let Wanted::Work(work) = &self.wanted else { return Some(Some(rows)) };
        let computed = work.of_rows(&rows, &self.schema, &values)?;
        let len = computed.num_rows().min(limit);
        Some((len > 0).then(|| computed.slice(0, len)))
    }

    /// The number of all rows.
    fn count(&self, table: &TableState) -> Option<RecordBatch> {
        // Nobody can count the rows of a segment that cannot be read.
        if table.damage().is_some() || table.segments.iter().any(|segment| segment.open().is_err()) {
            return None;
        }
        let rows = Int64Array::from(vec![i64::try_from(table.rows).ok()?]);
        RecordBatch::try_new(self.schema.clone(), vec![Arc::new(rows)]).ok()
    }

    /// Whether a plan of DataFusion for the same run reads the same rows.
    pub(in crate::query) fn agrees(
        &self,
        parameters: &[Value],
        literals: &[Literal<'_>],
        plan: &Arc<dyn ExecutionPlan>,
    ) -> bool {
        match leaf_of(plan) {
            Some(Leaf::Lookup(lookup)) if !matches!(self.wanted, Wanted::Count) => {
                let keys = self.keys(Given { parameters, literals });
                keys.is_some_and(|keys| keys.as_slice() == lookup.keys())
            }
            Some(Leaf::Nothing) => matches!(self.wanted, Wanted::Count),
            _ => false,
        }
    }

    /// The keys, each once and in their order.
    pub(super) fn keys(&self, given: Given<'_>) -> Option<SmallVec<[KeyBytes; 1]>> {
        let mut keys: SmallVec<[KeyBytes; 1]> = SmallVec::new();
        keys.push(KeyBytes::new());
        for values in &self.key {
            if let [value] = values.as_slice() {
                keys.iter_mut().try_for_each(|key| value.push(key, given))?;
                continue;
            }
            if keys.len().checked_mul(values.len())? > KEYS_MAX {
                return None;
            }
            let mut longer = SmallVec::with_capacity(keys.len() * values.len());
            for value in values {
                for key in &keys {
                    let mut key = key.clone();
                    value.push(&mut key, given)?;
                    longer.push(key);
                }
            }
            keys = longer;
        }
        if keys.len() > 1 {
            keys.sort_unstable();
            keys.dedup();
        }
        Some(keys)
    }
}

/// Columns of a row, called as in `schema`.
fn read(found: Found<'_>, columns: &[usize], schema: &SchemaRef) -> Option<RecordBatch> {
    let Found::Tail(batch, row) = found else { return found.read(columns, schema).ok() };
    let columns = columns.iter().map(|&column| batch.rows.column(column).slice(row as usize, 1));
    RecordBatch::try_new(schema.clone(), columns.collect()).ok()
}

/// How many statements of a thread took the point path, and whether they may; for tests.
pub(in crate::query) mod taken {
    #[cfg(test)]
    thread_local! {
        static TAKEN: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
        static IS_OFF: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }

    /// Whether all statements take the ordinary path.
    #[inline]
    pub(super) fn is_off() -> bool {
        #[cfg(test)]
        return IS_OFF.get();
        #[cfg(not(test))]
        false
    }

    /// Runs `work` without the point path.
    #[cfg(test)]
    pub(in crate::query) fn without<T>(work: impl FnOnce() -> T) -> T {
        IS_OFF.set(true);
        let done = work();
        IS_OFF.set(false);
        done
    }

    /// Counts one.
    #[inline]
    pub(super) fn count() {
        #[cfg(test)]
        TAKEN.set(TAKEN.get() + 1);
    }

    /// Those of this thread.
    #[cfg(test)]
    pub(in crate::query) fn of_thread() -> u64 {
        TAKEN.get()
    }
}
