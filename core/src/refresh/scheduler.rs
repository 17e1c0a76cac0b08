//! Runs the refreshes, each on a thread of its own.

use std::error::Error as StdError;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::chance::Chance;
use super::check::{check_capabilities, check_following};
use super::delegate::Delegation;
use super::due::{Due, Now};
use super::follow::Followers;
use super::gate::Gate;
use super::progress::Progress;
use super::record::{Record, definition_number, position_name};
use super::run::{Run, Work};
use super::state::{Origin, State};
use super::wanted;
use crate::source::{Call, Changed, Relation, Source, TableSource};
use crate::storage::Clock;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::panics;
use crate::types::recorder::{Event, Recording, code};
use crate::types::rules::TableRules;
use crate::types::version::Version;
use crate::way::embedded::Embedded;
use crate::way::refreshing::RefreshStatus;
use crate::way::{Backend, Reader};

/// How long a stop waits for sources that were told to end.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Refreshes tables until it is stopped.
#[derive(Debug)]
pub(super) struct Scheduler {
    cache: Arc<Embedded>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// What tables are fed by that are not refreshed.
    pub(super) followers: Followers,
}

/// What the threads of refreshes share, and the reads that fetch what is not held.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// Something is due, has ended, or is to end.
    pub(super) changed: Condvar,
    clock: Arc<dyn Clock>,
    recording: Recording,
}

impl Shared {
    pub(super) fn now(&self) -> Now {
        Now { steady: Instant::now(), wall: self.clock.now() }
    }
}

impl Scheduler {
    pub(super) fn new(cache: Arc<Embedded>, refreshes_at_once: usize) -> Self {
        let state = Mutex::new(State::new(refreshes_at_once, Chance::default()));
        let shared = Arc::new(Shared {
            state,
            changed: Condvar::new(),
            clock: cache.clock(),
            recording: cache.recording().clone(),
        });
        let followers = Followers::new(cache.clone());
        cache.fetch_from(Arc::new(Delegation::new(shared.clone(), &cache)));
        Self { cache, shared, thread: Mutex::new(None), followers }
    }

    /// # Errors
    /// [`ErrorCode::Closed`] if refreshes were stopped.
    fn open_state(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.shared.state.lock();
        if state.is_stopping { Err(closed()) } else { Ok(state) }
    }

