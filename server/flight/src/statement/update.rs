//! Statements that change tables.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pillion::{Error, ErrorCode, Permitted, Version};
use pillion_access::{Identity, Right};
use tonic::Status;

use super::parameters::Parameters;
use crate::door::{DOOR, Door};
use crate::status;

/// The column of an answer that says how many rows were changed.
const COUNT: &str = "count";

/// A statement that changes tables, with its parameters.
#[derive(Debug)]
pub(crate) struct Update {
    text: Arc<str>,
    parameters: Arc<Parameters>,
}

/// What it did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) rows: i64,
    /// The version that has it; `None` if it ran for no row of parameters.
    pub(crate) version: Option<Version>,
}

impl Update {
    pub(crate) fn new(text: impl Into<Arc<str>>, parameters: Arc<Parameters>) -> Self {
        Self { text: text.into(), parameters }
    }

    /// Runs it, once for each row of parameters; each run is a commit of its own. If the future is dropped, the run under way is given
    /// up; it may still take effect.
    ///
    /// # Errors
    /// Those of the statement; `PERMISSION_DENIED`. Says how many runs took effect, if there are several.
    pub(crate) async fn run(&self, door: &Door, identity: &Identity) -> Result<Done, Status> {
        identity.demand_any_write(DOOR).map_err(|denied| status::denied(&denied))?;
        let mut done = Done { rows: 0, version: None };
        for run in 0..self.parameters.runs() {
            let values = self.parameters.values(run).map_err(|error| status::of(&error))?;
            let executed = if identity.changes_all() {
                door.cache.execute(&self.text, &values).await
            } else {
                door.cache.execute_permitted(&self.text, &values, &permitted(identity)).await
            };
            let executed = executed.map_err(|error| failed(door, identity, run, error))?;
            done.rows = done.rows.saturating_add(i64::try_from(executed.rows).unwrap_or(i64::MAX));
            done.version = Some(executed.version);
        }
        Ok(done)
    }
}

/// The tables of a token.
fn permitted(identity: &Identity) -> Permitted {
    let (reader, writer) = (identity.clone(), identity.clone());
    Permitted::new(
        move |table| reader.may(Right::Read, Some(table)),
        move |table| writer.may(Right::Write, Some(table)),
    )
}

fn failed(door: &Door, identity: &Identity, run: usize, error: Error) -> Status {
    if error.code() == ErrorCode::PermissionDenied {
        door.access.denials().count(DOOR, &format_args!("`{}`: {error}", identity.name()));
    }
    let error = match run {
        0 => error,
        _ => error.context(format_args!("row {} of the parameters, after {run} that took effect", run + 1)),
    };
    status::of(&error)
}

/// The columns of the answer to a statement that changes tables.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(COUNT, DataType::Int64, false)]))
}

/// The answer to one.
///
/// # Errors
/// None.
pub(crate) fn answer(done: Done) -> Result<RecordBatch, Status> {
    let rows: ArrayRef = Arc::new(Int64Array::from(vec![done.rows]));
    RecordBatch::try_new(schema(), vec![rows]).map_err(|_| status::defect("a count is no batch"))
}
