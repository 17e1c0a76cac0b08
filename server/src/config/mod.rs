//! The configuration of a sidecar: one TOML file. docs/configuration.md describes every key.

mod check;
mod document;
mod door;
mod environment;
mod files;
mod flight_sql;
mod health;
mod http;
mod keys;
mod log;
mod notes;
mod places;
mod reader;
mod schema;
mod section;
mod units;
pub(crate) mod verify;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pillion::source::TableSource;
use pillion::{CacheOptions, Durability, FileOptions, Input, ServerOptions, TableDefinition, TableRules};
use pillion_access::TokenConfig;

use crate::exit::Exit;
use crate::failure::Failure;
use document::{At, Document, Problems};

pub use check::{ConfigArgs, ConfigCommand, config};
pub use door::{DoorListen, DoorTls};
pub use flight_sql::FlightSqlConfig;
pub use health::HealthConfig;
pub use http::HttpConfig;
pub use keys::{Key, Kind, keys};
pub use log::{LogConfig, LogFormat, LogLevel};
pub(crate) use notes::notes;
pub use pillion::source::Secret;

/// What a sidecar is to do. Fields that are `None` have the defaults of the cache.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The cache directory.
    pub dir: PathBuf,
    /// The Unix socket.
    pub socket: PathBuf,
    /// When commits survive a crash of the machine.
    pub durability: Option<Durability>,
    /// Memory in which one load sorts.
    pub load_memory: Option<usize>,
    /// Bytes of history that are kept for readers of changes.
    pub history: Option<usize>,
    /// Bytes that the files may take.
    pub disk_limit: Option<usize>,
    /// Bytes a second that the background thread may write when it moves rows.
    pub compaction_throughput: Option<usize>,
    /// Tables that are refreshed at a time.
    pub refreshes_at_once: Option<usize>,
    /// Memory of all queries.
    pub query_memory: Option<usize>,
    /// Threads of queries.
    pub query_threads: Option<usize>,
    /// Memory of the answers that are kept.
    pub result_cache: Option<usize>,
    /// Where queries that outgrow their memory write.
    pub spill_dir: Option<PathBuf>,
    /// Connections at a time.
    pub connections_max: Option<usize>,
    /// Connections of one user at a time.
    pub connections_per_user: Option<usize>,
    /// Time for hello and for the rest of a frame.
    pub handshake_timeout: Option<Duration>,
    /// Uploads of all connections at a time.
    pub uploads_max: Option<usize>,
    /// Time of an upload until its last rows.
    pub upload_timeout: Option<Duration>,
    /// Memory for the answers of all connections.
    pub shared_memory: Option<usize>,
    /// Memory for the answers of one user's connections.
    pub shared_memory_per_user: Option<usize>,
    /// Memory for the answers of one connection.
    pub shared_memory_per_connection: Option<usize>,
    /// How long calls may go on when the sidecar stops.
    pub stop_timeout: Duration,
    /// How much is logged, and how.
    pub log: LogConfig,
    /// Who may connect.
    pub access: Access,
    /// Where probes and scrapers ask, and when the sidecar is ready.
    pub health: HealthConfig,
    /// The HTTP door, if there is to be one.
    pub http: Option<HttpConfig>,
    /// The Flight SQL door.
    pub flight_sql: Option<FlightSqlConfig>,
    /// The tokens of doors, in the order of the file.
    pub tokens: Vec<TokenConfig>,
    /// The sources, in the order of the file.
    pub sources: Vec<SourceConfig>,
    /// The tables, in the order of the file.
    pub tables: Vec<TableConfig>,
}

/// Who may connect, and what they are told.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Access {
    /// Mode of the socket.
    pub socket_mode: Option<u32>,
    /// Users that are admitted.
    pub allow_uids: Vec<u32>,
    /// Groups whose members are admitted.
    pub allow_gids: Vec<u32>,
    /// Whether clients are told the directory.
    pub attach: Option<bool>,
}

/// A source and how to reach it. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceConfig {
    /// Its name.
    pub name: String,
    /// Where it is; the scheme says of which kind it is.
    pub url: String,
    /// Options by their names.
    pub options: Vec<(String, String)>,
    /// Secrets by their names.
    pub secrets: Vec<(String, Secret)>,
    /// What an administrator made there for tables that follow it.
    pub publication: Option<String>,
}

impl std::fmt::Debug for SourceConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let secrets: Vec<&str> = self.secrets.iter().map(|(name, _)| name.as_str()).collect();
        // A URL may hold a password.
        f.debug_struct("SourceConfig")
            .field("name", &self.name)
            .field("secrets", &secrets)
            .finish_non_exhaustive()
    }
}

/// A table and where its rows come from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TableConfig {
    /// Its name.
    pub name: String,
    /// Paths and patterns.
    pub files: Vec<String>,
    /// How the files are read, where they do not say it themselves.
    pub reading: FileOptions,
    /// Its key, its order, who may change its rows, and how long they stay.
    pub rules: TableRules,
    /// When a table that exists already is loaded again.
    pub reload: Reload,
    /// The source that feeds it and keeps it fresh, in the place of files.
    pub source: Option<TableSource>,
}