    pub(super) fn add_source(&self, name: &str, source: &Arc<dyn Source>, replaces: bool) -> Result<()> {
        if name.is_empty() || name.contains('/') {
            let message = format!("a source needs a name without a slash, and `{name}` is not one");
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        let mut state = self.open_state()?;
        let is_there = state.sources.contains_key(name);
        if is_there && !replaces {
            let message = format!("there is a source `{name}` already; give this one another name");
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        if is_there && self.followers.follow(name) {
            let message = format!(
                "tables follow the source `{name}`: it can be replaced only by opening the cache anew"
            );
            return Err(Error::new(ErrorCode::Unsupported, message));
        }
        let ended = if is_there {
            let now = self.shared.now();
            state.replace_source(name, source.clone(), now)
        } else {
            state.add_source(name, source.clone());
            Vec::new()
        };
        drop(state);
        // Behind the lock: whoever tells changes may wait for it.
        drop(ended);
        self.shared.changed.notify_all();
        self.followers.added(name, source)
    }

    /// From now on so many tables are refreshed at a time.
    pub(super) fn limit(&self, refreshes_at_once: usize) {
        self.shared.state.lock().limit(refreshes_at_once);
        self.shared.changed.notify_all();
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
        let source = self.open_state()?.known(&origin.source)?.source.clone();
        if origin.follows() {
            check_capabilities(table, &origin, source.capabilities())?;
            check_following(table, &origin, &rules)?;
            self.forget_refreshes(table);
            return self.followers.declare(table, origin, rules, &source);
        }
        self.followers.leave(table)?;
        let is_held = self.is_held(table, &origin, source.identity().as_deref(), &rules)?;
        let (mut state, now) = (self.open_state()?, self.shared.now());
        check_capabilities(table, &origin, source.capabilities())?;
        if let Some(followed) = state.tables.get_mut(table) {
            // A program may declare its tables as often as it likes.
            let is_same = followed.origin == origin && followed.rules == rules;
            // Dropped behind the lock: whoever tells changes may wait for it.
            let watch = if is_same { None } else { followed.end_watch() };
            if !is_same {
                followed.is_outdated = followed.under_way.is_some();
                followed.due = Due::now(now);
                state.redefine(table, origin, rules);
                self.shared.changed.notify_all();
            }
            drop(state);
            drop(watch);
            return Ok(false);
        }
        self.start_thread()?;
        let due = match (is_held, waits) {
            (true, _) if !origin.on_start && !origin.is_on_change() => state.scheduled(&origin, now),
            (_, true) => Due::Never,
            (_, false) => Due::now(now),
        };
        state.follow(table, origin, rules, due);
        self.shared.changed.notify_all();
        Ok(true)
    }

    /// Whether the rows of a table are there, fetched for what is asked for now, and with its rules.
    fn is_held(
        &self,
        table: &str,
        origin: &TableSource,
        place: Option<&str>,
        rules: &TableRules,
    ) -> Result<bool> {
        let record = self.cache.source_position(&position_name(&origin.source, table))?;
        let record = record.as_deref().and_then(Record::decode);
        let number = definition_number(origin, place, rules);
        let has_rules = self.cache.table(table).is_ok_and(|held| held.rules == rules.clone().of_table());
        Ok(has_rules && record.is_some_and(|record| record.definition == number))
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

    /// Stops feeding a table; a refresh under way is given up. Returns whether it was fed.
    pub(super) fn forget(&self, table: &str) -> bool {
        let followed = self.followers.has(table);
        self.followers.withdraw(table);
        self.forget_refreshes(table) || followed
    }

    fn forget_refreshes(&self, table: &str) -> bool {
        let followed = self.shared.state.lock().tables.remove(table);
        let was_followed = followed.is_some();
        if let Some(under_way) = followed.and_then(|followed| followed.under_way) {
            under_way.call.cancel();
        }
        self.shared.changed.notify_all();
        was_followed
    }

    /// Refreshes a table now, and waits for the end of a refresh that began after this call.
    pub(super) fn refresh(&self, table: &str) -> Result<Version> {
        if self.followers.has(table) {
            return self.followers.refresh(table);
        }
        let mut state = self.shared.state.lock();
        let followed = state.followed(table)?;
        let (wanted, number) = (followed.began + 1, followed.number);
        followed.asked = Some(followed.asked.unwrap_or_else(Instant::now));
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
            wanted::wait(&self.shared.changed, &mut state, table, None)?;
        }
    }

    pub(super) fn cancel(&self, table: &str) -> Result<bool> {
        self.refuse_following(table, "is given up by dropping it only")?;
        let call = {
            let mut state = self.shared.state.lock();
            state.followed(table)?.under_way.as_ref().map(|under_way| under_way.call.clone())
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
            followed.due = Due::At(Instant::now());
            followed.is_outdated = followed.under_way.is_some();
        }
        self.shared.changed.notify_all();
    }

    /// # Errors
    /// [`ErrorCode::Unsupported`] for a table that follows its source.
    fn refuse_following(&self, table: &str, why: &str) -> Result<()> {
        if self.followers.has(table) {
            return Err(Error::new(
                ErrorCode::Unsupported,
                format!("table `{table}` follows its source, and {why}"),
            ));
        }
        Ok(())
    }

    pub(super) fn pause(&self, table: &str, is_paused: bool) -> Result<()> {
        self.refuse_following(
            table,
            "cannot stand still alone: the changes of all tables of a source come together",
        )?;
        self.shared.state.lock().followed(table)?.is_paused = is_paused;
        self.shared.changed.notify_all();
        Ok(())
    }

    pub(super) fn refreshes(&self) -> Vec<RefreshStatus> {
        let (state, now) = (self.shared.state.lock(), self.shared.now());
        let refreshed = state.tables.iter().map(|(table, followed)| followed.status(table, now));
        let mut all: Vec<RefreshStatus> = refreshed.chain(self.followers.statuses()).collect();
        drop(state);
        all.sort_by(|a, b| a.table.cmp(&b.table));
        all
    }

    /// Gives up all refreshes and waits until their threads have ended.
    pub(super) fn stop(&self) {
        let calls: Vec<Call> = {
            let mut state = self.shared.state.lock();
            state.is_stopping = true;
            let under_way = state.tables.values().filter_map(|followed| followed.under_way.as_ref());
            under_way.map(|under_way| under_way.call.clone()).collect()
        };
        self.shared.changed.notify_all();
        for call in calls {
            call.cancel();
        }
        self.followers.stop();
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

fn schedule(shared: &Arc<Shared>, cache: &Arc<Embedded>) {
    let mut state = shared.state.lock();
    while !state.is_stopping {
        let now = shared.now();
        state.heed_clock(now);
        for table in state.startable(now) {
            start(shared, cache, &mut state, &table, now);
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
            let under_way = followed.under_way.as_ref()?;
            let limit = followed.origin.progress_timeout;
            let message = format!("the source `{}` has sent nothing for {limit:?}", followed.origin.source);
            (under_way.progress.silent_for() > limit).then(|| (under_way.call.clone(), message))
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

fn start(shared: &Arc<Shared>, cache: &Arc<Embedded>, state: &mut State, table: &str, now: Now) {
    let Some(followed) = state.tables.get(table) else { return };
    let Some(known) = state.sources.get(&followed.origin.source) else { return };
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
    let own = shared.clone();
    let to_watch = followed.to_watch();
    let (number, definition) = (followed.number, followed.definition);
    let source = followed.origin.source.clone();
    let origin = Origin { table: table.to_owned(), number, source, began: now };
    let thread = std::thread::Builder::new().name("pillion-fetch".to_owned()).spawn(move || {
        let panicked = || Error::internal("the source panicked");
        if let Some(relation) = to_watch {
            // Before rows are read, so that no change after that is missed.
            watch(&own, &work, definition, &relation);
        }
        let result = panics::catch(|| work.run(&run), panicked);
        if let Err(error) = &result {
            work.note_failure(error);
        }
        own.recording.record(&Event::Refresh {
            table: &origin.table,
            source: &origin.source,
            duration: run.progress.elapsed(),
            rows: run.progress.rows(),
            bytes: run.progress.bytes(),
            error: code(&result),
        });
        // Whoever waits for the end of this refresh may close the cache.
        drop(work);
        let mut state = own.state.lock();
        state.ended(&origin, result, own.now());
        drop(state);
        own.changed.notify_all();
    });
    match thread {
        Ok(_) => state.began(table, call, progress, now),
        Err(error) => {
            tracing::warn!(%error, table, "no thread for a refresh; it is tried again");
            state.postpone(table, now);
        }
    }
}

/// Lets a source tell the changes of a table. If it cannot, the table is looked at now and then only.
fn watch(shared: &Arc<Shared>, work: &Work, definition: u64, relation: &Relation) {
    let (own, table) = (Arc::downgrade(shared), work.table.clone());
    let changed: Changed = Arc::new(move || {
        if let Some(own) = own.upgrade() {
            let now = own.now();
            own.state.lock().changed(&table, definition, now);
            own.changed.notify_all();
        }
    });
    let panicked = || Error::internal("the source panicked");
    match panics::catch(|| work.source.watch(relation, changed), panicked) {
        Ok(watch) => {
            let unwanted = shared.state.lock().keep_watch(&work.table, definition, watch);
            drop(unwanted);
        }
        Err(error) => {
            tracing::warn!(
                table = work.table,
                "changes are not told; the table is looked at by time: {error:#}"
            );
        }
    }
}

/// An error that somebody else keeps too, with its causes.
pub(super) fn again(error: &Arc<Error>) -> Error {
    let again = Error::new(error.code(), error.message());
    if error.source().is_some() { again.with_source(SharedCause(error.clone())) } else { again }
}

/// The cause of an error that is kept, and the causes below it.
#[derive(Debug)]
struct SharedCause(Arc<Error>);

impl std::fmt::Display for SharedCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.source().map_or(Ok(()), |cause| write!(f, "{cause}"))
    }
}

impl StdError for SharedCause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()?.source()
    }
}

pub(super) fn closed() -> Error {
    Error::new(ErrorCode::Closed, "the cache was closed")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::SystemTime;

    use super::*;
    use crate::source::{Capabilities, Description, Fetch, Fetched};
    use crate::storage::{Files, Randomness};
    use crate::types::options::CacheOptions;

    #[test]
    fn an_error_is_told_again_with_its_causes() {
        let kept = Error::new(ErrorCode::SourceUnavailable, "the source is away");
        assert!(again(&Arc::new(kept)).source().is_none());
        let kept = Error::new(ErrorCode::SourceUnavailable, "the source is away")
            .with_source(Error::new(ErrorCode::Io, "no route").with_source(io::Error::other("no cable")));
        let told = again(&Arc::new(kept));
        let cause = told.source().unwrap();
        assert!(cause.to_string().contains("no route"), "{cause}");
        assert_eq!(cause.source().unwrap().to_string(), "no cable");
    }

    /// A clock that the test sets.
    #[derive(Clone, Debug)]
    struct Set(Arc<Mutex<SystemTime>>);

    impl Clock for Set {
        fn now(&self) -> SystemTime {
            *self.0.lock()
        }
    }

    impl Randomness for Set {
        fn number(&self) -> io::Result<u64> {
            Ok(7)
        }
    }

    /// Says no to everything.
    #[derive(Debug)]
    struct Refuses;

    impl Source for Refuses {
        fn capabilities(&self) -> Capabilities {
            Capabilities::default()
        }

        fn relations(&self, _: &Call) -> Result<Vec<String>> {
            Ok(Vec::new())
        }

        fn describe(&self, _: &Relation, _: &Call) -> Result<Description> {
            Ok(Description::new(Arc::new(arrow::datatypes::Schema::empty())))
        }

        fn fetch(&self, _: &Fetch, _: &Call) -> Result<Fetched> {
            Err(Error::new(ErrorCode::SourceRefused, "no"))
        }
    }

    #[test]
    fn the_time_of_day_that_the_cache_knows_decides() {
        let dir = tempfile::tempdir().unwrap();
        let midnight = SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * 86_400);
        let clock = Set(Arc::new(Mutex::new(midnight)));
        let files = Files::below(dir.path()).unwrap().with_machine(clock.clone());
        let cache = Arc::new(Embedded::with_files(files, CacheOptions::new()).unwrap());
        let scheduler = Scheduler::new(cache, 4);
        let source: Arc<dyn Source> = Arc::new(Refuses);
        scheduler.add_source("shop", &source, false).unwrap();
        let nightly = TableSource::new("shop", Relation::table("t")).cron("0 3 * * *", "UTC").unwrap();
        scheduler.follow("t", nightly, TableRules::default(), true).unwrap();
        assert_eq!(scheduler.refresh("t").unwrap_err().code(), ErrorCode::SourceRefused);
        let failures = |count: u32| {
            while scheduler.refreshes().first().is_none_or(|status| status.failures < count) {
                scheduler.shared.changed.notify_all();
                std::thread::yield_now();
            }
        };
        // The retry comes by the other clock.
        failures(2);
        let mut state = scheduler.shared.state.lock();
        let now = scheduler.shared.now();
        let nightly = state.followed("t").unwrap().origin.clone();
        state.followed("t").unwrap().due = super::super::due::scheduled(&nightly, now, 0.0);
        drop(state);
        assert_eq!(
            scheduler.refreshes()[0].state,
            crate::RefreshState::Waiting(Some(Duration::from_secs(3 * 3600)))
        );
        *clock.0.lock() += Duration::from_secs(3 * 3600);
        failures(3);
        scheduler.stop();
    }
}
