//! Reads that need rows which are not held: their sources send them, and they are not kept.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use parking_lot::MutexGuard;

use super::fetched::{Incoming, fetch_of};
use super::progress::Progress;
use super::record::position_name;
use super::run::moment_of;
use super::scheduler::{Shared, closed};
use super::state::State;
use crate::coverage::{Feeder, Fetching, KEYS_AT_ONCE, Upstream, Wanted, is_given_up};
use crate::input::{Input, OpenInput};
use crate::source::{Fetch, Fetched, Source, TableSource};
use crate::types::error::{Error, ErrorCode, ErrorKind, Result};
use crate::types::rules::WritePolicy;
use crate::way::Reader;
use crate::way::embedded::Embedded;

/// How often whoever waits for other fetches looks whether its answer is still wanted.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Fetches from the sources of the cache.
#[derive(Debug)]
pub(super) struct Delegation {
    shared: Arc<Shared>,
    /// Whose tables these are. It has this.
    cache: Weak<Embedded>,
    /// A forked child has none of the threads.
    process: u32,
}

/// A fetch that may begin.
struct Admitted {
    wanted: Arc<Wanted>,
    origin: TableSource,
    source: Arc<dyn Source>,
}

impl Delegation {
    pub(super) fn new(shared: Arc<Shared>, cache: &Arc<Embedded>) -> Self {
        Self { shared, cache: Arc::downgrade(cache), process: std::process::id() }
    }

    /// Refuses a table that is no longer the one of its name: a snapshot may have one that was dropped, and what is known of the source is
    /// that of the next one. This comes after whoever asks knows the source.
    ///
    /// # Errors
    /// [`ErrorCode::TableNotFound`]; [`ErrorCode::Closed`].
    fn check_table(&self, wanted: &Wanted) -> Result<()> {
        let cache = self.cache.upgrade().ok_or_else(closed)?;
        let (name, id) = (&wanted.table.name, wanted.table.id);
        match cache.table(name) {
            Ok(table) if table.id == id => Ok(()),
            Err(error) if error.code() != ErrorCode::TableNotFound => Err(error),
            _ => Err(Error::new(
                ErrorCode::TableNotFound,
                format!(
                    "table `{name}` was dropped, so that its source cannot be asked for {}: read the newest version",
                    wanted.described
                ),
            )),
        }
    }

    /// Waits until sources can be asked for so much more. Returns why some cannot: of these, nothing is counted.
    ///
    /// The reasons are [`ErrorCode::Timeout`] if other fetches keep a source busy, [`ErrorCode::Cancelled`], and
    /// [`ErrorCode::SourceUnavailable`].
    fn admit<'a>(&self, found: impl Iterator<Item = &'a Admitted>) -> HashMap<String, Error> {
        let found: Vec<&Admitted> = found.collect();
        let mut names: Vec<&str> = found.iter().map(|it| it.origin.source.as_str()).collect();
        names.sort_unstable();
        // One source after the other, always in the same order, so that two reads do not wait for each other.
        let groups = names.chunk_by(|a, b| a == b);
        let patience = found.iter().map(|it| it.origin.progress_timeout).min().unwrap_or_default();
        let late = Instant::now().checked_add(patience);
        let refused = groups.filter_map(|group| {
            let source = *group.first()?;
            let error = self.admit_to(source, group.len(), (late, patience)).err()?;
            Some((source.to_owned(), error))
        });
        refused.collect()
    }

    /// Starts a fetch that is counted.
    fn start(&self, admitted: Admitted) -> Result<Fetching> {
        // One that cannot start is counted until it is dropped, as all others.
        let job = Job { shared: self.shared.clone(), admitted, result: Ok(()) };
        let origin = &job.admitted.origin;
        let (silence, source) = (origin.progress_timeout, &origin.source);
        let silent =
            Error::new(ErrorCode::Timeout, format!("the source `{source}` has sent nothing for {silence:?}"));
        let silent = of_table(silent, &job.admitted.wanted).message().to_owned();
        Fetching::start(silence, silent, move |feeder| job.run(feeder))
    }

    fn admit_to(
        &self,
        source: &str,
        count: usize,
        (late, patience): (Option<Instant>, Duration),
    ) -> Result<()> {
        let mut state = self.shared.state.lock();
        loop {
            if state.is_stopping {
                return Err(closed());
            }
            if state.begin_fetches(source, count, self.shared.now())? {
                return Ok(());
            }
            if is_given_up() {
                return Err(Error::new(
                    ErrorCode::Cancelled,
                    "the read was cancelled before the source was asked",
                ));
            }
            if late.is_some_and(|late| late <= Instant::now()) {
                return Err(Error::new(
                    ErrorCode::Timeout,
                    format!(
                        "other reads have kept the source `{source}` busy for {patience:?}: read their answers to the end, or drop them"
                    ),
                ));
            }
            self.shared.changed.wait_for(&mut state, LOOK_INTERVAL);
        }
    }
}