/// When a table that is there already is loaded again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reload {
    /// Never: the cache keeps what it has.
    #[default]
    Never,
    /// Whenever the sidecar starts.
    Start,
}

impl Config {
    /// Reads a file. Relative paths in it start at its folder.
    ///
    /// # Errors
    /// [`Exit::NotFound`] if there is no such file; [`Exit::Usage`] with everything that is wrong in it, by line.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
        let folder = std::path::absolute(path)
            .map_err(|error| Failure::file("find", path, &error))?
            .parent()
            .map_or_else(PathBuf::new, Path::to_owned);
        Self::parse(&text, &path.display().to_string(), &folder, &|name| std::env::var(name).ok())
    }

    /// Reads a text as a file called `name` that lies in `folder`, with `variable` for the environment.
    ///
    /// # Errors
    /// [`Exit::Usage`] with everything that is wrong, by line.
    pub fn parse(
        text: &str,
        name: &str,
        folder: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let problems = Problems::default();
        let config = Document::new(text, variable, &problems)
            .parse(keys::TOP)
            .and_then(|mut file| Self::of(&mut file, folder));
        let found = problems.into_sorted();
        match config.filter(|_| found.is_empty()) {
            Some(config) => Ok(config),
            None => {
                let lines: Vec<String> =
                    found.into_iter().map(|At { line, value }| format!("{name}:{line}: {value}")).collect();
                Err(Failure::new(Exit::Usage, lines.join("\n")).hint(
                    "docs/configuration.md describes every key; `pillion config check` looks before a start",
                ))
            }
        }
    }

    /// Settings of the cache.
    pub fn cache_options(&self) -> CacheOptions {
        let mut options = CacheOptions::new();
        if let Some(durability) = self.durability {
            options = options.durability(durability);
        }
        if let Some(bytes) = self.load_memory {
            options = options.load_memory(bytes);
        }
        if let Some(bytes) = self.history {
            options = options.history(bytes as u64);
        }
        if let Some(bytes) = self.disk_limit {
            options = options.disk_limit(bytes as u64);
        }
        if let Some(bytes) = self.compaction_throughput {
            options = options.compaction_throughput(bytes as u64);
        }
        if let Some(refreshes) = self.refreshes_at_once {
            options = options.refreshes_at_once(refreshes);
        }
        if let Some(bytes) = self.query_memory {
            options = options.query_memory(bytes);
        }
        if let Some(threads) = self.query_threads {
            options = options.query_threads(threads);
        }
        if let Some(bytes) = self.result_cache {
            options = options.result_cache(bytes);
        }
        if let Some(dir) = &self.spill_dir {
            options = options.spill_dir(dir);
        }
        options
    }

    /// Settings of the socket.
    pub fn server_options(&self) -> ServerOptions {
        let Access { socket_mode, allow_uids, allow_gids, attach } = &self.access;
        let mut options = ServerOptions::new(&self.socket)
            .allow_uids(allow_uids.iter().copied())
            .allow_gids(allow_gids.iter().copied());
        if let Some(connections) = self.connections_max {
            options = options.connections_max(connections);
        }
        if let Some(connections) = self.connections_per_user {
            options = options.connections_per_user(connections);
        }
        if let Some(timeout) = self.handshake_timeout {
            options = options.handshake_timeout(timeout);
        }
        if let Some(uploads) = self.uploads_max {
            options = options.uploads_max(uploads);
        }
        if let Some(timeout) = self.upload_timeout {
            options = options.upload_timeout(timeout);
        }
        if let Some(bytes) = self.shared_memory {
            options = options.shared_memory(bytes);
        }
        if let Some(bytes) = self.shared_memory_per_user {
            options = options.shared_memory_per_user(bytes);
        }
        if let Some(bytes) = self.shared_memory_per_connection {
            options = options.shared_memory_per_connection(bytes);
        }
        if let Some(mode) = socket_mode {
            options = options.socket_mode(*mode);
        }
        if let Some(attach) = attach {
            options = options.attach(*attach);
        }
        options
    }
}

impl TableConfig {
    /// The definition of a table that a source feeds.
    pub fn fed_definition(&self) -> Option<TableDefinition> {
        let source = self.source.clone()?;
        Some(TableDefinition::from_source(source).rules(self.rules.clone()))
    }

    /// The definition of a table of files; its load calls `observer` with the number of rows read so far.
    pub fn definition(&self, observer: impl FnMut(u64) + Send + 'static) -> TableDefinition {
        TableDefinition::new(self.input(observer)).rules(self.rules.clone())
    }

    /// The rows of the table; reading them calls `observer` with the number of rows read so far.
    pub fn input(&self, observer: impl FnMut(u64) + Send + 'static) -> Input {
        Input::files_with(&self.files, self.reading.clone()).observe(observer)
    }
}
