//! A connection: statements, and what there is in the cache.

use std::collections::HashSet;

use adbc_core::error::{Result, Status};
use adbc_core::options::{InfoCode, ObjectDepth, OptionConnection, OptionValue};
use adbc_core::{CancelHandle, Connection, Optionable, constants};
use arrow::array::RecordBatchReader;
use arrow::datatypes::Schema;
use pillion::Cache;

use crate::cancelling::Statements;
use crate::errors::{answered, refusal, told};
use crate::metadata::{CATALOG, SCHEMA, info, objects, statistics, table_types};
use crate::options::{switch, text, unknown, unset};
use crate::statement::PillionStatement;

type Reader = Box<dyn RecordBatchReader + Send + 'static>;

/// A connection. Every statement is a commit of its own, so it is always in autocommit mode.
pub(crate) struct PillionConnection {
    cache: Cache,
    statements: Statements,
    read_only: bool,
}

impl PillionConnection {
    pub(crate) fn new(cache: Cache) -> Self {
        Self { cache, statements: Statements::default(), read_only: false }
    }
}

/// # Errors
/// [`Status::NotFound`] for another catalog or schema than the one that there is.
fn check_name(given: Option<&str>, there: &str, what: &str) -> Result<()> {
    match given {
        Some(name) if name != there => {
            Err(refusal(Status::NotFound, format!("there is no {what} `{name}`, only `{there}`")))
        }
        _ => Ok(()),
    }
}

impl Optionable for PillionConnection {
    type Option = OptionConnection;

    fn set_option(&mut self, key: OptionConnection, value: OptionValue) -> Result<()> {
        let name = key.as_ref().to_owned();
        match key {
            OptionConnection::AutoCommit => {
                if switch(&name, &value)? {
                    return Ok(());
                }
                let message =
                    "every statement is a commit of its own: there are no transactions of several statements";
                Err(refusal(Status::NotImplemented, message))
            }
            OptionConnection::ReadOnly => {
                self.read_only = switch(&name, &value)?;
                Ok(())
            }
            OptionConnection::CurrentCatalog => check_name(Some(&text(&name, value)?), CATALOG, "catalog"),
            OptionConnection::CurrentSchema => check_name(Some(&text(&name, value)?), SCHEMA, "schema"),
            OptionConnection::IsolationLevel => match text(&name, value)?.as_str() {
                // Each statement reads one version.
                constants::ADBC_OPTION_ISOLATION_LEVEL_DEFAULT
                | constants::ADBC_OPTION_ISOLATION_LEVEL_SNAPSHOT => Ok(()),
                other => {
                    let message =
                        format!("there is no isolation level `{other}`: a statement reads one version");
                    Err(refusal(Status::NotImplemented, message))
                }
            },
            _ => Err(unknown(&name)),
        }
    }

    fn get_option_string(&self, key: OptionConnection) -> Result<String> {
        match key {
            OptionConnection::AutoCommit => Ok(constants::ADBC_OPTION_VALUE_ENABLED.to_owned()),
            OptionConnection::ReadOnly => Ok(self.read_only.to_string()),
            OptionConnection::CurrentCatalog => Ok(CATALOG.to_owned()),
            OptionConnection::CurrentSchema => Ok(SCHEMA.to_owned()),
            OptionConnection::IsolationLevel => {
                Ok(constants::ADBC_OPTION_ISOLATION_LEVEL_SNAPSHOT.to_owned())
            }
            OptionConnection::Other(name) if name == "pillion.way" => Ok(self.cache.way().to_string()),
            _ => Err(unset(key.as_ref())),
        }
    }

    fn get_option_bytes(&self, key: OptionConnection) -> Result<Vec<u8>> {
        Err(unset(key.as_ref()))
    }

    fn get_option_int(&self, key: OptionConnection) -> Result<i64> {
        Err(unset(key.as_ref()))
    }

    fn get_option_double(&self, key: OptionConnection) -> Result<f64> {
        Err(unset(key.as_ref()))
    }
}

impl Connection for PillionConnection {
    type StatementType = PillionStatement;

    fn new_statement(&mut self) -> Result<PillionStatement> {
        Ok(PillionStatement::new(self.cache.clone(), self.statements.add(), self.read_only))
    }

    fn get_cancel_handle(&self) -> Box<dyn CancelHandle> {
        Box::new(self.statements.clone())
    }

    fn get_info(&self, codes: Option<HashSet<InfoCode>>) -> Result<Reader> {
        answered(|| info(codes.as_ref()))
    }

    fn get_objects(
        &self,
        depth: ObjectDepth,
        catalog: Option<&str>,
        db_schema: Option<&str>,
        table_name: Option<&str>,
        table_type: Option<Vec<&str>>,
        column_name: Option<&str>,
    ) -> Result<Reader> {
        answered(|| {
            let tables = self.cache.tables().map_err(|error| told(&error))?;
            let wanted = objects::Wanted { catalog, db_schema, table_name, table_type, column_name };
            objects::objects(depth, &wanted, &tables)
        })
    }

    fn get_table_schema(
        &self,
        catalog: Option<&str>,
        db_schema: Option<&str>,
        table: &str,
    ) -> Result<Schema> {
        answered(|| {
            check_name(catalog, CATALOG, "catalog")?;
            check_name(db_schema, SCHEMA, "schema")?;
            let table = self.cache.table(table).map_err(|error| told(&error))?;
            Ok(table.schema().as_ref().clone())
        })
    }

    fn get_table_types(&self) -> Result<Reader> {
        answered(table_types)
    }

    fn get_statistic_names(&self) -> Result<Reader> {
        answered(statistics::names)
    }

    fn get_statistics(
        &self,
        catalog: Option<&str>,
        db_schema: Option<&str>,
        table_name: Option<&str>,
        _approximate: bool,
    ) -> Result<Reader> {
        answered(|| {
            let tables = self.cache.tables().map_err(|error| told(&error))?;
            statistics::statistics(catalog, db_schema, table_name, &tables)
        })
    }

    fn commit(&mut self) -> Result<()> {
        Err(refusal(Status::InvalidState, "every statement has committed: there is nothing to commit"))
    }

    fn rollback(&mut self) -> Result<()> {
        Err(refusal(Status::InvalidState, "every statement has committed: there is nothing to roll back"))
    }

    fn read_partition(&self, _: impl AsRef<[u8]>) -> Result<Reader> {
        Err(refusal(Status::NotImplemented, "answers have no partitions; execute the statement"))
    }
}
