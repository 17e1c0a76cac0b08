//! Statements that change tables.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pillion::{Canceller, Error, ErrorCode, Executed, Permitted, Version};
use pillion_access::{Denied, Identity, Right};
use tonic::Status;

use super::parameters::Parameters;
use super::prepared::text_bytes;
use super::work::Work;
use crate::call::guard::Admitted;
use crate::door::{DOOR, Door};
use crate::status;

/// The column of an answer that says how many rows were changed.
const COUNT: &str = "count";

/// A statement that changes tables, with its parameters.
#[derive(Clone, Debug)]
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

    /// Bytes that it takes while it waits.
    pub(crate) fn bytes(&self) -> usize {
        text_bytes(&self.text).saturating_add(self.parameters.bytes())
    }

    /// Runs it, once for each row of parameters; each run is a commit of its own. If the future is dropped, the run under way is given
    /// up; it may still take effect. Until it has ended, it keeps its place.
    ///
    /// # Errors
    /// Those of the statement; `PERMISSION_DENIED`. Says how many runs took effect, if there are several.
    pub(crate) async fn run(
        &self,
        door: &Arc<Door>,
        identity: &Identity,
        admitted: &Admitted,
    ) -> Result<Done, Status> {
        identity.demand_any_write(DOOR).map_err(|denied| status::denied(&denied))?;
        let (update, door, identity) = (self.clone(), door.clone(), identity.clone());
        let work = Work::begin(admitted.clone(), move |canceller| update.run_now(&door, identity, canceller));
        work.end().await?
    }

    fn run_now(&self, door: &Door, mut identity: Identity, canceller: &Canceller) -> Result<Done, Status> {
        let mut done = Done { rows: 0, version: None };
        for run in 0..self.parameters.runs() {
            let executed = self.run_one(door, &mut identity, run, canceller);
            let executed = executed.map_err(|error| failed(door, &identity, run, error))?;
            done.rows = done.rows.saturating_add(i64::try_from(executed.rows).unwrap_or(i64::MAX));
            done.version = Some(executed.version);
        }
        Ok(done)
    }

    fn run_one(
        &self,
        door: &Door,
        identity: &mut Identity,
        run: usize,
        canceller: &Canceller,
    ) -> pillion::Result<Executed> {
        if canceller.is_cancelled() {
            return Err(Error::new(ErrorCode::Cancelled, "nobody waits for the statement any more"));
        }
        // What its token permits may have changed meanwhile.
        *identity = door.access.identify_again(DOOR, identity).map_err(|denied| refused(&denied))?;
        let values = self.parameters.values(run)?;
        let cache = door.cache.blocking();
        match identity.changes_all() {
            true => cache.execute(&self.text, &values),
            false => cache.execute_permitted(&self.text, &values, &permitted(identity)),
        }
    }
}

/// Whoever asked before is refused now.
pub(super) fn refused(denied: &Denied) -> Error {
    Error::new(ErrorCode::PermissionDenied, denied.to_string())
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
