//! A door with tables, and clients.

#[path = "../../../../core/sources/flight-sql/tests/it/support/certificates.rs"]
pub(crate) mod certificates;
#[path = "../../../../core/tests/it/support/report.rs"]
pub(crate) mod report;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray, UInt64Array,
};
use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use pillion::{Cache, CacheOptions, ConnectionEvent, ErrorCode, Event, Operation, Recorder, TableDefinition};
use pillion_access::{Access, Permissions, Tables, TokenConfig};
use pillion_http::{HttpOptions, HttpServer, Listen};
use serde_json::Value;
use tempfile::TempDir;

/// Whatever takes longer counts as stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Rows of the table `many`: more than one part of a body, and more than sockets buffer.
pub(crate) const MANY_ROWS: i64 = 200_000;

/// A cache behind a door.
pub(crate) struct Served {
    pub(crate) cache: Cache,
    pub(crate) server: Option<HttpServer>,
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
    pub(crate) lookups: Mutex<(u64, u64)>,
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
            Event::Lookups { hits, misses } => {
                let mut lookups = self.lookups.lock();
                *lookups = (lookups.0 + hits, lookups.1 + misses);
            }
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

pub(crate) fn listen() -> Listen {
    Listen::Tcp(([127, 0, 0, 1], 0).into())
}

impl Served {
    /// With the tables `items` and `flights`, open to everybody.
    pub(crate) fn open() -> Self {
        Self::with(HttpOptions::new(listen()), &[], Some(everything()))
    }

    /// With some limits, open to everybody.
    pub(crate) fn limited(limit: impl FnOnce(HttpOptions) -> HttpOptions) -> Self {
        Self::with(limit(HttpOptions::new(listen())), &[], Some(everything()))
    }

    pub(crate) fn with(
        options: HttpOptions,
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
        let server = Some(HttpServer::start(&cache, options, access.clone()).unwrap());
        Self { cache, server, access, recorded, dir }
    }

    pub(crate) fn define_many(&self) {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..MANY_ROWS));
        let texts: ArrayRef =
            Arc::new(StringArray::from_iter_values((0..MANY_ROWS).map(|id| format!("row {id:040}"))));
        let batch = RecordBatch::try_from_iter([("id", ids), ("text", texts)]).unwrap();
        self.cache.define_table("many", TableDefinition::new(batch).primary_key(["id"])).unwrap();
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.as_ref().unwrap().address().unwrap()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "")
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        send(self.address(), method, path, headers, body.into())
    }

    pub(crate) fn sql(&self, statement: &str, accept: &str) -> Reply {
        let headers = [("content-type", "text/plain"), ("accept", accept)];
        self.send("POST", "/v1/sql", &headers, statement.to_owned())
    }

    /// Bytes as they stand, and everything that comes until the other end closes.
    pub(crate) fn raw(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        // It may close before everything is written.
        let _ = stream.write_all(request);
        read_all(&mut stream)
    }
}

/// Everything that comes until the other end closes, also by a reset.
pub(crate) fn read_all(stream: &mut impl Read) -> String {
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(len) => answer.extend_from_slice(&part[..len]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("stuck after {answer:?}"),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) fn token(name: &str) -> String {
    format!("token-of-{name}-0123456789")
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end.
    pub(crate) is_whole: bool,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).to_str().unwrap()
    }

    /// The JSON of an answer that succeeded.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!((self.status, self.is_whole), (200, true), "{}", String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The document of a problem with a status and a name, whose words contain some others.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, name: &str, words: &str) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let document: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(document["title"], name, "{text}");
        assert_eq!(document["status"], status);
        assert_eq!(document["type"], format!("urn:pillion:problem:{name}"));
        assert!(text.contains(words), "`{words}` is missing in {text}");
        document
    }
}

/// Sends a request with a client that knows HTTP.
pub(crate) fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Reply {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let exchange = async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(Full::new(body)).unwrap()).await.unwrap();
        let (head, mut incoming) = response.into_parts();
        let (mut body, mut is_whole) = (Vec::new(), true);
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => body.extend_from_slice(frame.data_ref().unwrap()),
                Err(_) => is_whole = false,
            }
        }
        connection.abort();
        Reply { status: head.status.as_u16(), headers: head.headers, body, is_whole }
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, exchange).await.expect("it answers") })
}

/// Rows with values that are hard to write.
pub(crate) fn items() -> RecordBatch {
    let names = [
        Some("plain"),
        Some("with \"quotes\", a comma"),
        None,
        Some("two\nlines"),
        Some("Größe 漢字 \u{1b}"),
    ];
    let columns: [(&str, ArrayRef); 8] = [
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]))),
        ("name", Arc::new(StringArray::from(names.to_vec()))),
        ("price", Arc::new(Float64Array::from(vec![Some(0.5), Some(-1.25), None, Some(1e21), Some(0.1)]))),
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
            Arc::new(TimestampMicrosecondArray::from(vec![
                Some(1_357_034_400_123_456),
                None,
                Some(0),
                Some(1),
                Some(2),
            ])),
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
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, name != "id")))
        .unwrap()
}

/// Rows with a key of three columns.
fn flights() -> RecordBatch {
    let hours: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from(vec![1_357_034_400_000_000, 1_357_038_000_000_000]));
    let carriers: ArrayRef = Arc::new(StringArray::from(vec!["UA", "A,B/C é"]));
    let flights: ArrayRef = Arc::new(Int64Array::from(vec![1545, 7]));
    let late: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
    RecordBatch::try_from_iter([
        ("time_hour", hours),
        ("carrier", carriers),
        ("flight", flights),
        ("late", late),
    ])
    .unwrap()
}
