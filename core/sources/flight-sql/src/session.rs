//! A session on a server, for one call of whoever uses the source.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, Any, CommandPreparedStatementQuery, CommandStatementQuery,
    DoPutPreparedStatementResult, ProstMessageExt,
};
use arrow_flight::{
    Action, CancelFlightInfoRequest, FlightData, FlightDescriptor, FlightInfo, IpcMessage, Ticket,
};
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use pillion::source::Call;
use pillion::{Error, ErrorCode, Result};
use prost::Message;
use tokio::task::spawn_blocking;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use crate::address::Address;
use crate::connect::connect;
use crate::failures::Failures;
use crate::login::Credentials;
use crate::options::FlightSqlOptions;
use crate::tls;

/// How long the server may take to answer that it stops what it did.
pub(crate) const GOODBYE: Duration = Duration::from_secs(2);

const CREATE_PREPARED_STATEMENT: &str = "CreatePreparedStatement";
const CLOSE_PREPARED_STATEMENT: &str = "ClosePreparedStatement";
const CANCEL_FLIGHT_INFO: &str = "CancelFlightInfo";

/// A connection with a login. Clones share it; it is closed with the last one.
#[derive(Clone)]
pub(crate) struct Session {
    client: FlightServiceClient<Channel>,
    headers: MetadataMap,
    failures: Failures,
    call: Call,
}

/// A statement that the server has read.
pub(crate) struct Prepared {
    handle: Bytes,
    /// The columns of its rows; none if the server does not say.
    pub(crate) columns: Schema,
    /// Its parameters; none if the server does not say.
    pub(crate) parameters: Schema,
}

impl Session {
    /// Connects to a server and logs in.
    pub(crate) async fn open(
        options: &Arc<FlightSqlOptions>,
        address: &Address,
        call: &Call,
    ) -> Result<Self> {
        let place = format!("Flight SQL at {address}");
        let limit = options.connect_timeout;
        let opening = Self::open_at(options.clone(), address, call, place.clone());
        match tokio::time::timeout(limit, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(Error::new(
                ErrorCode::SourceUnavailable,
                format!("{place} did not accept a connection and a login within {limit:?}"),
            )),
        }
    }

    async fn open_at(
        options: Arc<FlightSqlOptions>,
        address: &Address,
        call: &Call,
        place: String,
    ) -> Result<Self> {
        let is_encrypted = matches!(address, Address::Tcp { is_encrypted: true, .. });
        let read = options.clone();
        // On a thread of its own: files may be slow, and a function of the user's may do anything.
        let reading = spawn_blocking(move || {
            let tls = if is_encrypted { Some(tls::config(&read)?) } else { None };
            Ok::<_, Error>((Credentials::read(&read)?, tls))
        });
        let (mut credentials, tls) = reading.await.map_err(|error| {
            Error::new(ErrorCode::Internal, "the credentials could not be read").with_source(error)
        })??;
        let hidden = std::mem::take(&mut credentials.hidden);
        let mut failures = Failures::new(place, hidden, options.message_len_max);
        // The name is that of the server of the URL; others have their own.
        let name = options.server_name.as_deref().filter(|_| *address == options.address);
        let channel = connect(address, tls, name, failures.place()).await?;
        let mut client = FlightServiceClient::new(channel).max_decoding_message_size(options.message_len_max);
        let headers = credentials.log_in(&mut client, &mut failures).await?;
        Ok(Self { client, headers, failures, call: call.clone() })
    }

    pub(crate) fn failures(&self) -> &Failures {
        &self.failures
    }

    /// How a command will be answered: in which columns, and where the rows are.
    pub(crate) async fn info(
        &self,
        command: &impl ProstMessageExt,
    ) -> std::result::Result<FlightInfo, Status> {
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        Ok(self.client.clone().get_flight_info(self.request(descriptor)).await?.into_inner())
    }

    /// The same of a statement.
    pub(crate) async fn statement(&self, query: &str) -> std::result::Result<FlightInfo, Status> {
        self.info(&CommandStatementQuery { query: query.to_owned(), transaction_id: None }).await
    }

