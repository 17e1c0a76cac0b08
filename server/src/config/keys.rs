//! The keys that a configuration may have. docs/configuration.md describes each; a test compares the two.

/// A key and its default as the document writes it.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name within its section.
    pub name: &'static str,
    /// What applies if the key is missing, in the words of the document.
    pub default: &'static str,
}

const fn key(name: &'static str, default: &'static str) -> Key {
    Key { name, default }
}

/// Outside of all sections.
pub(super) const TOP: &[Key] = &[
    key("dir", "required"),
    key("socket", "required"),
    key("durability", "\"interval\""),
    key("durability_interval", "\"1 s\""),
    key("load_memory", "\"256 MiB\""),
    key("history", "none"),
    key("disk_limit", "none"),
    key("compaction_throughput", "\"64 MiB\""),
    key("refreshes_at_once", "4"),
    key("query_memory", "\"1 GiB\""),
    key("query_threads", "all processors"),
    key("spill_dir", "the system's temporary folder"),
    key("connections_max", "1024"),
    key("connections_per_user", "three quarters of all"),
    key("handshake_timeout", "\"10 s\""),
    key("shared_memory", "\"1 GiB\""),
    key("shared_memory_per_user", "three quarters of all"),
    key("shared_memory_per_connection", "\"32 MiB\""),
    key("uploads_max", "32"),
    key("upload_timeout", "\"1 h\""),
    key("stop_timeout", "\"20 s\""),
    key("log", "\"info\""),
    key("access", "a section"),
    key("sources", "a section for each source"),
    key("tables", "a section for each table"),
];

/// In `[access]`.
pub(super) const ACCESS: &[Key] = &[
    key("socket_mode", "\"0660\""),
    key("allow_uids", "[]"),
    key("allow_gids", "[]"),
    key("attach", "true"),
];

/// In `[sources.NAME]`.
pub(super) const SOURCE: &[Key] = &[
    key("url", "required"),
    key("options", "{}"),
    key("secrets", "{}"),
    key("secret_files", "{}"),
    key("publication", "one is made"),
];

/// In `[tables.NAME]`.
pub(super) const TABLE: &[Key] = &[
    key("files", "required without a source"),
    key("format", "by the ending"),
    key("source", "none"),
    key("relation", "the table's name"),
    key("statement", "none"),
    key("columns", "all"),
    key("condition", "all rows"),
    key("leave_out", "[]"),
    key("as_text", "[]"),
    key("options", "{}"),
    key("refresh", "by time"),
    key("on_schema_change", "\"copy\""),
    key("append_by", "none"),
    key("overlap", "0"),
    key("interval", "\"60 s\""),
    key("on_change", "false"),
    key("cron", "none"),
    key("time_zone", "\"UTC\""),
    key("refresh_on_start", "true"),
    key("progress_timeout", "\"60 s\""),
    key("primary_key", "[]"),
    key("sort_by", "the primary key"),
    key("reload", "\"never\""),
    key("write_policy", "\"anyone\""),
    key("retain_column", "none"),
    key("retain_age", "all rows stay"),
    key("max_staleness", "none"),
];

/// Every key with its section in front, such as `access.attach` and `tables.NAME.files`.
pub fn keys() -> impl Iterator<Item = (String, Key)> {
    let in_section = |prefix: &'static str, keys: &'static [Key]| {
        keys.iter().map(move |key| (format!("{prefix}{}", key.name), *key))
    };
    in_section("", TOP)
        .chain(in_section("access.", ACCESS))
        .chain(in_section("sources.NAME.", SOURCE))
        .chain(in_section("tables.NAME.", TABLE))
}
