//! What is known of sources and of the tables that they feed, and which of these are refreshed now.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::backoff::Breaker;
use super::budget::Budget;
use super::chance::Chance;
use super::due::{Due, Now, after_failure, scheduled};
use super::gate::Gate;
use super::places::{Places, SLOW, Taken, UNANSWERED};
use super::progress::Progress;
use super::quiet::Quiet;
use crate::source::{Call, Relation, Source, TableSource, Watch};
use crate::types::error::{Error, ErrorCode, ErrorKind, Result, nearest};
use crate::types::rules::TableRules;
use crate::types::version::Version;
use crate::way::refreshing::{RefreshState, RefreshStatus};

/// The most fetches of a source at a time that reads asked for.
const FETCHES_AT_ONCE: usize = 8;
/// How often running refreshes are looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// How often the time of day is looked at, which may be set by hand.
const CLOCK_INTERVAL: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct State {
    pub(super) sources: HashMap<String, Known>,
    pub(super) tables: BTreeMap<String, Followed>,
    /// Threads of refreshes.
    pub(super) running: usize,
    /// Definitions of tables that were followed so far.
    numbers: u64,
    pub(super) is_stopping: bool,
    places: Places,
    chance: Chance,
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) source: Arc<dyn Source>,
    breaker: Breaker,
    budget: Budget,
    running: usize,
    /// Fetches of rows that reads asked for.
    fetching: usize,
    /// Whether the refresh that ended last took long.
    is_slow: bool,
}

/// A table that is kept fresh.
#[derive(Debug)]
pub(super) struct Followed {
    /// Tells it from one of the same name that was followed before.
    pub(super) number: u64,
    /// Tells its definition from others that it had, and from those of all other tables.
    pub(super) definition: u64,
    pub(super) origin: TableSource,
    pub(super) rules: TableRules,
    /// When the next refresh should begin.
    pub(super) due: Due,
    /// Whether that is sooner than the schedule would have it, because the last one failed.
    is_retry: bool,
    /// Since when somebody waits for the next refresh: it does not wait for its source to be reachable again.
    pub(super) asked: Option<Instant>,
    pub(super) is_paused: bool,
    /// Something else is asked for than the refresh under way fetches.
    pub(super) is_outdated: bool,
    pub(super) gate: Gate,
    /// Tells changes at the source, if the table is refreshed by them.
    watch: Option<Watch>,
    quiet: Quiet,
    pub(super) under_way: Option<UnderWay>,
    /// Refreshes that began and that ended.
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) last: Option<Result<Version, Arc<Error>>>,
    succeeded: u64,
    failures: u32,
    last_success: Option<SystemTime>,
}

/// A refresh that has begun.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) call: Call,
    pub(super) progress: Arc<Progress>,
    began: Instant,
}

/// What a refresh was of, and when it began.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) table: String,
    pub(super) number: u64,
    pub(super) source: String,
    pub(super) began: Now,
}

impl State {
    pub(super) fn new(refreshes_at_once: usize, chance: Chance) -> Self {
        Self {
            sources: HashMap::new(),
            tables: BTreeMap::new(),
            running: 0,
            numbers: 0,
            is_stopping: false,
            places: Places::new(refreshes_at_once),
            chance,
        }
    }

    pub(super) fn add_source(&mut self, name: &str, source: Arc<dyn Source>) {
        let known = Known {
            source,
            breaker: Breaker::default(),
            budget: Budget::new(),
            running: 0,
            fetching: 0,
            is_slow: false,
        };
        self.sources.insert(name.to_owned(), known);
    }

    /// Puts a source in the place of one of its name. Its tables are refreshed from it as soon as nothing speaks against that.
    /// Returns what told the changes of the old one.
    pub(super) fn replace_source(&mut self, name: &str, source: Arc<dyn Source>, now: Now) -> Vec<Watch> {
        let Some(known) = self.sources.get_mut(name) else { return Vec::new() };
        known.source = source;
        known.breaker = Breaker::default();
        let mut ended = Vec::new();
        for table in self.tables.values_mut().filter(|table| table.origin.source == name) {
            // So that what the old source still tells is of a definition that holds no longer.
            self.numbers += 1;
            table.definition = self.numbers;
            table.is_outdated = table.under_way.is_some();
            table.is_retry = false;
            table.due = Due::now(now);
            ended.extend(table.watch.take());
        }
        ended
    }

