//! The cache that a behaviour works with.

use arrow::array::RecordBatch;
use pillion::{Cache, Input, Result, Table, TableDefinition, Value, Version};

use crate::opener::{Opened, Opener};

/// A fresh cache. Writes go through its writer, reads through the handle under test, which sees all writes before them.
pub struct Session<'a> {
    opener: &'a dyn Opener,
    opened: Box<dyn Opened>,
}

impl<'a> Session<'a> {
    /// Opens a fresh cache.
    pub fn open(opener: &'a dyn Opener) -> Self {
        Self { opener, opened: opener.open() }
    }

    /// Another fresh cache by the same way in.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::open(self.opener)
    }

    /// The handle through which rows get into the cache.
    pub fn writer(&self) -> Cache {
        self.opened.writer().clone()
    }

    /// The handle that owns the directory, and can be told of sources.
    pub fn owner(&self) -> Cache {
        self.opened.owner().clone()
    }

    /// Whether the handle under test reaches the sources of the owner.
    pub fn asks_sources(&self) -> bool {
        self.opened.asks_sources()
    }

    /// The handle under test as it is, whatever it has seen so far.
    pub fn held(&self) -> Cache {
        self.opened.reader().clone()
    }

    /// The handle under test, once it has seen every write.
    pub fn cache(&mut self) -> Cache {
        let version = self.opened.writer().version().expect("a writer knows its version");
        self.opened.catch_up(version);
        self.held()
    }

    /// Closes the cache and opens it again.
    pub fn reopen(&mut self) {
        self.opened.reopen();
    }

    /// Defines a table and returns it as the handle under test sees it.
    pub fn define(&mut self, name: &str, definition: TableDefinition) -> Result<Table> {
        self.writer().define_table(name, definition)?;
        self.table(name)
    }

    /// Defines a table with a primary key of one column.
    pub fn define_keyed(&mut self, name: &str, key: &str, rows: impl Into<Input>) -> Result<Table> {
        self.define(name, TableDefinition::new(rows).primary_key([key]))
    }

    /// A table as the handle under test sees it.
    pub fn table(&mut self, name: &str) -> Result<Table> {
        self.cache().table(name)
    }

    /// Adds rows.
    pub fn append(&self, name: &str, rows: impl Into<Input>) -> Result<Version> {
        self.writer().table(name)?.append(rows)
    }

    /// Adds rows, and replaces those with the same keys.
    pub fn upsert(&self, name: &str, rows: impl Into<Input>) -> Result<Version> {
        self.writer().table(name)?.upsert(rows)
    }

    /// Moves rows out of the log.
    pub fn compact(&self) -> Result<()> {
        self.writer().compact()
    }

    /// Replaces all rows.
    pub fn replace(&self, name: &str, rows: impl Into<Input>) -> Result<Version> {
        self.writer().table(name)?.replace(rows)
    }

    /// All rows of an answer to a query.
    pub fn sql(&mut self, text: &str, parameters: &[Value]) -> Result<RecordBatch> {
        self.cache().sql(text, parameters)?.concat()
    }
}
