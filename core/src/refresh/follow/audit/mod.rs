//! Audits: all rows of a table are compared with those of its source at one position, and the ones that differ are fetched again.

mod compare;
mod held;
mod idle;
mod mend;
mod record;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use self::compare::{Comparison, Suspects};
use self::held::{EncodedKey, Held, Span};
pub(super) use self::idle::run as run_idle;
pub(super) use self::record::{AuditRecord, audit_name};
use super::inspect::Inspected;
use super::records::{decode, encode};
use super::shared::{Shared, stopping};
use super::target::Target;
use super::watch::Watching;
use crate::source::{Call, FeedCheck, Relation};
use crate::storage::Change;
use crate::types::clock::nanoseconds_of;
use crate::types::error::{Error, ErrorCode, Result};
use crate::way::Backend;
use crate::way::embedded::Embedded;
use crate::way::refreshing::{AuditReport, DivergentRow};

/// How long one comparison waits for the source and for the stream.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long it may take to read a part of a table at the source.
const READ_PATIENCE: Duration = Duration::from_secs(900);
/// How long a table that does not follow now is waited for.
const STREAM_PATIENCE: Duration = Duration::from_secs(10);
/// How often the follower may be beyond a position before it is noted.
const TRIES: u32 = 5;
/// The most differing rows that a report names.
const NAMED_MAX: usize = 1000;

/// How much is compared at once, and how fast.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Ranges under one state of the source.
    pub(super) ranges: usize,
    /// The most rows a second; `None` for no limit.
    pub(super) rows_per_second: Option<u32>,
}

impl Pace {
    /// Somebody waits.
    pub(super) const AT_ONCE: Self = Self { ranges: 64, rows_per_second: None };
}

/// What a table is fed by.
struct Fed {
    relation: Relation,
    position: Vec<u8>,
    /// The place of the relation in the feed.
    place: usize,
}

/// An audit of one table.
pub(super) struct Audit<'a> {
    cache: &'a Embedded,
    shared: &'a Shared,
    table: String,
    /// Its calls among those of other audits.
    number: u64,
    /// Sums differed and no row did.
    is_unexplained: Cell<bool>,
}

impl<'a> Audit<'a> {
    pub(super) fn new(cache: &'a Embedded, shared: &'a Shared, table: &str) -> Result<Self> {
        let number = shared.audit_calls.lock().begin();
        let audit = Self { cache, shared, table: table.to_owned(), number, is_unexplained: Cell::new(false) };
        shared.refuse_if_stopping()?;
        Ok(audit)
    }

    /// Compares all rows, and mends those that differ.
    ///
    /// # Errors
    /// Those of the source and of commits. What was mended stays mended.
    pub(super) fn run(self, pace: Pace) -> Result<AuditReport> {
        let (began, asked) = (Instant::now(), SystemTime::now());
        let name = audit_name(&self.shared.source_name, &self.table);
        let before: AuditRecord = decode(self.cache.source_position(&name)?.as_deref()).unwrap_or_default();
        let mut report = AuditReport {
            table: self.table.clone(),
            rows: 0,
            divergent_rows: 0,
            mended_rows: 0,
            divergent: Vec::new(),
            sound_since: before.sound(),
            elapsed: Duration::ZERO,
        };
        let ended = self.slices(pace, &mut report);
        report.elapsed = began.elapsed();
        // Also if it did not come to its end: what differed is counted.
        let ended_whole = ended.is_ok();
        let is_sound =
            ended_whole && report.mended_rows == report.divergent_rows && !self.is_unexplained.get();
        if ended_whole || report.divergent_rows > 0 {
            self.note(name, |record| {
                record.divergent_rows = record.divergent_rows.saturating_add(report.divergent_rows);
                if ended_whole {
                    (record.ended, record.rows) = (Some(nanoseconds_of(SystemTime::now())), report.rows);
                }
                // A copy meanwhile was of a later moment.
                if is_sound && record.sound().is_none_or(|sound| sound < asked) {
                    *record = record.clone().sound_at(asked);
                }
            })?;
        }
        ended?;
        let (table, rows, divergent_rows) = (&report.table, report.rows, report.divergent_rows);
        tracing::info!(table, rows, divergent_rows, "the table was compared with its source");
        Ok(report)
    }

