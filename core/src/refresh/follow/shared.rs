//! What the follower of a source, and those who declare tables and wait for it, know of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use super::audit::{AuditCalls, AuditRecord};
use super::watch::Watches;
use crate::refresh::backoff::wait_after;
use crate::refresh::progress::Progress;
use crate::source::{Call, Source, TableSource};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::rules::TableRules;
use crate::way::refreshing::{FollowPhase, FollowStatus, KeptName, RefreshState, RefreshStatus};

/// How long no table is declared before the follower begins: a program declares several, one after another.
const QUIET: Duration = Duration::from_millis(100);
/// How long a table that is withdrawn waits for the end of its copy.
const WITHDRAW_PATIENCE: Duration = Duration::from_secs(10);
/// A table that falls out of step so soon after a copy, more than a few times in a row, is not copied again at once: the source would
/// send nothing but copies.
const SOON: Duration = Duration::from_secs(120);
const COPIES_AT_ONCE: u32 = 5;

/// Shared by the follower of a source and everybody else.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) source_name: String,
    pub(super) source: Arc<dyn Source>,
    pub(super) state: Mutex<State>,
    /// Anything in it.
    pub(super) changed: Condvar,
    /// Tables that are fed in another way now, or by nobody. Held while the follower commits changes, and while the record of such a table is
    /// written: no commit puts it in step again.
    pub(super) left: Mutex<BTreeSet<String>>,
    pub(super) watches: Watches,
    pub(super) audit_calls: Mutex<AuditCalls>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) tables: BTreeMap<String, Declared>,
    /// Tables whose rows are those of the source at the position.
    pub(super) in_step: BTreeSet<String>,
    /// Everything up to here is applied, also if a later commit is to say so.
    pub(super) reached: Option<Vec<u8>>,
    pub(super) name: Option<String>,
    pub(super) is_streaming: bool,
    pub(super) last_commit: Option<SystemTime>,
    pub(super) lag: Option<u64>,
    /// The newest moment whose changes are all applied.
    pub(super) confirmed: Option<SystemTime>,
    /// What the source keeps under names of Pillion.
    pub(super) names: Vec<KeptName>,
    pub(super) is_stopping: bool,
    /// The thread is done with the cache.
    pub(super) has_ended: bool,
    /// Failures of the follower in a row, and when it tries again.
    failures: u32,
    last_error: Option<Arc<Error>>,
    pub(super) due: Option<Instant>,
    /// Counts declarations, questions and removals: the follower looks at everything again.
    pub(super) wishes: u64,
    wished: Option<Instant>,
    call: Option<(Call, bool)>,
    /// Counts failures.
    attempts: u64,
    /// The table that is copied now.
    pub(super) copying: Option<String>,
    /// What is known of audits, by table.
    pub(super) audits: BTreeMap<String, AuditRecord>,
}

/// A table that is to follow the source.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) origin: TableSource,
    pub(super) rules: TableRules,
    /// Why its rows are old and stay so.
    pub(super) stale: Option<String>,
    /// Somebody asks for a copy although the table is stale.
    pub(super) is_asked: bool,
    /// It is copied without other tables, because a copy of several failed.
    pub(super) is_alone: bool,
    pub(super) due: Option<Instant>,
    failures: u32,
    last_error: Option<Arc<Error>>,
    /// The attempt that the error is of.
    failed_attempt: u64,
    pub(super) progress: Option<Arc<Progress>>,
    copies: u64,
    last_copy: Option<SystemTime>,
    /// When it was copied, and how often in a row soon after the copy before.
    copied: Option<(Instant, u32)>,
    /// When an audit failed that began by itself.
    pub(super) audit_tried: Option<SystemTime>,
}

impl Declared {
    /// When it may be copied; `None`: at once.
    pub(super) fn may_be_copied_at(&self) -> Option<Instant> {
        let again = self.copied.filter(|(_, count)| *count >= COPIES_AT_ONCE && !self.is_asked);
        let again = again.and_then(|(at, count)| at.checked_add(wait_after(count - COPIES_AT_ONCE + 1, 1.0)));
        self.due.max(again)
    }

    fn new(origin: TableSource, rules: TableRules) -> Self {
        Self {
            origin,
            rules,
            stale: None,
            is_asked: false,
            is_alone: false,
            due: None,
            failures: 0,
            last_error: None,
            failed_attempt: 0,
            progress: None,
            copies: 0,
            last_copy: None,
            copied: None,
            audit_tried: None,
        }
    }
}

/// Why the follower does not go on waiting.
pub(super) fn stopping() -> Error {
    Error::new(ErrorCode::Closed, "the cache was closed")
}

impl Shared {
    pub(super) fn new(source_name: &str, source: Arc<dyn Source>) -> Self {
        let source_name = source_name.to_owned();
        Self {
            source_name,
            source,
            state: Mutex::default(),
            changed: Condvar::new(),
            left: Mutex::default(),
            watches: Watches::default(),
            audit_calls: Mutex::default(),
        }
    }

