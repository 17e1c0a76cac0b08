//! What the sidecar counts and times, and how Prometheus reads it. docs/metrics.md lists every metric.

mod expose;
mod histogram;
mod out;
mod process;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pillion::{ConnectionEvent, DOOR_HANDLE, DOOR_SOCKET, ErrorCode, Event, Operation, Recorder, UpkeepWork};

use self::histogram::{Histogram, OF_CALLS, OF_WORK};

pub(crate) use self::expose::{CONTENT_TYPE, text};

/// The doors that calls come through. A call of a door that is not listed counts for the last one.
const DOORS: [&str; 5] = [DOOR_SOCKET, DOOR_HANDLE, "http", "flight_sql", "other"];

/// Most bytes of the text of a slow statement in the log.
const STATEMENT_LEN_MAX: usize = 2_000;

/// What the sidecar counts and times. Every counter exists from the start.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// By door, and then by operation.
    calls: Vec<Vec<Calls>>,
    errors: Vec<(ErrorCode, AtomicU64)>,
    hits: AtomicU64,
    misses: AtomicU64,
    /// Statements whose answers were kept, and those that were computed.
    kept_answers: [AtomicU64; 2],
    statements: Histogram,
    statement_rows: AtomicU64,
    slow_statements: AtomicU64,
    /// From how many nanoseconds on a statement is slow.
    slow_from: AtomicU64,
    connections: Vec<(ConnectionEvent, AtomicU64)>,
    upkeep: Vec<(UpkeepWork, Histogram, AtomicU64)>,
    /// By table. Those of the configuration are there from the start.
    refreshes: Mutex<BTreeMap<String, Refreshes>>,
    /// By source.
    refresh_durations: Mutex<BTreeMap<String, Arc<Histogram>>>,
    reloads: [AtomicU64; 2],
}

/// Calls of one operation that came through one door.
#[derive(Debug)]
struct Calls {
    duration: Histogram,
    failed: AtomicU64,
    request_bytes: AtomicU64,
    answer_bytes: AtomicU64,
}

/// Refreshes of one table.
#[derive(Clone, Copy, Debug, Default)]
struct Refreshes {
    succeeded: u64,
    failed: u64,
    cancelled: u64,
    rows: u64,
    bytes: u64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let calls = || Calls {
            duration: Histogram::new(OF_CALLS),
            failed: AtomicU64::new(0),
            request_bytes: AtomicU64::new(0),
            answer_bytes: AtomicU64::new(0),
        };
        let upkeep = |work: &UpkeepWork| (*work, Histogram::new(OF_WORK), AtomicU64::new(0));
        Self {
            calls: DOORS.iter().map(|_| Operation::ALL.iter().map(|_| calls()).collect()).collect(),
            errors: ErrorCode::ALL.iter().map(|code| (*code, AtomicU64::new(0))).collect(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            kept_answers: Default::default(),
            statements: Histogram::new(OF_CALLS),
            statement_rows: AtomicU64::new(0),
            slow_statements: AtomicU64::new(0),
            slow_from: AtomicU64::new(u64::MAX),
            connections: ConnectionEvent::ALL.iter().map(|event| (*event, AtomicU64::new(0))).collect(),
            upkeep: UpkeepWork::ALL.iter().map(upkeep).collect(),
            refreshes: Mutex::default(),
            refresh_durations: Mutex::default(),
            reloads: Default::default(),
        }
    }