impl Upstream for Delegation {
    fn fetch(&self, wanted: &[Arc<Wanted>]) -> Vec<Result<Fetching>> {
        if self.process != std::process::id() {
            let message = "sources cannot be asked after fork; open or connect again in the child";
            return wanted.iter().map(|_| Err(Error::new(ErrorCode::Closed, message))).collect();
        }
        let found: Vec<Result<Admitted>> = {
            let state = self.shared.state.lock();
            wanted.iter().map(|wanted| find(&state, wanted)).collect()
        };
        let checked = found.into_iter().map(|it| it.and_then(|it| self.check_table(&it.wanted).map(|()| it)));
        let checked: Vec<Result<Admitted>> = checked.collect();
        let refused = self.admit(checked.iter().flatten());
        let begun = checked.into_iter().map(|it| {
            let it = it?;
            match refused.get(&it.origin.source) {
                Some(error) => Err(of_table(Error::new(error.code(), error.message()), &it.wanted)),
                None => self.start(it),
            }
        });
        begun.collect()
    }
}

/// What is known of the source of a table.
fn find(state: &MutexGuard<'_, State>, wanted: &Arc<Wanted>) -> Result<Admitted> {
    if state.is_stopping {
        return Err(closed());
    }
    let table = &wanted.table;
    let followed = state.tables.get(&table.name).filter(|followed| {
        WritePolicy::Source(position_name(&followed.origin.source, &table.name)) == table.rules.write_policy
    });
    let Some(followed) = followed else {
        return Err(Error::new(
            ErrorCode::NotCovered,
            format!(
                "table `{}` needs {} of its source, and this process refreshes it from none: add the source and let the table be refreshed \
                 from it (`add_source`, `follow_table`), or ask the process that does; a table that follows its source is not read from it",
                table.name, wanted.described
            ),
        ));
    };
    let source = state.known(&followed.origin.source)?.source.clone();
    Ok(Admitted { wanted: wanted.clone(), origin: followed.origin.clone(), source })
}

/// An error of a source as that of a read, which says what is missing.
fn of_table(error: Error, wanted: &Wanted) -> Error {
    error.context(format_args!("table `{}` needs {} of its source", wanted.table.name, wanted.described))
}

/// One fetch, counted among those of its source until it is dropped.
struct Job {
    shared: Arc<Shared>,
    admitted: Admitted,
    result: Result<()>,
}

impl Drop for Job {
    fn drop(&mut self) {
        let now = self.shared.now();
        self.shared.state.lock().fetch_ended(&self.admitted.origin.source, &self.result, now);
        self.shared.changed.notify_all();
    }
}

impl Job {
    fn run(mut self, feeder: &Feeder) -> Result<()> {
        self.admitted.run(feeder).map_err(|error| {
            self.result = Err(Error::new(error.code(), error.message()));
            of_table(error, &self.admitted.wanted)
        })
    }
}

impl Admitted {
    /// Fetches all rows.
    fn run(&self, feeder: &Feeder) -> Result<()> {
        let columns = Columns::of(&self.wanted);
        let fetch = self.fetch(&columns);
        let keys = self.wanted.keys.as_ref().filter(|_| self.source.capabilities().keys);
        let Some(keys) = keys else { return self.send(self.ask(&fetch, feeder)?, &columns, feeder) };
        // Only lookups have more than one of these, and they take the first row of each key.
        for values in keys.values.chunks(KEYS_AT_ONCE) {
            let some = fetch.clone().keys(keys.columns.clone(), values.to_vec());
            match self.ask(&some, feeder) {
                Ok(rows) => self.send(rows, &columns, feeder)?,
                // The source cannot tell rows by such keys, so that it is asked for all.
                Err(error) if error.kind() == ErrorKind::Request => {
                    tracing::debug!(
                        table = self.wanted.table.name,
                        "all rows are fetched instead of some keys: {error:#}"
                    );
                    return self.send(self.ask(&fetch, feeder)?, &columns, feeder);
                }
                Err(error) => return Err(error),
            }
        }
        if keys.values.is_empty() {
            feeder.begin(SystemTime::now());
        }
        Ok(())
    }

    /// What is fetched, but for its keys.
    fn fetch(&self, columns: &Columns) -> Fetch {
        let capabilities = self.source.capabilities();
        let fetch = fetch_of(&self.origin, capabilities);
        let fetch = if capabilities.columns { fetch.columns(columns.names.iter().cloned()) } else { fetch };
        self.restricted(fetch)
    }

