//! The thread that follows all tables of a source.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::heartbeat::Heartbeat;
use super::inspect::Inspected;
use super::planted;
use super::records::{FeedRecord, ListRecord, encode, feed_name, list_name};
use super::shared::{Shared, stopping};
use super::stream::{Ended, Streaming};
use super::target::Target;
use crate::refresh::backoff::wait_after;
use crate::refresh::chance::Chance;
use crate::refresh::record::{Record, position_name};
use crate::source::{Follow, RowChanges};
use crate::storage::Change;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::panics;
use crate::way::Backend;
use crate::way::embedded::Embedded;
use crate::way::refreshing::KeptName;

/// How long the source may take to forget a name.
const FORGET_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is asked again at once, and after which pauses.
const FORGET_TRIES: u32 = 5;
const FORGET_PAUSE: Duration = Duration::from_millis(100);
/// When it is asked again after that.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);

/// Follows a source.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) cache: Arc<Embedded>,
    pub(super) shared: Arc<Shared>,
    chance: Mutex<Chance>,
    /// The newest moment whose changes are all applied.
    confirmed: Mutex<Option<SystemTime>>,
    /// When tables that nobody wants are taken out of the feed again, after that failed.
    cleaned: Mutex<(u32, Option<Instant>)>,
}

impl Follower {
    pub(super) fn new(cache: Arc<Embedded>, shared: Arc<Shared>) -> Self {
        Self {
            cache,
            shared,
            chance: Mutex::default(),
            confirmed: Mutex::default(),
            cleaned: Mutex::default(),
        }
    }

    /// Follows until it is stopped.
    pub(super) fn run(&self) {
        while let Ok(wishes) = self.shared.wait_for_work() {
            let panicked = || Error::internal("following a source panicked");
            let Err(error) = panics::catch(|| self.round(wishes), panicked) else { continue };
            if self.shared.state.lock().is_stopping {
                return;
            }
            self.shared.failed(error, wishes, self.share());
        }
    }

    /// One round: from what is committed up to where something else is to be done.
    fn round(&self, wishes: u64) -> Result<()> {
        self.shared.state.lock().is_streaming = false;
        let inspected = self.inspect()?;
        let forgets = self.forget(&inspected.list);
        let (candidates, later) = self.shared.state.lock().candidates(&self.cache, &self.shared)?;
        let (clean, again) = self.is_to_clean(&inspected);
        let mut until = [later, again, forgets].into_iter().flatten().min();
        if !candidates.is_empty() || clean {
            match self.switch(&inspected, &candidates) {
                Ok(()) => {
                    *self.cleaned.lock() = (0, None);
                    return Ok(());
                }
                Err(error) if error.code() == ErrorCode::Closed => return Err(error),
                Err(error) => until = until.into_iter().chain(self.switch_failed(&candidates, error)).min(),
            }
        }
        // What failed may have taken tables out of step.
        let inspected = self.inspect()?;
        let Some(feed) = inspected.feed.clone().filter(|_| !inspected.in_step().is_empty()) else {
            self.shared.wait_for_wish(wishes, until);
            return Ok(());
        };
        let ended = Streaming::new(self, inspected, feed).run(wishes, until, None);
        self.shared.state.lock().is_streaming = false;
        match ended? {
            Ended::Lost(why) => self.lost(&why),
            Ended::Reached | Ended::Interrupted => Ok(()),
        }
    }

    /// What is committed; everybody else gets to know it too.
    fn inspect(&self) -> Result<Inspected> {
        let inspected = Inspected::read(&self.cache, &self.shared)?;
        let audits =
            inspected.tables.iter().filter_map(|table| Some((table.name.clone(), table.audit.clone()?)));
        let mut state = self.shared.state.lock();
        state.audits = audits.collect();
        state.in_step = inspected.in_step();
        state.name = inspected.feed.as_ref().map(|feed| feed.name.clone());
        state.reached = inspected.feed.as_ref().map(|feed| feed.position.clone());
        drop(state);
        self.shared.changed.notify_all();
        Ok(inspected)
    }

    /// Whether the feed has tables that nobody wants; when to look again if that failed before.
    fn is_to_clean(&self, inspected: &Inspected) -> (bool, Option<Instant>) {
        let state = self.shared.state.lock();
        let is_unwanted = inspected
            .tables
            .iter()
            .any(|table| table.target.is_none() && !state.tables.contains_key(&table.name));
        // A feed without a table in step holds the source's changes back for nothing: a copy needs another name anyway.
        let is_left = inspected.feed.is_some() && inspected.tables.iter().all(|table| table.target.is_none());
        drop(state);
        match self.cleaned.lock().1 {
            _ if !is_unwanted && !is_left => (false, None),
            Some(at) if at > Instant::now() => (false, Some(at)),
            _ => (true, None),
        }
    }