    /// Lets fetches of a source begin that reads asked for. `false` if so many are under way that they have to wait.
    ///
    /// # Errors
    /// [`ErrorCode::SourceUnavailable`] while a source that was out of reach is left alone.
    pub(super) fn begin_fetches(&mut self, source: &str, count: usize, now: Now) -> Result<bool> {
        let Some(known) = self.sources.get_mut(source) else { return Ok(false) };
        if !known.breaker.admits(now.steady, known.running + known.fetching) {
            let opens = known.breaker.opens_at().map(|at| at.saturating_duration_since(now.steady));
            let wait = Duration::from_secs(opens.unwrap_or_default().as_secs() + 1);
            return Err(Error::new(
                ErrorCode::SourceUnavailable,
                format!(
                    "the source `{source}` was out of reach several times in a row, and is asked again within {wait:?}"
                ),
            ));
        }
        let may_begin = known.fetching == 0 || known.fetching + count <= FETCHES_AT_ONCE;
        if may_begin {
            known.fetching += count;
        }
        Ok(may_begin)
    }

    /// A fetch of a source has ended that a read asked for.
    pub(super) fn fetch_ended(&mut self, source: &str, result: &Result<()>, now: Now) {
        let share = self.chance.share();
        let Some(known) = self.sources.get_mut(source) else { return };
        known.fetching = known.fetching.saturating_sub(1);
        known.note(result.as_ref().err(), now, share);
    }

    /// From now on so many tables are refreshed at a time.
    pub(super) fn limit(&mut self, refreshes_at_once: usize) {
        self.places = Places::new(refreshes_at_once);
    }

    pub(super) fn known(&self, source: &str) -> Result<&Known> {
        self.sources.get(source).ok_or_else(|| {
            let hint = nearest(source, self.sources.keys().map(String::as_str))
                .map(|name| format!("; did you mean `{name}`?"))
                .unwrap_or_default();
            Error::new(ErrorCode::InvalidArgument, format!("there is no source `{source}`{hint}"))
        })
    }

    pub(super) fn followed(&mut self, table: &str) -> Result<&mut Followed> {
        self.tables.get_mut(table).ok_or_else(|| {
            Error::new(ErrorCode::InvalidArgument, format!("table `{table}` is not fed by a source"))
        })
    }

    /// When a table is refreshed by its schedule.
    pub(super) fn scheduled(&mut self, origin: &TableSource, now: Now) -> Due {
        scheduled(origin, now, self.chance.share())
    }

    pub(super) fn follow(&mut self, table: &str, origin: TableSource, rules: TableRules, due: Due) {
        self.numbers += 1;
        self.tables.insert(table.to_owned(), Followed::new(self.numbers, origin, rules, due));
    }

    /// The tables that can be refreshed now, the one that has waited longest first.
    pub(super) fn startable(&self, now: Now) -> Vec<String> {
        let waiting = self.tables.iter().filter_map(|(name, table)| Some((table.waits(now)?, name, table)));
        let mut waiting: Vec<(Duration, &String, &Followed)> = waiting.collect();
        waiting.sort_by_key(|(waited, ..)| std::cmp::Reverse(*waited));
        let is_slow = |name: &str, known: &Known| known.is_slow || self.runs_long(name, now);
        let slow = self.sources.iter().filter(|(name, known)| is_slow(name, known));
        let answered = |(name, known): (&String, &Known)| known.running.saturating_sub(self.unanswered(name));
        let mut by_slow: usize = slow.map(answered).sum();
        let mut all = self.sources.iter().map(answered).sum();
        let mut by_source: HashMap<&str, usize> = HashMap::new();
        let mut chosen = Vec::new();
        for (_, name, followed) in waiting {
            let source = followed.origin.source.as_str();
            let Some(known) = self.sources.get(source) else { continue };
            let running = by_source.entry(source).or_insert(known.running);
            let is_admitted = followed.asked.is_some() || known.breaker.admits(now.steady, *running);
            let is_slow = is_slow(source, known);
            let taken = Taken { all, by_source: *running, by_slow };
            if is_admitted && self.places.are_free(taken, is_slow) {
                *running += 1;
                all += 1;
                by_slow += usize::from(is_slow);
                chosen.push(name.clone());
            }
        }
        chosen
    }

