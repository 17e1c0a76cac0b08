//! What a server answers whose manners a test chooses.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Datum, RecordBatch, Scalar};
use arrow::compute::filter_record_batch;
use arrow::compute::kernels::cmp::gt_eq;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightEndpoint, FlightInfo, IpcMessage, SchemaAsIpc, Ticket};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use prost::Message;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::peer::{Ends, Log, Manners};

pub(crate) struct Service {
    pub(crate) manners: Manners,
    pub(crate) log: Log,
    /// The last value that a parameter got.
    pub(crate) bound: Arc<Mutex<Option<ArrayRef>>>,
}

pub(crate) type Rows = Pin<Box<dyn Stream<Item = Result<arrow_flight::FlightData, Status>> + Send>>;

impl Service {
    pub(crate) fn new(manners: Manners, log: Log) -> Self {
        Self { manners, log, bound: Arc::default() }
    }

    /// Notes a call, and looks at what was shown for it.
    pub(crate) fn admit(&self, call: &str, shown: &MetadataMap) -> Result<(), Status> {
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

    pub(crate) fn schema(&self) -> SchemaRef {
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

    pub(crate) fn info(&self, query: &str) -> Result<FlightInfo, Status> {
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

    pub(crate) fn rows(&self, part: usize, query: &str) -> Rows {
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
        let options = IpcWriteOptions::default().try_with_compression(self.manners.codec).unwrap();
        let encoder = encoder(self.schema().project(&columns).unwrap().into()).with_options(options);
        let whole = encoder.build(stream::iter(batches));
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

pub(crate) fn encoder(schema: SchemaRef) -> FlightDataEncoderBuilder {
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

pub(crate) fn ipc(schema: &Schema) -> bytes::Bytes {
    let message: IpcMessage = SchemaAsIpc::new(schema, &Default::default()).try_into().unwrap();
    message.0
}
