//! A statement: SQL with parameters, or rows for a table.

use adbc_core::error::{Error, Result, Status};
use adbc_core::options::{IngestMode, OptionStatement, OptionValue};
use adbc_core::{CancelHandle, Optionable, PartitionedResult, Statement};
use arrow::array::{RecordBatch, RecordBatchIterator, RecordBatchReader};
use arrow::datatypes::{DataType, Field, Schema};
use pillion::{AsyncPrepared, Cache, Value, modifies};
use pillion_rows::numbered;

use crate::binding::Bound;
use crate::cancelling::Cancelling;
use crate::errors::{answered, refusal, told};
use crate::ingest::Ingest;
use crate::metadata::{CATALOG, SCHEMA};
use crate::options::{names, switch, text, unknown, unset};
use crate::results::{Answers, Query};

/// Whether columns of bound rows are parameters by their names.
const BIND_BY_NAME: &str = "adbc.statement.bind_by_name";
/// The columns of the primary key of a table that is created, separated by commas.
const PRIMARY_KEY: &str = "pillion.ingest.primary_key";
/// The columns by which a table that is created stores its rows, separated by commas.
const SORT_BY: &str = "pillion.ingest.sort_by";
/// Whether added rows replace those that have their keys.
const UPSERT: &str = "pillion.ingest.upsert";

type Reader = Box<dyn RecordBatchReader + Send + 'static>;

/// A statement of a connection.
pub(crate) struct PillionStatement {
    cache: Cache,
    cancelling: Cancelling,
    read_only: bool,
    task: Task,
    ingest: Ingest,
    /// Rows that the next execution takes.
    bound: Option<Bound>,
}

/// What an execution does.
enum Task {
    Nothing,
    /// A statement that changes tables.
    Change(String),
    Query(String, Option<AsyncPrepared>),
    Ingest,
}

impl PillionStatement {
    pub(crate) fn new(cache: Cache, cancelling: Cancelling, read_only: bool) -> Self {
        let ingest = Ingest {
            table: String::new(),
            mode: IngestMode::Create,
            primary_key: Vec::new(),
            sort_by: Vec::new(),
            upsert: false,
        };
        Self { cache, cancelling, read_only, task: Task::Nothing, ingest, bound: None }
    }

    /// Runs a statement that changes tables, once for each row of bound parameters: each is a commit of its own.
    fn change(&mut self, text: &str) -> Result<i64> {
        self.refuse_read_only()?;
        let cache = self.cache.clone().into_async();
        let run = |parameters: &[Value]| {
            let executed = self.cancelling.wait_for_change(cache.execute(text, parameters));
            executed.map(|executed| executed.rows).map_err(|error| told(&error))
        };
        let rows = match self.bound.take() {
            None => run(&[])?,
            Some(bound) => {
                let mut rows = 0_u64;
                for parameters in bound.into_parameters() {
                    rows = rows.saturating_add(run(&parameters.map_err(|error| told(&error))?)?);
                }
                rows
            }
        };
        Ok(i64::try_from(rows).unwrap_or(i64::MAX))
    }

    fn query(&mut self, query: Query) -> Result<Reader> {
        let Some(bound) = self.bound.take() else {
            let answer = query.run(&[], &self.cancelling).map_err(|error| told(&error))?;
            return Ok(Box::new(answer));
        };
        let mut parameters = bound.into_parameters();
        let Some(first) = parameters.next() else {
            let columns = self.columns(&query).map_err(|error| told(&error))?;
            return Ok(empty(columns));
        };
        let answer =
            first.and_then(|first| query.run(&first, &self.cancelling)).map_err(|error| told(&error))?;
        Ok(Box::new(Answers::new(answer, parameters, query, self.cancelling.clone())))
    }

    /// The columns of a query without values for its parameters.
    fn columns(&self, query: &Query) -> pillion::Result<Schema> {
        let prepared = match query {
            Query::Prepared(prepared) => prepared.clone(),
            Query::Text(cache, text) => self.cancelling.wait(cache.prepare(text))?,
        };
        let nulls = vec![Value::Null; prepared.parameters()];
        Query::Prepared(prepared).columns(&nulls, &self.cancelling)
    }