    /// Refreshes of a source that wait for an answer of it.
    fn unanswered(&self, source: &str) -> usize {
        let of_source = self.tables.values().filter(|table| table.origin.source == source);
        let progresses = of_source.filter_map(|table| table.under_way.as_ref()).map(|it| &it.progress);
        progresses.filter(|progress| progress.silent_for() >= UNANSWERED).count()
    }

    /// Whether a refresh of a source has been under way for long.
    fn runs_long(&self, source: &str, now: Now) -> bool {
        self.tables.values().any(|table| {
            let began = table.under_way.as_ref().filter(|_| table.origin.source == source).map(|it| it.began);
            began.is_some_and(|began| now.steady.saturating_duration_since(began) >= SLOW)
        })
    }

    /// How long nothing becomes due.
    pub(super) fn patience(&self, now: Now) -> Option<Duration> {
        let waiting = || self.tables.values().filter(|table| table.under_way.is_none() && !table.is_paused);
        let next = waiting().filter_map(|table| {
            let opens = self.sources.get(&table.origin.source).and_then(|known| known.breaker.opens_at());
            let opens = opens.map_or(Duration::ZERO, |at| at.saturating_duration_since(now.steady));
            table.due.left(now).map(|left| left.max(opens))
        });
        let mut next = next.min();
        if waiting().any(|table| table.due.is_of_calendar()) {
            next = next.map(|next| next.min(CLOCK_INTERVAL));
        }
        if self.running == 0 {
            return next;
        }
        Some(next.filter(|next| !next.is_zero()).map_or(WATCH_INTERVAL, |next| next.min(WATCH_INTERVAL)))
    }

    /// Looks up the calendar again if the clock went back.
    pub(super) fn heed_clock(&mut self, now: Now) {
        for table in self.tables.values_mut().filter(|table| table.due.is_outdated(now)) {
            table.due = scheduled(&table.origin, now, self.chance.share());
        }
    }

    /// A refresh of a table has begun.
    pub(super) fn began(&mut self, table: &str, call: Call, progress: Arc<Progress>, now: Now) {
        let Some(followed) = self.tables.get_mut(table) else { return };
        followed.began += 1;
        followed.under_way = Some(UnderWay { call, progress, began: now.steady });
        followed.quiet.looked();
        let is_retry = std::mem::take(&mut followed.is_retry) && followed.asked.take().is_none();
        followed.asked = None;
        self.running += 1;
        if let Some(known) = self.sources.get_mut(&followed.origin.source) {
            known.running += 1;
            if !is_retry {
                known.budget.tried();
            }
        }
    }

    /// Gives a table another definition.
    pub(super) fn redefine(&mut self, table: &str, origin: TableSource, rules: TableRules) {
        self.numbers += 1;
        if let Some(followed) = self.tables.get_mut(table) {
            followed.definition = self.numbers;
            followed.origin = origin;
            followed.rules = rules;
        }
    }

    /// The source says that a table of a definition may have changed.
    pub(super) fn changed(&mut self, table: &str, definition: u64, now: Now) {
        let of_definition = self.tables.get_mut(table).filter(|table| table.definition == definition);
        let Some(followed) = of_definition else {
            return;
        };
        followed.is_outdated = followed.under_way.is_some();
        followed.is_retry = false;
        followed.due = Due::At(followed.quiet.changed(now.steady));
    }

    /// Keeps what tells changes of a table of a definition, and returns it if that is not wanted any more.
    pub(super) fn keep_watch(&mut self, table: &str, definition: u64, watch: Watch) -> Option<Watch> {
        match self.tables.get_mut(table).filter(|table| table.definition == definition) {
            Some(followed) => followed.watch.replace(watch),
            None => Some(watch),
        }
    }

    /// A refresh could not begin, for a reason that has nothing to do with its source.
    pub(super) fn postpone(&mut self, table: &str, now: Now) {
        let share = self.chance.share();
        if let Some(followed) = self.tables.get_mut(table) {
            followed.due = after_failure(&followed.origin, followed.failures + 1, now, share, || true).0;
        }
    }

