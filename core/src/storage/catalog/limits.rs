//! How much the catalog may hold, which every manifest repeats as a whole.
//!
//! A cache that an older version filled beyond a limit opens and works: what is there can be changed and removed.

use super::state::State;
use crate::storage::planted::{self, Bug};
use crate::storage::table::TableShape;
use crate::types::error::{Error, ErrorCode, Result};

/// Sources whose positions are remembered.
pub(crate) const SOURCES_MAX: usize = 1024;
/// Bytes of the name of a source.
pub(crate) const SOURCE_LEN_MAX: usize = 1 << 10;
/// Bytes of a position.
pub(crate) const POSITION_LEN_MAX: usize = 16 << 10;
/// Tables of a cache.
pub(crate) const TABLES_MAX: usize = 10_000;
/// Bytes of memory that the names and columns of all tables take together.
pub(crate) const DEFINITIONS_LEN_MAX: usize = 128 << 20;

/// Refuses a source whose name is too long for its position to be remembered.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`].
pub(crate) fn check_source(source: &str) -> Result<()> {
    if source.len() <= SOURCE_LEN_MAX || planted::has(Bug::CatalogLimits) {
        return Ok(());
    }
    let message = format!(
        "the name of a source has {} bytes; at most {SOURCE_LEN_MAX}: `{}…`",
        source.len(),
        source.chars().take(40).collect::<String>()
    );
    Err(Error::new(ErrorCode::InvalidArgument, message))
}

impl State {
    /// Refuses a position that is too long, and a new source if there are too many already. The position of a known
    /// source can always be changed, and an empty position forgets the source.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`], [`ErrorCode::TooMany`].
    pub(crate) fn check_position(&self, source: &str, position: &[u8]) -> Result<()> {
        if position.is_empty() || planted::has(Bug::CatalogLimits) {
            return Ok(());
        }
        if position.len() > POSITION_LEN_MAX {
            let message = format!(
                "the position of source `{source}` has {} bytes; at most {POSITION_LEN_MAX} are remembered",
                position.len()
            );
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        if self.positions.contains_key(source) {
            return Ok(());
        }
        check_source(source)?;
        if self.positions.len() < SOURCES_MAX {
            return Ok(());
        }
        let message = format!(
            "the cache remembers the positions of {} sources, and at most {SOURCES_MAX} are allowed; forget those that \
             are gone by committing an empty position for each",
            self.positions.len()
        );
        Err(Error::new(ErrorCode::TooMany, message))
    }

    /// Refuses a table if there are too many already, or if all definitions together would be too large.
    ///
    /// # Errors
    /// [`ErrorCode::TooMany`].
    pub(crate) fn check_room_for(&self, shape: &TableShape) -> Result<()> {
        if self.tables.len() >= TABLES_MAX {
            let message = format!(
                "the cache has {} tables, and at most {TABLES_MAX} are allowed; drop some",
                self.tables.len()
            );
            return Err(Error::new(ErrorCode::TooMany, message));
        }
        let held: usize = self.tables.values().map(|table| table.shape.definition_len()).sum();
        if held.saturating_add(shape.definition_len()) <= DEFINITIONS_LEN_MAX {
            return Ok(());
        }
        let message = format!(
            "the definition of table `{}` takes {} bytes and those of the other tables {held}; at most \
             {DEFINITIONS_LEN_MAX} together: drop some, or give it fewer columns, shorter names and less metadata",
            shape.name,
            shape.definition_len()
        );
        Err(Error::new(ErrorCode::TooMany, message))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::storage::{Change, Files, Store, Sync};

    fn open(dir: &std::path::Path) -> Store {
        Store::open(Files::below(dir).unwrap(), Sync::Later, 1 << 20, 0).unwrap()
    }

    fn commit(store: &Store, source: &str, position: &[u8]) -> Result<()> {
        let change = Change::Position { source: source.to_owned(), position: position.to_vec() };
        store.write(vec![change], SystemTime::now()).map(drop)
    }

    #[test]
    fn a_position_that_is_too_long_or_one_too_many_is_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        commit(&store, &"n".repeat(SOURCE_LEN_MAX), &vec![1; POSITION_LEN_MAX]).unwrap();
        for number in 1..SOURCES_MAX {
            commit(&store, &format!("source {number}"), b"1").unwrap();
        }
        let before = store.state().version;
        let refused = commit(&store, "one more", b"1").unwrap_err();
        assert_eq!(refused.code(), ErrorCode::TooMany);
        assert!(
            refused.to_string().contains("1024") && refused.to_string().contains("empty position"),
            "{refused}"
        );
        let refused = commit(&store, "source 1", &vec![1; POSITION_LEN_MAX + 1]).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidArgument);
        assert!(refused.to_string().contains("source 1"), "{refused}");
        let refused = commit(&store, &"n".repeat(SOURCE_LEN_MAX + 1), b"1").unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidArgument);
        assert_eq!(store.state().version, before);
        // In one commit: the first makes room for the second.
        let forgotten = Change::Position { source: "source 7".to_owned(), position: Vec::new() };
        let new = Change::Position { source: "one more".to_owned(), position: b"1".to_vec() };
        store.write(vec![forgotten, new], SystemTime::now()).unwrap();
        assert_eq!(store.state().positions.len(), SOURCES_MAX);
        assert!(!store.state().positions.contains_key("source 7"));
        commit(&store, "source 8", b"2").unwrap();
    }

    #[test]
    fn a_cache_that_has_too_many_positions_already_opens_and_can_be_mended() {
        let dir = tempfile::tempdir().unwrap();
        let long = "n".repeat(2 * SOURCE_LEN_MAX);
        {
            let _planted = planted::plant(Bug::CatalogLimits);
            let store = open(dir.path());
            for number in 0..SOURCES_MAX + 100 {
                commit(&store, &format!("source {number}"), b"1").unwrap();
            }
            commit(&store, &long, &vec![1; 2 * POSITION_LEN_MAX]).unwrap();
            // Dropped without a close, as if killed: the next store recovers from the log.
        }
        let store = open(dir.path());
        assert_eq!(store.state().positions.len(), SOURCES_MAX + 101);
        store.fold().unwrap();
        store.close(false).unwrap();
        drop(store);
        let store = open(dir.path());
        assert_eq!(store.state().positions.len(), SOURCES_MAX + 101);
        assert_eq!(commit(&store, "new", b"1").unwrap_err().code(), ErrorCode::TooMany);
        commit(&store, "source 3", b"2").unwrap();
        commit(&store, &long, b"2").unwrap();
        for number in 0..101 {
            commit(&store, &format!("source {number}"), b"").unwrap();
        }
        commit(&store, &long, b"").unwrap();
        commit(&store, "new", b"1").unwrap();
    }

    #[test]
    fn definitions_that_fill_the_manifest_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        // Metadata counts too.
        let define = |name: &str, len: usize| {
            let metadata = std::collections::HashMap::from([("m".to_owned(), "x".repeat(len))]);
            let field = Field::new("id", DataType::Int64, false).with_metadata(metadata);
            let shape = TableShape::keyed(name, Arc::new(Schema::new(vec![field])), 0);
            store.create_table(shape, SystemTime::now(), &mut std::iter::empty()).map(drop)
        };
        define("a", 1 << 20).unwrap();
        let refused = define("b", DEFINITIONS_LEN_MAX).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::TooMany);
        assert!(refused.to_string().contains("`b`"), "{refused}");
        assert!(store.state().table("b").is_err());
        define("b", 1 << 10).unwrap();
    }
}