    fn add(&mut self) -> Result<i64> {
        self.refuse_read_only()?;
        let bound = self.bound.take();
        let bound =
            bound.ok_or_else(|| refusal(Status::InvalidState, "bind the rows before they are added"))?;
        self.ingest.run(&self.cache, bound, &self.cancelling)
    }

    fn refuse_read_only(&self) -> Result<()> {
        if self.read_only {
            let message = "the connection is read-only: set `adbc.connection.readonly` to `false`";
            return Err(told(&pillion::Error::new(pillion::ErrorCode::ReadOnly, message)));
        }
        Ok(())
    }

    fn to_query(&self, text: &str, prepared: Option<&AsyncPrepared>) -> Query {
        match prepared {
            Some(prepared) => Query::Prepared(prepared.clone()),
            None => Query::Text(self.cache.clone().into_async(), text.to_owned()),
        }
    }
}

fn nothing_to_execute() -> Error {
    refusal(Status::InvalidState, "set a query, or a table to add rows to, before the statement is executed")
}

/// No rows.
fn empty(columns: Schema) -> Reader {
    Box::new(RecordBatchIterator::new(std::iter::empty(), columns.into()))
}

impl Optionable for PillionStatement {
    type Option = OptionStatement;

    fn set_option(&mut self, key: OptionStatement, value: OptionValue) -> Result<()> {
        let name = key.as_ref().to_owned();
        match key {
            OptionStatement::TargetTable => {
                self.ingest.table = text(&name, value)?;
                self.task = Task::Ingest;
            }
            OptionStatement::IngestMode => self.ingest.mode = IngestMode::try_from(&value)?,
            OptionStatement::TargetCatalog | OptionStatement::TargetDbSchema => {
                let there = if key == OptionStatement::TargetCatalog { CATALOG } else { SCHEMA };
                let given = text(&name, value)?;
                if given != there {
                    let message = format!("there is no `{given}`, only `{there}`");
                    return Err(refusal(Status::NotFound, message));
                }
            }
            OptionStatement::Temporary => {
                if switch(&name, &value)? {
                    return Err(refusal(Status::NotImplemented, "there are no temporary tables"));
                }
            }
            OptionStatement::Incremental => {
                if switch(&name, &value)? {
                    return Err(refusal(Status::NotImplemented, "answers have no partitions"));
                }
            }
            _ if name == BIND_BY_NAME => {
                if switch(&name, &value)? {
                    let message = "parameters have numbers and no names: bind a list of values";
                    return Err(refusal(Status::NotImplemented, message));
                }
            }
            _ if name == PRIMARY_KEY => self.ingest.primary_key = names(&name, value)?,
            _ if name == SORT_BY => self.ingest.sort_by = names(&name, value)?,
            _ if name == UPSERT => self.ingest.upsert = switch(&name, &value)?,
            _ => return Err(unknown(&name)),
        }
        Ok(())
    }

    fn get_option_string(&self, key: OptionStatement) -> Result<String> {
        match key {
            OptionStatement::TargetTable if matches!(self.task, Task::Ingest) => {
                Ok(self.ingest.table.clone())
            }
            OptionStatement::IngestMode => Ok(self.ingest.mode.into()),
            OptionStatement::TargetCatalog => Ok(CATALOG.to_owned()),
            OptionStatement::TargetDbSchema => Ok(SCHEMA.to_owned()),
            OptionStatement::Temporary | OptionStatement::Incremental => Ok(false.to_string()),
            OptionStatement::Other(name) if name == PRIMARY_KEY => Ok(self.ingest.primary_key.join(",")),
            OptionStatement::Other(name) if name == SORT_BY => Ok(self.ingest.sort_by.join(",")),
            OptionStatement::Other(name) if name == UPSERT => Ok(self.ingest.upsert.to_string()),
            _ => Err(unset(key.as_ref())),
        }
    }

    fn get_option_bytes(&self, key: OptionStatement) -> Result<Vec<u8>> {
        Err(unset(key.as_ref()))
    }

