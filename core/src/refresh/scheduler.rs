//! Decides when which table is refreshed, and runs the refreshes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::backoff::{Breaker, jittered, random_share, wait_after};
use super::check::check_capabilities;
use super::gate::Gate;
use super::progress::Progress;
use super::record::{Record, definition_number, position_name};
use super::run::{Run, Work};
use crate::source::{Call, Source, TableSource};
use crate::types::error::{Error, ErrorCode, ErrorKind, Result, nearest};
use crate::types::panics;
use crate::types::rules::TableRules;
use crate::types::version::Version;
use crate::way::embedded::Embedded;
use crate::way::refreshing::{RefreshState, RefreshStatus};
use crate::way::{Backend, Reader};

/// Refreshes at a time, of all tables.
const AT_ONCE: usize = 4;
/// Refreshes at a time from one source.
const AT_ONCE_OF_SOURCE: usize = 2;
/// How long a stop waits for sources that were told to end.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How often running refreshes are looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

/// Refreshes tables until it is stopped.
#[derive(Debug)]
pub(super) struct Scheduler {
    cache: Arc<Embedded>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something is due, has ended, or is to end.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    sources: HashMap<String, Known>,
    tables: BTreeMap<String, Followed>,
    /// Threads of refreshes.
    running: usize,
    /// Tables that were followed so far.
    numbers: u64,
    is_stopping: bool,
}

#[derive(Debug)]
struct Known {
    source: Arc<dyn Source>,
    breaker: Breaker,
    running: usize,
}

/// A table that is kept fresh.
#[derive(Debug)]
struct Followed {
    /// Tells it from one of the same name that was followed before.
    number: u64,
    origin: TableSource,
    rules: TableRules,
    /// When the next refresh should begin.
    due: Option<Instant>,
    /// Somebody waits for the next refresh: it does not wait for its source to be reachable again.
    is_asked: bool,
    is_paused: bool,
    /// Something else is asked for than the refresh under way fetches.
    is_outdated: bool,
    gate: Gate,
    under_way: Option<(Call, Arc<Progress>)>,
    /// Refreshes that began and that ended.
    began: u64,
    ended: u64,
    last: Option<Result<Version, Arc<Error>>>,
    succeeded: u64,
    failures: u32,
    last_success: Option<SystemTime>,
}

