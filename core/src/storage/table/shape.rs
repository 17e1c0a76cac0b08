//! What of a table never changes.

use std::panic::catch_unwind;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::ipc::MetadataVersion;
use arrow::ipc::convert::try_schema_from_ipc_buffer;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, write_message};

use crate::storage::catalog::edit::TableRecord;
use crate::storage::format::SEGMENT_ALIGNMENT;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::rules::{Retention, WritePolicy};

/// What of a table never changes.
#[derive(Debug)]
pub(crate) struct TableShape {
    /// Its number.
    pub(crate) id: u64,
    /// Its name.
    pub(crate) name: String,
    /// Its columns.
    pub(crate) schema: SchemaRef,
    /// Columns of its primary key; none: no key.
    pub(crate) primary_key: Vec<usize>,
    /// Columns by which every segment is sorted; none: as they came.
    pub(crate) sort_by: Vec<usize>,
    /// Who may change its rows.
    pub(crate) write_policy: WritePolicy,
    /// How long rows stay.
    pub(crate) retention: Option<Retention>,
}

impl TableShape {
    /// A table with a key of one column, for tests.
    #[cfg(test)]
    pub(crate) fn keyed(name: &str, schema: SchemaRef, key: usize) -> Self {
        Self {
            id: 0,
            name: name.to_owned(),
            schema,
            primary_key: vec![key],
            sort_by: vec![key],
            write_policy: WritePolicy::Anyone,
            retention: None,
        }
    }

    /// Bytes of memory of its name and columns, about what a manifest has of it.
    pub(crate) fn definition_len(&self) -> usize {
        let fields: usize = self.schema.fields().iter().map(|field| field.size()).sum();
        self.name.len() + fields
    }

    /// The table that a record defines.
    ///
    /// # Errors
    /// [`ErrorCode::Corrupt`] if it defines none.
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
            write_policy: record.write_policy.clone(),
            retention: record.retention.clone(),
            schema: Arc::new(schema),
        })
    }

    /// The record that defines it.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`].
    pub(crate) fn to_record(&self) -> Result<TableRecord> {
        let names = |columns: &[usize]| {
            columns.iter().map(|&column| self.schema.field(column).name().clone()).collect()
        };
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
        Ok(TableRecord {
            id: self.id,
            name: self.name.clone(),
            schema,
            primary_key: names(&self.primary_key),
            sort_by: names(&self.sort_by),
            write_policy: self.write_policy.clone(),
            retention: self.retention.clone(),
        })
    }
}
