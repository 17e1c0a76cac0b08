//! What the keys of a file mean.

use std::path::Path;
use std::time::Duration;

use pillion::source::{OnSchemaChange, Relation, TableSource};
use pillion::{Durability, FileOptions, OnMiss, Retention, TableRules, WritePolicy};
use pillion_ipc::SOCKET_PATH_MAX;

use super::document::At;
use super::section::{Overlap, Section};
use super::{
    Access, Config, FlightSqlConfig, HealthConfig, HttpConfig, LogConfig, Reload, Secret, SourceConfig,
    TableConfig, door, keys, places, units,
};
use pillion::nearest;
use pillion_access::TokenConfig;

/// How long calls may go on when the sidecar stops, unless told otherwise: less than the 30 s that Kubernetes and the
/// 90 s that systemd give a process.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a table is looked at whose source tells changes, unless told otherwise.
const POLL: Duration = Duration::from_secs(60);
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
        let sources: Vec<SourceConfig> = file
            .sections("sources", keys::SOURCE)
            .into_iter()
            .map(|(name, mut section)| SourceConfig::of(name, &mut section, folder))
            .collect();
        let tables: Vec<TableConfig> = file
            .sections("tables", keys::TABLE)
            .into_iter()
            .map(|(name, mut section)| TableConfig::of(name, &mut section, folder, &sources))
            .collect();
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        let health = file.section("health", keys::HEALTH);
        let health = health.map(|mut it| HealthConfig::of(&mut it, &names)).unwrap_or_default();
        let tokens: Vec<TokenConfig> = file
            .sections("tokens", keys::TOKEN)
            .into_iter()
            .map(|(name, mut section)| door::token(name, &mut section, folder))
            .collect();
        let config = Self {
            dir: dir.clone().unwrap_or_default(),
            socket: socket.clone().unwrap_or_default(),
            durability: durability(file),
            load_memory: file.size("load_memory"),
            history: file.size("history"),
            disk_limit: file.size("disk_limit"),
            compaction_throughput: file.size("compaction_throughput"),
            refreshes_at_once: file.count("refreshes_at_once"),
            query_memory: file.size("query_memory"),
            query_threads: file.count("query_threads"),
            result_cache: file.size("result_cache"),
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
            log: LogConfig::of(file),
            access: file
                .section("access", keys::ACCESS)
                .map(|mut it| Access::of(&mut it))
                .unwrap_or_default(),
            health,
            http: file
                .section("http", keys::HTTP)
                .and_then(|mut it| HttpConfig::of(&mut it, folder, !tokens.is_empty())),
            flight_sql: file
                .section("flight_sql", keys::FLIGHT_SQL)
                .and_then(|mut it| FlightSqlConfig::of(&mut it, folder, !tokens.is_empty())),
            tokens,
            tables,
            sources,
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

impl SourceConfig {
    /// Reads it. Problems are reported to the document.
    pub(super) fn of(name: String, section: &mut Section<'_>, folder: &Path) -> Self {
        if name.is_empty() || name.contains('/') {
            section.problem(section.line(), "a source needs a name without a slash");
        }
        let url = section.required_text("url");
        let options = section.named_texts("options").into_iter().map(|(name, at)| {
            let value = places::absolute_option(&name, at.value, folder);
            (name, value)
        });
        let options = options.collect();
        let texts = section.named_texts("secrets");
        let files = section.named_texts("secret_files");
        for (name, file) in &files {
            if texts.iter().any(|(other, _)| other == name) {
                let message = format!("the secret `{name}` is in `secrets` too; which of them counts?");
                section.problem(file.line, message);
            }
        }
        let texts = texts.into_iter().map(|(name, at)| (name, Secret::Text(at.value)));
        let files = files.into_iter().map(|(name, at)| (name, Secret::File(folder.join(at.value))));
        let url = url.map_or_else(String::new, |At { line, value }| {
            places::absolute(&value, folder).unwrap_or_else(|message| {
                section.problem(line, message);
                String::new()
            })
        });
        let publication = section.text("publication").map(|publication| publication.value);
        Self { name, url, options, secrets: texts.chain(files).collect(), publication }
    }
}

/// Keys that say something of files.
const OF_FILES: [&str; 3] = ["files", "format", "reload"];
/// Keys that say something of a source.
const OF_SOURCES: [&str; 19] = [
    "refresh",
    "on_schema_change",
    "audit_every",
    "audit_rows_per_second",
    "relation",
    "statement",
    "columns",
    "condition",
    "where",
    "on_miss",
    "append_by",
    "overlap",
    "interval",
    "on_change",
    "cron",
    "time_zone",
    "refresh_on_start",
    "progress_timeout",
    "source",
];

impl TableConfig {
    /// Reads it. Problems are reported to the document.
    pub(super) fn of(
        name: String,
        section: &mut Section<'_>,
        folder: &Path,
        sources: &[SourceConfig],
    ) -> Self {
        if name.is_empty() {
            section.problem(section.line(), "a table needs a name");
        }
        let source_line = section.line_of("source");
        let said = Said::in_section(section);
        let others: &[&str] = if source_line.is_some() { &OF_FILES } else { &OF_SOURCES };
        for key in others {
            if let Some(line) = section.line_of(key) {
                let message = match source_line {
                    Some(_) => format!("`{key}` is for tables of files, and `source` feeds this one"),
                    None => format!("`{key}` is for tables with `source`"),
                };
                section.problem(line, message);
            }
        }
        let policy_line = section.line_of("write_policy");
        let append_only = section.choice("write_policy", &[("anyone", false), ("append_only", true)]);
        let columns = |columns: Vec<At<String>>| columns.into_iter().map(|column| column.value).collect();
        let mut rules = TableRules::default();
        rules.primary_key = columns(section.texts("primary_key"));
        rules.sort_by = columns(section.texts("sort_by"));
        rules.write_policy = match append_only {
            Some(true) => WritePolicy::AppendOnly,
            _ => WritePolicy::Anyone,
        };
        rules.retention = retention(section);
        rules.max_staleness = section.duration("max_staleness");
        if let Some(source_line) = source_line {
            if let Some(line) = policy_line {
                section.problem(
                    line,
                    "`write_policy` is for tables of files: only its source writes to this one",
                );
            }
            let mut source = table_source(&name, section, &said);
            check_source(section, source_line, source.source(), sources);
            let of_source = sources.iter().find(|other| other.name == source.source());
            if let Some(publication) = of_source.and_then(|source| source.publication.clone()) {
                source = source.publication(publication);
            }
            let source = Some(source);
            let reading = FileOptions::new();
            return Self { name, files: Vec::new(), reading, rules, reload: Reload::Never, source };
        }
        let files = section.required_texts("files");
        let files = files.into_iter().map(|file| folder.join(file.value).to_string_lossy().into_owned());
        let files = files.collect();
        let reading = reading(section);
        let reload = reload(section, append_only == Some(true));
        Self { name, files, reading, rules, reload, source: None }
    }
}

/// Reports a source that the file does not define.
fn check_source(section: &Section<'_>, line: usize, source: &str, sources: &[SourceConfig]) {
    let names = || sources.iter().map(|source| source.name.as_str());
    if source.is_empty() || names().any(|name| name == source) {
        return;
    }
    let hint = match nearest(source, names()) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => format!("define it in [sources.{source}]"),
    };
    section.problem(line, format!("there is no source \"{source}\"; {hint}"));
}

