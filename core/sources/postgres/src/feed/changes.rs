//! The changes of tables, transaction by transaction.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pillion::source::{Call, ChangeFeed, FeedEvent, RowOperation};
use pillion::{Error, ErrorCode, Result};
use pillion_connect::Runtime;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::watch;

use super::Comparison;
use super::position::LogPosition;
use super::pump::{PORTIONS, Portion, pump};
use super::row_changes::RowCollector;
use crate::changes::{AnnouncedTable, Commit, Decoder, Lsn, Message, Tuple};
use crate::replication::{ChangeStream, Received};

/// From 1970 to 2000, from where the server counts.
const EPOCH: Duration = Duration::from_secs(10_957 * 86_400);

/// Changes of tables after a position.
pub(super) struct PostgresChanges {
    portions: Receiver<Portion>,
    portion: std::vec::IntoIter<Received>,
    durable: watch::Sender<Lsn>,
    decoder: Decoder,
    tables: Vec<Comparison>,
    /// What collects the changes of tables that were announced, by their numbers; `None` for those that nobody follows.
    collectors: HashMap<u32, Option<RowCollector>>,
    /// The only table of which changes are collected now.
    collected: Option<u32>,
    events: VecDeque<FeedEvent>,
    /// Up to where everything was handed over.
    position: LogPosition,
    /// The transaction that comes was handed over before.
    is_known: bool,
    is_in_transaction: bool,
    /// Why nothing comes any more.
    failure: Option<(ErrorCode, String)>,
    name: String,
    runtime: Arc<Runtime>,
}

impl PostgresChanges {
    pub(super) fn start(
        stream: ChangeStream,
        tables: Vec<Comparison>,
        after: LogPosition,
        name: String,
        runtime: Arc<Runtime>,
    ) -> Self {
        let (sender, portions) = channel(PORTIONS);
        let (durable, watched) = watch::channel(after.lsn);
        runtime.spawn(pump(stream, sender, watched));
        let reshaped = tables.iter().enumerate();
        let events = reshaped.filter_map(|(relation, table)| {
            table.as_ref().err().map(|why| FeedEvent::Reshaped { relation, why: why.clone() })
        });
        Self {
            portions,
            portion: Vec::new().into_iter(),
            durable,
            decoder: Decoder::new(),
            events: events.collect(),
            tables,
            collectors: HashMap::new(),
            collected: None,
            position: after,
            is_known: false,
            is_in_transaction: false,
            failure: None,
            name,
            runtime,
        }
    }

    /// Takes the next message, waiting for it if need be.
    fn advance(&mut self, call: &Call) -> Result<()> {
        let received = match self.portion.next() {
            Some(received) => received,
            None => {
                let portion = self.runtime.wait(call, self.portions.recv())?;
                let ended = || Error::new(ErrorCode::SourceUnavailable, "the stream of changes ended");
                let portion = portion.ok_or_else(ended).and_then(|portion| portion);
                self.portion = portion.map_err(|error| self.fail(error))?.into_iter();
                return Ok(());
            }
        };
        let taken = match received {
            Received::UpTo { end, is_urgent } => {
                self.idle(end, is_urgent);
                Ok(())
            }
            Received::Message { at, message } => match self.decoder.message(&message) {
                Ok(message) => self.take(message),
                Err(malformed) => Err(Error::new(
                    ErrorCode::SourceInvalid,
                    format!("the stream of changes of `{}` is damaged at {at}: {malformed}", self.name),
                )),
            },
        };
        taken.map_err(|error| self.fail(error))
    }

    /// Remembers that the feed is over.
    fn fail(&mut self, error: Error) -> Error {
        self.failure = Some((error.code(), error.message().to_owned()));
        error
    }

    fn idle(&mut self, end: Lsn, is_urgent: bool) {
        // A keepalive may come in the middle of a transaction, with a position that is already behind its commit.
        if self.is_in_transaction || (end <= self.position.lsn && !is_urgent) {
            return;
        }
        self.position.lsn = self.position.lsn.max(end);
        self.events.push_back(FeedEvent::Idle { position: self.position.encode(), is_urgent });
    }

