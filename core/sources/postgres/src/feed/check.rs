//! One state of a table, with which held rows are compared.

use std::fmt;
use std::fmt::Write;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use pillion::source::{Call, FeedCheck, Fetch, Fetched, KeyRange, Relation, RowSum};
use pillion::{Error, ErrorCode, Result, Value};

use super::position::LogPosition;
use super::{SLOT_TIMEOUT, table};
use crate::canonical::{self, KeyColumn};
use crate::names::quoted;
use crate::plan;
use crate::replication::{Connection, SlotName};
use crate::session::Session;
use crate::source::Postgres;

/// The server adds up in one process: others wait for its processors too. Between two sums the transaction may rest.
const ALONE: &str = "SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL statement_timeout = 0; \
    SET LOCAL idle_in_transaction_session_timeout = 0";
const ENCODING: &str = "SELECT pg_catalog.getdatabaseencoding()::pg_catalog.text";

/// A snapshot and the place in the log that belongs to it.
pub(super) struct PostgresCheck {
    source: Postgres,
    relation: Relation,
    columns: Vec<String>,
    position: Vec<u8>,
    schema: SchemaRef,
    key: Vec<KeyColumn>,
    /// What stands behind `FROM`.
    from: String,
    /// The digest of a row.
    digest: String,
    /// Reads in the snapshot.
    session: std::sync::Arc<Session>,
    /// Exports the snapshot, and has the slot that ends with the connection.
    exporter: Connection,
    snapshot: String,
    /// Holds the lock of the table: one that is emptied or rewritten after the snapshot was made would seem empty in it.
    _lock: Session,
}

/// See [`Source::check`](pillion::source::Source::check).
pub(crate) fn check(
    source: &Postgres,
    relation: &Relation,
    columns: &[String],
    key: &[String],
    fed: Option<(&[u8], usize)>,
    call: &Call,
) -> Result<Box<dyn FeedCheck>> {
    let fed = match fed {
        Some((position, place)) => LogPosition::decode(position)?.tables.get(place).copied(),
        None => None,
    };
    let (of_work, relation) = (source.clone(), relation.clone());
    let (columns, key) = (columns.to_vec(), key.to_vec());
    let limit = call.remaining().map_or(SLOT_TIMEOUT, |left| left.mul_f64(0.75).min(SLOT_TIMEOUT));
    let made = source
        .runtime()
        .run(call, async move { make(of_work, relation, columns, &key, fed, limit).await })?;
    Ok(Box::new(made))
}

async fn make(
    source: Postgres,
    relation: Relation,
    columns: Vec<String>,
    key: &[String],
    fed: Option<u32>,
    limit: Duration,
) -> Result<PostgresCheck> {
    let lock = Session::open(source.options().clone(), source.runtime().clone()).await?;
    let locked = table::lock_and_describe(&lock, std::slice::from_ref(&relation)).await?;
    if let Some(fed) = fed
        && locked.iter().any(|table| table.table.oid != fed)
    {
        let message = format!(
            "{}: `{}` is another table now than the one that is followed; it is compared when the table was copied anew",
            lock.place(),
            relation.text()
        );
        return Err(Error::new(ErrorCode::SourceInvalid, message));
    }
    let mut exporter = super::open(&source).await?;
    let system = exporter.system().await?;
    // The number of the process is that of no other connection as long as the slot lives.
    let name = SlotName::new(&format!("pillion_audit_{}", exporter.process()))?;
    let created = exporter.create_temporary_slot(&name, limit, source.options()).await?;
    let position = LogPosition { identifier: system.identifier, lsn: created.consistent, tables: [].into() };
    let session = Session::open(source.options().clone(), source.runtime().clone()).await?;
    session.begin(Some(&created.snapshot)).await?;
    session.client()?.batch_execute(ALONE).await.map_err(|error| session.failure(error))?;
    let encoding = session.client()?.query_typed_one(ENCODING, &[]).await;
    let encoding: String = encoding.and_then(|row| row.try_get(0)).map_err(|error| session.failure(error))?;
    if encoding == "SQL_ASCII" {
        let message = format!(
            "{}: the database has the encoding SQL_ASCII, so its texts cannot be compared",
            session.place()
        );
        return Err(Error::new(ErrorCode::Unsupported, message));
    }
    let shape = plan::shape_of(&session, &relation).await?;
    let selection = shape.select(&relation, Some(&columns))?;
    let kind_of =
        |name: &str| shape.columns().find(|(other, _)| *other == name).map(|(_, kind)| kind.clone());
    let missing = |name: &str| {
        Error::new(ErrorCode::ColumnNotFound, format!("{} has no column `{name}`", relation.text()))
    };
    let digested = selection.schema.fields().iter().map(|field| {
        let kind = kind_of(field.name()).ok_or_else(|| missing(field.name()))?;
        Ok((quoted(field.name()), kind, field.data_type().clone()))
    });
    let digest = canonical::digest(&digested.collect::<Result<Vec<_>>>()?);
    let key = key.iter().map(|name| {
        let kind = kind_of(name).ok_or_else(|| missing(name))?;
        let (_, field) = selection.schema.column_with_name(name).ok_or_else(|| missing(name))?;
        KeyColumn::new(name, &kind, field.data_type(), encoding == "UTF8")
    });
    let key = key.collect::<Result<Vec<_>>>()?;
    let from = shape.from().to_owned();
    Ok(PostgresCheck {
        source,
        relation,
        columns,
        position: position.encode(),
        schema: selection.schema,
        key,
        from,
        digest,
        session: session.into(),
        exporter,
        snapshot: created.snapshot,
        _lock: lock,
    })
}