/// How the files of a table are read.
fn reading(section: &mut Section<'_>) -> FileOptions {
    let format = section.text("format").map(|format| ("format".to_owned(), format));
    let named = section.named_texts("options");
    let mut reading =
        FileOptions::new().leave_out(values(section, "leave_out")).as_text(values(section, "as_text"));
    for (name, At { line, value }) in format.into_iter().chain(named) {
        match reading.clone().option(&name, &value) {
            Ok(with_option) => reading = with_option,
            Err(error) => section.problem(line, error.message()),
        }
    }
    reading
}

/// The texts of a list.
fn values(section: &mut Section<'_>, name: &'static str) -> Vec<String> {
    section.texts(name).into_iter().map(|text| text.value).collect()
}

fn reload(section: &mut Section<'_>, is_append_only: bool) -> Reload {
    let line = section.line_of("reload");
    let reload = section.choice("reload", &[("never", Reload::Never), ("start", Reload::Start)]);
    if let Some(line) = line
        && (reload, is_append_only) == (Some(Reload::Start), true)
    {
        section.problem(line, "`reload = \"start\"` replaces rows, which `append_only` does not allow");
    }
    reload.unwrap_or_default()
}

/// Where a table with the key `source` comes from, and when.
fn table_source(table: &str, section: &mut Section<'_>, said: &Said) -> TableSource {
    let source = section.required_text("source").map(|source| source.value).unwrap_or_default();
    let statement_line = section.line_of("statement");
    let relation = section.text("relation").map(|relation| relation.value);
    let statement = section.text("statement").map(|statement| statement.value);
    if let (Some(line), Some(_)) = (statement_line, &relation) {
        section.problem(line, "`statement` and `relation` exclude each other: what is fetched?");
    }
    let relation = match statement {
        Some(statement) => Relation::statement(statement),
        None => Relation::table(relation.unwrap_or_else(|| table.to_owned())),
    };
    let relation = relation.leave_out(values(section, "leave_out")).as_text(values(section, "as_text"));
    let options = section.named_texts("options").into_iter();
    let relation = options.fold(relation, |relation, (name, value)| relation.option(name, value.value));
    let mut from = TableSource::new(source, relation);
    if section.line_of("columns").is_some() {
        from = from.columns(values(section, "columns"));
    }
    if let Some(condition) = section.text("condition") {
        from = from.condition(condition.value);
    }
    from = working_set(section, from);
    let overlap_line = section.line_of("overlap");
    let overlap = section.duration_or_number("overlap").map(|overlap| overlap.value);
    match (section.text("append_by"), overlap) {
        (Some(column), Some(Overlap::Number(overlap))) => from = from.append_by_number(column.value, overlap),
        (Some(column), Some(Overlap::Duration(overlap))) => from = from.append_by(column.value, overlap),
        (Some(column), None) => from = from.append_by_number(column.value, 0),
        (None, _) => {
            if let Some(line) = overlap_line {
                section.problem(line, "`overlap` is for tables with `append_by`");
            }
        }
    }
    from = match following(section, said, from.clone()) {
        Some(following) => following,
        None => cadence(section, from),
    };
    if section.boolean("refresh_on_start") == Some(false) {
        from = from.not_on_start();
    }
    match section.duration("progress_timeout") {
        Some(limit) => from.progress_timeout(limit),
        None => from,
    }
}