    /// Declares a table. Returns whether it was not declared before.
    pub(super) fn declare(&self, table: &str, origin: TableSource, rules: TableRules) -> bool {
        let declared =
            |state: &State| state.tables.get(table).map(|it| it.origin == origin && it.rules == rules);
        let before = declared(&self.state.lock());
        if before == Some(true) {
            return false;
        }
        self.left.lock().remove(table);
        self.wish(|state| {
            state.tables.insert(table.to_owned(), Declared::new(origin, rules));
        });
        before.is_none()
    }

    /// A table is not declared any more, if it was.
    pub(super) fn withdraw(&self, table: &str) {
        self.watches.breaks(Some(table), "it is not fed by its source any more");
        let copy = self.wish(|state| {
            state.tables.remove(table);
            state.in_step.remove(table);
            let is_copied = state.copying.as_deref() == Some(table);
            state.call.take_if(|_| is_copied)
        });
        let Some((call, _)) = copy else { return };
        call.cancel();
        // Otherwise its end could bring the table back after it was dropped.
        let patience = Instant::now() + WITHDRAW_PATIENCE;
        let mut state = self.state.lock();
        while state.copying.as_deref() == Some(table) && !state.is_stopping {
            if self.changed.wait_until(&mut state, patience).timed_out() {
                tracing::error!(table, "the source does not heed the end of a copy");
                return;
            }
        }
    }

    /// Asks something of the follower: it looks at its tables again, also while it waits after a failure.
    pub(super) fn wish<T>(&self, wish: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let wished = wish(&mut state);
        state.wishes += 1;
        state.wished = Some(Instant::now());
        state.due = None;
        let call = state.call.take_if(|(_, is_interruptible)| *is_interruptible);
        drop(state);
        // Outside of the lock: what hangs on the end of a call may take a while.
        if let Some((call, _)) = call {
            call.cancel();
        }
        self.changed.notify_all();
        wished
    }

    /// Ends the follower.
    pub(super) fn stop(&self) {
        let call = {
            let mut state = self.state.lock();
            state.is_stopping = true;
            state.call.take()
        };
        if let Some((call, _)) = call {
            call.cancel();
        }
        self.watches.stop();
        let audits = self.audit_calls.lock().end();
        audits.iter().for_each(Call::cancel);
        self.changed.notify_all();
    }

    /// A call of the follower. Stopping ends it, and so do wishes if it is interruptible.
    ///
    /// # Errors
    /// [`ErrorCode::Closed`].
    pub(super) fn call(&self, limit: Option<Duration>, is_interruptible: bool) -> Result<Call> {
        let mut state = self.state.lock();
        if state.is_stopping {
            return Err(stopping());
        }
        let call = limit.map_or_else(Call::new, Call::within);
        state.call = Some((call.clone(), is_interruptible));
        Ok(call)
    }

    /// Waits until there is something to do. Returns the wishes up to now.
    ///
    /// # Errors
    /// [`ErrorCode::Closed`].
    pub(super) fn wait_for_work(&self) -> Result<u64> {
        let mut state = self.state.lock();
        loop {
            if state.is_stopping {
                return Err(stopping());
            }
            let now = Instant::now();
            let quiet = state.wished.and_then(|wished| (wished + QUIET).checked_duration_since(now));
            let until_due = state.due.and_then(|due| due.checked_duration_since(now));
            let Some(left) = quiet.max(until_due).filter(|left| !left.is_zero()) else {
                return Ok(state.wishes);
            };
            self.changed.wait_for(&mut state, left);
        }
    }

    /// Waits for a wish, or until a moment.
    pub(super) fn wait_for_wish(&self, wishes: u64, until: Option<Instant>) {
        let mut state = self.state.lock();
        while state.wishes == wishes && !state.is_stopping {
            match until {
                None => self.changed.wait(&mut state),
                Some(until) => {
                    if self.changed.wait_until(&mut state, until).timed_out() {
                        return;
                    }
                }
            }
        }
    }

    /// The follower failed: it waits, unless somebody wishes something.
    pub(super) fn failed(&self, error: Error, wishes: u64, share: f64) {
        let mut state = self.state.lock();
        state.is_streaming = false;
        state.failures = state.failures.saturating_add(1);
        let (source, failures) = (&self.source_name, state.failures);
        tracing::warn!(source, failures, "following the source failed: {error:#}");
        if state.wishes == wishes {
            state.due = Instant::now().checked_add(wait_after(state.failures, share));
        }
        state.last_error = Some(Arc::new(error));
        state.attempts += 1;
        self.changed.notify_all();
    }

    /// The source answers.
    pub(super) fn reached(&self) {
        let mut state = self.state.lock();
        if state.failures > 0 || state.last_error.is_some() {
            state.failures = 0;
            state.last_error = None;
            tracing::info!(source = self.source_name, "the source is followed again");
        }
    }

    /// Everything up to a position is applied.
    pub(super) fn applied(&self, position: &[u8], committed: Option<SystemTime>) {
        let mut state = self.state.lock();
        state.reached = Some(position.to_vec());
        if committed.is_some() {
            state.last_commit = committed;
        }
        self.changed.notify_all();
    }
}

