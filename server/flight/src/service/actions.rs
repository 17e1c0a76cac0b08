//! `DoAction`: statements prepared and closed, answers cancelled, sessions.

use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, Command, ProstMessageExt,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo,
    Result as ActionResult,
};
use bytes::Bytes;
use pillion::Operation;
use prost::Message;
use tonic::Status;

use super::{Caller, Service, command, refuse_transaction, sessions};
use crate::answer::info::ipc;
use crate::statement::held::Id;
use crate::statement::prepared::Prepared;
use crate::status;

/// The name of each action, and what it does.
const ACTIONS: [(&str, &str); 7] = [
    ("CreatePreparedStatement", "prepares a statement"),
    ("ClosePreparedStatement", "forgets a prepared statement"),
    ("CancelFlightInfo", "ends an answer that waits or is being fetched"),
    ("CancelQuery", "ends an answer that waits or is being fetched"),
    ("SetSessionOptions", "takes the catalog and the schema that there are"),
    ("GetSessionOptions", "says the catalog and the schema"),
    ("CloseSession", "succeeds: a session keeps nothing"),
];

/// Actions about transactions and plans, which Pillion does not have, and what to do instead.
const MISSING: [(&str, &str); 6] = [
    ("BeginTransaction", TRANSACTIONS),
    ("EndTransaction", TRANSACTIONS),
    ("BeginSavepoint", TRANSACTIONS),
    ("EndSavepoint", TRANSACTIONS),
    ("CreatePreparedSubstraitPlan", "there are no plans of Substrait: send SQL"),
    ("RenewFlightEndpoint", "tickets are not renewed: ask again with GetFlightInfo"),
];
const TRANSACTIONS: &str = "there are no transactions: each statement, and each upload, is one commit";

/// The actions that there are.
pub(super) fn types() -> impl Iterator<Item = ActionType> {
    ACTIONS
        .into_iter()
        .map(|(name, what)| ActionType { r#type: name.to_owned(), description: what.to_owned() })
}

impl Service {
    pub(super) async fn act(&self, caller: &Caller, action: Action) -> Result<Vec<ActionResult>, Status> {
        match action.r#type.as_str() {
            "CreatePreparedStatement" => {
                caller.asked.is(Operation::Prepare);
                let request: ActionCreatePreparedStatementRequest = unpacked(&action.body)?;
                let result = self.prepare(caller, &request).await?;
                Ok(vec![ActionResult::new(result.as_any().encode_to_vec())])
            }
            "ClosePreparedStatement" => {
                let request: ActionClosePreparedStatementRequest = unpacked(&action.body)?;
                let id = Id::of(&request.prepared_statement_handle);
                let closed = self.door.statements.close(&caller.identity, id);
                closed.map_err(|gone| self.gone(gone, "prepared statement"))?;
                Ok(Vec::new())
            }
            "CancelFlightInfo" => {
                let request = CancelFlightInfoRequest::decode(&*action.body);
                let request = request.map_err(|_| status::invalid("the action is damaged"))?;
                let info = request.info.ok_or_else(|| status::invalid("the action names no answer"))?;
                self.cancel(caller, &info)?;
                let result = CancelFlightInfoResult::new(CancelStatus::Cancelled);
                Ok(vec![ActionResult::new(result.encode_to_vec())])
            }
            "CancelQuery" => {
                let request: ActionCancelQueryRequest = unpacked(&action.body)?;
                let info = FlightInfo::decode(&*request.info);
                self.cancel(caller, &info.map_err(|_| status::invalid("the answer is damaged"))?)?;
                // CANCELLED has the same number as in the other action.
                let result = ActionCancelQueryResult { result: CancelStatus::Cancelled.into() };
                Ok(vec![ActionResult::new(result.as_any().encode_to_vec())])
            }
            name if sessions::is_one(name) => {
                Ok(vec![ActionResult::new(sessions::answer(name, &action.body)?)])
            }
            name => {
                let missing = MISSING.iter().find(|(missing, _)| *missing == name);
                let name: String = name.chars().take(60).collect();
                Err(status::unsupported(match missing {
                    Some((_, instead)) => (*instead).to_owned(),
                    None => format!("there is no action `{name}`; ListActions names them"),
                }))
            }
        }
    }

    async fn prepare(
        &self,
        caller: &Caller,
        request: &ActionCreatePreparedStatementRequest,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        refuse_transaction(request.transaction_id.as_ref())?;
        let (door, identity) = (&self.door, &caller.identity);
        let prepared = Prepared::prepare(door, identity, &caller.admitted, &request.query).await?;
        let dataset_schema = prepared.answers.as_ref().map_or_else(|| Ok(Bytes::new()), ipc)?;
        let is_without = prepared.takes.fields().is_empty();
        let parameter_schema = if is_without { Bytes::new() } else { ipc(&prepared.takes)? };
        let id = door.statements.keep_prepared(identity, prepared)?;
        let prepared_statement_handle = Bytes::copy_from_slice(id.as_bytes());
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle,
            dataset_schema,
            parameter_schema,
        })
    }

    fn cancel(&self, caller: &Caller, info: &FlightInfo) -> Result<(), Status> {
        let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref());
        let mut cancelled = 0;
        for ticket in tickets {
            let Command::TicketStatementQuery(ticket) = command(&ticket.ticket, "the ticket")? else {
                return Err(status::invalid("only the answers to statements are cancelled"));
            };
            let id = Id::of(&ticket.statement_handle);
            let ended = self.door.statements.cancel(&caller.identity, id);
            ended.map_err(|gone| self.gone(gone, "ticket"))?;
            cancelled += 1;
        }
        if cancelled == 0 { Err(status::invalid("the answer has no ticket")) } else { Ok(()) }
    }
}

/// The message in the body of an action.
fn unpacked<M: ProstMessageExt>(body: &[u8]) -> Result<M, Status> {
    let any = Any::decode(body).map_err(|_| status::invalid("the body of the action is damaged"))?;
    let message = any.unpack().map_err(|error| status::invalid(format!("the action is damaged: {error}")))?;
    message.ok_or_else(|| status::invalid("the body of the action is of another action"))
}
