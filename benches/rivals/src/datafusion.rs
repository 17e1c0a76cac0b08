//! DataFusion as it is: the rows as batches in memory, in as many partitions as there are processors, and the same
//! partitions for queries as Pillion has.
//!
//! A prepared query is a logical plan that is kept; parameters are put in with every run.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use pillion_benches::Result;
use pillion_benches::data::{Keys, Points, read_batches};
use pillion_benches::harness::{Contestant, Sink};
use pillion_benches::workload::{COMPUTED_SQL, GROUPS_SQL, POINT_SQL, RANGE_ROWS, RANGE_SQL, point_text};
use tokio::runtime::Runtime;

/// Version of DataFusion.
pub const VERSION: &str = datafusion::DATAFUSION_VERSION;

/// A session with the table of the lookups.
#[derive(Clone)]
pub struct Engine {
    session: SessionContext,
    runtime: Arc<Runtime>,
}

impl Engine {
    /// A session over `batches`.
    ///
    /// # Errors
    /// DataFusion refuses, or no threads can be started.
    pub fn new(batches: &[RecordBatch]) -> Result<Self> {
        let partitions = std::thread::available_parallelism().map_or(1, Into::into);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(partitions).build()?;
        let session =
            SessionContext::new_with_config(SessionConfig::new().with_target_partitions(partitions));
        let parts = batches.chunks(batches.len().div_ceil(partitions).max(1)).map(<[RecordBatch]>::to_vec);
        let table = MemTable::try_new(Points::schema(), parts.collect())?;
        session.register_table(Points::NAME, Arc::new(table))?;
        Ok(Self { session, runtime: Arc::new(runtime) })
    }

    fn prepare(&self, sql: &str) -> Result<DataFrame> {
        Ok(self.runtime.block_on(self.session.sql(sql))?)
    }

    fn run_text(&self, sql: &str, sink: &mut impl Sink) -> Result<()> {
        let batches = self.runtime.block_on(async { self.session.sql(sql).await?.collect().await })?;
        read_batches(batches, sink)
    }

    fn run_prepared(
        &self,
        query: &DataFrame,
        parameters: Vec<ScalarValue>,
        sink: &mut impl Sink,
    ) -> Result<()> {
        let bound = query.clone().with_param_values(parameters)?;
        read_batches(self.runtime.block_on(bound.collect())?, sink)
    }
}

/// A prepared query of one row.
pub struct PreparedPoint {
    engine: Engine,
    query: DataFrame,
    keys: Keys,
}

impl PreparedPoint {
    /// Prepares it.
    ///
    /// # Errors
    /// DataFusion refuses it.
    pub fn new(engine: &Engine, keys: Keys) -> Result<Self> {
        Ok(Self { engine: engine.clone(), query: engine.prepare(POINT_SQL)?, keys })
    }
}

impl Contestant for PreparedPoint {
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        self.engine.run_prepared(&self.query, vec![ScalarValue::from(self.keys.present(call))], sink)
    }
}

/// A query of one row, as text.
pub struct PointText {
    engine: Engine,
    keys: Keys,
    text: String,
}

impl PointText {
    /// Queries of `engine`.
    pub fn new(engine: &Engine, keys: Keys) -> Self {
        Self { engine: engine.clone(), keys, text: String::new() }
    }
}

impl Contestant for PointText {
    fn prepare(&mut self, call: u64) -> Result<()> {
        self.text = point_text(self.keys.present(call));
        Ok(())
    }

    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        self.engine.run_text(&self.text, sink)
    }
}

/// A prepared query of a range of keys.
pub struct Range {
    engine: Engine,
    query: DataFrame,
    keys: Keys,
}

impl Range {
    /// Prepares it.
    ///
    /// # Errors
    /// DataFusion refuses it.
    pub fn new(engine: &Engine, keys: Keys) -> Result<Self> {
        Ok(Self { engine: engine.clone(), query: engine.prepare(RANGE_SQL)?, keys })
    }
}

impl Contestant for Range {
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        let (from, to) = self.keys.range(call, RANGE_ROWS);
        self.engine.run_prepared(&self.query, vec![ScalarValue::from(from), ScalarValue::from(to)], sink)
    }
}

/// A query of all rows, as text.
pub struct Groups {
    engine: Engine,
}

impl Groups {
    /// Queries of `engine`.
    pub fn new(engine: &Engine) -> Self {
        Self { engine: engine.clone() }
    }
}

impl Contestant for Groups {
    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        self.engine.run_text(GROUPS_SQL, sink)
    }
}

/// A query of which the answer is a tenth of the rows, computed, as text.
pub struct Computed {
    engine: Engine,
}

impl Computed {
    /// Queries of `engine`.
    pub fn new(engine: &Engine) -> Self {
        Self { engine: engine.clone() }
    }
}

impl Contestant for Computed {
    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        self.engine.run_text(COMPUTED_SQL, sink)
    }
}