    /// Returns when to try again.
    fn switch_failed(&self, candidates: &[String], error: Error) -> Option<Instant> {
        let (error, share) = (Arc::new(error), self.share());
        if candidates.is_empty() {
            let source = &self.shared.source_name;
            tracing::warn!(source, "tables that are not wanted any more stay in the feed: {error:#}");
            let mut cleaned = self.cleaned.lock();
            let failures = cleaned.0.saturating_add(1);
            *cleaned = (failures, Instant::now().checked_add(wait_after(failures, share)));
            return cleaned.1;
        }
        let mut state = self.shared.state.lock();
        state.copies_failed(candidates, &error, share);
        let due = candidates.iter().filter_map(|name| state.tables.get(name)?.due).min();
        drop(state);
        self.shared.changed.notify_all();
        due
    }

    /// Tells whoever audits a table that rows of it come.
    pub(super) fn touch(&self, table: &str, changes: &RowChanges, target: &Target) -> Result<()> {
        if !self.shared.watches.wants(table) {
            return Ok(());
        }
        // Rows without a key take the table out of step.
        if let Some(keys) = target.keys(&target.conform(changes.rows())?)? {
            self.shared.watches.touched(table, Some(&keys));
        }
        Ok(())
    }

    /// The source has lost changes: no table is in step any more.
    pub(super) fn lost(&self, why: &str) -> Result<()> {
        self.shared.watches.breaks(None, why);
        let source = &self.shared.source_name;
        tracing::warn!(source, "the source has lost changes, so its tables are copied anew: {why}");
        let inspected = self.inspect()?;
        let mut list = inspected.list;
        // The tables stay in the list, which is that of the name; there is no feed with which they could be in step.
        list.to_forget.extend(inspected.feed.map(|feed| feed.name));
        self.write(vec![(feed_name(source), Vec::new()), (list_name(source), encode(&list)?)])?;
        self.inspect().map(drop)
    }

    /// Lets the source forget names that are not used any more. Returns when to try again what fails.
    pub(super) fn forget(&self, list: &ListRecord) -> Option<Instant> {
        let mut left = list.clone();
        for name in &list.to_forget {
            if let Err(error) = self.forget_name(name, list) {
                let source = &self.shared.source_name;
                tracing::warn!(
                    source,
                    name,
                    "the source still keeps changes under a name that is not used any more: {error:#}"
                );
                continue;
            }
            left.to_forget.retain(|other| other != name);
        }
        let again = (!left.to_forget.is_empty()).then(|| Instant::now() + FORGET_INTERVAL);
        if left == *list {
            return again;
        }
        let source = &self.shared.source_name;
        let is_over = left.tables.is_empty() && left.to_forget.is_empty();
        let record = if is_over { Ok(Vec::new()) } else { encode(&left) };
        if let Err(error) = record.and_then(|record| self.write(vec![(list_name(source), record)])) {
            tracing::warn!(source, "names that the source forgot were not noted: {error:#}");
        }
        again
    }

    fn forget_name(&self, name: &str, list: &ListRecord) -> Result<()> {
        let call = self.shared.call(Some(FORGET_TIMEOUT), false)?;
        // The relations do not matter; there must be one.
        let follow = Follow::new(name, [crate::source::Relation::table(name)]);
        let follow = match &list.publication {
            Some(publication) => follow.publication(publication),
            None => follow,
        };
        for _ in 0..FORGET_TRIES {
            match self.shared.source.forget(&follow, &call) {
                // It may not have noticed yet that nobody follows under the name any more.
                Err(error) if error.code() == ErrorCode::SourceUnavailable && call.check().is_ok() => {
                    std::thread::sleep(FORGET_PAUSE);
                }
                result => return result,
            }
        }
        self.shared.source.forget(&follow, &call)
    }

    pub(super) fn heartbeat(&self, inspected: &Inspected) -> Heartbeat {
        use crate::way::Reader;
        let held = inspected.tables.iter().filter_map(|table| table.target.as_ref());
        let held = held.filter_map(|target| self.cache.table_by_id(target.table).ok());
        Heartbeat::new(held.filter_map(|held| held.rules.max_staleness).min())
    }

