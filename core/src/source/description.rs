//! What a source knows of a relation before it reads rows.

use arrow::datatypes::SchemaRef;

/// Columns of a relation, and how large it is and whether it changed as far as the source knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    schema: SchemaRef,
    rows: Option<u64>,
    bytes: Option<u64>,
    mark: Option<Vec<u8>>,
    parts: Vec<Part>,
}

/// A part of a relation that can be fetched alone: the files of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name, by which [`Fetch::parts`](super::Fetch::parts) asks for it.
    pub name: String,
    /// Bytes that change whenever its rows do. Two parts of equal mark have equal rows.
    pub mark: Vec<u8>,
    /// Columns that have one value in all rows of this part and of no other part, with that value as Arrow shows it. Empty if rows do not show which
    /// part they are of.
    pub values: Vec<(String, Option<String>)>,
}

impl Description {
    /// A relation with columns.
    #[must_use]
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema, rows: None, bytes: None, mark: None, parts: Vec::new() }
    }

    /// Says how many rows there are, about.
    #[must_use]
    pub fn rows(mut self, rows: u64) -> Self {
        self.rows = Some(rows);
        self
    }

    /// Says how many bytes will be read, about.
    #[must_use]
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Says by which bytes a change is noticed: while they are equal, the rows are equal too.
    #[must_use]
    pub fn mark(mut self, mark: impl Into<Vec<u8>>) -> Self {
        self.mark = Some(mark.into());
        self
    }

    /// Says of which parts it consists.
    #[must_use]
    pub fn parts(mut self, parts: Vec<Part>) -> Self {
        self.parts = parts;
        self
    }

    /// The same with some of the columns only.
    pub(crate) fn of_columns(mut self, schema: SchemaRef) -> Self {
        self.schema = schema;
        self
    }

    /// The columns, with the types in which they are fetched.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// About how many rows it has, if known.
    #[must_use]
    pub fn expected_rows(&self) -> Option<u64> {
        self.rows
    }

    /// About how many bytes are read for it, if known.
    #[must_use]
    pub fn expected_bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// The bytes by which a change is noticed, if the source has any.
    #[must_use]
    pub fn change_mark(&self) -> Option<&[u8]> {
        self.mark.as_deref()
    }

    /// Its parts; empty if it cannot be fetched in parts.
    #[must_use]
    pub fn all_parts(&self) -> &[Part] {
        &self.parts
    }
}
