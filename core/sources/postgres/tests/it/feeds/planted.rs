//! A source with a bug that a test plants.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use pillion::source::{
    Capabilities, Description, FeedCheck, FeedEvent, Fetch, Fetched, RowChanges, RowOperation,
};

use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bug {
    /// The key that a changed row had is not sent.
    HidesKeys,
    /// Transactions are acknowledged before they are handed over.
    AcknowledgesEarly,
    /// None: transactions are late, as with the one above.
    IsLate,
}

#[derive(Clone, Debug)]
pub(super) struct Planted {
    pub(super) source: Arc<Postgres>,
    pub(super) bug: Bug,
    /// Whether transactions are held back, for as long as this is so.
    pub(super) is_held_back: Arc<AtomicBool>,
    /// The server knows of an acknowledgement by now.
    pub(super) is_held: Arc<Mutex<bool>>,
}

#[derive(Debug)]
struct PlantedFeed {
    feed: Box<dyn ChangeFeed>,
    planted: Planted,
}

impl ChangeFeed for PlantedFeed {
    fn next(&mut self, call: &Call) -> Result<FeedEvent> {
        let event = self.feed.next(call)?;
        match (&event, self.planted.bug) {
            (FeedEvent::Rows(changes), Bug::HidesKeys) => Ok(FeedEvent::Rows(without_keys(changes))),
            (FeedEvent::Committed { position, .. }, Bug::AcknowledgesEarly | Bug::IsLate) => {
                if self.planted.bug == Bug::AcknowledgesEarly {
                    self.feed.acknowledge(position)?;
                }
                while self.planted.is_held_back.load(Ordering::SeqCst) {
                    *self.planted.is_held.lock().unwrap() = true;
                    // The connection lives on, and what comes on it waits.
                    std::thread::sleep(Duration::from_millis(10));
                    call.check().or_else(|error| match error.code() {
                        pillion::ErrorCode::Cancelled => Err(error),
                        _ => Ok(()),
                    })?;
                }
                Ok(event)
            }
            _ => Ok(event),
        }
    }

    fn acknowledge(&mut self, position: &[u8]) -> Result<()> {
        self.feed.acknowledge(position)
    }
}

fn without_keys(changes: &RowChanges) -> RowChanges {
    let stays = |operation: &RowOperation| *operation != RowOperation::Before;
    let mask: arrow::array::BooleanArray =
        changes.operations().iter().map(|operation| Some(stays(operation))).collect();
    let rows: RecordBatch = filter_record_batch(changes.rows(), &mask).unwrap();
    let operations: Vec<RowOperation> = changes.operations().iter().copied().filter(stays).collect();
    let before =
        |row: usize| changes.operations()[..row].iter().filter(|operation| !stays(operation)).count();
    let unchanged = changes.unchanged().iter().map(|(row, column)| (row - before(*row), *column)).collect();
    RowChanges::new(changes.relation(), operations, rows, unchanged).unwrap()
}

impl Source for Planted {
    fn capabilities(&self) -> Capabilities {
        self.source.capabilities()
    }

    fn identity(&self) -> Option<String> {
        self.source.identity()
    }

    fn relations(&self, call: &Call) -> Result<Vec<String>> {
        self.source.relations(call)
    }

    fn describe(&self, relation: &Relation, call: &Call) -> Result<Description> {
        self.source.describe(relation, call)
    }

    fn fetch(&self, fetch: &Fetch, call: &Call) -> Result<Fetched> {
        self.source.fetch(fetch, call)
    }

    fn snapshot(&self, follow: &Follow, call: &Call) -> Result<Box<dyn FeedSnapshot>> {
        self.source.snapshot(follow, call)
    }

    fn changes(&self, follow: &Follow, columns: &[Followed], after: &[u8], call: &Call) -> Result<Changes> {
        Ok(match self.source.changes(follow, columns, after, call)? {
            Changes::Feed(feed) => Changes::Feed(Box::new(PlantedFeed { feed, planted: self.clone() })),
            lost => lost,
        })
    }

    fn newest_position(&self, call: &Call) -> Result<Vec<u8>> {
        self.source.newest_position(call)
    }

    fn behind(&self, position: &[u8], wanted: &[u8]) -> Result<u64> {
        self.source.behind(position, wanted)
    }

    fn position_text(&self, position: &[u8]) -> Option<String> {
        self.source.position_text(position)
    }

    fn forget(&self, follow: &Follow, call: &Call) -> Result<()> {
        self.source.forget(follow, call)
    }

    fn check(
        &self,
        relation: &Relation,
        columns: &[String],
        key: &[String],
        fed: Option<(&[u8], usize)>,
        call: &Call,
    ) -> Result<Box<dyn FeedCheck>> {
        self.source.check(relation, columns, key, fed, call)
    }
}