/// Which rows a table holds, and what it answers beyond them.
fn working_set(section: &mut Section<'_>, from: TableSource) -> TableSource {
    let on_miss_line = section.line_of("on_miss");
    let on_miss = section.text("on_miss").map(|on_miss| on_miss.value);
    let on_miss = match (on_miss.as_deref(), on_miss_line) {
        (Some("local"), _) => OnMiss::Local,
        (Some("delegate"), _) => OnMiss::Delegate,
        (Some(other), Some(line)) if other != "error" => {
            section
                .problem(line, format!("`on_miss` is \"error\", \"local\" or \"delegate\", not `{other}`"));
            OnMiss::Error
        }
        _ => OnMiss::Error,
    };
    match (section.text("where"), on_miss_line) {
        (Some(condition), _) => from.rows_where(condition.value).on_miss(on_miss),
        (None, Some(line)) => {
            section.problem(line, "`on_miss` is for tables with `where`, which hold only some rows");
            from
        }
        (None, None) => from,
    }
}

/// Keys that say what a table that follows its source cannot have, or when others are refreshed.
const OF_REFRESHES: [&str; 12] = [
    "statement",
    "condition",
    "where",
    "append_by",
    "overlap",
    "interval",
    "on_change",
    "cron",
    "time_zone",
    "refresh_on_start",
    "retain_column",
    "retain_age",
];

/// Keys that only such a table has.
const OF_CHANGES: [&str; 3] = ["on_schema_change", "audit_every", "audit_rows_per_second"];
/// Rows of a table that an audit that begins by itself compares in a second.
const AUDIT_PACE: u32 = 10_000;

