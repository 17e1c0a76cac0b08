//! Following a feed: each transaction of the source becomes one commit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use super::commit::{Applied, commit};
use super::effect::{Effect, Fault};
use super::follower::Follower;
use super::inspect::Inspected;
use super::records::FeedRecord;
use crate::refresh::record::Record;
use crate::source::{Call, ChangeFeed, Changes, FeedEvent, OnSchemaChange};
use crate::types::error::{Error, ErrorCode, Result};

/// How long a feed is waited for before the follower looks around.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long the source may take to begin a feed.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How often what is committed is made durable and acknowledged.
const ACKNOWLEDGE_INTERVAL: Duration = Duration::from_secs(1);
/// How often a position without changes is committed.
const IDLE_INTERVAL: Duration = Duration::from_secs(10);

/// Why a feed is not followed on.
#[derive(Debug, PartialEq)]
pub(super) enum Ended {
    /// Everything up to the wanted position is applied, and nothing behind it.
    Reached,
    /// Somebody wishes something, or a table is to be copied.
    Interrupted,
    /// The source has lost changes.
    Lost(String),
}

/// A feed that is followed.
pub(super) struct Streaming<'a> {
    follower: &'a Follower,
    inspected: Inspected,
    record: FeedRecord,
    /// What the transaction that is open did so far, by place in the list.
    effects: BTreeMap<usize, Effect>,
    /// Something came of a transaction whose end has not.
    is_open: bool,
    /// A position without changes that is applied, and not committed.
    idle: Option<Vec<u8>>,
    /// The committed position is not acknowledged.
    is_unacknowledged: bool,
    /// A table is to be copied anew.
    has_fallen_out: bool,

    acknowledged: Instant,
    idled: Instant,
}

impl<'a> Streaming<'a> {
    pub(super) fn new(follower: &'a Follower, inspected: Inspected, record: FeedRecord) -> Self {
        let now = Instant::now();
        Self {
            follower,
            inspected,
            record,
            effects: BTreeMap::new(),
            is_open: false,
            idle: None,
            is_unacknowledged: false,
            has_fallen_out: false,
            acknowledged: now,
            idled: now,
        }
    }

    /// Follows until somebody wishes something or a moment comes; or exactly to a position.
    ///
    /// # Errors
    /// Those of the source and of commits. What was committed stays.
    pub(super) fn run(
        &mut self,
        wishes: u64,
        until: Option<Instant>,
        wanted: Option<&[u8]>,
    ) -> Result<Ended> {
        let ended = self.follow(wishes, until, wanted);
        self.follower.shared.watches.streams(None);
        ended
    }

    fn follow(&mut self, wishes: u64, until: Option<Instant>, wanted: Option<&[u8]>) -> Result<Ended> {
        let Some((follow, columns)) = self.inspected.follow() else {
            return Ok(Ended::Lost("the records of the feed cannot be read".to_owned()));
        };
        let (shared, source) = (&self.follower.shared, &self.follower.shared.source);
        self.follower.exclude(&self.inspected)?;
        let call = shared.call(Some(START_TIMEOUT), false)?;
        let mut feed = match source.changes(&follow, &columns, &self.record.position, &call)? {
            Changes::Feed(feed) => feed,
            Changes::Lost(why) => return Ok(Ended::Lost(why)),
        };
        // Only now: the position may be one of another server, which the source says.
        if self.has_reached(wanted)? {
            self.hear_reshaped(&mut *feed)?;
            return Ok(Ended::Reached);
        }
        let mut heartbeat = self.follower.heartbeat(&self.inspected);
        shared.watches.streams(Some(&self.record.position));
        shared.state.lock().is_streaming = wanted.is_none();
        loop {
            let call = shared.call(Some(PATIENCE), wanted.is_none())?;
            if let Some(ended) = self.listen(&mut *feed, &call, wanted)? {
                return Ok(ended);
            }
            self.acknowledge(&mut *feed)?;
            let (is_stopping, has_wishes) = {
                let state = shared.state.lock();
                (state.is_stopping, state.wishes != wishes)
            };
            if is_stopping {
                return Err(super::shared::stopping());
            }
            if wanted.is_some() {
                continue;
            }
            // A transaction that takes long is not begun again for that.
            if !self.is_open {
                if has_wishes || self.has_fallen_out || until.is_some_and(|until| until <= Instant::now()) {
                    return Ok(Ended::Interrupted);
                }
                if self.idled.elapsed() >= IDLE_INTERVAL {
                    self.commit_idle(None)?;
                }
                if let Some(as_of) = heartbeat.beat(self.follower, self.newest())? {
                    self.commit_idle(Some(as_of))?;
                }
            }
        }
    }

