//! A transaction of the source as one commit.

use std::time::SystemTime;

use arrow::array::RecordBatch;

use super::effect::Effect;
use super::records::{FeedRecord, encode, feed_name};
use super::target::Target;
use crate::refresh::record::{Record, position_name};
use crate::storage::{Change, KeyColumn};
use crate::types::error::Result;
use crate::types::mode::WriteMode;
use crate::types::version::Version;
use crate::way::embedded::Embedded;

/// Keys that a commit deletes, in bytes, before a table is written anew instead: a record of the log holds 8 MiB, also of rows.
const DELETED_LEN_MAX: usize = if cfg!(test) { 2 << 10 } else { 4 << 20 };

/// What happened to a table.
pub(super) struct Applied<'a> {
    pub(super) name: &'a str,
    pub(super) target: &'a Target,
    pub(super) effect: Effect,
}

type Rows = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// A change whose rows are owned.
enum Owned {
    Rows(WriteMode, Rows),
    Delete(KeyColumn),
    Truncate,
}

/// Commits what happened to tables, with the feed's position. A table to which nothing happened counts as fresh.
///
/// # Errors
/// Those of a write.
pub(super) fn commit(
    cache: &Embedded,
    source: &str,
    applied: Vec<Applied<'_>>,
    feed: &FeedRecord,
    as_of: SystemTime,
) -> Result<Version> {
    let mut owned = Vec::new();
    let mut positions = vec![(feed_name(source), encode(feed)?)];
    let mut deleted = 0;
    for Applied { name, target, effect } in applied {
        positions
            .push((position_name(source, name), Record::in_step(target.definition, feed.epoch).encode()?));
        owned.extend(
            changes(cache, target, effect, &mut deleted)?.into_iter().map(|change| (target.table, change)),
        );
    }
    let changes = owned.iter_mut().map(|(table, change)| match change {
        Owned::Rows(mode, rows) => Change::Rows { table: *table, mode: *mode, rows },
        Owned::Delete(keys) => {
            Change::Delete { table: *table, keys: std::mem::take(keys), invalidates: false }
        }
        Owned::Truncate => Change::Truncate { table: *table },
    });
    let positions = positions.into_iter().map(|(source, position)| Change::Position { source, position });
    cache.write_changes(changes.chain(positions).collect(), as_of)
}

/// The changes of one table.
fn changes(cache: &Embedded, target: &Target, effect: Effect, deleted: &mut usize) -> Result<Vec<Owned>> {
    let rows = effect.rows(target)?;
    if effect.is_truncated {
        return Ok(vec![if rows.is_empty() {
            Owned::Truncate
        } else {
            Owned::Rows(WriteMode::Replace, Box::new(rows.into_iter().map(Ok)))
        }]);
    }
    let gone = effect.gone_bytes();
    if *deleted + gone > DELETED_LEN_MAX {
        let held = cache.scan_held(target.table, None)?;
        let target = target.clone();
        let kept = held.map(move |batch| effect.untouched(&batch?, &target));
        return Ok(vec![Owned::Rows(WriteMode::Replace, Box::new(kept.chain(rows.into_iter().map(Ok))))]);
    }
    *deleted += gone;
    // Many rows come before other changes of their table. No key is in both.
    let upsert = Owned::Rows(WriteMode::Upsert, Box::new(rows.into_iter().map(Ok)));
    Ok(if gone == 0 { vec![upsert] } else { vec![upsert, Owned::Delete(effect.gone())] })
}
