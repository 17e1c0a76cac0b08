//! Where the rows of a table come from, and when they are fetched again.

use std::time::Duration;

use super::cron::Cron;
use super::relation::Relation;
use crate::types::error::Result;
use crate::types::rules::{OnMiss, WorkingSet};

/// How often a table is refreshed without being asked.
const INTERVAL: Duration = Duration::from_secs(60);
/// How long a refresh may get no row.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of an interval a refresh may be early.
const JITTER: f64 = 0.1;

/// Where the rows of a table come from, how they are fetched, and when.
///
/// ```
/// use std::time::Duration;
///
/// use pillion::TableDefinition;
/// use pillion::source::{Relation, TableSource};
///
/// let orders = TableSource::new("shop", Relation::table("public.orders"))
///     .append_by("changed_at", Duration::from_secs(300))
///     .every(Duration::from_secs(10));
/// let orders = TableDefinition::from_source(orders).primary_key(["id"]);
/// # drop(orders);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct TableSource {
    pub(crate) source: String,
    pub(crate) relation: Relation,
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) condition: Option<String>,
    pub(crate) working_set: Option<WorkingSet>,
    pub(crate) append_by: Option<AppendBy>,
    pub(crate) cadence: Cadence,
    pub(crate) on_start: bool,
    pub(crate) jitter: f64,
    pub(crate) progress_timeout: Duration,
    pub(crate) on_schema_change: OnSchemaChange,
    pub(crate) publication: Option<String>,
    pub(crate) audit: Option<AuditPlan>,
}

/// When a table that follows is compared with its source by itself, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AuditPlan {
    pub(crate) every: Duration,
    pub(crate) rows_per_second: u32,
}

/// What becomes of a table that [follows](TableSource::changes) its source when its columns become others there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnSchemaChange {
    /// It is copied anew, with the columns that there are now. The old rows are read until then.
    #[default]
    Copy,
    /// The old rows stay and are not changed any more, and [`refreshes`](crate::Cache::refreshes) says why.
    /// [`refresh`](crate::Cache::refresh) copies the table anew.
    Stale,
}

/// When a table is refreshed without being asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cadence {
    /// So long after the last refresh.
    Every(Duration),
    /// At moments of the calendar.
    Cron(Box<Cron>),
    /// When the source says so, and so long after the last refresh.
    OnChange(Duration),
    OnCall,
    /// Never as a whole: every change is applied by itself.
    Changes,
}

/// The column by which new rows are recognised.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AppendBy {
    pub(crate) column: String,
    /// Rows up to this much below the highest value held are fetched again.
    pub(crate) overlap: Overlap,
}

/// A distance between values of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Overlap {
    /// Between times or dates.
    Time(Duration),
    /// Between whole numbers.
    Number(u64),
}

impl TableSource {
    /// All rows of a relation of the source that was [added](crate::Cache::add_source) by this name, fetched anew about every
    /// minute and at the start. What the source can tell is unchanged is not fetched.
    pub fn new(source: impl Into<String>, relation: Relation) -> Self {
        Self {
            source: source.into(),
            relation,
            columns: None,
            condition: None,
            working_set: None,
            append_by: None,
            cadence: Cadence::Every(INTERVAL),
            on_start: true,
            jitter: JITTER,
            progress_timeout: PROGRESS_TIMEOUT,
            on_schema_change: OnSchemaChange::default(),
            publication: None,
            audit: None,
        }
    }

    /// Whether the table follows its source, and is not refreshed.
    pub(crate) fn follows(&self) -> bool {
        self.cadence == Cadence::Changes
    }

    pub(crate) fn is_on_change(&self) -> bool {
        matches!(self.cadence, Cadence::OnChange(_))
    }

    /// The name of the source.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What is fetched from it.
    #[must_use]
    pub fn relation(&self) -> &Relation {
        &self.relation
    }