impl PostgresCheck {
    /// The statement that adds up the parts of a range.
    fn statement(&self, range: &KeyRange, bounds: &[Vec<Value>]) -> Result<String> {
        let mut part = String::from("CASE");
        for (number, bound) in bounds.iter().enumerate() {
            let is_below = canonical::row_is_below(&self.key, bound)?;
            let _ = write!(part, " WHEN {is_below} THEN {number}"); // a String takes everything
        }
        let part =
            if bounds.is_empty() { "0".to_owned() } else { format!("{part} ELSE {} END", bounds.len()) };
        let condition = canonical::range_condition(&self.key, range)?;
        Ok(format!(
            "SELECT part::pg_catalog.int8, pg_catalog.count(*), pg_catalog.sum(digest)::pg_catalog.text \
             FROM (SELECT {part} AS part, {} AS digest FROM {} WHERE {condition}) AS rows GROUP BY part",
            self.digest, self.from
        ))
    }

    fn fetched(&self, condition: String, call: &Call) -> Result<Fetched> {
        let fetch = Fetch::of(self.relation.clone()).columns(self.columns.clone()).condition(condition);
        crate::source::fetched(&self.source, &fetch, Some(self.snapshot.clone()), call)
    }
}

impl FeedCheck for PostgresCheck {
    fn position(&self) -> &[u8] {
        &self.position
    }

    fn digests(&self, rows: &RecordBatch) -> Result<Vec<i64>> {
        canonical::digests(rows, &self.schema)
    }

    fn sums(&mut self, range: &KeyRange, bounds: &[Vec<Value>], call: &Call) -> Result<Vec<RowSum>> {
        let (statement, session) = (self.statement(range, bounds)?, self.session.clone());
        let rows = self.source.runtime().run(call, async move {
            let rows = session.client()?.query_typed(&statement, &[]).await;
            let rows = rows.map_err(|error| session.failure(error))?;
            let read = |row: &tokio_postgres::Row| -> std::result::Result<_, tokio_postgres::Error> {
                Ok((row.try_get::<_, i64>(0)?, row.try_get::<_, i64>(1)?, row.try_get::<_, String>(2)?))
            };
            rows.iter()
                .map(|row| read(row).map_err(|error| session.failure(error)))
                .collect::<Result<Vec<_>>>()
        })?;
        let mut sums = vec![RowSum::default(); bounds.len() + 1];
        for (part, count, sum) in rows {
            let invalid = || {
                let message = format!("{}: the server adds rows up to `{sum}`", self.exporter.place());
                Error::new(ErrorCode::SourceInvalid, message)
            };
            let place = usize::try_from(part).ok().and_then(|part| sums.get_mut(part)).ok_or_else(invalid)?;
            let (rows, sum) = (u64::try_from(count).ok(), sum.parse().ok());
            *place = RowSum { rows: rows.ok_or_else(invalid)?, sum: sum.ok_or_else(invalid)? };
        }
        Ok(sums)
    }

    fn fetch(&mut self, range: &KeyRange, call: &Call) -> Result<Fetched> {
        self.fetched(canonical::range_condition(&self.key, range)?, call)
    }

    fn fetch_keys(&mut self, keys: &[Vec<Value>], call: &Call) -> Result<Fetched> {
        self.fetched(canonical::keys_condition(&self.key, keys)?, call)
    }
}

impl fmt::Debug for PostgresCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresCheck")
            .field("relation", &self.relation)
            .field("place", &self.exporter.place())
            .finish_non_exhaustive()
    }
}
