//! All metrics as text, in the format that Prometheus reads.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use pillion::{FollowPhase, KeptName, Operation, RefreshState, RefreshStatus, TableInfo};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::out::Out;
use super::process::{Disk, Process};
use super::{DOORS, Metrics, code_name};
use crate::health::{Monitor, is_stale};

pub(crate) use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// Tables that have metrics of their own, the first ones by name: how many lines there are has a bound.
const TABLES_MAX: usize = 1_000;

/// All metrics.
pub(crate) fn text(monitor: &Arc<Monitor>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposed(monitor.clone())));
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}

/// The metrics of a sidecar, looked up when they are read.
#[derive(Debug)]
struct Exposed(Arc<Monitor>);

impl Collector for Exposed {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out::new(encoder);
        let metrics = self.0.metrics();
        calls(&mut out, metrics)?;
        connections(&mut out, metrics, &self.0)?;
        upkeep(&mut out, metrics)?;
        let status = self.0.cache().and_then(|cache| cache.status().ok());
        let refreshes = self.0.cache().and_then(|cache| cache.refreshes().ok()).unwrap_or_default();
        let (tables, version) =
            status.as_ref().map_or((&[][..], 0), |status| (&status.tables[..], status.version.sequence));
        self::tables(&mut out, tables)?;
        self::refreshes(&mut out, metrics, &refreshes)?;
        out.counter(
            "pillion_commits",
            "Commits so far, those of earlier runs of this cache included.",
            version,
        )?;
        let poisoned = status.as_ref().is_some_and(|status| status.poisoned.is_some());
        out.gauge(
            "pillion_writes_refused",
            "1 if nothing can be written until the next start.",
            u64::from(poisoned),
        )?;
        disk(&mut out, &self.0, tables)?;
        process(&mut out)?;
        state(&mut out, metrics, &self.0)
    }
}

fn calls(out: &mut Out<'_>, metrics: &Metrics) -> fmt::Result {
    let all = || {
        let doors = DOORS.iter().zip(&metrics.calls);
        doors.flat_map(|(door, calls)| {
            Operation::ALL.iter().zip(calls).map(move |it| (*door, it.0.name(), it.1))
        })
    };
    let help = "Time from the arrival of a call until its answer was ready.";
    let mut family = out.family("pillion_call_duration_seconds", help, MetricType::Histogram)?;
    for (door, operation, calls) in all() {
        calls.duration.encode(family.encode_family(&[("door", door), ("operation", operation)])?)?;
    }
    type Field = fn(&super::Calls) -> &AtomicU64;
    let counters: [(&str, &str, Field); 3] = [
        ("pillion_call_failures", "Calls that failed.", |calls| &calls.failed),
        ("pillion_call_request_bytes", "Bytes of requests.", |calls| &calls.request_bytes),
        (
            "pillion_call_answer_bytes",
            "Bytes of answers, without those that clients read from shared memory and files.",
            |calls| &calls.answer_bytes,
        ),
    ];
    for (name, help, field) in counters {
        let values = all()
            .map(|(door, operation, calls)| ([("door", door), ("operation", operation)], get(field(calls))));
        out.counters(name, help, values)?;
    }
    let errors: Vec<(String, u64)> =
        metrics.errors.iter().map(|(code, count)| (code_name(*code), get(count))).collect();
    let errors = errors.iter().map(|(code, count)| ([("code", code.as_str())], *count));
    out.counters("pillion_errors", "Calls that failed, by the code of their error.", errors)?;
    let lookups = [([("result", "hit")], get(&metrics.hits)), ([("result", "miss")], get(&metrics.misses))];
    out.counters(
        "pillion_lookup_keys",
        "Keys that were looked up, by whether their row was there.",
        lookups,
    )?;
    let [hits, misses] = &metrics.kept_answers;
    out.counters(
        "pillion_result_cache_statements",
        "Statements that the result cache was asked for, by whether their answer was there.",
        [([("result", "hit")], get(hits)), ([("result", "miss")], get(misses))],
    )?;
    let help = "Time from the call of a statement until its last row was read.";
    let family = out.family("pillion_statement_duration_seconds", help, MetricType::Histogram)?;
    metrics.statements.encode(family)?;
    out.counter(
        "pillion_statement_rows",
        "Rows that statements gave or changed.",
        get(&metrics.statement_rows),
    )?;
    out.counter(
        "pillion_slow_statements",
        "Statements that took longer than `slow_query`.",
        get(&metrics.slow_statements),
    )
}

