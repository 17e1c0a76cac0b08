//! Prepared statements: what is known of one before it runs.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parking_lot::Mutex;
use pillion::{ErrorCode, Value, modifies};
use pillion_access::{Identity, Right};
use pillion_rows::{numbered, parameters};
use tonic::Status;

use super::parameters::Parameters;
use crate::call::guard::Admitted;
use crate::door::{DOOR, Door};
use crate::status;

/// A statement: its text, and its plan if it was planned before.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    /// With `$1`, `$2`, … for parameters.
    pub(crate) text: Arc<str>,
    /// Whether it changes tables, as far as its first word shows.
    pub(crate) is_update: bool,
    /// Only for those who may read all tables: of others it could show tables that they may not read.
    pub(crate) plan: Option<pillion::Prepared>,
}

impl Statement {
    /// One that was not planned.
    pub(crate) fn new(text: &str) -> Self {
        Self { text: numbered(text).into(), is_update: modifies(text), plan: None }
    }
}

/// A statement that a client prepared.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) statement: Statement,
    /// Columns of its answers, if they are known.
    pub(crate) answers: Option<SchemaRef>,
    /// Types of its parameters.
    pub(crate) takes: Schema,
    /// The parameters that were bound last.
    bound: Mutex<Arc<Parameters>>,
}

impl Prepared {
    /// Prepares a statement for whoever asks.
    ///
    /// # Errors
    /// Those of planning; `PERMISSION_DENIED`.
    pub(crate) async fn prepare(
        door: &Arc<Door>,
        identity: &Identity,
        admitted: &Admitted,
        text: &str,
    ) -> Result<Self, Status> {
        let mut statement = Statement::new(text);
        if statement.is_update {
            identity.demand_any_write(DOOR).map_err(|denied| status::denied(&denied))?;
            // Planned when it runs: its parameters get types from the table then.
            return Ok(Self::of(statement, None, Schema::empty()));
        }
        identity.demand_any_read(DOOR).map_err(|denied| status::denied(&denied))?;
        let (cache, who, asked) = (door.cache.clone(), identity.clone(), statement.text.clone());
        let held = admitted.clone();
        let planned = tokio::task::spawn_blocking(move || {
            let _held = held;
            planned(cache.blocking(), &who, &asked)
        });
        let planned = planned.await.map_err(|_| status::defect("a thread that planned panicked"))?;
        let Planned { plan, answers, takes } = planned.map_err(|error| status::of(&error))?;
        statement.plan = plan;
        Ok(Self::of(statement, answers, takes))
    }

    fn of(statement: Statement, answers: Option<SchemaRef>, takes: Schema) -> Self {
        Self { statement, answers, takes, bound: Mutex::default() }
    }

    /// From now on, it runs with these parameters.
    pub(crate) fn bind(&self, parameters: Parameters) {
        *self.bound.lock() = Arc::new(parameters);
    }

    /// The parameters that it runs with.
    pub(crate) fn bound(&self) -> Arc<Parameters> {
        self.bound.lock().clone()
    }
}

struct Planned {
    plan: Option<pillion::Prepared>,
    answers: Option<SchemaRef>,
    takes: Schema,
}

/// Plans a statement. Whoever may not read all tables is told nothing that depends on the others.
fn planned(cache: &pillion::Cache, identity: &Identity, text: &str) -> pillion::Result<Planned> {
    if identity.reads_all() {
        let plan = cache.prepare(text)?;
        let takes = fields(plan.parameters(), plan.parameter_types());
        return Ok(Planned { answers: plan.schema(), plan: Some(plan), takes });
    }
    let readable = cache.snapshot()?.only_tables(|table| identity.may(Right::Read, Some(table)))?;
    let count = parameters(text);
    let answers = match readable.sql(text, &vec![Value::Null; count]) {
        Ok(batches) => Some(batches.schema().clone()),
        // A null may be no value that the statement takes; then its columns are not known before it runs.
        Err(error)
            if count > 0 && matches!(error.code(), ErrorCode::InvalidParameter | ErrorCode::Execution) =>
        {
            None
        }
        Err(error) => return Err(error),
    };
    // All of its tables may be read, so its types show nothing else.
    let types = answers.as_ref().and_then(|_| cache.prepare(text).ok()?.parameter_types());
    Ok(Planned { plan: None, answers, takes: fields(count, types) })
}

/// The parameters as columns. A type that is not known is a text, which becomes what the statement compares it with.
fn fields(count: usize, types: Option<Vec<Option<DataType>>>) -> Schema {
    let mut types = types.unwrap_or_default();
    types.resize(count, None);
    let named = types.into_iter().enumerate();
    let fields =
        named.map(|(index, of)| Field::new(format!("${}", index + 1), of.unwrap_or(DataType::Utf8), true));
    Schema::new(fields.collect::<Vec<_>>())
}
