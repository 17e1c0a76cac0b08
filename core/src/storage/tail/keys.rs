//! The keys of a batch, encoded.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::storage::key::{self, KeyBytes};
use crate::types::error::{Error, ErrorCode, Result};

/// The encoded keys of rows, one after another, and their hashes.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyColumn {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    hashes: Vec<u64>,
}

impl KeyColumn {
    /// The keys in some columns of a batch; none of them is null.
    ///
    /// # Errors
    /// [`UnsupportedType`](crate::ErrorCode::UnsupportedType).
    pub(crate) fn of(batch: &RecordBatch, columns: &[usize]) -> Result<Self> {
        let mut keys = Self::default();
        let mut key = KeyBytes::new();
        for row in 0..batch.num_rows() {
            key.clear();
            for &column in columns {
                key::encode_cell(&mut key, batch.column(column).as_ref(), row)?;
            }
            keys.push(&key);
        }
        Ok(keys)
    }

    /// The columns of [`to_batch`](Self::to_batch).
    pub(crate) fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("key", DataType::Binary, false)]))
    }

    /// The encoded keys as a batch.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] for more than 2 GiB of them.
    pub(crate) fn to_batch(&self) -> Result<RecordBatch> {
        if i32::try_from(self.bytes.len()).is_err() {
            return Err(Error::new(ErrorCode::InvalidArgument, "too many keys for one commit: make several"));
        }
        let keys = BinaryArray::from_iter_values(self.iter().map(|(key, _)| key));
        RecordBatch::try_new(Self::schema(), vec![Arc::new(keys)])
            .map_err(|error| Error::internal("cannot hold keys").with_source(error))
    }

    /// What [`to_batch`](Self::to_batch) made.
    pub(crate) fn from_batch(batch: &RecordBatch) -> Self {
        let mut keys = Self::default();
        if let Some(column) = batch.columns().first().and_then(|column| column.as_binary_opt::<i32>()) {
            (0..column.len()).for_each(|row| keys.push(column.value(row)));
        }
        keys
    }

    /// The same keys, each once.
    pub(crate) fn distinct(&self) -> Self {
        let mut seen = std::collections::HashSet::with_capacity(self.len());
        let mut keys = Self::default();
        self.iter().filter(|(key, _)| seen.insert(*key)).for_each(|(key, _)| keys.push(key));
        keys
    }

    /// Bytes of the keys.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the longest key.
    pub(crate) fn longest(&self) -> usize {
        (0..self.len()).map(|row| self.key(row).len()).max().unwrap_or_default()
    }

    /// Adds an encoded key.
    pub(crate) fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
        self.hashes.push(key::hash(key));
    }

    /// Number of keys.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A key.
    pub(crate) fn key(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }

    /// Its hash.
    pub(crate) fn hash(&self, row: usize) -> u64 {
        self.hashes[row]
    }

    /// Every key and its hash.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        (0..self.len()).map(|row| (self.key(row), self.hash(row)))
    }
}