fn connections(out: &mut Out<'_>, metrics: &Metrics, monitor: &Monitor) -> fmt::Result {
    let events = metrics.connections.iter().map(|(event, count)| ([("event", event.name())], get(count)));
    out.counters(
        "pillion_connection_events",
        "Clients that came and went, and those that were refused.",
        events,
    )?;
    let stats = monitor.server_stats();
    out.gauge("pillion_connections", "Clients that are connected.", stats.connections as u64)?;
    out.gauge("pillion_uploads", "Uploads that are under way.", stats.uploads as u64)?;
    out.gauge(
        "pillion_shared_memory_bytes",
        "Memory that clients map for their answers.",
        stats.shared_memory as u64,
    )
}

fn upkeep(out: &mut Out<'_>, metrics: &Metrics) -> fmt::Result {
    let help = "Time that the cache worked on its own files.";
    let mut family = out.family("pillion_upkeep_duration_seconds", help, MetricType::Histogram)?;
    for (work, durations, _) in &metrics.upkeep {
        durations.encode(family.encode_family(&[("work", work.name())])?)?;
    }
    let failed = metrics.upkeep.iter().map(|(work, _, failed)| ([("work", work.name())], get(failed)));
    out.counters("pillion_upkeep_failures", "Work on its own files that failed.", failed)
}

fn tables(out: &mut Out<'_>, tables: &[TableInfo]) -> fmt::Result {
    out.gauge("pillion_tables", "Tables of the cache.", tables.len() as u64)?;
    let listed = &tables[..tables.len().min(TABLES_MAX)];
    let help = "Tables beyond the first 1,000, which have no metrics of their own.";
    out.gauge("pillion_tables_without_metrics", help, (tables.len() - listed.len()) as u64)?;
    type Field = fn(&TableInfo) -> u64;
    let gauges: [(&str, &str, Field); 6] = [
        ("pillion_table_rows", "Rows of a table.", |table| table.rows),
        ("pillion_table_bytes", "Bytes of the files of a table.", |table| table.bytes),
        ("pillion_table_segments", "Files of a table.", |table| table.segments as u64),
        ("pillion_table_logged_rows", "Rows of a table that are still in the log.", |table| {
            table.logged_rows
        }),
        ("pillion_table_damaged", "1 if something of a table was found damaged.", |table| {
            table.damage.is_some().into()
        }),
        ("pillion_table_stale", "1 if the rows of a table are older than its `max_staleness`.", |table| {
            is_stale(table).into()
        }),
    ];
    for (name, help, field) in gauges {
        let values = listed.iter().map(|table| ([("table", table.name.as_str())], field(table)));
        out.gauges(name, help, values)?;
    }
    let ages = listed
        .iter()
        .filter_map(|table| Some(([("table", table.name.as_str())], table.freshness?.age().as_secs_f64())));
    out.gauges("pillion_table_age_seconds", "How old the rows of a table are.", ages)
}

