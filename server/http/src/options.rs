//! Settings of the door.

use std::path::PathBuf;
use std::time::Duration;

use pillion_door::{Listen, SocketOptions, TlsFiles, Users};

/// Settings of an [`HttpServer`](crate::HttpServer).
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Without its number of threads, which follows from the limits.
    socket: SocketOptions,
    pub(crate) hosts: Vec<String>,
    pub(crate) requests_max: usize,
    pub(crate) requests_waiting_max: usize,
    pub(crate) streams_max: usize,
    pub(crate) uploads_max: usize,
    pub(crate) request_bytes_max: usize,
    pub(crate) upload_bytes_max: u64,
    pub(crate) head_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) upload_timeout: Duration,
    pub(crate) upload_dir: PathBuf,
}

impl HttpOptions {
    /// Listens there, without encryption and with the default limits.
    pub fn new(listen: Listen) -> Self {
        Self {
            socket: SocketOptions::new(listen),
            hosts: Vec::new(),
            requests_max: 64,
            requests_waiting_max: 256,
            streams_max: 64,
            uploads_max: 8,
            request_bytes_max: 16 << 20,
            upload_bytes_max: 1 << 30,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(60),
            upload_timeout: Duration::from_secs(3600),
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

    /// Names by which clients reach the door, besides `localhost` and addresses. A request for any other host is refused:
    /// a web page cannot reach the door by a name that its owner points here. Unix sockets have no such names to check.
    #[must_use]
    pub fn hosts<S: Into<String>>(mut self, hosts: impl IntoIterator<Item = S>) -> Self {
        self.hosts = hosts.into_iter().map(|host| host.into().to_ascii_lowercase()).collect();
        self
    }

    /// Connections at a time; 1024 by default, of which one address or user has at most three quarters. One more takes the place of
    /// the one that has been idle for the longest time; if none is idle, it is answered with 429 (with TLS: closed).
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.socket.connections_max = connections;
        self
    }

    /// Requests that are worked on at a time, until the last byte of their answers; 64 by default, of which one token has at
    /// most three quarters. Others wait.
    #[must_use]
    pub fn requests_max(mut self, requests: usize) -> Self {
        self.requests_max = requests;
        self
    }

    /// Requests that wait; 256 by default, of which one token has at most three quarters. One more is answered with 429.
    #[must_use]
    pub fn requests_waiting_max(mut self, requests: usize) -> Self {
        self.requests_waiting_max = requests;
        self
    }

    /// Streams of changes at a time; 64 by default, of which one token has at most three quarters. One more is answered with
    /// 429.
    #[must_use]
    pub fn streams_max(mut self, streams: usize) -> Self {
        self.streams_max = streams;
        self
    }

    /// Uploads at a time, each of which takes a thread and the memory of a load; 8 by default. One more is answered with 429.
    #[must_use]
    pub fn uploads_max(mut self, uploads: usize) -> Self {
        self.uploads_max = uploads;
        self
    }

    /// Bytes of a request that is no upload; 16 MiB by default. A longer one is answered with 413.
    #[must_use]
    pub fn request_bytes_max(mut self, bytes: usize) -> Self {
        self.request_bytes_max = bytes;
        self
    }

    /// Bytes of an upload, which take as much disk until they are loaded; 1 GiB by default. A longer one is answered with
    /// 413.
    #[must_use]
    pub fn upload_bytes_max(mut self, bytes: u64) -> Self {
        self.upload_bytes_max = bytes;
        self
    }

    /// How long a client may take for a TLS handshake, for the head of a request, between two parts of a body, and for
    /// reading a part of an answer; 10 s by default. Then its connection is closed.
    #[must_use]
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.head_timeout = timeout;
        self
    }

    /// How long a connection stays open between two requests; a minute by default.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// How long a request may take until its answer begins, waiting included; a minute by default. Then it is answered with
    /// 504 and its work is cancelled, except for a refresh, which goes on. The next parts of an answer may take as long each, without
    /// the time that the client takes to read; then the answer breaks off.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// The same for uploads; an hour by default.
    #[must_use]
    pub fn upload_timeout(mut self, timeout: Duration) -> Self {
        self.upload_timeout = timeout;
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
        // One thread for each request, upload and stream that may be under way, so that none waits for another, and one for the
        // files of tokens and certificates.
        let under_way = [self.requests_max, self.uploads_max, self.streams_max, 1];
        let blocking_threads = under_way.into_iter().fold(0, usize::saturating_add);
        SocketOptions { handshake_timeout: self.head_timeout, blocking_threads, ..self.socket.clone() }
    }

    /// Whether it listens at an address, which has names.
    pub(crate) fn has_hosts(&self) -> bool {
        matches!(self.socket.listen, Listen::Tcp(_))
    }
}
