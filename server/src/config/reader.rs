//! What the keys of a file mean.

use std::path::Path;
use std::time::Duration;

use pillion::{Durability, Retention, TableRules, WritePolicy};
use pillion_ipc::SOCKET_PATH_MAX;

use super::document::At;
use super::section::Section;
use super::{Access, Config, FileFormat, LogLevel, Reload, TableConfig, keys};

/// How long calls may go on when the sidecar stops, unless told otherwise: less than the 30 s that Kubernetes and the
/// 90 s that systemd give a process.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// How often the log is synced unless told otherwise.
const DURABILITY_INTERVAL: Duration = Duration::from_secs(1);

impl Config {
    /// Reads it. Problems are reported to the document.
    pub(super) fn of(file: &mut Section<'_>, folder: &Path) -> Option<Self> {
        let path = |at: At<String>| folder.join(at.value);
        let dir = file.required_text("dir").map(path);
        let socket = file.required_text("socket").map(|At { line, value }| {
            let socket = folder.join(value);
            let len = socket.as_os_str().len();
            if len > SOCKET_PATH_MAX {
                let name = socket.display();
                file.problem(line, format!("`socket` is {name}: {len} bytes, and a path of a socket has at most {SOCKET_PATH_MAX}"));
            }
            socket
        });
        let config = Self {
            dir: dir.clone().unwrap_or_default(),
            socket: socket.clone().unwrap_or_default(),
            durability: durability(file),
            load_memory: file.size("load_memory"),
            history: file.size("history"),
            disk_limit: file.size("disk_limit"),
            compaction_throughput: file.size("compaction_throughput"),
            query_memory: file.size("query_memory"),
            query_threads: file.count("query_threads"),
            spill_dir: file.text("spill_dir").map(path),
            connections_max: file.count("connections_max"),
            connections_per_user: file.count("connections_per_user"),
            handshake_timeout: file.duration("handshake_timeout"),
            uploads_max: file.count("uploads_max"),
            upload_timeout: file.duration("upload_timeout"),
            shared_memory: file.size_or_none("shared_memory"),
            shared_memory_per_user: file.size("shared_memory_per_user"),
            shared_memory_per_connection: file.size("shared_memory_per_connection"),
            stop_timeout: file.duration("stop_timeout").unwrap_or(STOP_TIMEOUT),
            log: log(file),
            access: file
                .section("access", keys::ACCESS)
                .map(|mut it| Access::of(&mut it))
                .unwrap_or_default(),
            tables: file
                .sections("tables", keys::TABLE)
                .into_iter()
                .map(|(name, mut section)| TableConfig::of(name, &mut section, folder))
                .collect(),
        };
        dir.and(socket).map(|_| config)
    }
}

impl Access {
    /// Reads it. Problems are reported to the document.
    pub(super) fn of(section: &mut Section<'_>) -> Self {
        Self {
            socket_mode: section.mode("socket_mode"),
            allow_uids: section.ids("allow_uids"),
            allow_gids: section.ids("allow_gids"),
            attach: section.boolean("attach"),
        }
    }
}

impl TableConfig {
    /// Reads it. Problems are reported to the document.
    pub(super) fn of(name: String, section: &mut Section<'_>, folder: &Path) -> Self {
        if name.is_empty() {
            section.problem(section.line(), "a table needs a name");
        }
        let format_line = section.line_of("format");
        let files = section.required_texts("files");
        let formats =
            [("parquet", FileFormat::Parquet), ("csv", FileFormat::Csv), ("arrow", FileFormat::Arrow)];
        let format = section.choice("format", &formats);
        if let Some(line) = format_line
            && files.len() > 1
        {
            let message =
                "`format` is for one path or pattern; of several, each file's ending tells its format";
            section.problem(line, message);
        }
        let (reload_line, reload) = (
            section.line_of("reload"),
            section
                .choice("reload", &[("never", Reload::Never), ("start", Reload::Start)])
                .unwrap_or_default(),
        );
        let append_only = section.choice("write_policy", &[("anyone", false), ("append_only", true)]);
        let write_policy = match append_only {
            Some(true) => WritePolicy::AppendOnly,
            _ => WritePolicy::Anyone,
        };
        if let Some(line) = reload_line
            && (reload, append_only) == (Reload::Start, Some(true))
        {
            section.problem(line, "`reload = \"start\"` replaces rows, which `append_only` does not allow");
        }
        let columns = |columns: Vec<At<String>>| columns.into_iter().map(|column| column.value).collect();
        let mut rules = TableRules::default();
        rules.primary_key = columns(section.texts("primary_key"));
        rules.sort_by = columns(section.texts("sort_by"));
        rules.write_policy = write_policy;
        rules.retention = retention(section);
        Self {
            name,
            files: files
                .into_iter()
                .map(|file| folder.join(file.value).to_string_lossy().into_owned())
                .collect(),
            format,
            rules,
            reload,
        }
    }
}

fn retention(section: &mut Section<'_>) -> Option<Retention> {
    let lines = (section.line_of("retain_column"), section.line_of("retain_age"));
    if let (Some(line), None) | (None, Some(line)) = lines {
        section.problem(line, "`retain_column` and `retain_age` go together: which rows go, and when");
    }
    let (column, age) = (section.text("retain_column"), section.duration("retain_age"));
    Some(Retention::new(column?.value, age?))
}

fn durability(file: &mut Section<'_>) -> Option<Durability> {
    let line = file.line_of("durability_interval");
    let interval = file.duration("durability_interval");
    let every = Durability::Interval(interval.unwrap_or(DURABILITY_INTERVAL));
    let choices = [("interval", every), ("always", Durability::Always), ("never", Durability::Never)];
    let chosen = file.choice("durability", &choices);
    match (line, chosen) {
        (Some(line), Some(Durability::Always | Durability::Never)) => {
            file.problem(line, "`durability_interval` is for `durability = \"interval\"` only");
            chosen
        }
        (Some(_), None) => Some(every),
        _ => chosen,
    }
}

fn log(file: &mut Section<'_>) -> LogLevel {
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    file.choice("log", &levels).unwrap_or_default()
}