/// Where a section says what matters for a table that follows every change.
struct Said {
    of_refreshes: Vec<(&'static str, usize)>,
    refresh: Option<usize>,
    of_changes: Vec<(&'static str, usize)>,
    has_key: bool,
}

impl Said {
    /// Before anything is read.
    fn in_section(section: &Section<'_>) -> Self {
        let line = |key: &&'static str| Some((*key, section.line_of(key)?));
        Self {
            of_refreshes: OF_REFRESHES.iter().filter_map(line).collect(),
            refresh: section.line_of("refresh"),
            of_changes: OF_CHANGES.iter().filter_map(line).collect(),
            has_key: section.line_of("primary_key").is_some(),
        }
    }
}

/// A table that follows every change, if it is to do that.
fn following(section: &mut Section<'_>, said: &Said, from: TableSource) -> Option<TableSource> {
    let follows = section.choice("refresh", &[("changes", ())]).is_some();
    let choices = [("copy", OnSchemaChange::Copy), ("stale", OnSchemaChange::Stale)];
    let on_schema_change = section.choice("on_schema_change", &choices);
    let (audit_every, audit_pace) = (section.duration("audit_every"), section.count("audit_rows_per_second"));
    if !follows {
        for (key, line) in said.of_changes.iter().filter(|_| said.refresh.is_none()) {
            section.problem(*line, format!("`{key}` is for tables with `refresh = \"changes\"`"));
        }
        return None;
    }
    for (key, line) in &said.of_refreshes {
        let message = format!(
            "`{key}` is not for tables with `refresh = \"changes\"`, which have all rows as soon as they change"
        );
        section.problem(*line, message);
    }
    if !said.has_key {
        let message =
            "a table with `refresh = \"changes\"` needs a `primary_key`, by which changed rows are found";
        section.problem(section.line(), message);
    }
    let from = from.changes().on_schema_change(on_schema_change.unwrap_or_default());
    Some(match audit_every {
        Some(every) => from.audit_every(
            every,
            audit_pace.map_or(AUDIT_PACE, |pace| u32::try_from(pace).unwrap_or(u32::MAX)),
        ),
        None => from,
    })
}

/// When a table is refreshed: at an interval, when its source tells a change, or at moments of the calendar.
fn cadence(section: &mut Section<'_>, from: TableSource) -> TableSource {
    let on_change = section.line_of("on_change");
    let on_change = on_change.filter(|_| section.boolean("on_change") == Some(true));
    if let Some(line) = on_change {
        for key in ["cron", "time_zone"] {
            if section.line_of(key).is_some() {
                let message =
                    format!("`on_change` and `{key}` exclude each other: when is the table refreshed?");
                section.problem(line, message);
            }
        }
        return from.on_change(poll(section));
    }
    let (cron, zone) = (section.text("cron"), section.text("time_zone"));
    let Some(cron) = cron else {
        if let Some(zone) = zone {
            section.problem(zone.line, "`time_zone` is for tables with `cron`");
        }
        return interval(section, from);
    };
    if let Some(line) = section.line_of("interval") {
        section.problem(line, "`interval` and `cron` exclude each other: when is the table refreshed?");
    }
    let zone = zone.map_or_else(|| "UTC".to_owned(), |zone| zone.value);
    match from.clone().cron(&cron.value, &zone) {
        Ok(from) => from,
        Err(error) => {
            section.problem(cron.line, format!("`cron`: {}", error.message()));
            from
        }
    }
}

/// How often a table is looked at whose source tells changes.
fn poll(section: &mut Section<'_>) -> Duration {
    let Some(text) = section.text("interval") else { return POLL };
    match units::duration(&text.value) {
        Ok(interval) if !interval.is_zero() => interval,
        Ok(_) => {
            section.problem(text.line, format!("`interval` is {}; it must be longer", text.value));
            POLL
        }
        Err(message) => {
            section.problem(text.line, format!("`interval` beside `on_change`: {message}"));
            POLL
        }
    }
}

fn interval(section: &mut Section<'_>, from: TableSource) -> TableSource {
    let Some(text) = section.text("interval") else { return from };
    if text.value == "on_call" {
        return from.on_call();
    }
    match units::duration(&text.value) {
        Ok(interval) if !interval.is_zero() => from.every(interval),
        Ok(_) => {
            section.problem(text.line, format!("`interval` is {}; it must be longer", text.value));
            from
        }
        Err(message) => {
            section.problem(text.line, format!("`interval`: {message}, or \"on_call\""));
            from
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