    /// Asks the source what it keeps under names of Pillion, for whoever looks at the cost.
    pub(super) fn look_at_names(&self) -> Result<()> {
        let call = self.shared.call(Some(super::heartbeat::TIMEOUT), false)?;
        let kept = match self.shared.source.kept(&call) {
            Ok(kept) => kept,
            Err(error) => {
                let source = &self.shared.source_name;
                tracing::debug!(source, "the source does not say what it keeps: {error:#}");
                return Ok(());
            }
        };
        let inspected = Inspected::read(&self.cache, &self.shared)?;
        let own = inspected.feed.as_ref().map(|feed| feed.name.clone());
        let own: Vec<String> = own.into_iter().chain(inspected.list.to_forget).collect();
        let names = kept.into_iter().map(|kept| KeptName {
            is_own: own.contains(&kept.name),
            name: kept.name,
            bytes: kept.bytes,
            user: kept.user,
        });
        let mut names: Vec<KeptName> = names.collect();
        names.sort_by(|a, b| (!a.is_own, &a.name).cmp(&(!b.is_own, &b.name)));
        self.shared.state.lock().names = names;
        Ok(())
    }

    /// All changes that the source made before a moment are applied.
    pub(super) fn confirm(&self, moment: SystemTime) {
        let mut confirmed = self.confirmed.lock();
        *confirmed = (*confirmed).max(Some(moment));
        self.shared.state.lock().confirmed = *confirmed;
    }

    /// As of when rows are that were changed by a transaction of a moment.
    pub(super) fn as_of(&self, at: SystemTime) -> SystemTime {
        let at = at.min(SystemTime::now());
        self.confirmed.lock().map_or(at, |confirmed| at.max(confirmed))
    }

    /// Makes everything that is committed durable.
    pub(super) fn make_durable(&self) -> Result<()> {
        use crate::way::Upkeep;
        if planted::acknowledges_too_early(&self.shared.source_name) {
            return Ok(());
        }
        self.cache.sync()
    }

    /// Commits records alone; an empty one forgets it.
    pub(super) fn write(&self, records: Vec<(String, Vec<u8>)>) -> Result<()> {
        let positions = records.into_iter().map(|(source, position)| Change::Position { source, position });
        self.cache.write_changes(positions.collect(), SystemTime::now()).map(drop)
    }

    /// Takes tables out of step that are not treated as if they were, because something else is asked for than they were copied by. Their
    /// records must not say so once the feed has moved on: what is asked for may become the old one again.
    pub(super) fn exclude(&self, inspected: &Inspected) -> Result<()> {
        let Some(feed) = &inspected.feed else { return Ok(()) };
        for table in inspected.tables.iter().filter(|table| table.target.is_none()) {
            let record = self.cache.source_position(&position_name(&self.shared.source_name, &table.name))?;
            let record = record.as_deref().and_then(Record::decode);
            if let Some(record) = record.filter(|record| record.epoch == Some(feed.epoch)) {
                self.shared.watches.breaks(Some(&table.name), "something else is asked for now");
                self.set_record(&table.name, &Record::new(record.definition, None))?;
            }
        }
        Ok(())
    }

    /// Commits the record of a table.
    pub(super) fn set_record(&self, table: &str, record: &Record) -> Result<()> {
        self.write(vec![(position_name(&self.shared.source_name, table), record.encode()?)])
    }

    pub(super) fn share(&self) -> f64 {
        self.chance.lock().share()
    }

    /// # Errors
    /// [`ErrorCode::Closed`] if the follower is to end.
    pub(super) fn go_on(&self) -> Result<()> {
        if self.shared.state.lock().is_stopping { Err(stopping()) } else { Ok(()) }
    }

    /// A feed under a new name.
    pub(super) fn new_name(&self) -> Result<String> {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).map_err(|error| Error::internal("no randomness").with_source(error))?;
        let plain =
            |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' };
        let source: String = self.shared.source_name.chars().take(30).map(plain).collect();
        Ok(format!("pillion_{source}_{:08x}", u32::from_le_bytes(bytes)))
    }

    pub(super) fn new_epoch(&self) -> Result<u64> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|error| Error::internal("no randomness").with_source(error))?;
        Ok(u64::from_le_bytes(bytes))
    }

    pub(super) fn feed(epoch: u64, name: String, position: &[u8]) -> FeedRecord {
        FeedRecord { epoch, name, position: position.to_vec() }
    }
}
