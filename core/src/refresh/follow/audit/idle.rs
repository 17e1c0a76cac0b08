//! Audits that begin by themselves, of tables for which somebody wants them, while the source has nothing else to send.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::held::{EncodedKey, Span};
use super::{Audit, Pace};
use crate::refresh::follow::shared::{Shared, State};
use crate::source::AuditPlan;
use crate::types::error::{Error, ErrorCode, Result};
use crate::way::embedded::Embedded;
use crate::way::refreshing::AuditReport;

/// How often it is looked whether an audit is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(50);
/// How long after one that failed the next begins, at least.
const RETRY_INTERVAL: Duration = Duration::from_secs(600);
/// More than this that the source has and that has not come is not idle, in its own units.
const LAG_MAX: u64 = 1 << 20;
/// Rows that are compared at once: what a table at this pace takes 10 s for.
const SLICE_SECONDS: u64 = 10;
/// How long a slice that failed rests before it is tried again: twice as long each time, and given up beyond a limit.
const SLICE_PAUSE: Duration = Duration::from_secs(1);
const SLICE_PAUSE_MAX: Duration = Duration::from_secs(64);

/// Audits tables of a source until it is stopped.
pub(in crate::refresh::follow) fn run(cache: &Arc<Embedded>, shared: &Shared) {
    loop {
        let shortest = shared.state.lock().shortest_audit_interval();
        if shared.rest(shortest.clamp(LOOK_INTERVAL_MIN, LOOK_INTERVAL)).is_err() {
            return;
        }
        let Some((table, plan)) = shared.state.lock().due_for_audit() else { continue };
        let ranges = u64::from(plan.rows_per_second) * SLICE_SECONDS / super::held::RANGE_ROWS;
        let ranges = usize::try_from(ranges).unwrap_or(usize::MAX).clamp(1, Pace::AT_ONCE.ranges);
        let pace = Pace { ranges, rows_per_second: Some(plan.rows_per_second) };
        let audited = Audit::new(cache, shared, &table).and_then(|audit| audit.run(pace));
        let mut state = shared.state.lock();
        if let Some(declared) = state.tables.get_mut(&table) {
            declared.audit_tried = audited.is_err().then(SystemTime::now);
        }
        drop(state);
        if let Err(error) = audited
            && error.code() != ErrorCode::Closed
        {
            tracing::warn!(
                table,
                source = shared.source_name,
                "the table could not be compared with its source: {error:#}"
            );
        }
    }
}

impl Audit<'_> {
    /// Compares a span as soon as the source has nothing else to send, and again after a while if it cannot be compared: a slice that fails does
    /// not cost those before it.
    pub(super) fn slice_when_idle(
        &self,
        span: &Span,
        bounds: &[EncodedKey],
        report: &mut AuditReport,
    ) -> Result<()> {
        let (before, mut pause) = (report.rows, SLICE_PAUSE);
        loop {
            while self.shared.state.lock().is_busy() {
                self.shared.rest(SLICE_PAUSE)?;
            }
            match self.slice(span, bounds, report) {
                Err(error) if is_passing(&error) && pause <= SLICE_PAUSE_MAX => {
                    let (table, source) = (&self.table, &self.shared.source_name);
                    tracing::debug!(table, source, "a part of the table is compared again later: {error:#}");
                    report.rows = before;
                    self.shared.rest(pause)?;
                    pause *= 2;
                }
                ended => return ended,
            }
        }
    }
}

fn is_passing(error: &Error) -> bool {
    matches!(error.code(), ErrorCode::SourceUnavailable | ErrorCode::Timeout)
}

impl State {
    /// Whether the source has something else to send than what an audit wants.
    fn is_busy(&self) -> bool {
        self.copying.is_some() || self.lag.is_some_and(|lag| lag > LAG_MAX)
    }

    /// The shortest time between two audits of a table.
    fn shortest_audit_interval(&self) -> Duration {
        let plans = self.tables.values().filter_map(|declared| declared.origin.audit);
        plans.map(|plan| plan.every).min().unwrap_or(LOOK_INTERVAL)
    }

    /// A table whose audit is due, if the source has nothing else to send.
    fn due_for_audit(&self) -> Option<(String, AuditPlan)> {
        if !self.is_streaming || self.is_busy() {
            return None;
        }
        let now = SystemTime::now();
        let is_past = |moment: Option<SystemTime>, interval: Duration| {
            moment.is_none_or(|moment| now.duration_since(moment).is_ok_and(|since| since >= interval))
        };
        self.tables.iter().find_map(|(name, declared)| {
            let plan = declared.origin.audit?;
            let ended = self.audits.get(name).and_then(|record| record.status()).map(|status| status.ended);
            let is_due = is_past(ended, plan.every) && is_past(declared.audit_tried, RETRY_INTERVAL);
            (is_due && self.in_step.contains(name)).then(|| (name.clone(), plan))
        })
    }
}
