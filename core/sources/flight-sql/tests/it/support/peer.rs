//! A Flight SQL server over rows in memory, which misbehaves as it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::CompressionType;
use arrow_flight::flight_service_server::FlightServiceServer;
use futures::stream;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::answers::Service;

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
    /// What it compresses the buffers of rows with.
    pub(crate) codec: Option<CompressionType>,
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
pub(crate) type Log = Arc<Mutex<Vec<String>>>;

impl Peer {
    pub(crate) fn start(manners: Manners) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let log = Log::default();
        let service = Service::new(manners, log.clone());
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

/// A type for columns whose values are in a dictionary.
pub(crate) fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8))
}