fn refreshes(out: &mut Out<'_>, metrics: &Metrics, now: &[RefreshStatus]) -> fmt::Result {
    let known = metrics.refreshes.lock().clone();
    let known = || known.iter().take(TABLES_MAX);
    let outcomes = known().flat_map(|(table, it)| {
        [("succeeded", it.succeeded), ("failed", it.failed), ("cancelled", it.cancelled)]
            .map(|(outcome, count)| ([("table", table.as_str()), ("outcome", outcome)], count))
    });
    out.counters("pillion_refreshes", "Refreshes of a table, by how they ended.", outcomes)?;
    let rows = known().map(|(table, it)| ([("table", table.as_str())], it.rows));
    out.counters("pillion_refresh_rows", "Rows that refreshes of a table fetched.", rows)?;
    let bytes = known().map(|(table, it)| ([("table", table.as_str())], it.bytes));
    out.counters(
        "pillion_refresh_bytes",
        "Bytes in memory of the rows that refreshes of a table fetched.",
        bytes,
    )?;
    let help = "Time that refreshes from a source took.";
    let mut family = out.family("pillion_refresh_duration_seconds", help, MetricType::Histogram)?;
    for (source, durations) in metrics.refresh_durations.lock().iter() {
        durations.encode(family.encode_family(&[("source", source.as_str())])?)?;
    }
    let now = || now.iter().take(TABLES_MAX);
    type Field = fn(&RefreshStatus) -> u64;
    let gauges: [(&str, &str, Field); 3] = [
        ("pillion_refresh_running", "1 while a table is refreshed.", |it| {
            matches!(it.state, RefreshState::Running { .. }).into()
        }),
        ("pillion_refresh_paused", "1 while refreshes of a table are paused by hand.", |it| {
            matches!(it.state, RefreshState::Paused).into()
        }),
        ("pillion_refresh_failures_in_a_row", "Failures since the last refresh that succeeded.", |it| {
            it.failures.into()
        }),
    ];
    for (name, help, field) in gauges {
        out.gauges(name, help, now().map(|it| ([("table", it.table.as_str())], field(it))))?;
    }
    let lags = now().filter_map(|it| {
        let at = it.last_success?;
        let lag = SystemTime::now().duration_since(at).unwrap_or_default();
        Some(([("table", it.table.as_str())], lag.as_secs_f64()))
    });
    let help = "Time since the last refresh of a table that succeeded asked its source.";
    out.gauges("pillion_refresh_lag_seconds", help, lags)?;
    let now: Vec<&RefreshStatus> = now().collect();
    follows(out, &now)
}

/// Tables that follow their sources.
fn follows(out: &mut Out<'_>, now: &[&RefreshStatus]) -> fmt::Result {
    let following = || now.iter().filter_map(|it| Some((it.table.as_str(), it.following.as_ref()?)));
    let phases = following().flat_map(|(table, it)| {
        let is = [
            ("copying", it.phase == FollowPhase::Copying),
            ("following", it.phase == FollowPhase::Following),
            ("waiting", it.phase == FollowPhase::Waiting),
            ("stale", matches!(it.phase, FollowPhase::Stale(_))),
        ];
        is.map(|(phase, is)| ([("table", table), ("phase", phase)], u64::from(is)))
    });
    out.gauges("pillion_follow_phase", "1 for what a table does that follows its source.", phases)?;
    let copied = now.iter().filter_map(|it| match (&it.following, &it.state) {
        (Some(_), RefreshState::Running { rows, .. }) => Some(([("table", it.table.as_str())], *rows)),
        _ => None,
    });
    out.gauges("pillion_follow_copied_rows", "Rows that came of the copy that is under way.", copied)?;
    let audits = || following().filter_map(|(table, it)| Some((table, it.audit?)));
    let divergent = audits().map(|(table, it)| ([("table", table)], it.divergent_rows));
    let help = "Rows that audits found to differ from those of the source.";
    out.counters("pillion_divergent_rows", help, divergent)?;
    let since = audits().map(|(table, it)| {
        let since = SystemTime::now().duration_since(it.ended).unwrap_or_default();
        ([("table", table)], since.as_secs_f64())
    });
    out.gauges("pillion_audit_age_seconds", "Time since the last audit of a table ended.", since)?;
    // All tables of a source share the rest.
    let mut sources = BTreeMap::new();
    for it in now {
        if let Some(following) = &it.following {
            sources.insert(it.source.as_str(), following);
        }
    }
    let of_source = || sources.iter().map(|(source, it)| ([("source", *source)], *it));
    let lags = of_source().filter_map(|(label, it)| Some((label, it.lag?)));
    let help = "What a source had in its log and had not sent when it was last asked, in bytes.";
    out.gauges("pillion_follow_lag_bytes", help, lags)?;
    let lags = of_source().filter_map(|(label, it)| Some((label, it.lag_time?.as_secs_f64())));
    let help = "How old the newest moment is up to which everything of a source is applied; 0 without a lag.";
    out.gauges("pillion_follow_lag_seconds", help, lags)?;
    let commits = of_source().filter_map(|(label, it)| {
        let since = it.last_commit?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some((label, since.as_secs_f64()))
    });
    let help = "When a source made the last transaction that is applied, in Unix time.";
    out.gauges("pillion_follow_last_commit_seconds", help, commits)?;
    let kept = sources.iter().flat_map(|(source, it)| {
        let of_name = |name: &KeptName| {
            let own = if name.is_own { "true" } else { "false" };
            (name.name.clone(), own, name.bytes.unwrap_or_default())
        };
        it.names.iter().map(of_name).map(move |(name, own, bytes)| (*source, name, own, bytes))
    });
    let kept: Vec<_> = kept.collect();
    let kept = kept.iter().map(|(source, name, own, bytes)| {
        ([("source", *source), ("name", name.as_str()), ("own", *own)], *bytes)
    });
    out.gauges(
        "pillion_follow_kept_bytes",
        "Log that a source keeps under a name of Pillion, in bytes.",
        kept,
    )
}

