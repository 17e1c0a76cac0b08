//! A door with tables, and clients.

#[path = "../../../../core/sources/flight-sql/tests/it/support/certificates.rs"]
pub(crate) mod certificates;
#[path = "../../../../core/tests/it/support/report.rs"]
pub(crate) mod report;

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListArray,
    RecordBatch, StringArray, StringViewArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    UInt64Array,
};
use arrow::datatypes::{Int32Type, SchemaRef};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{Action, FlightData, FlightDescriptor, FlightInfo, PutResult, Ticket};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use pillion::{Cache, CacheOptions, ConnectionEvent, ErrorCode, Event, Operation, Recorder, TableDefinition};
use pillion_access::{Access, Permissions, Tables, TokenConfig};
use pillion_flight::{FlightOptions, FlightServer, Listen};
use prost::Message;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Whatever takes longer counts as stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Rows of the table `many`.
pub(crate) const MANY_ROWS: i64 = 1_000_000;

/// A cache behind a door.
pub(crate) struct Served {
    pub(crate) cache: Cache,
    pub(crate) server: Option<FlightServer>,
    pub(crate) access: Arc<Access>,
    pub(crate) recorded: Arc<Recorded>,
    pub(crate) dir: TempDir,
}

/// What the recorder of the cache was told.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// Door, operation and error of each call.
    pub(crate) calls: Mutex<Vec<(&'static str, Operation, Option<ErrorCode>)>>,
    /// Bytes of requests, and of answers.
    pub(crate) bytes: Mutex<(u64, u64)>,
    pub(crate) connections: Mutex<Vec<ConnectionEvent>>,
}

impl Recorder for Recorded {
    fn record(&self, event: &Event<'_>) {
        match *event {
            Event::Call { door, operation, request_bytes, answer_bytes, error, .. } => {
                self.calls.lock().push((door, operation, error));
                let mut bytes = self.bytes.lock();
                *bytes = (bytes.0 + request_bytes, bytes.1 + answer_bytes);
            }
            Event::Connection(event) => self.connections.lock().push(event),
            _ => {}
        }
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn soon(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Everything is permitted.
pub(crate) fn everything() -> Permissions {
    Permissions { read: Tables::All, write: Tables::All, refresh: Tables::All, administer: true }
}

/// The token of a name.
pub(crate) fn token(name: &str) -> String {
    format!("{name}-0123456789abcdef")
}

pub(crate) fn listen() -> Listen {
    Listen::Tcp(([127, 0, 0, 1], 0).into())
}

impl Served {
    /// With the tables `items` and `flights`, open to everybody.
    pub(crate) fn open() -> Self {
        Self::limited(|options| options)
    }

    /// With some limits, open to everybody.
    pub(crate) fn limited(limit: impl FnOnce(FlightOptions) -> FlightOptions) -> Self {
        Self::with(limit(FlightOptions::new(listen())), &[], Some(everything()))
    }

    pub(crate) fn with(
        options: FlightOptions,
        tokens: &[(&str, Permissions)],
        anonymous: Option<Permissions>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let recorded = Arc::new(Recorded::default());
        let cache = CacheOptions::new().recorder(recorded.clone()).open(dir.path().join("cache")).unwrap();
        cache.define_table("items", TableDefinition::new(items()).primary_key(["id"])).unwrap();
        let flights = TableDefinition::new(flights()).primary_key(["time_hour", "carrier", "flight"]);
        cache.define_table("flights", flights).unwrap();
        let tokens = tokens.iter().map(|(name, permissions)| {
            let file = dir.path().join(name);
            File::create(&file).unwrap().write_all(token(name).as_bytes()).unwrap();
            TokenConfig { name: (*name).to_owned(), file, permissions: permissions.clone() }
        });
        let access = Arc::new(Access::new(tokens.collect::<Vec<_>>(), anonymous).unwrap());
        let server = Some(FlightServer::start(&cache, options, access.clone()).unwrap());
        Self { cache, server, access, recorded, dir }
    }

    pub(crate) fn define_many(&self) {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..MANY_ROWS));
        let texts: ArrayRef =
            Arc::new(StringArray::from_iter_values((0..MANY_ROWS).map(|id| format!("row {id:020}"))));
        let batch = RecordBatch::try_from_iter([("id", ids), ("text", texts)]).unwrap();
        self.cache.define_table("many", TableDefinition::new(batch).primary_key(["id"])).unwrap();
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.as_ref().unwrap().address().unwrap()
    }

    /// A client that shows no token.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address(), None)
    }