impl Scheduler {
    pub(super) fn new(cache: Arc<Embedded>) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self { cache, shared: Arc::new(Shared { state, changed }), thread: Mutex::new(None) }
    }

    /// # Errors
    /// [`ErrorCode::Closed`] if refreshes were stopped.
    fn open_state(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.shared.state.lock();
        if state.is_stopping { Err(closed()) } else { Ok(state) }
    }

    pub(super) fn add_source(&self, name: &str, source: Arc<dyn Source>) -> Result<()> {
        if name.is_empty() || name.contains('/') {
            let message = format!("a source needs a name without a slash, and `{name}` is not one");
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        let mut state = self.open_state()?;
        if state.sources.contains_key(name) {
            let message = format!("there is a source `{name}` already; give this one another name");
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        state.sources.insert(name.to_owned(), Known { source, breaker: Breaker::default(), running: 0 });
        Ok(())
    }

    /// Checks what can be checked without asking the source, and refreshes the table from now on; `waits` leaves the first refresh
    /// to [`refresh`](Self::refresh). Returns whether the table was not followed before.
    pub(super) fn follow(
        &self,
        table: &str,
        origin: TableSource,
        rules: TableRules,
        waits: bool,
    ) -> Result<bool> {
        if table.is_empty() {
            return Err(Error::new(ErrorCode::InvalidArgument, "a table needs a name"));
        }
        let is_held = self.is_held(table, &origin, &rules)?;
        let mut state = self.open_state()?;
        let known = state.known(&origin.source)?;
        check_capabilities(table, &origin, known.source.capabilities())?;
        if let Some(followed) = state.tables.get_mut(table) {
            // A program may declare its tables as often as it likes.
            let is_same = followed.origin == origin && followed.rules == rules;
            followed.origin = origin;
            followed.rules = rules;
            if !is_same {
                followed.is_outdated = followed.under_way.is_some();
                followed.due = Some(Instant::now());
                self.shared.changed.notify_all();
            }
            return Ok(false);
        }
        self.start_thread()?;
        let due = match (is_held, waits) {
            (true, _) if !origin.on_start => next(&origin, 0),
            (_, true) => None,
            (_, false) => Some(Instant::now()),
        };
        state.numbers += 1;
        let followed = Followed::new(state.numbers, origin, rules, due);
        state.tables.insert(table.to_owned(), followed);
        self.shared.changed.notify_all();
        Ok(true)
    }

    /// Whether the rows of a table are there, fetched for what is asked for now.
    fn is_held(&self, table: &str, origin: &TableSource, rules: &TableRules) -> Result<bool> {
        let record = self.cache.source_position(&position_name(&origin.source, table))?;
        let record = record.as_deref().and_then(Record::decode);
        let number = definition_number(origin, rules);
        Ok(self.cache.table(table).is_ok() && record.is_some_and(|record| record.definition == number))
    }

    fn start_thread(&self) -> Result<()> {
        let mut thread = self.thread.lock();
        if thread.is_none() {
            let (shared, cache) = (self.shared.clone(), self.cache.clone());
            let started = std::thread::Builder::new()
                .name("pillion-refresh".to_owned())
                .spawn(move || schedule(&shared, &cache))
                .map_err(|error| Error::new(ErrorCode::Io, "cannot start a thread").with_source(error))?;
            *thread = Some(started);
        }
        Ok(())
    }

    /// Stops following a table; a refresh under way is given up.
    pub(super) fn forget(&self, table: &str) {
        let followed = self.shared.state.lock().tables.remove(table);
        if let Some((call, _)) = followed.and_then(|followed| followed.under_way) {
            call.cancel();
        }
        self.shared.changed.notify_all();
    }

    /// Refreshes a table now, and waits for the end of a refresh that began after this call.
    pub(super) fn refresh(&self, table: &str) -> Result<Version> {
        let mut state = self.shared.state.lock();
        let followed = state.followed(table)?;
        let (wanted, number) = (followed.began + 1, followed.number);
        followed.is_asked = true;
        self.shared.changed.notify_all();
        loop {
            if state.is_stopping {
                return Err(closed());
            }
            let followed = state.followed(table)?;
            if followed.number != number {
                return Err(Error::new(
                    ErrorCode::Cancelled,
                    format!("table `{table}` was dropped meanwhile"),
                ));
            }
            if followed.ended >= wanted {
                return match &followed.last {
                    Some(Ok(version)) => Ok(*version),
                    Some(Err(error)) => Err(again(error)),
                    None => Err(Error::internal("a refresh ended without a result")),
                };
            }
            self.shared.changed.wait(&mut state);
        }
    }

    pub(super) fn cancel(&self, table: &str) -> Result<bool> {
        let call = {
            let mut state = self.shared.state.lock();
            state.followed(table)?.under_way.as_ref().map(|(call, _)| call.clone())
        };
        Ok(call.map(|call| call.cancel()).is_some())
    }

    /// The gate of a table, if it is followed and its record is kept under this name.
    pub(super) fn gate(&self, table: &str, position: &str) -> Option<Gate> {
        let state = self.shared.state.lock();
        let followed = state.tables.get(table)?;
        (position_name(&followed.origin.source, table) == position).then(|| followed.gate.clone())
    }

    /// Refreshes a table as soon as nothing speaks against it.
    pub(super) fn hurry(&self, table: &str) {
        if let Ok(followed) = self.shared.state.lock().followed(table) {
            followed.due = Some(Instant::now());
            followed.is_outdated = followed.under_way.is_some();
        }
        self.shared.changed.notify_all();
    }

    pub(super) fn pause(&self, table: &str, is_paused: bool) -> Result<()> {
        self.shared.state.lock().followed(table)?.is_paused = is_paused;
        self.shared.changed.notify_all();
        Ok(())
    }

    pub(super) fn refreshes(&self) -> Vec<RefreshStatus> {
        let (state, now) = (self.shared.state.lock(), Instant::now());
        state.tables.iter().map(|(table, followed)| followed.status(table, now)).collect()
    }

    /// Gives up all refreshes and waits until their threads have ended.
    pub(super) fn stop(&self) {
        let calls: Vec<Call> = {
            let mut state = self.shared.state.lock();
            state.is_stopping = true;
            let under_way = state.tables.values().filter_map(|followed| followed.under_way.as_ref());
            under_way.map(|(call, _)| call.clone()).collect()
        };
        self.shared.changed.notify_all();
        for call in calls {
            call.cancel();
        }
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread that schedules refreshes panicked");
        }
        let mut state = self.shared.state.lock();
        let patience = Instant::now() + STOP_PATIENCE;
        while state.running > 0 {
            if self.shared.changed.wait_until(&mut state, patience).timed_out() {
                tracing::error!(
                    running = state.running,
                    "sources do not heed the end of their calls; left alone"
                );
                return;
            }
        }
    }
}

