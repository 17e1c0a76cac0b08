//! The handle of a cache.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use futures::future::{AbortHandle, Abortable};
use pillion::{Error, ErrorCode, Retention, TableDefinition, TableRules, WritePolicy};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use crate::answer::Answer;
use crate::errors::{raise, refuse};
use crate::info::{Executed, Refresh, Status, TableInfo, Version};
use crate::input::rows;
use crate::shared::Shared;
use crate::snapshot::{Prepared, Snapshot, asked, planned};
use crate::sources::Feed;
use crate::table::{Table, written};
use crate::transaction::Transaction;
use crate::values::parameters;
use crate::waiting::{detached, interruptible};

/// A table cache. Made by :func:`pillion.open`, :func:`pillion.open_read_only`, :func:`pillion.connect`, :func:`pillion.from_url`
/// or :func:`pillion.from_env`. Any thread can use it.
///
/// Use it with ``with``, or close it. After that its tables, snapshots and queries refuse calls; rows and DataFrames stay.
#[pyclass(frozen, module = "pillion")]
pub(crate) struct Cache {
    pub(crate) shared: Arc<Shared>,
}

impl Cache {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

/// Refreshes a table and waits; Ctrl-C gives the refresh up.
///
/// # Errors
/// Those of [`pillion::Cache::refresh`].
pub(crate) fn refresh(py: Python<'_>, shared: &Shared, table: String) -> PyResult<Version> {
    let cache = shared.cache()?.clone();
    let (other, name) = (cache.clone(), table.clone());
    let give_up = move || {
        // The refresh may have ended by now.
        drop(other.cancel_refresh(&name));
    };
    interruptible(py, move || cache.refresh(&table), give_up).map(Into::into)
}

/// Seconds, or a `timedelta`.
pub(crate) fn duration(object: &Bound<'_, PyAny>, what: &str) -> PyResult<Duration> {
    if let Ok(delta) = object.extract::<Duration>() {
        return Ok(delta);
    }
    let seconds = object.extract::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| {
        refuse(
            ErrorCode::InvalidArgument,
            format!("{what} is a number of seconds or a timedelta, of at least 0"),
        )
    })
}

