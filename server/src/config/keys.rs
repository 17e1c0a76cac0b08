//! The keys that a configuration may have. docs/configuration.md describes each; a test compares the two.

/// A key and its default as the document writes it.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name within its section.
    pub name: &'static str,
    /// What applies if the key is missing, in the words of the document.
    pub default: &'static str,
    /// What its value is.
    pub kind: Kind,
}

/// What the value of a key is, as it is written.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// A text.
    Text,
    /// A text, or a list of texts.
    Texts,
    /// Texts by their names.
    NamedTexts,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// A number of bytes, with a unit or without.
    Size,
    /// A time with a unit.
    Duration,
    /// A time with a unit, or a number.
    DurationOrNumber,
    /// A whole number of at least 1.
    Count,
    /// `true` or `false`.
    Boolean,
    /// Bits of a mode.
    Mode,
    /// Numbers of users or groups.
    Ids,
    /// A section.
    Section,
    /// A section for each name.
    Sections,
    /// A level of the log, or a section.
    LevelOrSection,
}

/// How much is logged.
pub(super) const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];

const fn key(name: &'static str, default: &'static str, kind: Kind) -> Key {
    Key { name, default, kind }
}

/// Outside of all sections.
pub(super) const TOP: &[Key] = &[
    key("dir", "required", Kind::Text),
    key("socket", "required", Kind::Text),
    key("durability", "\"interval\"", Kind::Choice(&["interval", "always", "never"])),
    key("durability_interval", "\"1 s\"", Kind::Duration),
    key("load_memory", "\"256 MiB\"", Kind::Size),
    key("history", "none", Kind::Size),
    key("disk_limit", "none", Kind::Size),
    key("compaction_throughput", "\"64 MiB\"", Kind::Size),
    key("refreshes_at_once", "4", Kind::Count),
    key("query_memory", "\"1 GiB\"", Kind::Size),
    key("query_threads", "all processors", Kind::Count),
    key("result_cache", "none", Kind::Size),
    key("spill_dir", "the system's temporary folder", Kind::Text),
    key("connections_max", "1024", Kind::Count),
    key("connections_per_user", "three quarters of all", Kind::Count),
    key("handshake_timeout", "\"10 s\"", Kind::Duration),
    key("shared_memory", "\"1 GiB\"", Kind::Size),
    key("shared_memory_per_user", "three quarters of all", Kind::Size),
    key("shared_memory_per_connection", "\"32 MiB\"", Kind::Size),
    key("uploads_max", "32", Kind::Count),
    key("upload_timeout", "\"1 h\"", Kind::Duration),
    key("stop_timeout", "\"20 s\"", Kind::Duration),
    key("log", "a section", Kind::LevelOrSection),
    key("access", "a section", Kind::Section),
    key("health", "a section", Kind::Section),
    key("http", "a section", Kind::Section),
    key("flight_sql", "a section", Kind::Section),
    key("tokens", "a section for each token", Kind::Sections),
    key("sources", "a section for each source", Kind::Sections),
    key("tables", "a section for each table", Kind::Sections),
];

/// In `[access]`.
pub(super) const ACCESS: &[Key] = &[
    key("socket_mode", "\"0660\"", Kind::Mode),
    key("allow_uids", "[]", Kind::Ids),
    key("allow_gids", "[]", Kind::Ids),
    key("attach", "true", Kind::Boolean),
];

/// In `[log]`.
pub(super) const LOG: &[Key] = &[
    key("level", "\"info\"", Kind::Choice(LEVELS)),
    key("format", "\"text\"", Kind::Choice(&["text", "json"])),
    key("slow_query", "none", Kind::Duration),
];

/// In `[health]`.
pub(super) const HEALTH: &[Key] = &[
    key("listen", "none", Kind::Text),
    key("ready_tables", "all tables", Kind::Texts),
    key("ready_fresh", "false", Kind::Boolean),
];

/// In `[http]`.
pub(super) const HTTP: &[Key] = &[
    key("listen", "required", Kind::Text),
    key("hosts", "[]", Kind::Texts),
    key("certificate", "none", Kind::Text),
    key("private_key", "none", Kind::Text),
    key("client_authorities", "none", Kind::Text),
    key("plaintext", "false", Kind::Boolean),
    key("anonymous", "nobody", Kind::Section),
    key("connections_max", "1024", Kind::Count),
    key("requests_max", "64", Kind::Count),
    key("requests_waiting_max", "256", Kind::Count),
    key("streams_max", "64", Kind::Count),
    key("uploads_max", "8", Kind::Count),
    key("request_size", "\"16 MiB\"", Kind::Size),
    key("upload_size", "\"1 GiB\"", Kind::Size),
    key("client_timeout", "\"10 s\"", Kind::Duration),
    key("idle_timeout", "\"1 min\"", Kind::Duration),
    key("request_timeout", "\"1 min\"", Kind::Duration),
    key("upload_timeout", "\"1 h\"", Kind::Duration),
];