impl State {
    fn known(&self, source: &str) -> Result<&Known> {
        self.sources.get(source).ok_or_else(|| {
            let hint = nearest(source, self.sources.keys().map(String::as_str))
                .map(|name| format!("; did you mean `{name}`?"))
                .unwrap_or_default();
            Error::new(ErrorCode::InvalidArgument, format!("there is no source `{source}`{hint}"))
        })
    }

    fn followed(&mut self, table: &str) -> Result<&mut Followed> {
        self.tables.get_mut(table).ok_or_else(|| {
            Error::new(ErrorCode::InvalidArgument, format!("table `{table}` is not fed by a source"))
        })
    }

    /// The tables that can be refreshed now.
    fn startable(&self, now: Instant) -> Vec<String> {
        let mut free = AT_ONCE.saturating_sub(self.running);
        let mut of_source: HashMap<&str, usize> = HashMap::new();
        let mut chosen = Vec::new();
        for (name, followed) in &self.tables {
            if free == 0 || !followed.is_due(now) {
                continue;
            }
            let Some(known) = self.sources.get(&followed.origin.source) else { continue };
            let running = of_source.entry(&followed.origin.source).or_insert(known.running);
            let is_admitted = followed.is_asked || known.breaker.admits(now, *running);
            if *running < AT_ONCE_OF_SOURCE && is_admitted {
                *running += 1;
                free -= 1;
                chosen.push(name.clone());
            }
        }
        chosen
    }

    /// How long nothing becomes due.
    fn patience(&self, now: Instant) -> Option<Duration> {
        let waiting =
            self.tables.values().filter(|followed| followed.under_way.is_none() && !followed.is_paused);
        let next = waiting.filter_map(|followed| {
            let opens = self.sources.get(&followed.origin.source).and_then(|known| known.breaker.opens_at());
            followed.due.map(|due| opens.map_or(due, |opens| due.max(opens)))
        });
        let next = next.min().map(|due| due.saturating_duration_since(now));
        if self.running == 0 {
            return next;
        }
        Some(next.filter(|next| !next.is_zero()).map_or(WATCH_INTERVAL, |next| next.min(WATCH_INTERVAL)))
    }
}

