//! Descriptions: versions, columns, tables, the state of a cache.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use arrow::datatypes::SchemaRef;
use pillion::{FollowPhase, RefreshState, RefreshStatus};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::arrow_out::schema_capsule;

/// A committed state of the whole cache.
///
/// Versions are ordered only within one incarnation, which changes whenever commits could have been lost.
#[pyclass(frozen, eq, hash, get_all, from_py_object, module = "pillion")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Version {
    /// Names an unbroken line of commits.
    incarnation: u64,
    /// Number of the commit within it.
    sequence: u64,
}

#[pymethods]
impl Version {
    #[new]
    fn new(incarnation: u64, sequence: u64) -> Self {
        Self { incarnation, sequence }
    }

    /// Whether this state has everything of another one; ``None`` if they are of different incarnations.
    fn includes(&self, other: &Self) -> Option<bool> {
        pillion::Version::from(self).includes(other.into())
    }

    fn __str__(&self) -> String {
        pillion::Version::from(self).to_string()
    }

    fn __repr__(&self) -> String {
        format!("Version({}, {})", self.incarnation, self.sequence)
    }

    fn __getnewargs__(&self) -> (u64, u64) {
        (self.incarnation, self.sequence)
    }
}

impl From<pillion::Version> for Version {
    fn from(version: pillion::Version) -> Self {
        Self { incarnation: version.incarnation, sequence: version.sequence }
    }
}

impl From<&Version> for pillion::Version {
    fn from(version: &Version) -> Self {
        Self { incarnation: version.incarnation, sequence: version.sequence }
    }
}

/// What a statement that changes tables did. Made by :meth:`Cache.execute`.
#[pyclass(frozen, get_all, module = "pillion")]
pub(crate) struct Executed {
    /// Rows that it added, replaced or deleted. A table that was dropped counts none.
    rows: u64,
    /// The version of its commit; the newest version if there was nothing to change.
    version: Version,
}

#[pymethods]
impl Executed {
    fn __repr__(&self) -> String {
        format!("Executed(rows={}, version='{}')", self.rows, self.version.__str__())
    }
}

impl From<pillion::Executed> for Executed {
    fn from(executed: pillion::Executed) -> Self {
        Self { rows: executed.rows, version: executed.version.into() }
    }
}

/// Columns with their Arrow types. Libraries that take Arrow take it as a schema.
#[pyclass(frozen, module = "pillion")]
pub(crate) struct Schema(pub(crate) SchemaRef);

#[pymethods]
impl Schema {
    /// The names of the columns, in their order.
    #[getter]
    fn names(&self) -> Vec<&str> {
        self.0.fields().iter().map(|field| field.name().as_str()).collect()
    }

    /// The Arrow types of the columns as texts, in their order.
    #[getter]
    fn types(&self) -> Vec<String> {
        self.0.fields().iter().map(|field| field.data_type().to_string()).collect()
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &self.0)
    }

    fn __len__(&self) -> usize {
        self.0.fields().len()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| self.0 == other.get().0)
    }

    fn __repr__(&self) -> String {
        let columns = self.0.fields().iter().map(|field| {
            let null = if field.is_nullable() { "" } else { " not null" };
            format!("{}: {}{null}", field.name(), field.data_type())
        });
        format!("Schema({})", columns.collect::<Vec<_>>().join(", "))
    }
}

/// What is known of a table at one version.
#[pyclass(frozen, get_all, module = "pillion")]
#[derive(Clone)]
pub(crate) struct TableInfo {
    /// Its name.
    name: String,
    /// The columns of its primary key, in order; empty without one.
    primary_key: Vec<String>,
    /// The columns by which its rows are stored.
    sort_by: Vec<String>,
    /// Who may change its rows: ``anyone``, ``append_only`` or ``source:NAME``.
    write_policy: String,
    /// The column and the age by which rows are removed.
    retain: Option<(String, Duration)>,
    /// Reads of older rows are refused.
    max_staleness: Option<Duration>,
    /// Rows.
    rows: u64,
    /// Bytes on disk.
    bytes: u64,
    /// Files that hold its rows.
    segments: usize,
    /// Rows that are in the log only.
    logged_rows: u64,
    /// What was found damaged.
    damage: Option<String>,
    /// Of a working set, which rows of its source it holds all of, as a condition; ``None`` while nobody knows.
    coverage: Option<String>,
    /// The source held the same rows at this moment.
    as_of: Option<SystemTime>,
    /// The version that this describes.
    version: Version,
}

#[pymethods]
impl TableInfo {
    fn __repr__(&self) -> String {
        format!("TableInfo(name='{}', rows={}, version='{}')", self.name, self.rows, self.version.__str__())
    }
}