    /// Makes the counters of the tables that sources feed, by table and source, and removes those of others.
    pub(crate) fn know<'a>(&self, fed: impl Iterator<Item = (&'a str, &'a str)> + Clone) {
        let mut refreshes = self.refreshes.lock();
        refreshes.retain(|table, _| fed.clone().any(|(known, _)| known == table));
        let mut durations = self.refresh_durations.lock();
        durations.retain(|source, _| fed.clone().any(|(_, known)| known == source));
        for (table, source) in fed {
            refreshes.entry(table.to_owned()).or_default();
            durations.entry(source.to_owned()).or_insert_with(|| Arc::new(Histogram::new(OF_WORK)));
        }
    }

    /// From now on statements that take longer are logged.
    pub(crate) fn log_statements(&self, slower_than: Option<Duration>) {
        let nanoseconds = slower_than.map_or(u64::MAX, nanoseconds);
        self.slow_from.store(nanoseconds, Ordering::Relaxed);
    }

    /// The configuration was read again.
    pub(crate) fn reloaded(&self, is_taken_in: bool) {
        let [taken_in, refused] = &self.reloads;
        let counter = if is_taken_in { taken_in } else { refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn failed(&self, code: ErrorCode) {
        if let Some((_, count)) = self.errors.iter().find(|(other, _)| *other == code) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn statement(&self, text: &str, duration: Duration, rows: u64, error: Option<ErrorCode>) {
        self.statements.observe(duration);
        self.statement_rows.fetch_add(rows, Ordering::Relaxed);
        if nanoseconds(duration) < self.slow_from.load(Ordering::Relaxed) {
            return;
        }
        self.slow_statements.fetch_add(1, Ordering::Relaxed);
        let shown = shortened(text);
        let error = error.map(code_name);
        tracing::warn!(statement = shown, ?duration, rows, error, "slow statement");
    }

    fn refreshed(
        &self,
        (table, source): (&str, &str),
        duration: Duration,
        (rows, bytes): (u64, u64),
        error: Option<ErrorCode>,
    ) {
        // Only those that are known, so that nobody can make more of them.
        if let Some(refreshes) = self.refreshes.lock().get_mut(table) {
            match error {
                None => refreshes.succeeded += 1,
                Some(ErrorCode::Cancelled) => refreshes.cancelled += 1,
                Some(_) => refreshes.failed += 1,
            }
            refreshes.rows += rows;
            refreshes.bytes += bytes;
        }
        if let Some(durations) = self.refresh_durations.lock().get(source) {
            durations.observe(duration);
        }
    }
}

impl Recorder for Metrics {
    fn record(&self, event: &Event<'_>) {
        match *event {
            Event::Call { door, operation, duration, request_bytes, answer_bytes, error } => {
                let door = DOORS.iter().position(|known| *known == door).unwrap_or(DOORS.len() - 1);
                if let Some(calls) = self.calls.get(door).and_then(|door| door.get(operation as usize)) {
                    calls.duration.observe(duration);
                    calls.request_bytes.fetch_add(request_bytes, Ordering::Relaxed);
                    calls.answer_bytes.fetch_add(answer_bytes, Ordering::Relaxed);
                    calls.failed.fetch_add(error.is_some().into(), Ordering::Relaxed);
                }
                if let Some(code) = error {
                    self.failed(code);
                }
            }
            Event::Lookups { hits, misses } => {
                self.hits.fetch_add(hits, Ordering::Relaxed);
                self.misses.fetch_add(misses, Ordering::Relaxed);
            }
            Event::KeptAnswers { hits, misses } => {
                let [kept, computed] = &self.kept_answers;
                kept.fetch_add(hits, Ordering::Relaxed);
                computed.fetch_add(misses, Ordering::Relaxed);
            }
            Event::Statement { text, duration, rows, error } => self.statement(text, duration, rows, error),
            Event::Refresh { table, source, duration, rows, bytes, error } => {
                self.refreshed((table, source), duration, (rows, bytes), error);
            }
            Event::Upkeep { work, duration, error } => {
                if let Some((_, durations, failed)) = self.upkeep.iter().find(|(other, ..)| *other == work) {
                    durations.observe(duration);
                    failed.fetch_add(error.is_some().into(), Ordering::Relaxed);
                }
            }
            Event::Connection(event) => {
                if let Some((_, count)) = self.connections.iter().find(|(other, _)| *other == event) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
            // A later version of the cache tells more.
            _ => {}
        }
    }
}

/// The beginning of a statement, on one line.
fn shortened(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().find(|(at, _)| *at >= STATEMENT_LEN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The name of a code in metrics, such as `table_not_found`.
fn code_name(code: ErrorCode) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
