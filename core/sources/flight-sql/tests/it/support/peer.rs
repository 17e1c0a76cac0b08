//! A Flight SQL server over rows in memory, which misbehaves as it is told.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Datum, RecordBatch, Scalar};
use arrow::compute::filter_record_batch;
use arrow::compute::kernels::cmp::gt_eq;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::metadata::SqlInfoDataBuilder;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, CommandGetSqlInfo, CommandGetTables, CommandPreparedStatementQuery,
    CommandStatementQuery, DoPutPreparedStatementResult, ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage,
    SchemaAsIpc, Ticket,
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use prost::Message;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

/// What the server has, and how it behaves.
#[derive(Clone, Default)]
pub(crate) struct Manners {
    /// Its only table, `rows`, in parts: one endpoint for each.
    pub(crate) parts: Vec<Vec<RecordBatch>>,
    /// Where it says that the parts are.
    pub(crate) locations: Vec<Vec<String>>,
    /// The only token that it accepts.
    pub(crate) token: Option<&'static str>,
    /// How it gives the token to whoever logs in as `reader` with the password `s3cret`.
    pub(crate) login: Login,
    /// Whether it lists its table.
    pub(crate) has_no_list: bool,
    /// What it quotes names with.
    pub(crate) quotes: Option<&'static str>,
    /// The columns that it announces, if they are not those that it has.
    pub(crate) announces: Option<Schema>,
    /// What it does instead of sending all rows of a part.
    pub(crate) ends: Ends,
    /// Whether it never says what it has.
    pub(crate) is_silent: bool,
    /// Whether it prepares statements, and the parameter that it then names.
    pub(crate) prepares: Option<Vec<Field>>,
    /// The text of its errors about tokens.
    pub(crate) refusal: &'static str,
}

/// What a login gets.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Login {
    #[default]
    Unimplemented,
    /// The token in a header.
    Header,
    /// The token in the answer.
    Answer,
}

/// How a part ends.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Ends {
    #[default]
    Whole,
    /// With an error after the first batch.
    Failing,
    /// Never, after the first batch.
    Hanging,
}

/// A running server. Ends when dropped.
pub(crate) struct Peer {
    address: SocketAddr,
    log: Log,
    _runtime: Runtime,
}

/// Calls in their order, with what was shown to get them.
type Log = Arc<Mutex<Vec<String>>>;

struct Service {
    manners: Manners,
    log: Log,
    /// The last value that a parameter got.
    bound: Arc<Mutex<Option<ArrayRef>>>,
}

type Rows = Pin<Box<dyn Stream<Item = Result<arrow_flight::FlightData, Status>> + Send>>;

impl Peer {
    pub(crate) fn start(manners: Manners) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let log = Log::default();
        let service = Service { manners, log: log.clone(), bound: Arc::default() };
        runtime.spawn(async move {
            let incoming = stream::unfold(listener, |listener| async {
                let accepted = listener.accept().await.map(|(stream, _)| stream);
                Some((accepted, listener))
            });
            let server = tonic::transport::Server::builder().add_service(FlightServiceServer::new(service));
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self { address, log, _runtime: runtime }
    }

    /// One with a table of rows.
    pub(crate) fn of(rows: RecordBatch) -> Self {
        Self::start(Manners { parts: vec![vec![rows]], ..Manners::default() })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("grpc://{}", self.address)
    }

    /// What was asked so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits until something was asked for.
    pub(crate) fn wait_for(&self, call: &str) {
        while !self.log().iter().any(|line| line.contains(call)) {
            std::thread::yield_now();
        }
    }
}

impl Service {
    /// Notes a call, and looks at what was shown for it.
    fn admit(&self, call: &str, shown: &MetadataMap) -> Result<(), Status> {
        let header = |name: &str| shown.get(name).map(|value| value.to_str().unwrap().to_owned());
        let text = |name: &str| header(name).map_or(String::new(), |value| format!(" {name}={value}"));
        let deadline = header("grpc-timeout").map_or("", |_| " with a deadline");
        let line = format!("{call}{}{}{deadline}", text("authorization"), text("database"));
        self.log.lock().unwrap().push(line);
        match self.manners.token {
            Some(token) if header("authorization") != Some(format!("Bearer {token}")) => {
                Err(Status::unauthenticated(self.manners.refusal))
            }
            _ => Ok(()),
        }
    }