    /// A refresh has ended.
    pub(super) fn ended(&mut self, origin: &Origin, result: Result<Version>, now: Now) {
        self.running -= 1;
        let share = self.chance.share();
        let known = self.sources.get_mut(&origin.source);
        let followed = self.tables.get_mut(&origin.table).filter(|table| table.number == origin.number);
        let Some(known) = known else { return };
        known.running -= 1;
        known.is_slow = now.steady.saturating_duration_since(origin.began.steady) >= SLOW;
        known.note(result.as_ref().err(), now, share);
        let Some(followed) = followed else { return };
        // Whoever cancels a refresh wants none: the next one is that of the schedule.
        let is_cancelled = result.as_ref().is_err_and(|error| error.code() == ErrorCode::Cancelled);
        followed.ended(&origin.table, origin.began.wall, result);
        (followed.due, followed.is_retry) = if std::mem::take(&mut followed.is_outdated) {
            (Due::now(now), false)
        } else if is_cancelled || followed.failures == 0 {
            (scheduled(&followed.origin, now, self.chance.share()), false)
        } else {
            after_failure(&followed.origin, followed.failures, now, self.chance.share(), || {
                known.budget.pay()
            })
        };
    }
}

impl Known {
    /// Notes what the end of a call says of whether the source can be reached.
    fn note(&mut self, error: Option<&Error>, now: Now, share: f64) {
        match error {
            Some(error) if is_out_of_reach(error) => self.breaker.out_of_reach(now.steady, share),
            // Other errors say nothing of the source.
            Some(error) if error.kind() != ErrorKind::Source => {}
            _ => self.breaker.reached(),
        }
    }
}

impl Followed {
    fn new(number: u64, origin: TableSource, rules: TableRules, due: Due) -> Self {
        Self {
            number,
            definition: number,
            origin,
            rules,
            due,
            is_retry: false,
            asked: None,
            is_paused: false,
            is_outdated: false,
            gate: Gate::default(),
            watch: None,
            quiet: Quiet::default(),
            under_way: None,
            began: 0,
            ended: 0,
            last: None,
            succeeded: 0,
            failures: 0,
            last_success: None,
        }
    }

    /// Takes away what tells changes.
    pub(super) fn end_watch(&mut self) -> Option<Watch> {
        self.watch.take()
    }

    /// The relation whose changes the source is still to tell.
    pub(super) fn to_watch(&self) -> Option<Relation> {
        let is_wanted = self.origin.is_on_change() && self.watch.is_none();
        is_wanted.then(|| self.origin.relation.clone())
    }

    /// How long it has waited to be refreshed; `None` if it need not be now.
    fn waits(&self, now: Now) -> Option<Duration> {
        if self.under_way.is_some() {
            return None;
        }
        let asked = self.asked.map(|asked| now.steady.saturating_duration_since(asked));
        asked.max(self.due.waited(now).filter(|_| !self.is_paused))
    }

    fn ended(&mut self, table: &str, began: SystemTime, result: Result<Version>) {
        self.under_way = None;
        self.ended = self.began;
        match &result {
            Ok(_) => {
                self.succeeded += 1;
                self.failures = 0;
                self.last_success = Some(began);
            }
            Err(error) if error.code() == ErrorCode::Cancelled => {
                tracing::info!(table, source = self.origin.source, "refresh cancelled");
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let (source, failures) = (&self.origin.source, self.failures);
                tracing::warn!(table, source, failures, "refresh failed: {error:#}");
            }
        }
        self.last = Some(result.map_err(Arc::new));
    }

    pub(super) fn status(&self, table: &str, now: Now) -> RefreshStatus {
        let state = match &self.under_way {
            Some(UnderWay { progress, .. }) => RefreshState::Running {
                rows: progress.rows(),
                bytes: progress.bytes(),
                expected_rows: progress.expected_rows(),
                elapsed: progress.elapsed(),
            },
            None if self.waits(now).is_some() => RefreshState::Due,
            None if self.is_paused => RefreshState::Paused,
            None => RefreshState::Waiting(self.due.left(now)),
        };
        RefreshStatus {
            table: table.to_owned(),
            source: self.origin.source.clone(),
            state,
            succeeded: self.succeeded,
            failures: self.failures,
            last_error: self.last.as_ref().and_then(|last| last.as_ref().err().cloned()),
            last_success: self.last_success,
            following: None,
        }
    }
}

/// Whether a failure says that the source cannot be reached, whatever is asked of it.
fn is_out_of_reach(error: &Error) -> bool {
    matches!(error.code(), ErrorCode::SourceUnavailable | ErrorCode::Timeout)
}

#[cfg(test)]
mod tests;
