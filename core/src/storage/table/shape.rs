//! What of a table never changes.

use std::panic::catch_unwind;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::MetadataVersion;
use arrow::ipc::convert::try_schema_from_ipc_buffer;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, write_message};

use super::expiry::is_time;
use crate::storage::catalog::edit::TableRecord;
use crate::storage::catalog::limits::check_source;
use crate::storage::format::SEGMENT_ALIGNMENT;
use crate::storage::key;
use crate::storage::segment::check_storable;
use crate::types::column::ColumnIndex;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::rules::{Retention, TableRules, WritePolicy};

/// The part of a table that never changes.
#[derive(Debug)]
pub(crate) struct TableShape {
    /// Its number.
    pub(crate) id: u64,
    /// Its name.
    pub(crate) name: String,
    /// Its columns.
    pub(crate) schema: SchemaRef,
    /// Columns of its primary key; empty without one.
    pub(crate) primary_key: Vec<usize>,
    /// Columns by which every segment is sorted; if empty, rows keep the order in which they came.
    pub(crate) sort_by: Vec<usize>,
    /// Its rules, with the names of those columns.
    pub(crate) rules: TableRules,
}

impl TableShape {
    /// A table with a key of one column, for tests.
    #[cfg(test)]
    pub(crate) fn keyed(name: &str, schema: SchemaRef, key: usize) -> Self {
        let key_name: Vec<String> =
            schema.fields().get(key).map(|field| field.name().clone()).into_iter().collect();
        let rules = TableRules { primary_key: key_name.clone(), sort_by: key_name, ..TableRules::default() };
        Self { id: 0, name: name.to_owned(), schema, primary_key: vec![key], sort_by: vec![key], rules }
    }

    /// A new table with the columns of `schema`, without a number yet.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`], [`ErrorCode::ColumnNotFound`] or [`ErrorCode::UnsupportedType`] if the rules do
    /// not suit the columns.
    pub(crate) fn new(name: &str, schema: &SchemaRef, rules: TableRules) -> Result<Self> {
        let unsupported = |reason| Error::new(ErrorCode::UnsupportedType, reason);
        let schema: SchemaRef = Arc::new(Schema::new(schema.fields().clone()));
        let mut names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("two columns are called `{}`; rename one", pair[0]);
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        schema.fields().iter().try_for_each(|field| check_storable(field).map_err(unsupported))?;
        let find = |columns: &[String]| -> Result<Vec<usize>> {
            let mut found = Vec::new();
            for column in columns {
                let index = column.index_in(&schema)?;
                if found.contains(&index) {
                    let message = format!("column `{column}` is named twice");
                    return Err(Error::new(ErrorCode::InvalidArgument, message));
                }
                found.push(index);
            }
            Ok(found)
        };
        let primary_key = find(&rules.primary_key)?;
        for &column in &primary_key {
            let field = schema.field(column);
            if !key::is_key_type(field.data_type()) {
                let (name, data_type) = (field.name(), field.data_type());
                return Err(unsupported(format!(
                    "column `{name}` is {data_type}, which cannot be part of a primary key"
                )));
            }
        }
        let sort_by = if rules.sort_by.is_empty() { primary_key.clone() } else { find(&rules.sort_by)? };
        for &column in &sort_by {
            let field = schema.field(column);
            if field.data_type().is_nested() {
                return Err(unsupported(format!(
                    "column `{}` is nested and cannot be sorted by",
                    field.name()
                )));
            }
        }
        if let Some(Retention { column, .. }) = &rules.retention {
            let field = schema.field(column.index_in(&schema)?);
            if !is_time(field.data_type()) {
                return Err(unsupported(format!(
                    "column `{column}` is {}, which does not tell how old a row is; retention needs timestamps or dates",
                    field.data_type()
                )));
            }
        }
        if let WritePolicy::Source(name) = &rules.write_policy
            && name.is_empty()
        {
            return Err(Error::new(ErrorCode::InvalidArgument, "the source of a write policy needs a name"));
        }
        if let WritePolicy::Source(name) = &rules.write_policy {
            check_source(name)?;
        }
        if let Some(set) = &rules.working_set {
            let refused = |reason| Err(Error::new(ErrorCode::InvalidArgument, reason));
            if !matches!(rules.write_policy, WritePolicy::Source(_)) {
                return refused(format!(
                    "table `{name}` holds only {set}, and nothing feeds it: only tables from a source can be working sets"
                ));
            }
            if rules.retention.is_some() {
                return refused(format!(
                    "table `{name}` holds only {set}, and rows leave it by that condition: leave out `retain`"
                ));
            }
        }
        let rules = rules.of_table();
        Ok(Self { id: 0, name: name.to_owned(), schema, primary_key, sort_by, rules })
    }

    /// Bytes of memory that its name and columns take, about as many as in a manifest.
    pub(crate) fn definition_len(&self) -> usize {
        let fields: usize = self.schema.fields().iter().map(|field| field.size()).sum();
        self.name.len() + fields
    }

    /// The table that a record defines.
    ///
    /// # Errors
    /// [`ErrorCode::Corrupt`] if the record does not define a table.
    pub(crate) fn from_record(record: &TableRecord) -> Result<Self> {
        let damaged = |what: String| {
            Error::new(ErrorCode::Corrupt, format!("definition of table `{}`: {what}", record.name))
        };
        // The bytes passed a checksum, but Arrow panics on a malformed schema and a panic must not leave here.
        let schema = catch_unwind(|| try_schema_from_ipc_buffer(&record.schema))
            .map_err(|_| damaged("schema not understood".to_owned()))?
            .map_err(|error| damaged("schema not understood".to_owned()).with_source(error))?;
        let columns = |names: &[String]| -> Result<Vec<usize>> {
            names
                .iter()
                .map(|name| schema.index_of(name).map_err(|error| damaged(error.to_string())))
                .collect()
        };
        Ok(Self {
            id: record.id,
            name: record.name.clone(),
            primary_key: columns(&record.primary_key)?,
            sort_by: columns(&record.sort_by)?,
            rules: record.rules(),
            schema: Arc::new(schema),
        })
    }

    /// The record that defines it.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`].
    pub(crate) fn to_record(&self) -> Result<TableRecord> {
        let internal = |error| Error::internal("cannot encode a schema").with_source(error);
        let options =
            IpcWriteOptions::try_new(SEGMENT_ALIGNMENT, false, MetadataVersion::V5).map_err(internal)?;
        let message = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
            &self.schema,
            &mut DictionaryTracker::new(true),
            &options,
        );
        let mut schema = Vec::new();
        write_message(&mut schema, message, &options).map_err(internal)?;
        Ok(TableRecord::new(self.id, self.name.clone(), schema, self.rules.clone()))
    }
}