    fn schema(&self) -> SchemaRef {
        self.manners.parts.iter().flatten().next().unwrap().schema()
    }

    /// The columns that a statement selects, by their names in quotation marks.
    fn selected(&self, query: &str) -> Vec<usize> {
        let (schema, quote) = (self.schema(), self.manners.quotes.unwrap_or("\""));
        let list = query.strip_prefix("SELECT ").unwrap().split(" FROM ").next().unwrap();
        if list == "*" {
            return (0..schema.fields().len()).collect();
        }
        list.split(", ")
            .map(|name| schema.index_of(name.trim_matches(quote.chars().next().unwrap())).unwrap())
            .collect()
    }

    fn info(&self, query: &str) -> Result<FlightInfo, Status> {
        if query.contains("nonsense") {
            return Err(Status::internal("no such thing as nonsense"));
        }
        let projected = self.schema().project(&self.selected(query)).unwrap();
        let announced = match &self.manners.announces {
            Some(announced) if !query.contains("1 = 0") => announced.clone(),
            _ => projected,
        };
        let mut info = FlightInfo::new().try_with_schema(&announced).unwrap();
        for part in 0..self.manners.parts.len() {
            let handle = format!("{part} {query}").into_bytes().into();
            let ticket = TicketStatementQuery { statement_handle: handle }.as_any().encode_to_vec();
            let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket));
            let locations = self.manners.locations.get(part).into_iter().flatten();
            info = info.with_endpoint(locations.fold(endpoint, |endpoint, uri| endpoint.with_location(uri)));
        }
        Ok(info)
    }

    fn rows(&self, part: usize, query: &str) -> Rows {
        let (columns, bound) = (self.selected(query), self.bound.lock().unwrap().clone());
        let is_empty = query.contains("1 = 0");
        let batches =
            self.manners.parts[part].clone().into_iter().take(if is_empty { 0 } else { usize::MAX });
        let batches = batches.map(|batch| match &bound {
            Some(value) if query.contains(">= ?") => at_least(&batch, value),
            _ => batch,
        });
        let batches: Vec<_> = batches.map(|batch| Ok(batch.project(&columns).unwrap())).collect();
        let ends = self.manners.ends;
        let whole = encoder(self.schema().project(&columns).unwrap().into()).build(stream::iter(batches));
        let whole = whole.map_err(Status::from);
        match ends {
            _ if is_empty => Box::pin(whole),
            Ends::Whole => Box::pin(whole),
            // The first messages are the columns and a batch.
            Ends::Failing => {
                Box::pin(whole.take(2).chain(stream::iter([Err(Status::internal("the disk is gone"))])))
            }
            Ends::Hanging => Box::pin(whole.take(2).chain(stream::pending())),
        }
    }
}

fn encoder(schema: SchemaRef) -> FlightDataEncoderBuilder {
    // Batches are one message each, and dictionaries stay what they are.
    FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .with_max_flight_data_size(usize::MAX)
        .with_dictionary_handling(DictionaryHandling::Resend)
}

fn at_least(batch: &RecordBatch, value: &ArrayRef) -> RecordBatch {
    let (_, column) = batch
        .columns()
        .iter()
        .enumerate()
        .find(|(_, column)| column.data_type() == value.data_type())
        .unwrap();
    let scalar = Scalar::new(value.clone());
    filter_record_batch(batch, &gt_eq(column, &scalar as &dyn Datum).unwrap()).unwrap()
}

fn ipc(schema: &Schema) -> bytes::Bytes {
    let message: IpcMessage = SchemaAsIpc::new(schema, &Default::default()).try_into().unwrap();
    message.0
}