    /// Changes the record as it is now, unless the table has left its source: then there is none.
    fn note(&self, name: String, change: impl FnOnce(&mut AuditRecord)) -> Result<()> {
        let left = self.shared.left.lock();
        if left.contains(&self.table) || !self.shared.state.lock().tables.contains_key(&self.table) {
            return Ok(());
        }
        let record = self.cache.source_position(&name)?;
        let mut record: AuditRecord = decode(record.as_deref()).unwrap_or_default();
        change(&mut record);
        let position = Change::Position { source: name, position: encode(&record)? };
        self.cache.write_changes(vec![position], SystemTime::now())?;
        self.shared.state.lock().audits.insert(self.table.clone(), record);
        drop(left);
        Ok(())
    }

    fn slices(&self, pace: Pace, report: &mut AuditReport) -> Result<()> {
        let bounds = {
            let (target, _) = self.target()?;
            Held { state: self.cache.state(), target: &target }.bounds()?
        };
        let (mut from, mut rest): (Option<EncodedKey>, &[EncodedKey]) = (None, &bounds);
        loop {
            let inner = rest.get(..pace.ranges.saturating_sub(1)).unwrap_or(rest);
            let below = rest.get(inner.len()).cloned();
            let span = Span { from: from.take(), below: below.clone() };
            let (began, before) = (Instant::now(), report.rows);
            match pace.rows_per_second {
                None => self.slice(&span, inner, report)?,
                Some(_) => self.slice_when_idle(&span, inner, report)?,
            }
            let Some(below) = below else { return Ok(()) };
            rest = rest.get(inner.len() + 1..).unwrap_or_default();
            from = Some(below);
            if let Some(rate) = pace.rows_per_second {
                let share = (report.rows - before) as f64 / f64::from(rate.max(1));
                self.shared.rest(Duration::from_secs_f64(share).saturating_sub(began.elapsed()))?;
            }
        }
    }

    /// Compares a span, and mends it, until nothing is left of it.
    fn slice(&self, span: &Span, bounds: &[EncodedKey], report: &mut AuditReport) -> Result<()> {
        let mut is_first = true;
        loop {
            let (rows, suspects, target) = self.compare(span, bounds)?;
            if std::mem::take(&mut is_first) {
                report.rows += rows;
            }
            if suspects.keys.is_empty() {
                return Ok(());
            }
            self.name(&suspects, &target, report)?;
            let keys: Vec<EncodedKey> = suspects.keys.into_iter().map(|(key, _)| key).collect();
            let mended = self.mend(&keys)?;
            report.mended_rows += mended;
            // With nothing mended it would go round for ever.
            if !suspects.is_full || mended == 0 {
                return Ok(());
            }
        }
    }

    fn compare(&self, span: &Span, bounds: &[EncodedKey]) -> Result<(u64, Suspects, Target)> {
        for _ in 0..TRIES {
            let (target, fed) = self.target()?;
            let watching = self.watch()?;
            let mut check = self.check(&fed, &target)?;
            let Some(state) = watching.at(check.position(), &*self.shared.source, Self::deadline())? else {
                continue;
            };
            // Both sides have what they compare.
            drop(watching);
            let (held, call) = (Held { state, target: &target }, self.call(READ_PATIENCE)?);
            let mut comparison =
                Comparison { held, check: &mut *check, call: &call, suspects: Suspects::default() };
            let rows = comparison.compare(span, bounds)?;
            let suspects = comparison.suspects;
            if suspects.unexplained > 0 {
                self.is_unexplained.set(true);
                let (table, source, ranges) = (&self.table, &self.shared.source_name, suspects.unexplained);
                tracing::error!(
                    table,
                    source,
                    ranges,
                    "sums of ranges differ from those of the source and no row does; the table is not known to be sound"
                );
            }
            return Ok((rows, suspects, target));
        }
        Err(Error::new(
            ErrorCode::SourceUnavailable,
            format!(
                "table `{}` cannot be compared now: its source changes faster than it says where it is; try it later",
                self.table
            ),
        ))
    }