impl State {
    /// Copies of tables failed: they are tried again later, alone if there were several.
    pub(super) fn copies_failed(&mut self, tables: &[String], error: &Arc<Error>, share: f64) {
        self.attempts += 1;
        for name in tables {
            let Some(table) = self.tables.get_mut(name) else { continue };
            table.failures = table.failures.saturating_add(1);
            table.due = Instant::now().checked_add(wait_after(table.failures, share));
            table.is_alone |= tables.len() > 1;
            table.last_error = Some(error.clone());
            table.failed_attempt = self.attempts;
            table.progress = None;
            let failures = table.failures;
            tracing::warn!(table = name, failures, "copying the table failed: {error:#}");
        }
    }

    /// A table was copied.
    pub(super) fn copied(&mut self, name: &str, as_of: SystemTime) {
        self.in_step.insert(name.to_owned());
        if let Some(table) = self.tables.get_mut(name) {
            table.failures = 0;
            table.due = None;
            table.last_error = None;
            table.stale = None;
            table.is_asked = false;
            table.is_alone = false;
            table.progress = None;
            table.copies += 1;
            let is_soon = |(at, _): &(Instant, u32)| at.elapsed() < SOON;
            let before = table.copied.filter(is_soon).map_or(0, |(_, count)| count.saturating_add(1));
            table.copied = Some((Instant::now(), before));
            table.last_copy = Some(as_of);
        }
    }

    /// Failures up to now.
    pub(super) fn attempts(&self) -> u64 {
        self.attempts
    }

    /// Why the source is not followed, if it failed.
    pub(super) fn failure(&self) -> Option<Arc<Error>> {
        self.last_error.clone()
    }

    /// What has failed for a table since an attempt, if anything has.
    pub(super) fn failure_since(&self, table: &str, attempt: u64) -> Option<Arc<Error>> {
        let of_table = self.tables.get(table).filter(|table| table.failed_attempt > attempt);
        let of_table = of_table.and_then(|table| table.last_error.clone());
        of_table.or_else(|| self.last_error.clone().filter(|_| self.failures > 0 && self.attempts > attempt))
    }

    /// What a table that is not at a position waits for.
    pub(super) fn waiting_for(&self, table: &str) -> String {
        let declared = self.tables.get(table);
        let of_table = declared
            .and_then(|declared| declared.last_error.clone())
            .filter(|_| !self.in_step.contains(table));
        match (
            declared.and_then(|declared| declared.stale.clone()),
            of_table.or_else(|| self.last_error.clone()),
        ) {
            (Some(why), _) => format!("it is stale, because {why}"),
            (None, Some(error)) => error.to_string(),
            (None, None) if self.in_step.contains(table) => "the source has not sent it".to_owned(),
            (None, None) => "it is not copied yet".to_owned(),
        }
    }

    /// How a table stands.
    pub(super) fn status(&self, name: &str, shared: &Shared) -> Option<RefreshStatus> {
        let table = self.tables.get(name)?;
        let is_in_step = self.in_step.contains(name);
        let left = |due: Option<Instant>| due.map(|due| due.saturating_duration_since(Instant::now()));
        let (phase, state) = match (&table.progress, &table.stale) {
            (Some(progress), _) => {
                let state = RefreshState::Running {
                    rows: progress.rows(),
                    bytes: progress.bytes(),
                    expected_rows: progress.expected_rows(),
                    elapsed: progress.elapsed(),
                };
                (FollowPhase::Copying, state)
            }
            (None, Some(why)) => (FollowPhase::Stale(why.clone()), RefreshState::Waiting(None)),
            (None, None) if is_in_step && self.is_streaming => {
                (FollowPhase::Following, RefreshState::Waiting(None))
            }
            (None, None) => {
                let waits = left(self.due).max(if is_in_step { None } else { left(table.due) });
                (
                    FollowPhase::Waiting,
                    waits.map_or(RefreshState::Due, |left| RefreshState::Waiting(Some(left))),
                )
            }
        };
        let of_table = table.last_error.clone().filter(|_| !is_in_step);
        Some(RefreshStatus {
            table: name.to_owned(),
            source: shared.source_name.clone(),
            state,
            succeeded: table.copies,
            failures: if of_table.is_some() { table.failures } else { self.failures },
            last_error: of_table.or_else(|| self.last_error.clone()),
            last_success: table.last_copy,
            following: Some(FollowStatus {
                phase,
                name: self.name.clone(),
                position: self.reached.as_deref().and_then(|position| shared.source.position_text(position)),
                last_commit: self.last_commit,
                lag: self.lag,
                lag_time: match (self.lag, self.confirmed) {
                    (Some(0), _) => Some(Duration::ZERO),
                    (_, confirmed) => confirmed.and_then(|at| SystemTime::now().duration_since(at).ok()),
                },
                names: self.names.clone(),
                audit: self.audits.get(name).and_then(AuditRecord::status),
            }),
        })
    }
}
