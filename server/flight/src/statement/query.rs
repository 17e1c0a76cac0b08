//! Queries: planned for whoever asks, and run once for each row of parameters.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use pillion::{Batches, Error, ErrorCode, Snapshot};
use pillion_access::{Access, Identity, Right};
use pillion_door::said::Said;
use tonic::Status;

use super::parameters::Parameters;
use super::prepared::{Statement, text_bytes};
use super::update::refused;
use crate::call::guard::Admitted;
use crate::door::{DOOR, Door};
use crate::status;

/// A query that was planned; it runs once its rows are fetched. They are of one version, also for several rows of parameters.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) schema: SchemaRef,
    /// What its answer says of itself.
    pub(crate) said: Said,
    /// Whoever asked, with what was permitted then.
    identity: Identity,
    access: Arc<Access>,
    statement: Statement,
    parameters: Arc<Parameters>,
    /// `None` if the newest version is read, and there is one run.
    snapshot: Option<Snapshot>,
    /// The next run.
    run: usize,
    /// The rows of the first run.
    first: Option<Batches>,
}

impl Query {
    /// Plans a query for whoever asks.
    ///
    /// # Errors
    /// Those of planning; `PERMISSION_DENIED`.
    pub(crate) async fn begin(
        door: &Arc<Door>,
        identity: &Identity,
        admitted: &Admitted,
        statement: &Statement,
        parameters: &Arc<Parameters>,
    ) -> Result<Self, Status> {
        identity.demand_any_read(DOOR).map_err(|denied| status::denied(&denied))?;
        if parameters.runs() == 0 {
            return Err(status::invalid("the statement was bound to no row of parameters"));
        }
        let (door, identity, held) = (door.clone(), identity.clone(), admitted.clone());
        let (statement, parameters) = (statement.clone(), parameters.clone());
        // Planning takes a fraction of a millisecond, and lookups no more; it goes on if the client goes away, and keeps its place.
        let begun = tokio::task::spawn_blocking(move || {
            let _held = held;
            Self::begin_now(&door, identity, statement, parameters)
        });
        let begun = begun.await.map_err(|_| status::defect("a thread that began a query panicked"))?;
        begun.map_err(|error| status::of(&error))
    }

    fn begin_now(
        door: &Door,
        identity: Identity,
        statement: Statement,
        parameters: Arc<Parameters>,
    ) -> pillion::Result<Self> {
        let (cache, reads_all) = (door.cache.blocking(), identity.reads_all());
        let mut statement = statement;
        if !reads_all {
            statement.plan = None;
        }
        let snapshot = match reads_all && parameters.runs() == 1 {
            true => None,
            false if reads_all => Some(cache.snapshot()?),
            false => Some(cache.snapshot()?.only_tables(|table| identity.may(Right::Read, Some(table)))?),
        };
        let values = parameters.values(0)?;
        let first = match (&snapshot, &statement.plan) {
            (None, Some(plan)) => plan.execute(&values)?,
            (None, None) => cache.sql(&statement.text, &values)?,
            (Some(snapshot), _) => at(snapshot, &statement, &values)?,
        };
        Ok(Self {
            schema: first.schema().clone(),
            said: Said::of_batches(&first, cache.way()),
            identity,
            access: door.access.clone(),
            statement,
            parameters,
            snapshot,
            run: 1,
            first: Some(first),
        })
    }

    /// Bytes that it takes while it waits.
    pub(crate) fn bytes(&self) -> usize {
        text_bytes(&self.statement.text).saturating_add(self.parameters.bytes())
    }

    /// Whether whoever fetches it is permitted the same as when it was begun.
    pub(crate) fn is_for(&self, identity: &Identity) -> bool {
        self.identity.permissions() == identity.permissions()
    }

    /// Whether [`next_run`](Self::next_run) has to plan.
    pub(crate) fn is_begun(&self) -> bool {
        self.first.is_some()
    }

    /// The rows of the next run; `None` after the last one. Blocks for planning, except for the first.
    ///
    /// # Errors
    /// Those of planning; [`ErrorCode::InvalidParameter`] for parameters whose answer has other columns.
    pub(crate) fn next_run(&mut self) -> Option<pillion::Result<Batches>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        if self.run >= self.parameters.runs() {
            return None;
        }
        self.run += 1;
        Some(self.plan_run(self.run - 1))
    }

    fn plan_run(&self, run: usize) -> pillion::Result<Batches> {
        let now = self.access.identify_again(DOOR, &self.identity).map_err(|denied| refused(&denied))?;
        if !self.is_for(&now) {
            let message = "what the token permits has changed since the statement was sent: send it again";
            return Err(Error::new(ErrorCode::PermissionDenied, message));
        }
        let snapshot = self.snapshot.as_ref();
        let snapshot = snapshot
            .ok_or_else(|| Error::new(ErrorCode::Internal, "a query of several runs has no version"))?;
        let batches = at(snapshot, &self.statement, &self.parameters.values(run)?)?;
        if batches.schema() != &self.schema {
            let message = format!(
                "the answer for row {} of the parameters has other columns than that for the first",
                run + 1
            );
            return Err(Error::new(ErrorCode::InvalidParameter, message));
        }
        Ok(batches)
    }
}

fn at(snapshot: &Snapshot, statement: &Statement, values: &[pillion::Value]) -> pillion::Result<Batches> {
    match &statement.plan {
        Some(plan) => plan.execute_at(snapshot, values),
        None => snapshot.sql(&statement.text, values),
    }
}