fn disk(out: &mut Out<'_>, monitor: &Monitor, tables: &[TableInfo]) -> fmt::Result {
    let disk = Disk::of(&monitor.config().dir);
    let segments: u64 = tables.iter().map(|table| table.bytes).sum();
    let purposes =
        [("segments", segments), ("log", disk.log), ("index", disk.index), ("manifest", disk.manifest)];
    let purposes = purposes.map(|(purpose, bytes)| ([("purpose", purpose)], bytes));
    out.gauges("pillion_disk_bytes", "Bytes of the files of the cache, by what they are for.", purposes)?;
    out.gauge("pillion_disk_free_bytes", "Bytes that the file system has left.", disk.free)
}

fn process(out: &mut Out<'_>) -> fmt::Result {
    let now = Process::now();
    let kinds = [("anonymous", now.anonymous), ("file", now.file), ("shared", now.shared)];
    let kinds = kinds.map(|(kind, bytes)| ([("kind", kind)], bytes));
    let help = "Memory of the process that is resident: its own, pages of files, and shared memory.";
    out.gauges("pillion_memory_bytes", help, kinds)?;
    let resident = now.anonymous + now.file + now.shared;
    out.gauge("process_resident_memory_bytes", "Memory of the process that is resident.", resident)?;
    out.gauge("process_virtual_memory_bytes", "Addresses that the process has mapped.", now.virtual_memory)?;
    out.gauge("process_threads", "Threads of the process.", now.threads)?;
    out.gauge("process_open_fds", "Descriptors that the process has open.", now.open_files)?;
    out.gauge("process_max_fds", "Descriptors that the process may have open.", now.open_files_max)?;
    out.counter("process_cpu_seconds", "Processor time of the process.", now.processor)
}

fn state(out: &mut Out<'_>, metrics: &Metrics, monitor: &Monitor) -> fmt::Result {
    let is_ready = monitor.not_ready().is_empty();
    out.gauge("pillion_ready", "1 if the sidecar is ready.", u64::from(is_ready))?;
    let began = monitor.began().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    out.gauge("process_start_time_seconds", "When the process began, in Unix time.", began.as_secs_f64())?;
    let [taken_in, refused] = &metrics.reloads;
    let reloads = [([("outcome", "taken_in")], get(taken_in)), ([("outcome", "refused")], get(refused))];
    out.counters(
        "pillion_configuration_reloads",
        "Changed configurations, by what became of them.",
        reloads,
    )?;
    let mut info = out.family("pillion_build", "The version of the sidecar.", MetricType::Info)?;
    info.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
