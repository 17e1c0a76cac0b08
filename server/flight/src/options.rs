//! Settings of the door.

use std::path::PathBuf;
use std::time::Duration;

use pillion_door::{Listen, SocketOptions, TlsFiles, Users};

/// Settings of a [`FlightServer`](crate::FlightServer).
#[derive(Clone, Debug)]
pub struct FlightOptions {
    /// Without its number of threads, which follows from the limits.
    socket: SocketOptions,
    pub(crate) requests_max: usize,
    pub(crate) requests_waiting_max: usize,
    pub(crate) uploads_max: usize,
    pub(crate) statements_max: usize,
    pub(crate) request_bytes_max: usize,
    pub(crate) upload_bytes_max: u64,
    pub(crate) client_timeout: Duration,
    pub(crate) read_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) upload_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) upload_dir: PathBuf,
}

impl FlightOptions {
    /// Listens there, without encryption and with the default limits.
    pub fn new(listen: Listen) -> Self {
        Self {
            socket: SocketOptions::new(listen),
            requests_max: 64,
            requests_waiting_max: 256,
            uploads_max: 8,
            statements_max: 1024,
            request_bytes_max: 16 << 20,
            upload_bytes_max: 1 << 30,
            client_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(300),
            idle_timeout: Duration::from_secs(600),
            request_timeout: Duration::from_secs(60),
            upload_timeout: Duration::from_secs(3600),
            statement_timeout: Duration::from_secs(600),
            upload_dir: std::env::temp_dir(),
        }
    }

    /// Encrypts with the certificate of these files.
    #[must_use]
    pub fn tls(mut self, files: TlsFiles) -> Self {
        self.socket.tls = Some(files);
        self
    }

    /// Mode of a Unix socket; `0o660` by default.
    #[must_use]
    pub fn socket_mode(mut self, mode: u32) -> Self {
        self.socket.socket_mode = mode;
        self
    }

    /// Users who may connect to a Unix socket, by what the kernel says of them; everyone by default. They need a token all the
    /// same.
    #[must_use]
    pub fn users(mut self, users: Users) -> Self {
        self.socket.users = users;
        self
    }

    /// Connections at a time; 1024 by default, of which one address or user has at most three quarters. One more takes the place of
    /// the one that has been idle for the longest time; if none is idle, it is closed.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.socket.connections_max = connections;
        self
    }

    /// Calls that are worked on at a time, until the last byte of their answers; 64 by default, of which one token has at most
    /// three quarters. Others wait.
    #[must_use]
    pub fn requests_max(mut self, requests: usize) -> Self {
        self.requests_max = requests;
        self
    }

    /// Calls that wait; 256 by default, of which one token has at most three quarters. One more is answered with
    /// `RESOURCE_EXHAUSTED`.
    #[must_use]
    pub fn requests_waiting_max(mut self, requests: usize) -> Self {
        self.requests_waiting_max = requests;
        self
    }

    /// Uploads at a time, each of which takes a thread and the memory of a load; 8 by default. One more is answered with
    /// `RESOURCE_EXHAUSTED`.
    #[must_use]
    pub fn uploads_max(mut self, uploads: usize) -> Self {
        self.uploads_max = uploads;
        self
    }

    /// Statements that are prepared, and answers that wait to be fetched, at a time; 1024 by default, of which one token has at
    /// most three quarters. One more is answered with `RESOURCE_EXHAUSTED`.
    #[must_use]
    pub fn statements_max(mut self, statements: usize) -> Self {
        self.statements_max = statements;
        self
    }

    /// Bytes of a message, and of the parameters of a statement; 16 MiB by default. More are answered with `OUT_OF_RANGE` or
    /// `RESOURCE_EXHAUSTED`.
    #[must_use]
    pub fn request_bytes_max(mut self, bytes: usize) -> Self {
        self.request_bytes_max = bytes;
        self
    }

    /// Bytes of an upload, which take as much disk until they are loaded; 1 GiB by default. More are answered with
    /// `RESOURCE_EXHAUSTED`.
    #[must_use]
    pub fn upload_bytes_max(mut self, bytes: u64) -> Self {
        self.upload_bytes_max = bytes;
        self
    }

    /// How long a client may take for a TLS handshake and between two messages that it sends; 10 s by default.
    #[must_use]
    pub fn client_timeout(mut self, timeout: Duration) -> Self {
        self.client_timeout = timeout;
        self
    }

    /// How long a client may leave a part of an answer unread; five minutes by default. Then the answer breaks off.
    #[must_use]
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = timeout;
        self
    }

    /// How long a connection stays open without a call; ten minutes by default.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// How long a call may take until its answer begins, waiting included; a minute by default. Then it is answered with
    /// `DEADLINE_EXCEEDED`, and its work is cancelled. The next parts of an answer may take as long each, without the time that
    /// the client takes to read.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// The same for what clients put: rows, parameters and statements that change tables; an hour by default.
    #[must_use]
    pub fn upload_timeout(mut self, timeout: Duration) -> Self {
        self.upload_timeout = timeout;
        self
    }

    /// How long a prepared statement, and an answer that waits to be fetched, stay without being used; ten minutes by default.
    #[must_use]
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// Where uploads lie until they are loaded, in files without a name; the system's folder for temporary files by default.
    #[must_use]
    pub fn upload_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.upload_dir = dir.into();
        self
    }

    /// The socket that they ask for.
    pub(crate) fn socket(&self) -> SocketOptions {
        // One thread for each call and upload that may be under way, so that none waits for another, and one for the files of
        // tokens and certificates.
        let blocking_threads = self.requests_max.saturating_add(self.uploads_max).saturating_add(1);
        SocketOptions { handshake_timeout: self.client_timeout, blocking_threads, ..self.socket.clone() }
    }
}