    /// The same of a statement that was prepared.
    pub(crate) async fn execute(&self, prepared: &Prepared) -> std::result::Result<FlightInfo, Status> {
        self.info(&CommandPreparedStatementQuery { prepared_statement_handle: prepared.handle.clone() }).await
    }

    /// Begins to fetch the rows of a ticket.
    pub(crate) async fn rows(&self, ticket: Ticket) -> std::result::Result<Streaming<FlightData>, Status> {
        Ok(self.client.clone().do_get(self.request(ticket)).await?.into_inner())
    }

    pub(crate) async fn prepare(&self, query: &str) -> std::result::Result<Prepared, Status> {
        let command = ActionCreatePreparedStatementRequest { query: query.to_owned(), transaction_id: None };
        let answer = self.act(CREATE_PREPARED_STATEMENT, command.as_any().encode_to_vec()).await?;
        let unreadable = || Status::unimplemented("the answer cannot be read");
        let answer = answer.ok_or_else(|| Status::unimplemented("there was no answer"))?;
        let any = Any::decode(answer).map_err(|_| unreadable())?;
        let answer: ActionCreatePreparedStatementResult =
            any.unpack().ok().flatten().ok_or_else(unreadable)?;
        let columns = schema_of(answer.dataset_schema).map_err(|_| unreadable())?;
        let parameters = schema_of(answer.parameter_schema).map_err(|_| unreadable())?;
        Ok(Prepared { handle: answer.prepared_statement_handle, columns, parameters })
    }

    /// Gives the parameters of a statement values.
    pub(crate) async fn bind(
        &self,
        prepared: &mut Prepared,
        values: RecordBatch,
    ) -> std::result::Result<(), Status> {
        let command = CommandPreparedStatementQuery { prepared_statement_handle: prepared.handle.clone() };
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let messages: Vec<FlightData> = FlightDataEncoderBuilder::new()
            .with_flight_descriptor(Some(descriptor))
            .with_schema(values.schema())
            .build(stream::iter([Ok(values)]))
            .try_collect()
            .await
            .map_err(Status::from)?;
        let request = self.request(stream::iter(messages));
        let mut answers = self.client.clone().do_put(request).await?.into_inner();
        if let Some(answer) = answers.message().await?
            && let Ok(answer) = DoPutPreparedStatementResult::decode(answer.app_metadata)
            && let Some(handle) = answer.prepared_statement_handle
        {
            prepared.handle = handle;
        }
        Ok(())
    }

    /// Lets the server forget a statement. A server that does not answer changes nothing here.
    pub(crate) async fn close(&self, prepared: &Prepared) {
        let command =
            ActionClosePreparedStatementRequest { prepared_statement_handle: prepared.handle.clone() };
        let closing = self.act(CLOSE_PREPARED_STATEMENT, command.as_any().encode_to_vec());
        let _ = tokio::time::timeout(GOODBYE, closing).await;
    }

    /// Asks the server to stop working on rows. Servers without this call notice that nobody takes them.
    pub(crate) async fn cancel(&self, info: FlightInfo) {
        let request = CancelFlightInfoRequest { info: Some(info) };
        let cancelling = self.act(CANCEL_FLIGHT_INFO, request.encode_to_vec());
        let _ = tokio::time::timeout(GOODBYE, cancelling).await;
    }

    async fn act(&self, action: &str, body: Vec<u8>) -> std::result::Result<Option<Bytes>, Status> {
        let action = Action { r#type: action.to_owned(), body: body.into() };
        let mut answers = self.client.clone().do_action(self.request(action)).await?.into_inner();
        Ok(answers.message().await?.map(|answer| answer.body))
    }

    /// A request with the credentials and, where the call has one, its deadline: the server need not work any longer.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.headers.clone();
        if let Some(left) = self.call.remaining().filter(|left| !left.is_zero()) {
            request.set_timeout(left);
        }
        request
    }
}

/// Columns as a message holds them; none where it holds nothing.
pub(crate) fn schema_of(bytes: Bytes) -> std::result::Result<Schema, arrow::error::ArrowError> {
    if bytes.is_empty() { Ok(Schema::empty()) } else { Schema::try_from(IpcMessage(bytes)) }
}