impl Followed {
    fn new(number: u64, origin: TableSource, rules: TableRules, due: Option<Instant>) -> Self {
        Self {
            number,
            origin,
            rules,
            due,
            is_asked: false,
            is_paused: false,
            is_outdated: false,
            gate: Gate::default(),
            under_way: None,
            began: 0,
            ended: 0,
            last: None,
            succeeded: 0,
            failures: 0,
            last_success: None,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        let is_time = !self.is_paused && self.due.is_some_and(|due| due <= now);
        self.under_way.is_none() && (self.is_asked || is_time)
    }

    fn ended(&mut self, began: SystemTime, result: Result<Version>, table: &str) {
        self.under_way = None;
        self.ended = self.began;
        match &result {
            Ok(_) => {
                self.succeeded += 1;
                self.failures = 0;
                self.last_success = Some(began);
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let (source, failures) = (&self.origin.source, self.failures);
                tracing::warn!(table, source, failures, "refresh failed: {error:#}");
            }
        }
        let is_outdated = std::mem::take(&mut self.is_outdated);
        self.due = if is_outdated { Some(Instant::now()) } else { next(&self.origin, self.failures) };
        self.last = Some(result.map_err(Arc::new));
    }

    fn status(&self, table: &str, now: Instant) -> RefreshStatus {
        let state = match &self.under_way {
            Some((_, progress)) => RefreshState::Running {
                rows: progress.rows(),
                bytes: progress.bytes(),
                expected_rows: progress.expected_rows(),
                elapsed: progress.elapsed(),
            },
            None if self.is_due(now) => RefreshState::Due,
            None if self.is_paused => RefreshState::Paused,
            None => RefreshState::Waiting(self.due.map(|due| due.saturating_duration_since(now))),
        };
        RefreshStatus {
            table: table.to_owned(),
            source: self.origin.source.clone(),
            state,
            succeeded: self.succeeded,
            failures: self.failures,
            last_error: self.last.as_ref().and_then(|last| last.as_ref().err().cloned()),
            last_success: self.last_success,
        }
    }
}

/// When a table is refreshed after it was, or after it failed so many times: also one that is refreshed by call only is tried
/// again until it succeeds.
fn next(origin: &TableSource, failures: u32) -> Option<Instant> {
    let wait = match failures {
        0 => origin.interval.map(|interval| jittered(interval, origin.jitter, random_share())),
        failures => Some(wait_after(failures, random_share())),
    };
    wait.and_then(|wait| Instant::now().checked_add(wait))
}

fn schedule(shared: &Arc<Shared>, cache: &Arc<Embedded>) {
    let mut state = shared.state.lock();
    while !state.is_stopping {
        let now = Instant::now();
        for table in state.startable(now) {
            start(shared, cache, &mut state, &table);
        }
        time_out(&state);
        match state.patience(now) {
            Some(patience) => {
                shared.changed.wait_for(&mut state, patience);
            }
            None => shared.changed.wait(&mut state),
        }
    }
}

/// Gives up refreshes whose sources are silent.
fn time_out(state: &State) {
    let late: Vec<(Call, String)> = state
        .tables
        .values()
        .filter_map(|followed| {
            let (call, progress) = followed.under_way.as_ref()?;
            let limit = followed.origin.progress_timeout;
            let message = format!("the source `{}` has sent nothing for {limit:?}", followed.origin.source);
            (progress.silent_for() > limit).then(|| (call.clone(), message))
        })
        .collect();
    if late.is_empty() {
        return;
    }
    // On a thread of its own: what a source hung on the end of its call may take a while.
    let ending = std::thread::Builder::new().name("pillion-timeout".to_owned()).spawn(move || {
        for (call, message) in late {
            call.time_out(message);
        }
    });
    if let Err(error) = ending {
        tracing::warn!(%error, "no thread to give up a refresh; it is tried again");
    }
}

fn start(shared: &Arc<Shared>, cache: &Arc<Embedded>, state: &mut State, table: &str) {
    let Some(followed) = state.tables.get_mut(table) else { return };
    let Some(known) = state.sources.get_mut(&followed.origin.source) else { return };
    let run = Run { call: Call::new(), progress: Arc::new(Progress::new()) };
    let work = Work {
        table: table.to_owned(),
        origin: followed.origin.clone(),
        rules: followed.rules.clone(),
        source: known.source.clone(),
        cache: cache.clone(),
        gate: followed.gate.clone(),
    };
    let (call, progress) = (run.call.clone(), run.progress.clone());
    let (own, began) = (shared.clone(), SystemTime::now());
    let origin =
        Origin { table: table.to_owned(), number: followed.number, source: followed.origin.source.clone() };
    let thread = std::thread::Builder::new().name("pillion-fetch".to_owned()).spawn(move || {
        let panicked = || Error::internal("the source panicked");
        let result = panics::catch(|| work.run(&run), panicked);
        if let Err(error) = &result {
            work.note_failure(error);
        }
        // Whoever waits for the end of this refresh may close the cache.
        drop(work);
        ended(&own, &origin, began, result);
    });
    match thread {
        Ok(_) => {
            followed.began += 1;
            (followed.is_asked, followed.under_way) = (false, Some((call, progress)));
            known.running += 1;
            state.running += 1;
        }
        Err(error) => {
            tracing::warn!(%error, table, "no thread for a refresh; it is tried again");
            followed.due = next(&followed.origin, followed.failures + 1);
        }
    }
}

/// What a refresh was of.
struct Origin {
    table: String,
    number: u64,
    source: String,
}

/// Notes the end of a refresh.
fn ended(shared: &Shared, origin: &Origin, began: SystemTime, result: Result<Version>) {
    let Origin { table, number, source } = origin;
    let mut state = shared.state.lock();
    state.running -= 1;
    if let Some(known) = state.sources.get_mut(source) {
        known.running -= 1;
        match &result {
            Err(error) if is_out_of_reach(error) => known.breaker.out_of_reach(Instant::now()),
            // Other errors say nothing of the source.
            Err(error) if error.kind() != ErrorKind::Source => {}
            _ => known.breaker.reached(),
        }
    }
    if let Some(followed) = state.tables.get_mut(table).filter(|followed| followed.number == *number) {
        followed.ended(began, result, table);
    }
    drop(state);
    shared.changed.notify_all();
}

/// Whether a failure says that the source cannot be reached, whatever is asked of it.
fn is_out_of_reach(error: &Error) -> bool {
    matches!(error.code(), ErrorCode::SourceUnavailable | ErrorCode::Timeout)
}

/// An error that somebody else keeps too.
fn again(error: &Arc<Error>) -> Error {
    Error::new(error.code(), error.message()).with_source(SharedError(error.clone()))
}

/// The causes of an error that is kept.
#[derive(Debug)]
struct SharedError(Arc<Error>);

impl std::fmt::Display for SharedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the refresh failed")
    }
}

impl std::error::Error for SharedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

fn closed() -> Error {
    Error::new(ErrorCode::Closed, "the cache was closed")
}
