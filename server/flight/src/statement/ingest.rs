//! Many rows into a table, in one commit.
//!
//! The rows lie in a file without a name until they have come whole. So a client that breaks off changes nothing, a slow one holds no
//! load up, and the memory of an upload does not depend on its length.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::Schema;
use arrow_flight::sql::{CommandStatementIngest, TableExistsOption, TableNotExistOption};
use pillion::{Cache, Error, ErrorCode, Input, TableDefinition, Version};
use pillion_access::{Identity, Right};
use pillion_rows::Fitted;
use tokio::sync::mpsc::{self, Receiver};
use tonic::Status;

use super::parameters::Incoming;
use super::spool::Spool;
use super::update::{Done, refused};
use crate::call::guard::Admitted;
use crate::catalog::{CATALOG, SCHEMA};
use crate::door::{DOOR, Door};
use crate::status;

/// Batches that wait to be written.
const BATCHES_WAITING: usize = 4;

/// Which table rows are added to, and how.
#[derive(Clone, Debug)]
struct Ingest {
    table: String,
    /// Whether a table that is not there is made.
    creates: bool,
    if_exists: IfExists,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IfExists {
    Fail,
    Append,
    Replace,
}

/// A batch, or the end of all.
enum Part {
    Batch(RecordBatch),
    End,
}

impl Ingest {
    fn of(command: CommandStatementIngest) -> Result<Self, Status> {
        if command.transaction_id.is_some_and(|id| !id.is_empty()) {
            return Err(status::unsupported(
                "there are no transactions: all rows of an upload are one commit",
            ));
        }
        if command.temporary {
            return Err(status::unsupported("there are no temporary tables"));
        }
        let is_named = |given: &Option<String>, name: &str| {
            given.as_deref().is_none_or(|given| given.is_empty() || given == name)
        };
        if !is_named(&command.catalog, CATALOG) || !is_named(&command.schema, SCHEMA) {
            return Err(status::invalid(format!(
                "tables are in the schema `{SCHEMA}` of the catalog `{CATALOG}`: leave both out"
            )));
        }
        if let Some(name) = command.options.keys().next() {
            let name: String = name.chars().take(60).collect();
            return Err(status::invalid(format!("an upload takes no option `{name}`")));
        }
        let options = command.table_definition_options.unwrap_or_default();
        let creates = match TableNotExistOption::try_from(options.if_not_exist) {
            Ok(TableNotExistOption::Create) => true,
            Ok(TableNotExistOption::Fail | TableNotExistOption::Unspecified) => false,
            Err(_) => return Err(status::invalid("`if_not_exist` is neither CREATE nor FAIL")),
        };
        let if_exists = match TableExistsOption::try_from(options.if_exists) {
            Ok(TableExistsOption::Append) => IfExists::Append,
            Ok(TableExistsOption::Replace) => IfExists::Replace,
            Ok(TableExistsOption::Fail | TableExistsOption::Unspecified) => IfExists::Fail,
            Err(_) => return Err(status::invalid("`if_exists` is not APPEND, REPLACE or FAIL")),
        };
        Ok(Self { table: command.table, creates, if_exists })
    }