    /// The same, without rows that the source knows not to be wanted.
    #[cfg(feature = "sql")]
    fn restricted(&self, fetch: Fetch) -> Fetch {
        use crate::coverage::{Region, domain_of};

        let Some(condition) = &self.wanted.condition else { return fetch };
        let (capabilities, table) = (self.source.capabilities(), &self.wanted.table);
        let fetch = if capabilities.ranges {
            let domains = |column: &str| domain_of(table, column);
            fetch.ranges(Region::around(condition, &domains).ranges(&domains))
        } else {
            fetch
        };
        if !capabilities.conditions || capabilities.dialect != Some("postgresql") {
            return fetch;
        }
        match (super::pushed::postgresql(condition, &table.schema), &self.origin.condition) {
            (None, _) => fetch,
            (Some(pushed), None) => fetch.condition(pushed),
            // A comment in the words of the user ends with its line.
            (Some(pushed), Some(own)) => fetch.condition(format!("({own}\n) AND {pushed}")),
        }
    }

    #[cfg(not(feature = "sql"))]
    #[expect(clippy::unused_self, reason = "as with SQL")]
    fn restricted(&self, fetch: Fetch) -> Fetch {
        fetch
    }

    /// Begins to fetch rows. Returns as of when they are, too.
    fn ask(&self, fetch: &Fetch, feeder: &Feeder) -> Result<(Fetched, SystemTime)> {
        let began = SystemTime::now();
        let rows = self.source.fetch(fetch, feeder.call())?;
        let as_of = moment_of(&rows, began, (&self.wanted.table.name, &self.origin.source));
        self.wanted.check_age(as_of, began)?;
        Ok((rows, as_of))
    }

    fn send(&self, (rows, as_of): (Fetched, SystemTime), columns: &Columns, feeder: &Feeder) -> Result<()> {
        let batches = columns.conformed(rows, feeder, &self.wanted.table.schema)?;
        feeder.begin(as_of);
        for batch in batches {
            feeder.send(batch?)?;
        }
        // What a source sends after the end of its call is not complete.
        feeder.call().check()
    }
}

/// The columns that are fetched and those that are wanted.
struct Columns {
    /// At least one: a source cannot send rows without columns.
    names: Vec<String>,
    /// The wanted ones, as the table has them.
    schema: SchemaRef,
}

impl Columns {
    fn of(wanted: &Wanted) -> Self {
        let table = &wanted.table;
        let fields: Vec<_> =
            wanted.columns.iter().filter_map(|&column| table.schema.fields().get(column).cloned()).collect();
        let mut names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
        if names.is_empty() {
            let any = table.primary_key.first().copied().unwrap_or_default();
            names.extend(table.schema.fields().get(any).map(|field| field.name().clone()));
        }
        Self { names, schema: Arc::new(Schema::new(fields)) }
    }

    /// Rows of a source as the table has them: the same names, types and order of columns, decoded as a load decodes them.
    ///
    /// # Errors
    /// [`ErrorCode::SourceInvalid`] if the source has other columns now.
    fn conformed(
        &self,
        rows: Fetched,
        feeder: &Feeder,
        table: &SchemaRef,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
        let rows = Incoming::new(rows, Some(&self.names), feeder.call(), &Arc::new(Progress::new()))
            .map_err(|error| changed(error.message()))?;
        let schema = rows.schema().clone();
        let OpenInput { schema: decoded, batches } = Input::fallible(schema, rows).open(Some(table))?;
        for field in self.schema.fields() {
            let found = decoded.field_with_name(field.name()).ok();
            if found.is_none_or(|found| found.data_type() != field.data_type()) {
                return Err(changed(&format!(
                    "`{}` is {} there, and {} here",
                    field.name(),
                    found.map_or_else(|| "missing".to_owned(), |found| found.data_type().to_string()),
                    field.data_type()
                )));
            }
        }
        let schema = self.schema.clone();
        Ok(batches.map(move |batch| {
            let batch = batch?;
            let columns: Option<Vec<_>> =
                schema.fields().iter().map(|field| batch.column_by_name(field.name()).cloned()).collect();
            let columns = columns.ok_or_else(|| changed("a column is missing"))?;
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            RecordBatch::try_new_with_options(schema.clone(), columns, &options)
                .map_err(|error| changed("values of a column cannot be in the table").with_source(error))
        }))
    }
}

/// The error for rows that the table could not have.
fn changed(what: &str) -> Error {
    Error::new(
        ErrorCode::SourceInvalid,
        format!(
            "the columns of the source are not those that the table was loaded with ({what}): refresh the table"
        ),
    )
}
