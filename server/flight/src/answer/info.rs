//! What is said of an answer before it is fetched.

use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::{
    FlightDescriptor, FlightEndpoint, FlightInfo, IpcMessage, SchemaAsIpc, SchemaResult, Ticket,
};
use bytes::Bytes;
use futures::stream;
use pillion_door::said::Said;
use tonic::{Response, Status};

use crate::status;

/// Where an answer is fetched, and what it is.
///
/// # Errors
/// For columns that Arrow IPC does not have.
pub(crate) fn info(
    descriptor: FlightDescriptor,
    schema: Option<&SchemaRef>,
    ticket: impl Into<Bytes>,
    said: Option<&Said>,
) -> Result<Response<FlightInfo>, Status> {
    // Without a time at which it expires: one would say that it may be fetched again until then.
    let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket));
    let mut info = FlightInfo::new().with_descriptor(descriptor).with_endpoint(endpoint);
    if let Some(schema) = schema {
        info.schema = ipc(schema)?;
    }
    if let Some(said) = said {
        info = info.with_app_metadata(said.document().to_string());
    }
    let mut response = Response::new(info);
    if let Some(said) = said {
        response.metadata_mut().as_mut().extend(said.brief_headers());
    }
    Ok(response)
}

/// Columns alone.
///
/// # Errors
/// As [`info`].
pub(crate) fn schema(schema: &SchemaRef) -> Result<Response<SchemaResult>, Status> {
    Ok(Response::new(SchemaResult { schema: ipc(schema)? }))
}

/// Columns as a message of Arrow IPC, as rows are sent.
///
/// # Errors
/// As [`info`].
pub(crate) fn ipc(schema: &SchemaRef) -> Result<Bytes, Status> {
    let schema = sent(schema);
    let options = IpcWriteOptions::default();
    let message = IpcMessage::try_from(SchemaAsIpc::new(&schema, &options));
    message
        .map(|IpcMessage(bytes)| bytes)
        .map_err(|error| status::unsupported(format!("the columns cannot be sent: {error}")))
}

/// Columns as rows are sent: dictionaries become the values that they stand for.
pub(crate) fn sent(schema: &SchemaRef) -> SchemaRef {
    let encoder = FlightDataEncoderBuilder::new().with_schema(schema.clone()).build(stream::empty());
    encoder.known_schema().unwrap_or_else(|| schema.clone())
}
