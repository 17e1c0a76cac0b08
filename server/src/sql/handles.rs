//! The handles of the cache that statements are run on.

use pillion::Cache;

use crate::connection::Connection;
use crate::failure::Failure;

/// Opens the cache for what statements do: one that only reads takes the directory from nobody.
pub(super) struct Handles<'a> {
    connection: &'a Connection,
    reader: Option<Cache>,
    writer: Option<Cache>,
}

impl<'a> Handles<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self { connection, reader: None, writer: None }
    }

    /// A handle that reads; the one that writes if there is one.
    ///
    /// # Errors
    /// Those of opening.
    pub(super) fn reader(&mut self) -> Result<&Cache, Failure> {
        if let Some(writer) = &self.writer {
            return Ok(writer);
        }
        match &mut self.reader {
            Some(reader) => Ok(reader),
            reader => Ok(reader.insert(self.connection.read()?)),
        }
    }

    /// A handle that writes; makes the directory if it is not there.
    ///
    /// # Errors
    /// Those of opening.
    pub(super) fn writer(&mut self) -> Result<&Cache, Failure> {
        self.reader = None;
        match &mut self.writer {
            Some(writer) => Ok(writer),
            writer => Ok(writer.insert(self.connection.write()?)),
        }
    }
}
