//! Prepared statements: what is known of one before it runs.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parking_lot::Mutex;
use pillion::modifies;
use pillion_access::{Identity, Right};
use pillion_rows::{numbered, parameters};
use tonic::Status;

use super::parameters::Parameters;
use crate::call::guard::Admitted;
use crate::door::{DOOR, Door};
use crate::status;

/// Bytes that the plan of a short statement takes, about.
pub(crate) const STATEMENT_LEN: usize = 64 << 10;

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

/// Bytes that a statement takes beside its parameters, about.
pub(crate) fn text_bytes(text: &str) -> usize {
    // Its plan has what the text has, in several places.
    STATEMENT_LEN.saturating_add(text.len().saturating_mul(4))
}

/// A statement that a client prepared.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) statement: Statement,
    /// Columns of its answers, if they are known.
    pub(crate) answers: Option<SchemaRef>,
    /// Types of its parameters.
    pub(crate) takes: SchemaRef,
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
            // Planned when it runs: its parameters get types from the table then. Drivers ask how many there are.
            let takes = fields(parameters(&statement.text), None);
            return Ok(Self::of(statement, None, takes));
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

    fn of(statement: Statement, answers: Option<SchemaRef>, takes: SchemaRef) -> Self {
        Self { statement, answers, takes, bound: Mutex::default() }
    }

    /// Bytes that it takes with these parameters.
    pub(crate) fn bytes(&self, parameters: &Parameters) -> usize {
        text_bytes(&self.statement.text).saturating_add(parameters.bytes())
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
    takes: SchemaRef,
}

/// Plans a statement. Whoever may not read all tables is told nothing that depends on the others.
fn planned(cache: &pillion::Cache, identity: &Identity, text: &str) -> pillion::Result<Planned> {
    if identity.reads_all() {
        let plan = cache.prepare(text)?;
        let takes = fields(plan.parameters(), plan.parameter_types());
        return Ok(Planned { answers: plan.schema(), plan: Some(plan), takes });
    }
    let readable = cache.snapshot()?.only_tables(|table| identity.may(Right::Read, Some(table)))?;
    let plan = readable.prepare(text)?;
    let takes = fields(plan.parameters(), plan.parameter_types());
    Ok(Planned { plan: None, answers: plan.schema(), takes })
}

/// The parameters as columns. A type that is not known is a text, which becomes what the statement compares it with.
fn fields(count: usize, types: Option<Vec<Option<DataType>>>) -> SchemaRef {
    let mut types = types.unwrap_or_default();
    types.resize(count, None);
    let named = types.into_iter().enumerate();
    let fields =
        named.map(|(index, of)| Field::new(format!("${}", index + 1), of.unwrap_or(DataType::Utf8), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