    /// How long after a refresh the next one begins by itself; `None` at moments of the calendar and by call.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        match self.cadence {
            Cadence::Every(interval) | Cadence::OnChange(interval) => Some(interval),
            Cadence::Cron(_) | Cadence::OnCall | Cadence::Changes => None,
        }
    }

    /// Only these columns. A source that cannot leave out columns sends all of them, and the others are dropped.
    pub fn columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        let columns: Vec<String> = columns.into_iter().map(Into::into).collect();
        self.relation = self.relation.only(columns.iter().cloned());
        self.columns = Some(columns);
        self
    }

    /// Only rows that satisfy a condition in the words of the source. Refused if the source takes no conditions.
    pub fn condition(mut self, condition: impl Into<String>) -> Self {
        self.condition = Some(condition.into());
        self
    }

    /// Makes the table a working set: it holds the rows of its source that satisfy a condition in SQL, and answers only what these rows
    /// answer completely. A read that may need others fails with [`NotCovered`](crate::ErrorCode::NotCovered), unless
    /// [`on_miss`](Self::on_miss) says otherwise.
    ///
    /// The condition compares columns with values: `=`, `<`, `BETWEEN`, `IN`, `LIKE 'prefix%'`, `IS NULL`, joined by `AND`, `OR` and
    /// `NOT`, with arithmetic of dates such as `created_at >= now() - interval '7 days'`. Each refresh evaluates `now()` and
    /// `current_date` anew, by the clock of this machine at its beginning, and fetches all rows anew then; what is covered is
    /// committed with the rows. Pillion compares values itself, texts by their bytes, whatever the source would do; so any source will do.
    /// Of a float that is not a number, and of the two zeros, rows are held wherever any reading would hold them.
    ///
    /// A query is answered if the conditions on each working set that it reads leave no row that is not held. `get` answers for
    /// a row that is there; that one is not there is only said if the key alone shows that it would be held. Not together with
    /// [`append_by`](Self::append_by), [`condition`](Self::condition) and [`retain`](crate::TableDefinition::retain).
    ///
    /// ```
    /// use pillion::source::{Relation, TableSource};
    ///
    /// let recent = TableSource::new("shop", Relation::table("public.orders"))
    ///     .rows_where("created_at >= now() - interval '7 days' AND region IN ('eu', 'us')");
    /// # drop(recent);
    /// ```
    pub fn rows_where(mut self, condition: impl Into<String>) -> Self {
        let on_miss = self.working_set.map(|set| set.on_miss).unwrap_or_default();
        self.working_set = Some(WorkingSet::new(condition).on_miss(on_miss));
        self
    }

    /// What becomes of reads of a [working set](Self::rows_where) that may need rows that are not held; an error unless told
    /// otherwise. Nothing without a condition.
    pub fn on_miss(mut self, on_miss: OnMiss) -> Self {
        self.working_set = self.working_set.map(|set| set.on_miss(on_miss));
        self
    }

    /// After the first load, a refresh fetches only rows whose `column`, a time or date, has at least the highest value that the table
    /// holds less `overlap`: rows that reach the source that much too late are found. With a primary key, fetched rows
    /// take the place of those that have their keys; without one, rows equal to held ones are not added again. Rows that are
    /// deleted at the source, or changed without a new value of the column, are not noticed.
    pub fn append_by(mut self, column: impl Into<String>, overlap: Duration) -> Self {
        self.append_by = Some(AppendBy { column: column.into(), overlap: Overlap::Time(overlap) });
        self
    }

    /// As [`append_by`](Self::append_by), with a column of whole numbers.
    pub fn append_by_number(mut self, column: impl Into<String>, overlap: u64) -> Self {
        self.append_by = Some(AppendBy { column: column.into(), overlap: Overlap::Number(overlap) });
        self
    }

    /// Refreshes this long after the last refresh ended; a tenth less or more at random, so that many caches do not ask at
    /// once.
    pub fn every(mut self, interval: Duration) -> Self {
        self.cadence = Cadence::Every(interval);
        self
    }

    /// Refreshes at moments of the calendar, in the place of an interval: `cron("0 3 * * *", "UTC")` at three o'clock every
    /// night, `cron("*/10 8-18 * * MON-FRI", "Europe/Berlin")` every ten minutes of a working day. The pattern says minute, hour, day of
    /// the month, month and day of the week; the time zone is a name of the IANA database. A refresh begins up to a tenth of the time to
    /// the following moment late, but never by more than a minute, and never early.
    ///
    /// Moments that pass while the process does not run, while a refresh takes longer, or because the clock is set forward are not made
    /// up for; a start refreshes in any case unless [`not_on_start`](Self::not_on_start) is said. If the clock is set back, its moments come again. An
    /// hour that a time zone leaves out is made up for at its end, and of an hour that comes twice the first counts.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorCode::InvalidArgument) for another pattern, for one whose moments never come, and for an unknown
    /// time zone.
    pub fn cron(mut self, pattern: &str, time_zone: &str) -> Result<Self> {
        self.cadence = Cadence::Cron(Box::new(Cron::parse(pattern, time_zone)?));
        Ok(self)
    }

    /// Refreshes when the source tells a change, about 300 ms after the last of several; while changes go on, every five seconds.
    /// Refreshes at the start too, and `poll` after the last refresh, because not every change is told: those that another machine makes in
    /// a folder of a network are not. Refused if the source [tells none](crate::source::Capabilities::watch).
    pub fn on_change(mut self, poll: Duration) -> Self {
        self.cadence = Cadence::OnChange(poll);
        self
    }

    /// Follows the source in the place of refreshes: copies all rows once, and then applies every insert, update, delete and truncate as soon
    /// as the source sends it. A transaction of the source is one commit here, across all tables that follow it, and comes exactly once
    /// whatever crashes. The table needs a primary key of columns by which the source tells rows apart. Refused if the source
    /// [gives out no changes](crate::source::Capabilities::changes).
    ///
    /// The source keeps changes for this cache until it has them on disk, also while it does not run: drop the table when it is not wanted
    /// any more. When the source has lost changes all the same, the table is copied anew, and its old rows are read until then. The keys and rows
    /// of a transaction are in memory until its end.
    ///
    /// Such a table has no [condition](Self::condition), no [`append_by`](Self::append_by) and no retention, its rows cannot be
    /// [invalidated](crate::Table::invalidate), and it cannot be paused.
    pub fn changes(mut self) -> Self {
        self.cadence = Cadence::Changes;
        self
    }

    /// What becomes of a table with [`changes`](Self::changes) when its columns become others at the source; it is copied anew unless told
    /// otherwise.
    pub fn on_schema_change(mut self, what: OnSchemaChange) -> Self {
        self.on_schema_change = what;
        self
    }

    /// What an administrator has made at the source to give out the changes of a table with [`changes`](Self::changes), such as a
    /// publication of PostgreSQL; without it the cache makes one. All tables that follow a source name the same.
    pub fn publication(mut self, name: impl Into<String>) -> Self {
        self.publication = Some(name.into());
        self
    }

    /// Compares all rows of a table with [`changes`](Self::changes) with the source by itself, so long after the last such
    /// [audit](crate::Table::audit) ended, and at most so many rows a second. It waits while a table of the source is copied, and while the
    /// source has more than 1 MiB of log that has not come.
    ///
    /// Without this no audit begins by itself: one reads the whole table at the source, and takes a replication slot of it for a moment, which whoever
    /// runs that server should want. Once a day finds a fault within a day.
    pub fn audit_every(mut self, interval: Duration, rows_per_second: u32) -> Self {
        self.audit = Some(AuditPlan { every: interval, rows_per_second: rows_per_second.max(1) });
        self
    }

    /// How much of the interval a refresh may be early or late, at random: between 0 and 1. See [`cron`](Self::cron) for moments of the
    /// calendar.
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = if share.is_finite() { share.clamp(0.0, 1.0) } else { JITTER };
        self
    }

    /// Refreshes only by call ([`Table::refresh`](crate::Table::refresh)); the first load still happens by itself.
    pub fn on_call(mut self) -> Self {
        self.cadence = Cadence::OnCall;
        self
    }

    /// Does not refresh a table that is there when the cache is opened before its interval has passed, or its next moment has come.
    pub fn not_on_start(mut self) -> Self {
        self.on_start = false;
        self
    }

    /// Gives a refresh up when no batch has come for this long; one minute unless told otherwise.
    pub fn progress_timeout(mut self, limit: Duration) -> Self {
        self.progress_timeout = limit;
        self
    }
}