    /// Takes what comes until the call ends.
    fn listen(
        &mut self,
        feed: &mut dyn ChangeFeed,
        call: &Call,
        wanted: Option<&[u8]>,
    ) -> Result<Option<Ended>> {
        loop {
            let event = match feed.next(call) {
                Ok(event) => event,
                Err(error)
                    if matches!(error.code(), ErrorCode::Timeout | ErrorCode::Cancelled)
                        && call.check().is_err() =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            if let FeedEvent::Committed { position, .. } = &event
                && let Some(wanted) = wanted
                && self.behind(wanted, position)? > 0
            {
                // It is behind the wanted position, and comes again from there.
                return Ok(Some(Ended::Reached));
            }
            let is_urgent = matches!(&event, FeedEvent::Idle { is_urgent: true, .. });
            self.take(event)?;
            if !self.is_open && self.has_reached(wanted)? {
                return Ok(Some(Ended::Reached));
            }
            if is_urgent && wanted.is_none() {
                self.commit_idle(None)?;
                self.acknowledge_now(feed)?;
            }
            if !self.is_open && self.has_fallen_out && wanted.is_none() {
                return Ok(Some(Ended::Interrupted));
            }
        }
    }

    /// Hears only which tables are others now, which comes before everything else.
    fn hear_reshaped(&mut self, feed: &mut dyn ChangeFeed) -> Result<()> {
        let call = self.follower.shared.call(Some(PATIENCE), false)?;
        loop {
            match feed.next(&call) {
                Ok(FeedEvent::Reshaped { relation, why }) => self.fall_out(relation, &why, true)?,
                Ok(_) => return Ok(()),
                Err(error) if error.code() == ErrorCode::Timeout && call.check().is_err() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, event: FeedEvent) -> Result<()> {
        match event {
            FeedEvent::Rows(changes) => {
                self.open();
                let relation = changes.relation();
                let Some(target) =
                    self.inspected.tables.get(relation).and_then(|table| table.target.as_ref())
                else {
                    return Ok(());
                };
                self.follower.touch(relation_name(&self.inspected, relation), &changes, target)?;
                let effect = self.effects.entry(relation).or_default();
                match effect.add(&changes, target, &self.follower.cache) {
                    Ok(()) => Ok(()),
                    Err(Fault::Failed(error)) => Err(error),
                    Err(Fault::Diverged(why)) => self.fall_out(relation, &why, false),
                }
            }
            FeedEvent::Truncated(relations) => {
                self.open();
                for relation in relations {
                    self.follower.shared.watches.touched(relation_name(&self.inspected, relation), None);
                    if self.inspected.tables.get(relation).is_some_and(|table| table.target.is_some()) {
                        self.effects.entry(relation).or_default().truncate();
                    }
                }
                Ok(())
            }
            FeedEvent::Committed { position, at } => self.commit(position, at),
            FeedEvent::Idle { position, .. } => {
                self.follower.shared.reached();
                self.follower.shared.watches.idle(&position);
                self.follower.shared.applied(&position, None);
                self.idle = Some(position);
                Ok(())
            }
            FeedEvent::Reshaped { relation, why } => self.fall_out(relation, &why, true),
        }
    }

    /// Changes come.
    fn open(&mut self) {
        if !self.is_open {
            self.is_open = true;
            self.follower.shared.watches.opened();
        }
    }

    fn commit(&mut self, position: Vec<u8>, at: SystemTime) -> Result<()> {
        self.is_open = false;
        self.idle = None;
        let record = FeedRecord { position, ..self.record.clone() };
        let as_of = self.follower.as_of(at);
        let shared = self.follower.shared.clone();
        let left = shared.left.lock();
        self.let_go(&left);
        let changed = std::mem::take(&mut self.effects).into_iter().filter_map(|(relation, effect)| {
            let table = self.inspected.tables.get(relation)?;
            Some(Applied { name: &table.name, target: table.target.as_ref()?, effect })
        });
        commit(&self.follower.cache, &self.follower.shared.source_name, changed.collect(), &record, as_of)?;
        drop(left);
        self.committed(record);
        self.follower.shared.watches.committed(&self.record.position, || self.follower.cache.state());
        self.follower.shared.reached();
        self.follower.shared.applied(&self.record.position, Some(at));
        Ok(())
    }

    /// Does not touch tables that are fed in another way now, or by nobody.
    fn let_go(&mut self, left: &BTreeSet<String>) {
        for (relation, table) in self.inspected.tables.iter_mut().enumerate() {
            if left.contains(&table.name) {
                table.target = None;
                self.effects.remove(&relation);
            }
        }
    }

    fn committed(&mut self, record: FeedRecord) {
        self.record = record;
        self.is_unacknowledged = true;
        self.idled = Instant::now();
    }

    /// Commits a position without changes; `as_of`: the moment up to which the source had nothing beyond it.
    fn commit_idle(&mut self, as_of: Option<SystemTime>) -> Result<()> {
        if self.is_open {
            return Ok(());
        }
        self.idled = Instant::now();
        let idle = self.idle.take();
        if idle.is_none() && as_of.is_none() {
            return Ok(());
        }
        let record = FeedRecord {
            position: idle.unwrap_or_else(|| self.record.position.clone()),
            ..self.record.clone()
        };
        let shared = self.follower.shared.clone();
        let left = shared.left.lock();
        self.let_go(&left);
        // Nothing is news for all tables.
        let confirmed = self.inspected.tables.iter().filter(|_| as_of.is_some()).filter_map(|table| {
            Some(Applied { name: &table.name, target: table.target.as_ref()?, effect: Effect::default() })
        });
        let (cache, source) = (&self.follower.cache, &self.follower.shared.source_name);
        commit(cache, source, confirmed.collect(), &record, as_of.unwrap_or_else(SystemTime::now))?;
        drop(left);
        self.committed(record);
        Ok(())
    }

    /// A table is not in step any more: from now on, whatever becomes of the transaction that is open.
    fn fall_out(&mut self, relation: usize, why: &str, is_reshaped: bool) -> Result<()> {
        self.effects.remove(&relation);
        let Some(table) = self.inspected.tables.get_mut(relation) else { return Ok(()) };
        let Some(target) = table.target.take() else { return Ok(()) };
        let name = table.name.clone();
        self.follower.shared.watches.breaks(Some(&name), why);
        let (source, reason) = (&self.follower.shared.source_name, why);
        tracing::warn!(table = name, source, reason, "the table does not follow its source any more");
        let record = if is_reshaped {
            Record::out_of_step(target.definition, why)
        } else {
            Record::new(target.definition, None)
        };
        self.follower.set_record(&name, &record)?;
        let mut state = self.follower.shared.state.lock();
        state.in_step.remove(&name);
        if let Some(declared) = state.tables.get_mut(&name) {
            let stays = is_reshaped && declared.origin.on_schema_change == OnSchemaChange::Stale;
            declared.stale = stays.then(|| why.to_owned());
            self.has_fallen_out |= !stays;
        }
        drop(state);
        self.follower.shared.changed.notify_all();
        Ok(())
    }

    /// Makes durable what is committed, and says so to the source, now and then.
    fn acknowledge(&mut self, feed: &mut dyn ChangeFeed) -> Result<()> {
        if !self.is_unacknowledged || self.acknowledged.elapsed() < ACKNOWLEDGE_INTERVAL {
            return Ok(());
        }
        self.acknowledge_now(feed)
    }

    fn acknowledge_now(&mut self, feed: &mut dyn ChangeFeed) -> Result<()> {
        // What a sync fails to make durable is not acknowledged: the position is that of a commit before it.
        self.follower.make_durable()?;
        feed.acknowledge(&self.record.position)?;
        self.is_unacknowledged = false;
        self.acknowledged = Instant::now();
        Ok(())
    }

    /// The position up to which everything is applied.
    fn newest(&self) -> &[u8] {
        self.idle.as_deref().unwrap_or(&self.record.position)
    }

    fn has_reached(&self, wanted: Option<&[u8]>) -> Result<bool> {
        wanted.map_or(Ok(false), |wanted| Ok(self.behind(self.newest(), wanted)? == 0))
    }

    fn behind(&self, position: &[u8], wanted: &[u8]) -> Result<u64> {
        self.follower.shared.source.behind(position, wanted)
    }

    /// What is committed of the feed now.
    pub(super) fn into_inspected(self) -> (Inspected, FeedRecord) {
        (self.inspected, self.record)
    }
}

fn relation_name(inspected: &Inspected, relation: usize) -> &str {
    inspected.tables.get(relation).map_or("", |table| &table.name)
}

impl std::fmt::Debug for Streaming<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streaming").field("record", &self.record).finish_non_exhaustive()
    }
}

/// An error that ends following for a reason that no other try mends: what the source sends cannot be held.
pub(super) fn is_unusable(error: &Error) -> bool {
    error.code() == ErrorCode::SourceInvalid
}
