//! The calls of Flight, each handed on by what it commands.

mod actions;
mod fetches;
mod puts;
mod sessions;

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{Any, Command};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, Result as ActionResult, SchemaResult, Ticket,
};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use pillion_access::Identity;
use prost::Message;
use tonic::{Extensions, Request, Response, Status, Streaming};

use crate::answer::stream::Messages;
use crate::call::body::Asked;
use crate::call::guard::Admitted;
use crate::call::login;
use crate::door::{DOOR, Door};
use crate::statement::held::Gone;
use crate::status;

/// Answers the calls of a door.
pub(crate) struct Service {
    door: Arc<Door>,
}

/// Who makes a call, its place, and what the recorder is told of it.
struct Caller {
    identity: Identity,
    admitted: Admitted,
    asked: Asked,
}

impl Service {
    pub(crate) fn new(door: Arc<Door>) -> Self {
        Self { door }
    }

    /// The error for a statement that is not kept, or not for whoever asks.
    fn gone(&self, gone: Gone, what: &str) -> Status {
        if gone == Gone::OfOthers {
            self.door.access.denials().count(DOOR, &format_args!("a {what} of somebody else"));
        }
        let message = format!(
            "there is no such {what}: it was used up, or closed, or nobody used it for too long: ask for it anew"
        );
        status::with_code(tonic::Code::NotFound, pillion::ErrorCode::InvalidArgument, &message)
    }
}

impl Caller {
    /// # Errors
    /// A call without them passed no guard, which is a defect.
    fn of(extensions: &Extensions) -> Result<Self, Status> {
        let found = || {
            Some(Self {
                identity: extensions.get::<Identity>()?.clone(),
                admitted: extensions.get::<Admitted>()?.clone(),
                asked: extensions.get::<Asked>()?.clone(),
            })
        };
        found().ok_or_else(|| status::defect("a call passed nobody who asked for its token"))
    }
}

/// The command in a descriptor or a ticket.
fn command(bytes: &[u8], place: &str) -> Result<Command, Status> {
    let any =
        Any::decode(bytes).map_err(|_| status::invalid(format!("{place} is no command of Flight SQL")))?;
    let command = Command::try_from(any);
    match command.map_err(|error| status::invalid(format!("{place} is damaged: {error}")))? {
        Command::Unknown(any) => {
            let name: String = any.type_url.chars().take(100).collect();
            Err(status::unsupported(format!("{place} has a command that is not known here: `{name}`")))
        }
        command => Ok(command),
    }
}

/// Refuses transactions.
fn refuse_transaction(id: Option<&bytes::Bytes>) -> Result<(), Status> {
    match id.is_some_and(|id| !id.is_empty()) {
        false => Ok(()),
        true => Err(status::unsupported("there are no transactions: each statement is one commit")),
    }
}

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = Messages;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoActionStream = BoxStream<'static, Result<ActionResult, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        login::handshake(&self.door, request.metadata().as_ref())
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(status::unsupported("there is no list of flights: ask for the tables with CommandGetTables"))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.info(&caller, request.into_inner()).await
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(status::unsupported("answers are streamed as they come: ask with GetFlightInfo"))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.schema(&caller, &request.into_inner()).await
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.fetch(&caller, &request.into_inner()).await
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let caller = Caller::of(request.extensions())?;
        let result = self.put(&caller, request.into_inner()).await?;
        Ok(result.map(|result| stream::iter([Ok(result)]).boxed()))
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(status::unsupported("Flight SQL has no exchanges"))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let caller = Caller::of(request.extensions())?;
        let results = self.act(&caller, request.into_inner()).await?;
        Ok(Response::new(stream::iter(results.into_iter().map(Ok)).boxed()))
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Ok(Response::new(stream::iter(actions::types().map(Ok)).boxed()))
    }
}
