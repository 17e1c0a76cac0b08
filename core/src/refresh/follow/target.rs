//! A held table that is in step with a feed, and rows of the feed as rows of that table.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::records::ColumnsRecord;
use crate::answer::row::Row;
use crate::input::{Input, OpenInput};
use crate::storage::KeyColumn;
use crate::storage::key::decode::decode_keys;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::value::Value;
use crate::types::version::Version;
use crate::way::embedded::Embedded;
use crate::way::table_info::TableInfo;

/// A table in step.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) table: u64,
    pub(super) schema: SchemaRef,
    /// The number of the definition by which its rows were fetched.
    pub(super) definition: u64,
    /// The same columns, any of which may be null: rows that are deleted come with their identity only.
    nullable: SchemaRef,
    key: Vec<usize>,
    /// Whether the source makes sure that no two rows have the same key. Otherwise a row that comes is looked for among the held ones.
    pub(super) is_unique: bool,
}

impl Target {
    /// # Errors
    /// [`ErrorCode::Unsupported`] if the source does not send the table's primary key with every change.
    pub(super) fn new(held: &TableInfo, columns: &ColumnsRecord, definition: u64) -> Result<Self> {
        let (primary_key, identity) = (&held.rules.primary_key, columns.identity());
        check_key(&held.name, primary_key, identity)?;
        let nullable = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
        let nullable = Schema::new(held.schema.fields().iter().map(nullable).collect::<Vec<_>>());
        let key = primary_key.iter().map(|name| held.schema.index_of(name));
        let key = key.collect::<std::result::Result<_, _>>();
        Ok(Self {
            table: held.id,
            schema: held.schema.clone(),
            definition,
            nullable: nullable.into(),
            key: key.map_err(|error| Error::internal("columns of a key").with_source(error))?,
            is_unique: columns.has_unique_identity()
                && identity.iter().all(|name| primary_key.contains(name)),
        })
    }

    /// Rows that came, in the columns and types of the table. There are as many.
    pub(super) fn conform(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let lacking = |name: &str| {
            Error::new(ErrorCode::SourceInvalid, format!("the source sends changes without column `{name}`"))
        };
        let columns = self
            .schema
            .fields()
            .iter()
            .map(|field| rows.schema().index_of(field.name()).map_err(|_| lacking(field.name())));
        let columns: Vec<usize> = columns.collect::<Result<_>>()?;
        let invalid = |error| {
            Error::new(
                ErrorCode::SourceInvalid,
                "the source sends changes of other columns than it described",
            )
            .with_source(error)
        };
        let rows = rows.project(&columns).map_err(invalid)?;
        let nullable = rows
            .schema()
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect::<Vec<_>>();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(
            Schema::new(nullable).into(),
            rows.columns().to_vec(),
            &options,
        );
        let rows = rows.map_err(invalid)?;
        let schema = rows.schema();
        let OpenInput { batches, .. } =
            Input::fallible(schema, std::iter::once(Ok(rows))).open(Some(&self.schema))?;
        let batches: Vec<RecordBatch> = batches.collect::<Result<_>>()?;
        let rows = match batches.as_slice() {
            [one] => one.clone(),
            several => concat_batches(&self.nullable, several).map_err(invalid)?,
        };
        RecordBatch::try_new(self.nullable.clone(), rows.columns().to_vec()).map_err(invalid)
    }

    /// The keys of rows; `None` if a part of one is null.
    pub(super) fn keys(&self, rows: &RecordBatch) -> Result<Option<KeyColumn>> {
        if self.key.iter().any(|column| rows.column(*column).logical_null_count() > 0) {
            return Ok(None);
        }
        KeyColumn::of(rows, &self.key).map(Some)
    }

    /// The names of the columns of the key.
    pub(super) fn key_names(&self) -> Vec<String> {
        self.key.iter().map(|column| self.schema.field(*column).name().clone()).collect()
    }

    /// The values of encoded keys.
    pub(super) fn key_values(&self, keys: &[Box<[u8]>]) -> Result<Vec<Vec<Value>>> {
        let fields: Vec<Field> = self.key.iter().map(|column| self.schema.field(*column).clone()).collect();
        let types: Vec<&DataType> = fields.iter().map(Field::data_type).collect();
        let mut column = KeyColumn::default();
        keys.iter().for_each(|key| column.push(key));
        let options = RecordBatchOptions::new().with_row_count(Some(keys.len()));
        let arrays = decode_keys(&column, &types)?;
        let rows = RecordBatch::try_new_with_options(Schema::new(fields.clone()).into(), arrays, &options);
        let rows = Arc::new(rows.map_err(|error| Error::internal("columns of keys").with_source(error))?);
        let values = |row: usize| {
            let row = Row::of_batch(rows.clone(), row, Version::default(), None);
            (0..fields.len()).map(|column| row.value(column)).collect::<Result<Vec<_>>>()
        };
        (0..keys.len()).map(values).collect()
    }

    /// Rows as the table declares them.
    ///
    /// # Errors
    /// [`ErrorCode::SourceInvalid`] for a null where there must be none.
    pub(super) fn declared(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        RecordBatch::try_new(self.schema.clone(), rows.columns().to_vec()).map_err(|error| {
            Error::new(
                ErrorCode::SourceInvalid,
                "the source sends a null where it declared that there is none",
            )
            .with_source(error)
        })
    }

    /// The held row with a key.
    pub(super) fn held(&self, cache: &Embedded, key: &[u8]) -> Result<Option<RecordBatch>> {
        let mut keys = KeyColumn::default();
        keys.push(key);
        let row = cache.rows_held(self.table, &keys)?.pop().flatten();
        row.map(|row| row.to_batch()).transpose()
    }
}

/// # Errors
/// [`ErrorCode::Unsupported`] for a table whose changes would not say which row they are about.
pub(super) fn check_key(table: &str, primary_key: &[String], identity: &[String]) -> Result<()> {
    let why = match primary_key.iter().find(|name| !identity.contains(name)) {
        None if primary_key.is_empty() => "it has no primary key; define it with one".to_owned(),
        None => return Ok(()),
        Some(name) => format!(
            "its primary key has the column `{name}`, and the source sends of a changed row only {}; choose a key of these",
            identity.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        ),
    };
    Err(Error::new(ErrorCode::Unsupported, format!("table `{table}` cannot follow its source: {why}")))
}
