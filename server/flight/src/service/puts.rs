//! `DoPut`: parameters, statements that change tables, and rows.

use std::sync::Arc;

use arrow_flight::sql::{Command, DoPutPreparedStatementResult, DoPutUpdateResult};
use arrow_flight::{FlightData, PutResult};
use bytes::Bytes;
use pillion::Operation;
use pillion_door::said::Said;
use prost::Message;
use tonic::{Response, Status, Streaming};

use super::{Caller, Service, command, refuse_transaction};
use crate::statement::held::Id;
use crate::statement::ingest;
use crate::statement::parameters::{Incoming, Parameters};
use crate::statement::prepared::{Prepared, Statement};
use crate::statement::update::{Done, Update};
use crate::status;

impl Service {
    pub(super) async fn put(
        &self,
        caller: &Caller,
        mut messages: Streaming<FlightData>,
    ) -> Result<Response<PutResult>, Status> {
        let options = &self.door.options;
        let first = tokio::time::timeout(options.client_timeout, messages.message()).await;
        let first = first.map_err(|_| status::late("the client sent nothing for too long"))??;
        let Some(first) = first else { return Err(status::invalid("nothing was put")) };
        let Some(descriptor) = &first.flight_descriptor else {
            return Err(status::invalid("the first message has no descriptor, which says what is put"));
        };
        let command = command(&descriptor.cmd, "the descriptor")?;
        let max = match command {
            Command::CommandStatementIngest(_) => options.upload_bytes_max,
            _ => options.request_bytes_max as u64,
        };
        let incoming = Incoming::new(first, messages, max, options.client_timeout);
        match command {
            Command::CommandStatementUpdate(command) => {
                caller.asked.is(Operation::Write);
                refuse_transaction(command.transaction_id.as_ref())?;
                let statement = Statement::new(&command.query);
                let update = Update::new(statement.text, Arc::default());
                self.updated(update.run(&self.door, &caller.identity, &caller.admitted).await?)
            }
            Command::CommandPreparedStatementUpdate(command) => {
                caller.asked.is(Operation::Write);
                let prepared = self.prepared(caller, &command.prepared_statement_handle)?;
                let parameters = Parameters::read(incoming).await?;
                let update = Update::new(prepared.statement.text.clone(), Arc::new(parameters));
                self.updated(update.run(&self.door, &caller.identity, &caller.admitted).await?)
            }
            Command::CommandPreparedStatementQuery(command) => {
                caller.asked.is(Operation::Execute);
                let handle = &command.prepared_statement_handle;
                self.prepared(caller, handle)?;
                let parameters = Parameters::read(incoming).await?;
                let bound = self.door.statements.bind(&caller.identity, Id::of(handle), parameters);
                bound.map_err(|gone| self.gone(gone, "prepared statement"))??;
                // The same handle: clients that go on with the old one, and those that take the new one, mean the same.
                let handle = Some(command.prepared_statement_handle);
                let result = DoPutPreparedStatementResult { prepared_statement_handle: handle };
                Ok(Response::new(PutResult { app_metadata: result.encode_to_vec().into() }))
            }
            Command::CommandStatementIngest(command) => {
                caller.asked.is(Operation::Upload);
                let (door, identity) = (&self.door, &caller.identity);
                self.updated(ingest::ingest(door, identity, &caller.admitted, command, incoming).await?)
            }
            other => {
                let name = other.type_url().rsplit('.').next().unwrap_or_default().to_owned();
                Err(status::unsupported(format!("`{name}` is not put here")))
            }
        }
    }

    /// A prepared statement of whoever asks.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub(super) fn prepared(&self, caller: &Caller, handle: &Bytes) -> Result<Arc<Prepared>, Status> {
        let prepared = self.door.statements.prepared(&caller.identity, Id::of(handle));
        prepared.map_err(|gone| self.gone(gone, "prepared statement"))
    }

    fn updated(&self, done: Done) -> Result<Response<PutResult>, Status> {
        let result = DoPutUpdateResult { record_count: done.rows };
        let mut response = Response::new(PutResult { app_metadata: result.encode_to_vec().into() });
        if let Some(version) = done.version {
            let said = Said::of(version, None, self.door.way());
            response.metadata_mut().as_mut().extend(said.brief_headers());
        }
        Ok(response)
    }
}