/// Names of columns: a text for a single one, or several.
fn names(object: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<String>> {
    match object {
        None => Ok(Vec::new()),
        Some(name) if name.is_instance_of::<PyString>() => Ok(vec![name.extract()?]),
        Some(names) => names.extract(),
    }
}

fn write_policy(text: &str) -> PyResult<WritePolicy> {
    match text.split_once(':') {
        None if text == "anyone" => Ok(WritePolicy::Anyone),
        None if text == "append_only" => Ok(WritePolicy::AppendOnly),
        Some(("source", name)) if !name.is_empty() => Ok(WritePolicy::Source(name.to_owned())),
        _ => {
            let message =
                format!("`{text}` is no write policy; there are anyone, append_only and source:NAME");
            Err(refuse(ErrorCode::InvalidArgument, message))
        }
    }
}

/// Rules of a table, as Python gives them.
pub(crate) struct Rules<'a, 'py> {
    pub(crate) primary_key: Option<&'a Bound<'py, PyAny>>,
    pub(crate) sort_by: Option<&'a Bound<'py, PyAny>>,
    pub(crate) retain: Option<(String, Bound<'py, PyAny>)>,
    pub(crate) max_staleness: Option<&'a Bound<'py, PyAny>>,
}

impl Rules<'_, '_> {
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] for durations that are none.
    pub(crate) fn read(self) -> PyResult<TableRules> {
        let mut rules = TableRules::default();
        rules.primary_key = names(self.primary_key)?;
        rules.sort_by = names(self.sort_by)?;
        if let Some((column, age)) = self.retain {
            rules.retention = Some(Retention::new(column, duration(&age, "the age in `retain`")?));
        }
        if let Some(bound) = self.max_staleness {
            rules.max_staleness = Some(duration(bound, "`max_staleness`")?);
        }
        Ok(rules)
    }
}

#[pymethods]
impl Cache {
    /// How the cache is reached: ``embedded`` (this process owns it), ``attached`` (another process does, and this one maps its
    /// files) or ``remote`` (a sidecar answers every call).
    #[getter]
    fn way(&self) -> String {
        self.shared.way.to_string()
    }

    /// The state of the cache as a whole.
    fn status(&self, py: Python<'_>) -> PyResult<Status> {
        let cache = self.shared.cache()?;
        Ok(detached(py, || cache.status())?.into())
    }

    /// The newest version.
    fn version(&self, py: Python<'_>) -> PyResult<Version> {
        let cache = self.shared.cache()?;
        Ok(detached(py, || cache.version())?.into())
    }

    /// Calls that this handle sent to a sidecar: an attached cache sends no lookups and no scans.
    #[getter]
    fn messages_sent(&self) -> PyResult<u64> {
        Ok(self.shared.cache()?.messages_sent())
    }

    /// A table by its exact name.
    fn table(&self, py: Python<'_>, name: &str) -> PyResult<Table> {
        let cache = self.shared.cache()?;
        Table::new(py, self.shared.clone(), detached(py, || cache.table(name))?)
    }

    fn __getitem__(&self, py: Python<'_>, name: &str) -> PyResult<Table> {
        self.table(py, name)
    }

    /// Describes every table, in the order of their names.
    fn tables(&self, py: Python<'_>) -> PyResult<Vec<TableInfo>> {
        let cache = self.shared.cache()?;
        Ok(detached(py, || cache.tables())?.iter().map(Into::into).collect())
    }

    /// Creates a table with its first rows in one commit.
    ///
    /// If a table of that name exists with the same rules, it is returned unchanged and the rows are not read: a program can
    /// declare its tables at every start. Rows are anything that exports Arrow, dicts, or paths of files (see
    /// :func:`pillion.files`).
    ///
    /// >>> cache.create_table("planes", [{"tailnum": "N14228", "seats": 149}], primary_key="tailnum")
    /// Table('planes', key=["tailnum"])
    #[pyo3(signature = (
        name, rows, *, primary_key = None, sort_by = None, write_policy = "anyone", retain = None, max_staleness = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn create_table<'py>(
        &self,
        name: String,
        rows: &Bound<'py, PyAny>,
        primary_key: Option<&Bound<'py, PyAny>>,
        sort_by: Option<&Bound<'py, PyAny>>,
        write_policy: &str,
        retain: Option<(String, Bound<'py, PyAny>)>,
        max_staleness: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Table> {
        let py = rows.py();
        let cache = self.shared.cache()?.clone();
        let policy = self::write_policy(write_policy)?;
        let mut rules = Rules { primary_key, sort_by, retain, max_staleness }.read()?;
        rules.write_policy = policy;
        let given = self::rows(rows, None)?;
        let table = written(py, given, move |input| {
            cache.define_table(&name, TableDefinition::new(input).rules(rules))
        })?;
        Table::new(py, self.shared.clone(), table)
    }

    /// Makes a source known by a name: ``postgresql://…``, ``mysql://…``, ``sqlite:///file.db``, ``grpc://…``, ``s3://bucket``,
    /// ``https://…`` or a folder. It is not asked anything yet. The cache forgets its sources when it is closed.
    ///
    /// ``options`` are those of the source; ``secrets`` are texts, or ``pathlib.Path`` of files that have them.
    #[pyo3(signature = (name, url, *, options = None, secrets = None))]
    fn add_source(
        &self,
        py: Python<'_>,
        name: &str,
        url: &str,
        options: Option<&Bound<'_, PyDict>>,
        secrets: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let cache = self.shared.cache()?;
        let (options, secrets) = (crate::sources::texts(options)?, crate::sources::secrets(secrets)?);
        let source = crate::sources::source(url, &options, secrets).map_err(raise)?;
        detached(py, || cache.add_source(name, source))
    }

    /// Creates a table that Pillion fetches from a source, and fetches again: ``every`` so many seconds, at the moments of
    /// ``cron=(pattern, time_zone)``, ``on_change`` of the source (with a poll after so many seconds), or only by
    /// :meth:`refresh`. Waits for the first load.
    ///
    /// With ``changes=True`` the table follows its source: it applies every change as the source sends it. PostgreSQL does that,
    /// through a ``publication`` that an administrator made, or one that Pillion makes. ``on_schema_change`` is ``"copy"`` or
    /// ``"stale"``.
    ///
    /// With ``rows_where`` the table is a working set: it holds only the rows that satisfy a condition in SQL, and a read that may
    /// need others raises :class:`NotCoveredError`. With ``on_miss="delegate"`` the source answers it; with ``on_miss="local"`` the held
    /// rows do. ``answer.certificate`` says so.
    ///
    /// What is fetched is a ``table`` or a ``statement`` of the source, all of it or some ``columns`` and the rows of a
    /// ``condition`` in its words. With ``append_by=(column, overlap)`` a refresh fetches only new rows.
    #[pyo3(signature = (
        name, source, *, table = None, statement = None, columns = None, condition = None, every = None, cron = None,
        on_change = None, changes = false, publication = None, on_schema_change = "copy", rows_where = None,
        on_miss = "error", append_by = None, options = None, primary_key = None, sort_by = None, retain = None,
        max_staleness = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn create_table_from_source<'py>(
        &self,
        py: Python<'py>,
        name: String,
        source: String,
        table: Option<String>,
        statement: Option<String>,
        columns: Option<Vec<String>>,
        condition: Option<String>,
        every: Option<&Bound<'py, PyAny>>,
        cron: Option<(String, String)>,
        on_change: Option<&Bound<'py, PyAny>>,
        changes: bool,
        publication: Option<String>,
        on_schema_change: &str,
        rows_where: Option<String>,
        on_miss: &str,
        append_by: Option<(String, Bound<'py, PyAny>)>,
        options: Option<&Bound<'py, PyDict>>,
        primary_key: Option<&Bound<'py, PyAny>>,
        sort_by: Option<&Bound<'py, PyAny>>,
        retain: Option<(String, Bound<'py, PyAny>)>,
        max_staleness: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Table> {
        let cache = self.shared.cache()?.clone();
        let rules = Rules { primary_key, sort_by, retain, max_staleness }.read()?;
        let options = crate::sources::texts(options)?;
        let feed = Feed {
            source,
            table,
            statement,
            columns,
            condition,
            every,
            cron,
            on_change,
            changes,
            publication,
            on_schema_change,
            rows_where,
            on_miss,
            append_by,
            options,
        };
        let definition = feed.definition(rules)?;
        let (other, loading) = (cache.clone(), name.clone());
        let give_up = move || {
            // The load may have ended by now.
            drop(other.cancel_refresh(&loading));
        };
        let table = interruptible(py, move || cache.define_table(&name, definition), give_up)?;
        Table::new(py, self.shared.clone(), table)
    }

    /// Removes a table and its rows. Snapshots, rows and DataFrames that were taken before keep them.
    fn drop_table(&self, py: Python<'_>, name: &str) -> PyResult<Version> {
        let cache = self.shared.cache()?;
        Ok(detached(py, || cache.drop_table(name))?.into())
    }

    /// Runs a query at the newest version: one statement of DataFusion's SQL that reads. ``$1``, ``$2``, … stand for ``params``.
    ///
    /// >>> cache.sql("SELECT count(*) AS n FROM flights WHERE carrier = $1", ["UA"]).to_pylist()
    /// [{'n': 2}]
    #[pyo3(signature = (text, params = None))]
    fn sql(&self, py: Python<'_>, text: String, params: Option<&Bound<'_, PyAny>>) -> PyResult<Answer> {
        let (cache, values) = (self.shared.cache()?.clone(), parameters(params)?);
        if self.shared.is_local() {
            return planned(py, move || cache.sql(&text, &values));
        }
        asked(py, move || async move { cache.into_async().sql(&text, &values).await })
    }

    /// Runs a statement that changes tables, in one commit: ``INSERT``, ``UPDATE``, ``DELETE``, ``TRUNCATE``, ``CREATE TABLE`` and
    /// ``DROP TABLE`` of DataFusion's SQL. ``$1``, ``$2``, … stand for ``params``.
    ///
    /// Ctrl-C gives the statement up; read whether it has committed before you repeat it.
    ///
    /// >>> cache.execute("UPDATE flights SET delay = $1 WHERE carrier = 'AA'", [0.0]).rows
    /// 1
    #[pyo3(signature = (text, params = None))]
    fn execute(&self, py: Python<'_>, text: String, params: Option<&Bound<'_, PyAny>>) -> PyResult<Executed> {
        let (cache, values) = (self.shared.cache()?.clone(), parameters(params)?);
        let (abort, registration) = AbortHandle::new_pair();
        let work = move || {
            let cache = cache.into_async();
            block_on(Abortable::new(cache.execute(&text, &values), registration))
                .unwrap_or_else(|_| Err(Error::new(ErrorCode::Cancelled, "the statement was given up")))
        };
        Ok(interruptible(py, work, move || abort.abort())?.into())
    }

    /// Plans a query once, to be run many times.
    fn prepare(&self, py: Python<'_>, text: &str) -> PyResult<Prepared> {
        let cache = self.shared.cache()?.clone().into_async();
        Ok(Prepared::new(self.shared.clone(), detached(py, || block_on(cache.prepare(text)))?))
    }

    /// Holds the newest version for several reads.
    fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        Snapshot::of_newest(py, self.shared.clone())
    }

    /// Begins a list of changes that one commit will make.
    fn transaction(&self) -> PyResult<Transaction> {
        Ok(Transaction::new(self.shared.clone(), self.shared.cache()?.transaction()))
    }

    /// The position up to which the cache has everything from a source; ``None`` if no transaction gave one.
    fn source_position<'py>(&self, py: Python<'py>, source: &str) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let cache = self.shared.cache()?;
        let position = detached(py, || cache.source_position(source))?;
        Ok(position.map(|position| PyBytes::new(py, &position)))
    }

    /// Refreshes a table from its source now, and waits. Ctrl-C gives the refresh up.
    fn refresh(&self, py: Python<'_>, table: String) -> PyResult<Version> {
        refresh(py, &self.shared, table)
    }

    /// How the refreshes of tables from sources stand.
    fn refreshes(&self, py: Python<'_>) -> PyResult<Vec<Refresh>> {
        let cache = self.shared.cache()?;
        Ok(detached(py, || cache.refreshes())?.into_iter().map(Into::into).collect())
    }

    /// Gives up the refresh of a table that is under way, and returns whether there was one.
    fn cancel_refresh(&self, py: Python<'_>, table: &str) -> PyResult<bool> {
        let cache = self.shared.cache()?;
        detached(py, || cache.cancel_refresh(table))
    }

    /// Begins no refresh of a table any more, except by :meth:`refresh`.
    fn pause_refreshes(&self, py: Python<'_>, table: &str) -> PyResult<()> {
        let cache = self.shared.cache()?;
        detached(py, || cache.pause_refreshes(table))
    }

    /// Lets refreshes of a table begin again.
    fn resume_refreshes(&self, py: Python<'_>, table: &str) -> PyResult<()> {
        let cache = self.shared.cache()?;
        detached(py, || cache.resume_refreshes(table))
    }

    /// Moves all rows from the log into sorted files now.
    fn compact(&self, py: Python<'_>) -> PyResult<()> {
        let cache = self.shared.cache()?;
        detached(py, || cache.compact())
    }

    /// Makes every commit so far durable.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        let cache = self.shared.cache()?;
        detached(py, || cache.sync())
    }

    /// Whether it was closed.
    #[getter]
    fn closed(&self) -> bool {
        self.shared.cache().is_err()
    }

    /// Makes everything durable and closes the cache; closing it again does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.shared.close())
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    fn __repr__(&self) -> String {
        format!("Cache(way='{}')", self.shared.way)
    }
}