/// In `[flight_sql]`.
pub(super) const FLIGHT_SQL: &[Key] = &[
    key("listen", "required", Kind::Text),
    key("certificate", "none", Kind::Text),
    key("private_key", "none", Kind::Text),
    key("client_authorities", "none", Kind::Text),
    key("plaintext", "false", Kind::Boolean),
    key("anonymous", "nobody", Kind::Section),
    key("connections_max", "1024", Kind::Count),
    key("requests_max", "64", Kind::Count),
    key("requests_waiting_max", "256", Kind::Count),
    key("statements_max", "1024", Kind::Count),
    key("uploads_max", "8", Kind::Count),
    key("request_size", "\"16 MiB\"", Kind::Size),
    key("upload_size", "\"1 GiB\"", Kind::Size),
    key("client_timeout", "\"10 s\"", Kind::Duration),
    key("read_timeout", "\"5 min\"", Kind::Duration),
    key("idle_timeout", "\"10 min\"", Kind::Duration),
    key("request_timeout", "\"1 min\"", Kind::Duration),
    key("upload_timeout", "\"1 h\"", Kind::Duration),
    key("statement_timeout", "\"10 min\"", Kind::Duration),
];

/// What is permitted: in `[http.anonymous]` and `[flight_sql.anonymous]`, and in `[tokens.NAME]` beside its file.
pub(super) const PERMISSIONS: &[Key] = &[
    key("read", "[]", Kind::Texts),
    key("write", "[]", Kind::Texts),
    key("refresh", "[]", Kind::Texts),
    key("administer", "false", Kind::Boolean),
];

/// In `[tokens.NAME]`.
pub(super) const TOKEN: &[Key] = &[
    key("file", "required", Kind::Text),
    key("read", "[]", Kind::Texts),
    key("write", "[]", Kind::Texts),
    key("refresh", "[]", Kind::Texts),
    key("administer", "false", Kind::Boolean),
];

/// In `[sources.NAME]`.
pub(super) const SOURCE: &[Key] = &[
    key("url", "required", Kind::Text),
    key("options", "{}", Kind::NamedTexts),
    key("secrets", "{}", Kind::NamedTexts),
    key("secret_files", "{}", Kind::NamedTexts),
    key("publication", "one is made", Kind::Text),
];

/// In `[tables.NAME]`.
pub(super) const TABLE: &[Key] = &[
    key("files", "required without a source", Kind::Texts),
    key("format", "by the ending", Kind::Text),
    key("source", "none", Kind::Text),
    key("relation", "the table's name", Kind::Text),
    key("statement", "none", Kind::Text),
    key("columns", "all", Kind::Texts),
    key("condition", "all rows", Kind::Text),
    key("where", "all rows", Kind::Text),
    key("on_miss", "\"error\"", Kind::Choice(&["error", "local", "delegate"])),
    key("leave_out", "[]", Kind::Texts),
    key("as_text", "[]", Kind::Texts),
    key("options", "{}", Kind::NamedTexts),
    key("refresh", "by time", Kind::Choice(&["changes"])),
    key("on_schema_change", "\"copy\"", Kind::Choice(&["copy", "stale"])),
    key("audit_every", "never", Kind::Duration),
    key("audit_rows_per_second", "10000", Kind::Count),
    key("append_by", "none", Kind::Text),
    key("overlap", "0", Kind::DurationOrNumber),
    key("interval", "\"60 s\"", Kind::Text),
    key("on_change", "false", Kind::Boolean),
    key("cron", "none", Kind::Text),
    key("time_zone", "\"UTC\"", Kind::Text),
    key("refresh_on_start", "true", Kind::Boolean),
    key("progress_timeout", "\"60 s\"", Kind::Duration),
    key("primary_key", "[]", Kind::Texts),
    key("sort_by", "the primary key", Kind::Texts),
    key("reload", "\"never\"", Kind::Choice(&["never", "start"])),
    key("write_policy", "\"anyone\"", Kind::Choice(&["anyone", "append_only"])),
    key("retain_column", "none", Kind::Text),
    key("retain_age", "all rows stay", Kind::Duration),
    key("max_staleness", "none", Kind::Duration),
];

/// Every key with its section in front, such as `access.attach` and `tables.NAME.files`.
pub fn keys() -> impl Iterator<Item = (String, Key)> {
    let in_section = |prefix: &'static str, keys: &'static [Key]| {
        keys.iter().map(move |key| (format!("{prefix}{}", key.name), *key))
    };
    in_section("", TOP)
        .chain(in_section("access.", ACCESS))
        .chain(in_section("log.", LOG))
        .chain(in_section("health.", HEALTH))
        .chain(in_section("http.", HTTP))
        .chain(in_section("flight_sql.", FLIGHT_SQL))
        .chain(in_section("tokens.NAME.", TOKEN))
        .chain(in_section("sources.NAME.", SOURCE))
        .chain(in_section("tables.NAME.", TABLE))
}
