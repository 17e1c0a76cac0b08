//! `GetFlightInfo`, `GetSchema` and `DoGet`: answers announced, and fetched.

use std::sync::Arc;

use arrow_flight::sql::{Command, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightInfo, SchemaResult, Ticket};
use bytes::Bytes;
use pillion::Operation;
use pillion_door::said::Said;
use prost::Message;
use tonic::{Code, Response, Status};

use super::{Caller, Service, command, refuse_transaction};
use crate::answer::info;
use crate::answer::stream::{self, Messages};
use crate::catalog;
use crate::door::DOOR;
use crate::statement::held::{Id, Running, Waiting};
use crate::statement::parameters::Parameters;
use crate::statement::prepared::Statement;
use crate::statement::query::Query;
use crate::statement::update::{self, Update};
use crate::status;

impl Service {
    pub(super) async fn info(
        &self,
        caller: &Caller,
        descriptor: FlightDescriptor,
    ) -> Result<Response<FlightInfo>, Status> {
        let command = command(&descriptor.cmd, "the descriptor")?;
        if let Some(schema) = catalog::schema(&command) {
            caller.asked.is(Operation::Catalog);
            // The command is the ticket: it holds nothing that is not asked for anew when it is fetched.
            let ticket = command.into_any().encode_to_vec();
            return info::info(descriptor, Some(&schema), ticket, None);
        }
        let (statement, parameters) = self.statement(caller, command)?;
        if statement.is_update {
            caller.identity.demand_any_write(DOOR).map_err(|denied| status::denied(&denied))?;
            let waiting = Waiting::Update(Update::new(statement.text, parameters));
            let ticket = self.ticket(caller, waiting)?;
            // Without columns: clients that want them before they read fetch the answer at once, and so run the statement.
            return info::info(descriptor, None, ticket, None);
        }
        let query = self.begin(caller, &statement, &parameters).await?;
        let (schema, said) = (query.schema.clone(), query.said.clone());
        let ticket = self.ticket(caller, Waiting::Query(Box::new(query)))?;
        info::info(descriptor, Some(&schema), ticket, Some(&said))
    }

    pub(super) async fn schema(
        &self,
        caller: &Caller,
        descriptor: &FlightDescriptor,
    ) -> Result<Response<SchemaResult>, Status> {
        let command = command(&descriptor.cmd, "the descriptor")?;
        if let Some(schema) = catalog::schema(&command) {
            caller.asked.is(Operation::Catalog);
            return info::schema(&schema);
        }
        let (statement, parameters) = self.statement(caller, command)?;
        if statement.is_update {
            return info::schema(&update::schema());
        }
        info::schema(&self.begin(caller, &statement, &parameters).await?.schema)
    }

    pub(super) async fn fetch(&self, caller: &Caller, ticket: &Ticket) -> Result<Response<Messages>, Status> {
        let door = &self.door;
        let command = match command(&ticket.ticket, "the ticket")? {
            Command::TicketStatementQuery(ticket) => {
                return self.fetch_waiting(caller, &ticket.statement_handle).await;
            }
            command => command,
        };
        if catalog::schema(&command).is_some() {
            caller.asked.is(Operation::Catalog);
            let answer = catalog::answer(door, &caller.identity, command).await?;
            let (batch, said) = answer.ok_or_else(|| status::defect("a command has columns and no rows"))?;
            return Ok(stream::rows(door, batch, said, caller.admitted.clone()));
        }
        // A statement as a ticket of its own.
        let (statement, parameters) = self.statement(caller, command)?;
        if statement.is_update {
            let update = Update::new(statement.text, parameters);
            return self.run_update(caller, &update, None).await;
        }
        let query = self.begin(caller, &statement, &parameters).await?;
        Ok(stream::query(door, query, caller.admitted.clone(), None))
    }

    async fn fetch_waiting(&self, caller: &Caller, handle: &[u8]) -> Result<Response<Messages>, Status> {
        let (waiting, running) = self
            .door
            .statements
            .fetch(&caller.identity, Id::of(handle))
            .map_err(|gone| self.gone(gone, "ticket"))?;
        match waiting {
            Waiting::Query(query) if query.is_for(&caller.identity) => {
                caller.asked.is(Operation::Sql);
                Ok(stream::query(&self.door, *query, caller.admitted.clone(), Some(running)))
            }
            Waiting::Query(_) => {
                let message =
                    "what the token permits has changed since the statement was sent: send it again";
                Err(status::with_code(Code::Aborted, pillion::ErrorCode::PermissionDenied, message))
            }
            Waiting::Update(update) => self.run_update(caller, &update, Some(&running)).await,
        }
    }

    /// Runs a statement that changes tables, before its answer begins: whoever waits for the columns of the answer waits for it.
    async fn run_update(
        &self,
        caller: &Caller,
        update: &Update,
        running: Option<&Running>,
    ) -> Result<Response<Messages>, Status> {
        caller.asked.is(Operation::Write);
        let cancelled = async {
            match running {
                Some(running) => running.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let done = tokio::select! {
            done = update.run(&self.door, &caller.identity, &caller.admitted) => done?,
            () = cancelled => {
                let message = "the statement was cancelled, and may or may not take effect: read before you repeat it";
                return Err(status::outcome_unknown(Code::Cancelled, message));
            }
        };
        let said = done.version.map(|version| Said::of(version, None, self.door.way()));
        Ok(stream::rows(&self.door, update::answer(done)?, said, caller.admitted.clone()))
    }

    /// The statement of a command, and its parameters.
    fn statement(&self, caller: &Caller, command: Command) -> Result<(Statement, Arc<Parameters>), Status> {
        match command {
            Command::CommandStatementQuery(command) => {
                caller.asked.is(Operation::Sql);
                refuse_transaction(command.transaction_id.as_ref())?;
                Ok((Statement::new(&command.query), Arc::default()))
            }
            Command::CommandPreparedStatementQuery(command) => {
                caller.asked.is(Operation::Execute);
                let prepared = self.prepared(caller, &command.prepared_statement_handle)?;
                Ok((prepared.statement.clone(), prepared.bound()))
            }
            other => {
                let name = other.type_url().rsplit('.').next().unwrap_or_default().to_owned();
                Err(status::unsupported(format!("`{name}` has no answer of rows here")))
            }
        }
    }

    async fn begin(
        &self,
        caller: &Caller,
        statement: &Statement,
        parameters: &Arc<Parameters>,
    ) -> Result<Query, Status> {
        Query::begin(&self.door, &caller.identity, &caller.admitted, statement, parameters).await
    }

    fn ticket(&self, caller: &Caller, waiting: Waiting) -> Result<Vec<u8>, Status> {
        let id = self.door.statements.keep_waiting(&caller.identity, waiting)?;
        let ticket = TicketStatementQuery { statement_handle: Bytes::copy_from_slice(id.as_bytes()) };
        Ok(ticket.as_any().encode_to_vec())
    }
}
