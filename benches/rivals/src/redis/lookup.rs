//! Lookups by key.

use pillion_benches::Result;
use pillion_benches::data::{Keys, Points};
use pillion_benches::harness::{Contestant, Sink};
use redis::Connection;

use super::Server;
use crate::packed;

/// The name that a row has in Redis.
pub(super) fn key(id: i64) -> String {
    format!("{}:{id}", Points::NAME)
}

/// Looks a key up and reads every column.
pub struct GetPoint {
    connection: Connection,
    keys: Keys,
}

impl GetPoint {
    /// Lookups on a connection of their own.
    ///
    /// # Errors
    /// The server refuses.
    pub fn new(server: &Server, keys: Keys) -> Result<Self> {
        Ok(Self { connection: server.connect()?, keys })
    }
}

impl Contestant for GetPoint {
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        let id = self.keys.present(call);
        let row: Option<Vec<u8>> = redis::cmd("GET").arg(key(id)).query(&mut self.connection)?;
        packed::read(id, &row.ok_or("a row is missing")?, sink)
    }
}

/// Looks up a key that is not there.
pub struct GetAbsent {
    connection: Connection,
    keys: Keys,
}

impl GetAbsent {
    /// Lookups on a connection of their own.
    ///
    /// # Errors
    /// The server refuses.
    pub fn new(server: &Server, keys: Keys) -> Result<Self> {
        Ok(Self { connection: server.connect()?, keys })
    }
}

impl Contestant for GetAbsent {
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        let id = self.keys.absent(call);
        let row: Option<Vec<u8>> = redis::cmd("GET").arg(key(id)).query(&mut self.connection)?;
        sink.text(if row.is_none() { "absent" } else { "present" });
        sink.end_row();
        Ok(())
    }
}