    fn get_option_int(&self, key: OptionStatement) -> Result<i64> {
        Err(unset(key.as_ref()))
    }

    fn get_option_double(&self, key: OptionStatement) -> Result<f64> {
        Err(unset(key.as_ref()))
    }
}

impl Statement for PillionStatement {
    fn bind(&mut self, batch: RecordBatch) -> Result<()> {
        answered(|| {
            self.bound = Some(Bound::batch(batch)?);
            Ok(())
        })
    }

    fn bind_stream(&mut self, reader: Box<dyn RecordBatchReader + Send>) -> Result<()> {
        self.bound = Some(Bound::stream(reader));
        Ok(())
    }

    fn execute(&mut self) -> Result<Reader> {
        answered(|| match &self.task {
            Task::Nothing => Err(nothing_to_execute()),
            Task::Query(text, prepared) => self.query(self.to_query(text, prepared.as_ref())),
            Task::Change(_) | Task::Ingest => {
                self.execute_update()?;
                Ok(empty(Schema::empty()))
            }
        })
    }

    fn execute_update(&mut self) -> Result<Option<i64>> {
        answered(|| match &self.task {
            Task::Nothing => Err(nothing_to_execute()),
            Task::Change(text) => self.change(&text.clone()).map(Some),
            Task::Ingest => self.add().map(Some),
            Task::Query(text, prepared) => {
                // Nobody asks for the rows, and an error among them is one of the statement.
                for batch in self.query(self.to_query(text, prepared.as_ref()))? {
                    batch?;
                }
                Ok(None)
            }
        })
    }

    fn execute_schema(&mut self) -> Result<Schema> {
        answered(|| match &self.task {
            Task::Nothing => Err(nothing_to_execute()),
            Task::Change(_) | Task::Ingest => Ok(Schema::empty()),
            Task::Query(text, prepared) => {
                let query = self.to_query(text, prepared.as_ref());
                self.columns(&query).map_err(|error| told(&error))
            }
        })
    }

    fn execute_partitions(&mut self) -> Result<PartitionedResult> {
        Err(refusal(Status::NotImplemented, "answers have no partitions; execute the statement"))
    }

    /// Parameters have numbers and no names, and their types follow from the values.
    fn get_parameter_schema(&self) -> Result<Schema> {
        match &self.task {
            Task::Query(_, Some(prepared)) => {
                let parameter = || Field::new("", DataType::Null, true);
                Ok(Schema::new((0..prepared.parameters()).map(|_| parameter()).collect::<Vec<_>>()))
            }
            Task::Query(_, None) => Err(refusal(Status::InvalidState, "prepare the statement first")),
            Task::Change(_) => {
                let message = "the parameters of statements that change tables are not known before they run";
                Err(refusal(Status::NotImplemented, message))
            }
            _ => Err(nothing_to_execute()),
        }
    }

    /// Plans a query. A statement that changes tables is planned whenever it is executed.
    fn prepare(&mut self) -> Result<()> {
        answered(|| match &mut self.task {
            Task::Query(text, prepared) => {
                let cache = self.cache.clone().into_async();
                let planned = self.cancelling.wait(cache.prepare(text)).map_err(|error| told(&error))?;
                *prepared = Some(planned);
                Ok(())
            }
            Task::Change(_) => Ok(()),
            Task::Nothing | Task::Ingest => Err(nothing_to_execute()),
        })
    }

    fn set_sql_query(&mut self, query: impl AsRef<str>) -> Result<()> {
        let text = numbered(query.as_ref()).into_owned();
        self.task = if modifies(&text) { Task::Change(text) } else { Task::Query(text, None) };
        // Rows that were bound for something else.
        self.bound = None;
        Ok(())
    }

    fn set_substrait_plan(&mut self, _: impl AsRef<[u8]>) -> Result<()> {
        Err(refusal(Status::NotImplemented, "there are no Substrait plans; set an SQL query"))
    }

    fn get_cancel_handle(&self) -> Box<dyn CancelHandle> {
        Box::new(self.cancelling.clone())
    }
}