    fn write(
        &self,
        cache: &Cache,
        rows: impl RecordBatchReader + Send + 'static,
    ) -> pillion::Result<Version> {
        match cache.table(&self.table) {
            Ok(table) => {
                let input = |rows| Input::reader(Fitted::new(rows, Some(table.schema())));
                match self.if_exists {
                    IfExists::Append => table.append(input(rows)),
                    IfExists::Replace => table.replace(input(rows)),
                    IfExists::Fail => {
                        let message =
                            format!("the table `{}` exists: append to it, or replace its rows", self.table);
                        Err(Error::new(ErrorCode::TableExists, message))
                    }
                }
            }
            Err(error) if error.code() == ErrorCode::TableNotFound && self.creates => {
                let definition = TableDefinition::new(Input::reader(Fitted::new(rows, None)));
                cache.define_table(&self.table, definition)?.info().map(|info| info.version)
            }
            // Without the names of others, which the token may not see.
            Err(error) if error.code() == ErrorCode::TableNotFound => {
                Err(Error::new(ErrorCode::TableNotFound, format!("there is no table `{}`", self.table)))
            }
            Err(error) => Err(error),
        }
    }
}

/// Adds the rows of a call to a table.
///
/// # Errors
/// Those of a write, and of rows that cannot be decoded; then nothing was changed.
pub(crate) async fn ingest(
    door: &Arc<Door>,
    identity: &Identity,
    admitted: &Admitted,
    command: CommandStatementIngest,
    mut incoming: Incoming,
) -> Result<Done, Status> {
    let ingest = Ingest::of(command)?;
    let demanded = identity.demand(DOOR, Right::Write, Some(&ingest.table));
    demanded.map_err(|denied| status::denied(&denied))?;
    let place =
        door.uploads.enter(identity.name(), door.options.client_timeout).await.map_err(status::full)?;
    let first = incoming.next().await?;
    let Some(schema) = incoming.schema() else {
        return Err(status::invalid("an upload begins with the columns of its rows, and nothing came"));
    };
    let (sender, parts) = mpsc::channel(BATCHES_WAITING);
    let work = tokio::task::spawn_blocking({
        let (door, identity, held) = (door.clone(), identity.clone(), admitted.clone());
        move || {
            // Until the load is done, whether or not its client waits for it.
            let _held = (held, place);
            load(&door.options.upload_dir, &schema, parts, |rows| {
                // What its token permits may have changed while the rows came.
                let demanded = door.access.demand_again(DOOR, &identity, Right::Write, Some(&ingest.table));
                demanded.map_err(|denied| refused(&denied))?;
                ingest.write(door.cache.blocking(), rows)
            })
        }
    });
    let mut next = Ok(first);
    let broken_off = loop {
        let part = match next {
            Ok(next) => next.map_or(Part::End, Part::Batch),
            Err(status) => break Some(status),
        };
        let is_end = matches!(part, Part::End);
        // The other end is gone if it has failed: its error is the answer.
        if sender.send(part).await.is_err() || is_end {
            break None;
        }
        next = incoming.next().await;
    };
    drop(sender);
    // Also if the rows broke off, so that its place is free for whoever asks again.
    let done = work.await.map_err(|_| status::defect("a thread that loaded rows panicked"))?;
    broken_off.map_or(done, Err)
}

/// Keeps rows as they come, and writes them once they have come whole.
fn load(
    dir: &Path,
    schema: &Schema,
    mut parts: Receiver<Part>,
    write: impl FnOnce(Box<dyn RecordBatchReader + Send>) -> pillion::Result<Version>,
) -> Result<Done, Status> {
    let mut spool = Spool::new(dir, schema)?;
    loop {
        match parts.blocking_recv() {
            Some(Part::Batch(batch)) => spool.push(&batch)?,
            Some(Part::End) => break,
            // Nobody reads this: the client is gone.
            None => return Err(status::invalid("the rows broke off")),
        }
    }
    let (rows, count) = spool.finish()?;
    let version = write(Box::new(rows)).map_err(|error| status::of_rows(&error))?;
    Ok(Done { rows: i64::try_from(count).unwrap_or(i64::MAX), version: Some(version) })
}

#[cfg(test)]
mod tests {
    use arrow_flight::sql::TableDefinitionOptions;
    use tonic::Code;

    use super::*;

    #[test]
    fn what_an_upload_asks_for_is_understood_or_refused() {
        let asks = |if_not_exist: TableNotExistOption, if_exists: TableExistsOption| {
            let options =
                TableDefinitionOptions { if_not_exist: if_not_exist.into(), if_exists: if_exists.into() };
            let command = CommandStatementIngest {
                table_definition_options: Some(options),
                table: "items".to_owned(),
                schema: Some("public".to_owned()),
                ..Default::default()
            };
            Ingest::of(command).map(|ingest| (ingest.creates, ingest.if_exists)).unwrap()
        };
        use {TableExistsOption as Exists, TableNotExistOption as Missing};
        assert_eq!(asks(Missing::Create, Exists::Fail), (true, IfExists::Fail));
        assert_eq!(asks(Missing::Fail, Exists::Append), (false, IfExists::Append));
        assert_eq!(asks(Missing::Create, Exists::Replace), (true, IfExists::Replace));
        for (wrong, code) in [
            (CommandStatementIngest { temporary: true, ..Default::default() }, Code::Unimplemented),
            (
                CommandStatementIngest { transaction_id: Some("t".into()), ..Default::default() },
                Code::Unimplemented,
            ),
            (
                CommandStatementIngest { schema: Some("other".into()), ..Default::default() },
                Code::InvalidArgument,
            ),
            (
                CommandStatementIngest {
                    options: [("upsert".to_owned(), String::new())].into(),
                    ..Default::default()
                },
                Code::InvalidArgument,
            ),
            (
                CommandStatementIngest {
                    table_definition_options: Some(TableDefinitionOptions {
                        if_exists: 99,
                        ..Default::default()
                    }),
                    ..Default::default()
                },
                Code::InvalidArgument,
            ),
        ] {
            assert_eq!(Ingest::of(wrong.clone()).unwrap_err().code(), code, "{wrong:?}");
        }
    }
}