    /// A client that shows the token of a name.
    pub(crate) fn client_of(&self, name: &str) -> Client {
        Client::connect(self.address(), Some(format!("Bearer {}", token(name))))
    }
}

/// A client, on a runtime of its own.
pub(crate) struct Client {
    pub(crate) runtime: Runtime,
    pub(crate) channel: Channel,
    pub(crate) inner: FlightServiceClient<Channel>,
    authorization: Option<String>,
}

/// An answer that was fetched.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) headers: tonic::metadata::MetadataMap,
}

impl Answer {
    /// All rows as one batch.
    pub(crate) fn rows(&self) -> RecordBatch {
        arrow::compute::concat_batches(&self.schema, &self.batches).unwrap()
    }

    /// The texts of a column.
    pub(crate) fn texts(&self, column: usize) -> Vec<String> {
        let rows = self.rows();
        let texts = arrow::compute::cast(rows.column(column), &arrow::datatypes::DataType::Utf8).unwrap();
        let texts = texts.as_any().downcast_ref::<StringArray>().unwrap();
        texts.iter().map(|text| text.unwrap_or("null").to_owned()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr, authorization: Option<String>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = runtime.block_on(endpoint.connect()).unwrap();
        Self::over(runtime, channel, authorization)
    }

    pub(crate) fn over(runtime: Runtime, channel: Channel, authorization: Option<String>) -> Self {
        let inner = FlightServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20);
        Self { runtime, channel, inner, authorization }
    }

    /// The client of the library for Flight SQL.
    pub(crate) fn library(&self) -> FlightSqlServiceClient<Channel> {
        let mut client = FlightSqlServiceClient::new(self.channel.clone());
        if let Some(authorization) = &self.authorization {
            client.set_token(authorization.strip_prefix("Bearer ").unwrap().to_owned());
        }
        client
    }

    /// A request as this client sends it.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(PATIENCE);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.parse().unwrap());
        }
        request
    }

    pub(crate) fn info(&mut self, command: &impl ProstMessageExt) -> Result<FlightInfo, Status> {
        self.info_of(command.as_any().encode_to_vec())
    }

    pub(crate) fn info_of(&mut self, command: impl Into<Bytes>) -> Result<FlightInfo, Status> {
        let request = self.request(FlightDescriptor::new_cmd(command));
        self.runtime.block_on(self.inner.get_flight_info(request)).map(tonic::Response::into_inner)
    }

    pub(crate) fn get(&mut self, ticket: impl Into<Bytes>) -> Result<Answer, Status> {
        let request = self.request(Ticket::new(ticket));
        let (runtime, inner) = (&self.runtime, &mut self.inner);
        runtime.block_on(async {
            let (headers, messages, _) = inner.do_get(request).await?.into_parts();
            let messages = messages.map_err(|status| FlightError::Tonic(Box::new(status)));
            let mut rows = FlightRecordBatchStream::new_from_flight_data(messages);
            let mut batches = Vec::new();
            while let Some(batch) = rows.next().await {
                batches.push(batch.map_err(|error| match error {
                    FlightError::Tonic(status) => *status,
                    error => Status::data_loss(error.to_string()),
                })?);
            }
            Ok(Answer { schema: rows.schema().expect("columns").clone(), batches, headers })
        })
    }

    /// The answer to a command, fetched by its ticket.
    pub(crate) fn ask(&mut self, command: &impl ProstMessageExt) -> Result<Answer, Status> {
        let info = self.info(command)?;
        let answer = self.get(ticket(&info))?;
        if !info.schema.is_empty() {
            let announced = info.try_decode_schema().unwrap();
            assert_eq!(announced, *answer.schema, "what is announced is sent");
        }
        Ok(answer)
    }

    pub(crate) fn sql(&mut self, text: &str) -> Result<Answer, Status> {
        self.ask(&CommandStatementQuery { query: text.to_owned(), transaction_id: None })
    }

    /// Puts batches with a command.
    pub(crate) fn put(
        &mut self,
        command: &impl ProstMessageExt,
        batches: Vec<RecordBatch>,
    ) -> Result<PutResult, Status> {
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let rows = stream::iter(batches.into_iter().map(Ok));
        let encoder = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(descriptor.clone()));
        let messages: Vec<FlightData> =
            self.runtime.block_on(encoder.build(rows).try_collect()).expect("rows are encoded");
        let messages = match messages.is_empty() {
            true => vec![FlightData::new().with_descriptor(descriptor)],
            false => messages,
        };
        self.put_raw(messages)
    }

    pub(crate) fn put_raw(&mut self, messages: Vec<FlightData>) -> Result<PutResult, Status> {
        let request = self.request(stream::iter(messages));
        let (runtime, inner) = (&self.runtime, &mut self.inner);
        runtime.block_on(async {
            let mut results = inner.do_put(request).await?.into_inner();
            results.message().await.map(|result| result.expect("a result"))
        })
    }

    pub(crate) fn act(&mut self, name: &str, body: impl Into<Bytes>) -> Result<Vec<Bytes>, Status> {
        let request = self.request(Action::new(name, body));
        let (runtime, inner) = (&self.runtime, &mut self.inner);
        runtime.block_on(async {
            let results = inner.do_action(request).await?.into_inner();
            results.map_ok(|result| result.body).try_collect().await
        })
    }
}

