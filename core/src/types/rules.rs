//! What a table is to be, beside its columns and rows.

use std::fmt;
use std::time::Duration;

/// The longest time that a rule can name: 584 years.
const LONGEST: Duration = Duration::from_nanos(u64::MAX);

/// Who may change the rows of a table. Everybody may drop it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WritePolicy {
    /// Everybody who may write, in every way.
    #[default]
    Anyone,
    /// Rows are added and none is changed: only [`Table::append`](crate::Table::append) is allowed. Rows may still age
    /// out ([`TableDefinition::retain`](crate::TableDefinition::retain)).
    AppendOnly,
    /// A source of this name feeds the table, in transactions that say how far it was read
    /// ([`Transaction::source_position`](crate::Transaction::source_position)). Others may only
    /// [invalidate](crate::Table::invalidate) rows: what they write would be lost when the source sends the row again.
    Source(String),
}

impl fmt::Display for WritePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::AppendOnly => f.write_str("append_only"),
            Self::Source(name) => write!(f, "source:{name}"),
        }
    }
}

/// How long rows stay in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// The column of times or dates that says how old a row is; a row with a null there never grows too old.
    pub column: String,
    /// Older rows are removed.
    pub age: Duration,
}

impl Retention {
    /// Rows stay until the time in `column` is `age` ago. An age of more than 584 years counts as 584 years.
    pub fn new(column: impl Into<String>, age: Duration) -> Self {
        Self { column: column.into(), age: age.min(LONGEST) }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` up to {:?} ago", self.column, self.age)
    }
}

/// What becomes of a read that may need rows that a table does not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnMiss {
    /// It fails with [`NotCovered`](crate::ErrorCode::NotCovered).
    #[default]
    Error,
    /// The held rows answer it. The answer's [certificate](crate::Batches::certificate) says that it is partial, and a key that is not
    /// held has no row.
    Local,
    /// The source of the table answers it: rows that are not held are fetched when they are asked for, and not kept. While the source is
    /// out of reach, the read fails with the source's error. The [tier](crate::Batches::tier) of an answer says where its rows are from.
    Delegate,
}

impl fmt::Display for OnMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Local => "local",
            Self::Delegate => "delegate",
        })
    }
}

/// Which rows of its source a table holds, if it does not hold all of them. See
/// [`TableSource::rows_where`](crate::source::TableSource::rows_where).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkingSet {
    /// The condition that held rows satisfy, in SQL.
    pub condition: String,
    /// What becomes of reads that may need other rows.
    pub on_miss: OnMiss,
}

impl WorkingSet {
    /// Rows that satisfy a condition; reads that may need others fail.
    pub fn new(condition: impl Into<String>) -> Self {
        Self { condition: condition.into(), on_miss: OnMiss::Error }
    }

    /// The same, with what becomes of reads that may need other rows.
    #[must_use]
    pub fn on_miss(mut self, on_miss: OnMiss) -> Self {
        self.on_miss = on_miss;
        self
    }
}

impl fmt::Display for WorkingSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rows where {} (on_miss = {})", self.condition, self.on_miss)
    }
}

/// The rules of a table: what its [definition](crate::TableDefinition) asks for, and what a [table](crate::TableInfo)
/// has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableRules {
    /// Columns of the primary key, in order; empty without one.
    pub primary_key: Vec<String>,
    /// Columns that every segment is sorted by, ascending, nulls last. In a definition, empty stands for the primary
    /// key; in a table, empty means that rows stand as they came.
    pub sort_by: Vec<String>,
    /// Who may change the rows.
    pub write_policy: WritePolicy,
    /// How long rows stay; `None`: until they are removed.
    pub retention: Option<Retention>,
    /// How old rows may be and still be read; `None`: however old. See
    /// [`TableDefinition::max_staleness`](crate::TableDefinition::max_staleness).
    pub max_staleness: Option<Duration>,
    /// Which rows of its source it holds; `None`: all of them, or it has no source.
    pub working_set: Option<WorkingSet>,
}

impl TableRules {
    /// The rules of a definition as its table has them.
    #[must_use]
    pub fn of_table(mut self) -> Self {
        if self.sort_by.is_empty() {
            self.sort_by = self.primary_key.clone();
        }
        self.max_staleness = self.max_staleness.map(|bound| bound.min(LONGEST));
        self
    }

    /// How these rules of a table differ from those of a definition, as words for "the table exists with …"; `None` if
    /// they do not.
    pub fn difference(&self, wanted: &Self) -> Option<String> {
        let wanted = wanted.clone().of_table();
        if *self == wanted {
            return None;
        }
        let is_sorted_alike = self.primary_key == wanted.primary_key && self.sort_by == wanted.sort_by;
        let said = |rules: &Self| if is_sorted_alike { rules.keeping() } else { rules.order() };
        Some(format!("{}, not {}", said(self), said(&wanted)))
    }

    fn order(&self) -> String {
        format!("primary key ({}) and sort order ({})", self.primary_key.join(", "), self.sort_by.join(", "))
    }

    fn keeping(&self) -> String {
        let kept = self.retention.as_ref().map_or_else(|| "all rows".to_owned(), Retention::to_string);
        let read = self.max_staleness.map(|bound| format!(", reading rows up to {bound:?} old"));
        let held = self.working_set.as_ref().map(|set| format!(", holding {set}"));
        let (read, held) = (read.unwrap_or_default(), held.unwrap_or_default());
        format!("write policy {}, keeping {kept}{read}{held}", self.write_policy)
    }
}