    fn take(&mut self, message: Message<'_>) -> Result<()> {
        match message {
            Message::Begin { commit, .. } => {
                self.is_in_transaction = true;
                // The server does not send what is before the position that it was asked for.
                self.is_known = commit < self.position.lsn;
                Ok(())
            }
            Message::Commit(commit) => self.commit(commit),
            Message::Table { table, .. } => self.announce(&table),
            _ if self.is_known => Ok(()),
            Message::Insert { table, new, .. } => {
                self.row(table, RowOperation::Insert, &new)?;
                self.flush_if_full()
            }
            Message::Update { table, old, new, .. } => {
                if let Some(old) = old {
                    self.row(table, RowOperation::Before, &old.tuple())?;
                }
                self.row(table, RowOperation::Update, &new)?;
                self.flush_if_full()
            }
            Message::Delete { table, old, .. } => {
                self.row(table, RowOperation::Delete, &old.tuple())?;
                self.flush_if_full()
            }
            Message::Truncate { tables, .. } => {
                self.flush()?;
                let relation = |table: u32| Some(self.collectors.get(&table)?.as_ref()?.relation());
                let relations: Vec<usize> = tables.iter().filter_map(relation).collect();
                if !relations.is_empty() {
                    self.events.push_back(FeedEvent::Truncated(relations));
                }
                Ok(())
            }
            Message::Origin { .. } | Message::Type { .. } | Message::Note { .. } => Ok(()),
            Message::StreamStart { .. }
            | Message::StreamStop
            | Message::StreamCommit { .. }
            | Message::StreamAbort { .. } => Err(Error::new(
                ErrorCode::SourceInvalid,
                format!("the server streams transactions to `{}` that are not committed", self.name),
            )),
        }
    }

    fn commit(&mut self, commit: Commit) -> Result<()> {
        self.flush()?;
        self.is_in_transaction = false;
        if self.is_known {
            return Ok(());
        }
        self.position.lsn = commit.end;
        let at = SystemTime::UNIX_EPOCH + EPOCH;
        let microseconds = Duration::from_micros(commit.time.unsigned_abs());
        let at = if commit.time < 0 { at.checked_sub(microseconds) } else { at.checked_add(microseconds) };
        let at = at.unwrap_or(SystemTime::UNIX_EPOCH);
        self.events.push_back(FeedEvent::Committed { position: self.position.encode(), at });
        Ok(())
    }

    fn announce(&mut self, announced: &AnnouncedTable) -> Result<()> {
        self.flush()?;
        let is_it = |table: &Comparison| {
            table.as_ref().is_ok_and(|table| {
                table.table.oid == announced.oid
                    || (&table.table.schema, &table.table.name) == (&announced.schema, &announced.name)
            })
        };
        let Some(relation) = self.tables.iter().position(is_it) else {
            self.collectors.insert(announced.oid, None);
            return Ok(());
        };
        let Some(Ok(table)) = self.tables.get(relation) else { return Ok(()) };
        match table.places(announced) {
            Ok(places) => {
                let collector = RowCollector::new(relation, table.clone(), places)?;
                self.collectors.insert(announced.oid, Some(collector));
            }
            Err(why) => self.reshape(relation, announced.oid, why),
        }
        Ok(())
    }

    /// Stops to follow a table.
    fn reshape(&mut self, relation: usize, oid: u32, why: String) {
        self.collectors.insert(oid, None);
        if let Some(table) = self.tables.get_mut(relation) {
            *table = Err(why.clone());
        }
        self.events.push_back(FeedEvent::Reshaped { relation, why });
    }

    fn row(&mut self, table: u32, operation: RowOperation, row: &Tuple<'_>) -> Result<()> {
        if self.collected != Some(table) {
            self.flush()?;
        }
        let Some(Some(collector)) = self.collectors.get_mut(&table) else { return Ok(()) };
        self.collected = Some(table);
        match collector.add(operation, row) {
            Ok(()) => Ok(()),
            Err(why) => {
                // Nothing that was collected is wanted any more: the table is fetched anew. The others go on.
                let relation = collector.relation();
                self.collected = None;
                self.reshape(relation, table, why);
                Ok(())
            }
        }
    }

    /// Hands over what is collected if it is enough for a batch.
    fn flush_if_full(&mut self) -> Result<()> {
        if let Some(table) = self.collected
            && let Some(Some(collector)) = self.collectors.get_mut(&table)
            && collector.is_full()
        {
            self.events.extend(collector.finish()?.map(FeedEvent::Rows));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if let Some(table) = self.collected.take()
            && let Some(Some(collector)) = self.collectors.get_mut(&table)
        {
            self.events.extend(collector.finish()?.map(FeedEvent::Rows));
        }
        Ok(())
    }
}

impl ChangeFeed for PostgresChanges {
    fn next(&mut self, call: &Call) -> Result<FeedEvent> {
        loop {
            call.check()?;
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            if let Some((code, message)) = &self.failure {
                return Err(Error::new(*code, message.clone()));
            }
            self.advance(call)?;
        }
    }

    fn acknowledge(&mut self, position: &[u8]) -> Result<()> {
        let position = LogPosition::decode(position)?;
        if position.identifier != self.position.identifier || position.lsn > self.position.lsn {
            return Err(Error::new(
                ErrorCode::InvalidArgument,
                format!("the feed `{}` has not given the position {}", self.name, position.lsn),
            ));
        }
        self.durable.send_if_modified(|durable| {
            let is_new = position.lsn > *durable;
            *durable = position.lsn.max(*durable);
            is_new
        });
        Ok(())
    }
}

impl fmt::Debug for PostgresChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresChanges")
            .field("name", &self.name)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
