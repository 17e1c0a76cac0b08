//! The calls of Flight SQL, as a server of tests takes them.

use std::pin::Pin;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::metadata::SqlInfoDataBuilder;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, CommandGetSqlInfo, CommandGetTables, CommandPreparedStatementQuery,
    CommandStatementQuery, DoPutPreparedStatementResult, ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, Ticket,
};
use futures::{Stream, TryStreamExt, stream};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::answers::{Service, encoder, ipc};
use super::peer::Login;

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