/// The ticket of the only endpoint of an answer.
pub(crate) fn ticket(info: &FlightInfo) -> Bytes {
    assert_eq!(info.endpoint.len(), 1);
    info.endpoint[0].ticket.clone().unwrap().ticket
}

/// Rows with values of many types.
pub(crate) fn items() -> RecordBatch {
    let names = [Some("plain"), Some("with \"quotes\""), None, Some("two\nlines"), Some("Größe 漢字")];
    let columns: [(&str, ArrayRef); 10] = [
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]))),
        ("name", Arc::new(StringArray::from(names.to_vec()))),
        (
            "price",
            Arc::new(Float64Array::from(vec![Some(0.5), Some(-1.25), None, Some(1e21), Some(f64::NAN)])),
        ),
        (
            "exact",
            Arc::new(
                Decimal128Array::from(vec![Some(123), Some(-1), None, Some(99_999_999_999_999_999), Some(0)])
                    .with_precision_and_scale(20, 2)
                    .unwrap(),
            ),
        ),
        ("large", Arc::new(UInt64Array::from(vec![Some(u64::MAX), Some(0), None, Some(1), Some(2)]))),
        ("day", Arc::new(Date32Array::from(vec![Some(15_706), Some(-1), None, Some(0), Some(1)]))),
        (
            "sold",
            Arc::new(
                TimestampMicrosecondArray::from(vec![
                    Some(1_357_034_400_123_456),
                    None,
                    Some(0),
                    Some(1),
                    Some(2),
                ])
                .with_timezone("UTC"),
            ),
        ),
        (
            "raw",
            Arc::new(BinaryArray::from_opt_vec(vec![
                Some(&b"\x00\xff"[..]),
                None,
                Some(b""),
                Some(b"a"),
                None,
            ])),
        ),
        (
            "at",
            Arc::new(Time64MicrosecondArray::from(vec![
                Some(0),
                None,
                Some(1),
                Some(2),
                Some(86_399_999_999),
            ])),
        ),
        ("view", Arc::new(StringViewArray::from(names.to_vec()))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, name != "id")))
        .unwrap()
}

/// Rows with a key of three columns, and with lists.
pub(crate) fn flights() -> RecordBatch {
    let hours: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from(vec![1_357_034_400_000_000, 1_357_038_000_000_000]));
    let carriers: ArrayRef = Arc::new(StringArray::from(vec!["UA", "A,B/C é"]));
    let flights: ArrayRef = Arc::new(Int64Array::from(vec![1545, 7]));
    let late: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
    let stops: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), None]),
        Some(vec![]),
    ]));
    RecordBatch::try_from_iter([
        ("time_hour", hours),
        ("carrier", carriers),
        ("flight", flights),
        ("late", late),
        ("stops", stops),
    ])
    .unwrap()
}