    /// Adds what differs to the report and to the log.
    fn name(&self, suspects: &Suspects, target: &Target, report: &mut AuditReport) -> Result<()> {
        report.divergent_rows += suspects.keys.len() as u64;
        let room = NAMED_MAX.saturating_sub(report.divergent.len());
        let named: Vec<EncodedKey> = suspects.keys.iter().take(room).map(|(key, _)| key.clone()).collect();
        for (key, (_, what)) in target.key_values(&named)?.into_iter().zip(&suspects.keys) {
            let shown = key.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let (table, source, what) = (&self.table, &self.shared.source_name, *what);
            tracing::warn!(table, source, key = shown, %what, "a row differs from that of the source");
            report.divergent.push(DivergentRow { key, what });
        }
        Ok(())
    }

    /// The table as it is in step now, and what it is of at the source.
    fn target(&self) -> Result<(Target, Fed)> {
        let Inspected { tables, feed, .. } = Inspected::read(self.cache, self.shared)?;
        let listed = tables.into_iter().enumerate().find(|(_, listed)| listed.name == self.table);
        let found = listed.and_then(|(place, listed)| {
            let (relation, position) = (listed.columns?.relation(), feed?.position);
            Some((listed.target?, Fed { relation, position, place }))
        });
        found.ok_or_else(|| {
            let why = self.shared.state.lock().waiting_for(&self.table);
            let message = format!("table `{}` cannot be compared with its source now: {why}", self.table);
            Error::new(ErrorCode::SourceUnavailable, message)
        })
    }

    fn watch(&self) -> Result<Watching<'_>> {
        let state = || self.cache.state();
        // What failed is not waited for.
        let patience = self.shared.state.lock().failure().map_or(STREAM_PATIENCE, |_| Duration::ZERO);
        let begun = self.shared.watches.begin(&self.table, state, Instant::now() + patience);
        begun.map_err(|error| match self.shared.state.lock().failure() {
            Some(why) if error.code() == ErrorCode::SourceUnavailable => {
                error.with_source(super::super::scheduler::again(&why))
            }
            _ => error,
        })
    }

    fn check(&self, fed: &Fed, target: &Target) -> Result<Box<dyn FeedCheck>> {
        let columns: Vec<String> = target.schema.fields().iter().map(|field| field.name().clone()).collect();
        let call = self.call(PATIENCE)?;
        let position = Some((&*fed.position, fed.place));
        self.shared.source.check(&fed.relation, &columns, &target.key_names(), position, &call)
    }

    /// A call, which ends when the cache is closed. The one before it is over.
    fn call(&self, limit: Duration) -> Result<Call> {
        let call = Call::within(limit);
        let mut calls = self.shared.audit_calls.lock();
        // Under the lock: whoever stops takes it after it has said so.
        self.shared.refuse_if_stopping()?;
        calls.running.insert(self.number, call.clone());
        Ok(call)
    }

    fn deadline() -> Instant {
        Instant::now() + PATIENCE
    }
}

impl Drop for Audit<'_> {
    fn drop(&mut self) {
        self.shared.audit_calls.lock().running.remove(&self.number);
    }
}

/// The calls of audits that are under way.
#[derive(Debug, Default)]
pub(super) struct AuditCalls {
    next: u64,
    running: BTreeMap<u64, Call>,
}

impl AuditCalls {
    fn begin(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The calls, each of which is to be cancelled.
    pub(super) fn end(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.running).into_values().collect()
    }
}

impl Shared {
    fn refuse_if_stopping(&self) -> Result<()> {
        if self.state.lock().is_stopping { Err(stopping()) } else { Ok(()) }
    }

    /// Does nothing for a while.
    ///
    /// # Errors
    /// [`ErrorCode::Closed`].
    fn rest(&self, pause: Duration) -> Result<()> {
        let until = Instant::now() + pause;
        let mut state = self.state.lock();
        while !state.is_stopping {
            if self.changed.wait_until(&mut state, until).timed_out() {
                return Ok(());
            }
        }
        Err(stopping())
    }
}

/// An audit now.
pub(super) fn now(cache: &Arc<Embedded>, shared: &Shared, table: &str) -> Result<AuditReport> {
    Audit::new(cache, shared, table)?.run(Pace::AT_ONCE)
}