#[tonic::async_trait]
impl FlightSqlService for Service {
    type FlightService = Self;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>>, Status> {
        self.log.lock().unwrap().push("Handshake".to_owned());
        if self.manners.login == Login::Unimplemented {
            return Err(Status::unimplemented("no handshake"));
        }
        // `reader:s3cret`
        if request.metadata().get("authorization").unwrap() != "Basic cmVhZGVyOnMzY3JldA==" {
            return Err(Status::unauthenticated(self.manners.refusal));
        }
        let token = self.manners.token.unwrap();
        let is_in_header = self.manners.login == Login::Header;
        let payload = if is_in_header { "" } else { token };
        let answer = HandshakeResponse { protocol_version: 0, payload: payload.into() };
        let answers: Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(stream::iter([Ok(answer)]));
        let mut response = Response::new(answers);
        if is_in_header {
            response.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.admit(&query.query, request.metadata())?;
        if self.manners.is_silent {
            std::future::pending::<()>().await;
        }
        self.info(&query.query).map(Response::new)
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let text = String::from_utf8(query.prepared_statement_handle.to_vec()).unwrap();
        self.admit(&format!("execute {text}"), request.metadata())?;
        self.info(&text).map(Response::new)
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.admit("GetTables", request.metadata())?;
        if self.manners.has_no_list {
            return Err(Status::unimplemented("no list"));
        }
        let ticket = Ticket::new(query.as_any().encode_to_vec());
        let info = FlightInfo::new().with_endpoint(FlightEndpoint::new().with_ticket(ticket));
        Ok(Response::new(info))
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.admit("GetSqlInfo", request.metadata())?;
        if self.manners.quotes.is_none() {
            return Err(Status::internal("not known here"));
        }
        let ticket = Ticket::new(query.as_any().encode_to_vec());
        let info = FlightInfo::new().with_endpoint(FlightEndpoint::new().with_ticket(ticket));
        Ok(Response::new(info))
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let text = String::from_utf8(ticket.statement_handle.to_vec()).unwrap();
        self.admit(&format!("get {text}"), request.metadata())?;
        let (part, query) = text.split_once(' ').unwrap();
        Ok(Response::new(self.rows(part.parse().unwrap(), query)))
    }

    async fn do_get_tables(
        &self,
        query: CommandGetTables,
        _: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let mut builder = query.into_builder();
        builder.append("shop", "sales", "rows", "TABLE", &self.schema()).unwrap();
        builder.append("shop", "system", "hidden", "SYSTEM TABLE", &Schema::empty()).unwrap();
        let batch = builder.build().unwrap();
        let rows = encoder(batch.schema()).build(stream::iter([Ok(batch)]));
        Ok(Response::new(Box::pin(rows.map_err(Status::from))))
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        _: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let mut builder = SqlInfoDataBuilder::new();
        builder.append(SqlInfo::FlightSqlServerReadOnly, true);
        builder.append(SqlInfo::SqlIdentifierQuoteChar, self.manners.quotes.unwrap());
        let batch = query.into_builder(&builder.build().unwrap()).build().unwrap();
        let rows = encoder(batch.schema()).build(stream::iter([Ok(batch)]));
        Ok(Response::new(Box::pin(rows.map_err(Status::from))))
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        self.admit("bind", request.metadata())?;
        let messages = request.into_inner().map_err(|status| FlightError::Tonic(Box::new(status)));
        let batches: Vec<RecordBatch> =
            FlightRecordBatchStream::new_from_flight_data(messages).try_collect().await.unwrap();
        *self.bound.lock().unwrap() = Some(batches[0].column(0).clone());
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(query.prepared_statement_handle) })
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        self.admit("prepare", request.metadata())?;
        let Some(parameters) = &self.manners.prepares else {
            return Err(Status::unimplemented("no prepare"));
        };
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: query.query.into_bytes().into(),
            dataset_schema: ipc(&self.schema()),
            parameter_schema: ipc(&Schema::new(parameters.clone())),
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        _: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        self.admit("close", request.metadata())
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        self.admit(&request.get_ref().r#type.clone(), request.metadata())?;
        Err(Status::unimplemented("no such action"))
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}

/// A type for columns whose values are in a dictionary.
pub(crate) fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8))
}