impl From<&pillion::TableInfo> for TableInfo {
    fn from(info: &pillion::TableInfo) -> Self {
        Self {
            name: info.name.clone(),
            primary_key: info.rules.primary_key.clone(),
            sort_by: info.rules.sort_by.clone(),
            write_policy: info.rules.write_policy.to_string(),
            retain: info.rules.retention.as_ref().map(|rule| (rule.column.clone(), rule.age)),
            max_staleness: info.rules.max_staleness,
            rows: info.rows,
            bytes: info.bytes,
            segments: info.segments,
            logged_rows: info.logged_rows,
            damage: info.damage.clone(),
            coverage: info.coverage.clone(),
            as_of: info.freshness.map(|freshness| freshness.as_of),
            version: info.version.into(),
        }
    }
}

/// The state of a cache as a whole.
#[pyclass(frozen, get_all, module = "pillion")]
pub(crate) struct Status {
    /// How it is reached: ``embedded``, ``attached`` or ``remote``.
    way: String,
    /// Its directory.
    dir: PathBuf,
    /// Its newest version.
    version: Version,
    /// Its tables, by name.
    tables: Vec<TableInfo>,
    /// What was found damaged when the cache was opened.
    damage: Option<String>,
    /// What went wrong with the disk, if the cache takes no more writes.
    poisoned: Option<String>,
    /// When its owner was last seen alive, if that is another process.
    owner_seen: Option<SystemTime>,
    /// Whether its owner closed it.
    owner_closed: Option<bool>,
}

#[pymethods]
impl Status {
    fn __repr__(&self) -> String {
        let tables: Vec<&str> = self.tables.iter().map(|table| table.name.as_str()).collect();
        format!("Status(way='{}', version='{}', tables={tables:?})", self.way, self.version.__str__())
    }
}

impl From<pillion::Status> for Status {
    fn from(status: pillion::Status) -> Self {
        Self {
            way: status.way.to_string(),
            dir: status.dir,
            version: status.version.into(),
            tables: status.tables.iter().map(Into::into).collect(),
            damage: status.damage,
            poisoned: status.poisoned,
            owner_seen: status.owner.map(|owner| owner.at),
            owner_closed: status.owner.map(|owner| owner.closed),
        }
    }
}

/// How the refreshes of a table from its source stand.
#[pyclass(frozen, get_all, module = "pillion")]
pub(crate) struct Refresh {
    /// The table.
    table: String,
    /// The source that feeds it.
    source: String,
    /// ``waiting``, ``due``, ``running`` or ``paused``.
    state: String,
    /// Of a table that follows the changes of its source: ``copying``, ``following``, ``waiting`` or ``stale``.
    following: Option<String>,
    /// Up to where every change of the source is applied, as the source writes it; of a table that follows.
    position: Option<String>,
    /// How much the source had beyond the position when it was last asked, in its own units; of a table that follows.
    lag: Option<u64>,
    /// Rows that have come, of a refresh that is under way.
    rows: Option<u64>,
    /// How long until the next one, if that is known.
    next_in: Option<Duration>,
    /// Refreshes that succeeded since the cache was opened.
    succeeded: u64,
    /// Refreshes that failed since the last one that succeeded.
    failures: u32,
    /// Why the last one failed.
    last_error: Option<String>,
    /// When the last one that succeeded asked the source.
    last_success: Option<SystemTime>,
}

#[pymethods]
impl Refresh {
    fn __repr__(&self) -> String {
        format!("Refresh(table='{}', source='{}', state='{}')", self.table, self.source, self.state)
    }
}

impl From<RefreshStatus> for Refresh {
    fn from(status: RefreshStatus) -> Self {
        let (state, rows, next_in) = match status.state {
            RefreshState::Waiting(next) => ("waiting", None, next),
            RefreshState::Due => ("due", None, None),
            RefreshState::Running { rows, .. } => ("running", Some(rows), None),
            _ => ("paused", None, None),
        };
        let following = status.following.as_ref().map(|following| match following.phase {
            FollowPhase::Copying => "copying",
            FollowPhase::Following => "following",
            FollowPhase::Stale(_) => "stale",
            _ => "waiting",
        });
        Self {
            table: status.table,
            source: status.source,
            state: state.to_owned(),
            following: following.map(str::to_owned),
            position: status.following.as_ref().and_then(|following| following.position.clone()),
            lag: status.following.as_ref().and_then(|following| following.lag),
            rows,
            next_in,
            succeeded: status.succeeded,
            failures: status.failures,
            last_error: status.last_error.map(|error| error.to_string()),
            last_success: status.last_success,
        }
    }
}
