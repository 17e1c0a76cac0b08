//! Tables come and go: the feed gets a new name, and tables that are not in step are copied from its snapshot.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::audit::{AuditRecord, audit_name};
use super::follower::Follower;
use super::inspect::{Inspected, number, publication};
use super::records::{ColumnsRecord, ListRecord, columns_name, decode, encode, feed_name, list_name};
use super::stream::{Ended, Streaming, is_unusable};
use super::target::check_key;
use crate::input::Input;
use crate::refresh::fetched::{Incoming, wanted};
use crate::refresh::progress::Progress;
use crate::refresh::record::{Record, position_name};
use crate::source::{Call, FeedSnapshot, Follow, Followed, Relation};
use crate::types::error::{Error, ErrorCode, Result};
use crate::way::Backend;

/// How long the source may take to make a snapshot.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(120);
/// How long it may take to describe a relation of it.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(30);
/// The most names that wait to be forgotten.
const NAMES_MAX: usize = 8;
/// How often a copy is looked at that gets no rows.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

/// A table that the feed gets.
struct Wanted {
    name: String,
    relation: Relation,
    followed: Followed,
    columns: ColumnsRecord,
}

impl Follower {
    /// Gives the feed a new name and the tables that are wanted now: those in step and some others, which are copied.
    ///
    /// # Errors
    /// Those of the source and of commits. The copy of one table that fails is noted there, and the others go on.
    pub(super) fn switch(&self, inspected: &Inspected, candidates: &[String]) -> Result<()> {
        let relations = self.wanted(inspected, candidates)?;
        if relations.is_empty() {
            return self.end(inspected);
        }
        let list = self.announce(inspected)?;
        let name = list.to_forget.last().cloned().unwrap_or_default();
        let publication =
            publication(&self.shared.state.lock())?.or_else(|| inspected.list.publication.clone());
        let follow = Follow::new(&name, relations.iter().map(|(_, relation)| relation.clone()));
        let follow = match &publication {
            Some(publication) => follow.publication(publication),
            None => follow,
        };
        let asked = SystemTime::now();
        let call = self.shared.call(Some(SNAPSHOT_TIMEOUT), false)?;
        let mut snapshot = self.shared.source.snapshot(&follow, &call)?;
        let wanted = self.describe(&mut *snapshot, relations)?;
        self.shared.reached();
        let position = snapshot.position().to_vec();
        let in_step = self.catch_up(&position)?;
        // As it is after that; a name that was forgotten meanwhile is not in it any more.
        let before = Inspected::read(&self.cache, &self.shared)?;
        self.exclude(&before)?;
        let epoch = match &before.feed {
            Some(feed) => feed.epoch,
            None => self.new_epoch()?,
        };
        let mut to_forget: Vec<String> =
            before.list.to_forget.iter().filter(|other| **other != name).cloned().collect();
        to_forget.extend(before.feed.map(|feed| feed.name));
        let tables = wanted.iter().map(|table| table.name.clone()).collect();
        let list = ListRecord { tables, publication, to_forget };
        let feed = Self::feed(epoch, name, &position);
        let source = &self.shared.source_name;
        let mut records = vec![(feed_name(source), encode(&feed)?), (list_name(source), encode(&list)?)];
        for table in &wanted {
            records.push((columns_name(source, &table.name), encode(&table.columns)?));
        }
        // A table that was in step with other columns than there are now is not in step with these.
        let same = |table: &&Wanted| {
            let of_before = before.tables.iter().find(|other| other.name == table.name);
            let columns = of_before.and_then(|other| other.columns.as_ref());
            columns.is_some_and(|columns| columns.holds_for(&table.columns))
        };
        let stay: BTreeSet<&str> = wanted.iter().filter(same).map(|table| table.name.as_str()).collect();
        for name in in_step.iter().filter(|name| !stay.contains(name.as_str())) {
            let table = before.tables.iter().find(|table| table.name == *name);
            let definition =
                table.and_then(|table| table.target.as_ref()).map_or(0, |target| target.definition);
            records.push((position_name(source, name), Record::new(definition, None).encode()?));
        }
        // Tables that leave the list.
        let leaves = |table: &&super::inspect::Listed| !wanted.iter().any(|other| other.name == table.name);
        records.extend(
            before.tables.iter().filter(leaves).map(|table| (columns_name(source, &table.name), Vec::new())),
        );
        self.write(records)?;
        self.make_durable()?;
        {
            let mut state = self.shared.state.lock();
            state.in_step = in_step.into_iter().filter(|name| stay.contains(name.as_str())).collect();
            (state.name, state.reached) = (Some(feed.name), Some(position));
        }
        self.forget(&list);
        self.copy(&mut *snapshot, &wanted, epoch, asked)
    }

    /// The relations that are wanted: of tables in step, declared or not, and of those to be copied.
    fn wanted(&self, inspected: &Inspected, candidates: &[String]) -> Result<Vec<(String, Relation)>> {
        let mut wanted = Vec::new();
        for table in inspected.tables.iter().filter(|table| table.target.is_some()) {
            let columns =
                table.columns.as_ref().ok_or_else(|| Error::internal("a table in step has no columns"))?;
            wanted.push((table.name.clone(), columns.relation()));
        }
        let state = self.shared.state.lock();
        for name in candidates {
            if let Some(table) = state.tables.get(name) {
                wanted.push((name.clone(), table.origin.relation.clone()));
            }
        }
        Ok(wanted)
    }

    /// No table is wanted any more: the feed ends.
    fn end(&self, inspected: &Inspected) -> Result<()> {
        let source = &self.shared.source_name;
        let mut list = ListRecord { tables: Vec::new(), ..inspected.list.clone() };
        list.to_forget.extend(inspected.feed.as_ref().map(|feed| feed.name.clone()));
        let columns = inspected.tables.iter().map(|table| (columns_name(source, &table.name), Vec::new()));
        let records = [(feed_name(source), Vec::new()), (list_name(source), encode(&list)?)];
        self.write(records.into_iter().chain(columns).collect())?;
        self.make_durable()?;
        self.forget(&list);
        Ok(())
    }

    /// Notes a new name before the source gets to know it: no crash leaves one there that nobody knows here.
    fn announce(&self, inspected: &Inspected) -> Result<ListRecord> {
        // As it is now: names may have been forgotten since.
        let mut list = Inspected::read(&self.cache, &self.shared)?.list;
        // While the source cannot be reached none is forgotten; then one is taken again.
        if list.to_forget.len() < NAMES_MAX {
            list.to_forget.push(self.new_name()?);
        }
        if list.publication.is_none() {
            list.publication.clone_from(&inspected.list.publication);
        }
        self.write(vec![(list_name(&self.shared.source_name), encode(&list)?)])?;
        self.make_durable()?;
        Ok(list)
    }

    fn describe(
        &self,
        snapshot: &mut dyn FeedSnapshot,
        relations: Vec<(String, Relation)>,
    ) -> Result<Vec<Wanted>> {
        let described = relations.into_iter().enumerate().map(|(place, (name, relation))| {
            let call = self.shared.call(Some(DESCRIBE_TIMEOUT), false)?;
            let followed = snapshot.describe(place, &call)?;
            if let Some(table) = self.shared.state.lock().tables.get(&name) {
                check_key(&name, &table.rules.primary_key, followed.identity())?;
                wanted(&table.origin, followed.schema())?;
            }
            let columns = ColumnsRecord::new(&relation, &followed)?;
            Ok(Wanted { name, relation, followed, columns })
        });
        described.collect()
    }

    /// Follows the old name exactly to a position. Returns the tables that are in step there.
    fn catch_up(&self, position: &[u8]) -> Result<BTreeSet<String>> {
        let inspected = Inspected::read(&self.cache, &self.shared)?;
        let Some(feed) = inspected.feed.clone().filter(|_| !inspected.in_step().is_empty()) else {
            return Ok(BTreeSet::new());
        };
        let mut streaming = Streaming::new(self, inspected, feed);
        let lost = match streaming.run(0, None, Some(position)) {
            Ok(Ended::Lost(why)) => why,
            // Whatever comes again cannot be applied; a copy may have got rid of it.
            Err(error) if is_unusable(&error) => error.to_string(),
            Ok(_) => {
                let (inspected, record) = streaming.into_inspected();
                if self.shared.source.behind(position, &record.position)? == 0 {
                    return Ok(inspected.in_step());
                }
                "its snapshot is older than what it sent before".to_owned()
            }
            Err(error) => return Err(error),
        };
        self.lost(&lost)?;
        // Those that were in step are candidates now, and the snapshot has them too.
        Ok(BTreeSet::new())
    }

    /// Copies the tables that are not in step, one after another.
    fn copy(
        &self,
        snapshot: &mut dyn FeedSnapshot,
        wanted: &[Wanted],
        epoch: u64,
        asked: SystemTime,
    ) -> Result<()> {
        for (place, table) in wanted.iter().enumerate() {
            self.go_on()?;
            let is_to_copy = {
                let state = self.shared.state.lock();
                let is_stale = state.tables.get(&table.name).is_some_and(|table| table.stale.is_some());
                !state.in_step.contains(&table.name) && !is_stale
            };
            if !is_to_copy {
                continue;
            }
            let copied = self.copy_table(snapshot, place, table, epoch, asked);
            self.shared.state.lock().copying = None;
            match copied {
                Ok(as_of) => {
                    self.note_sound(&table.name, as_of)?;
                    self.shared.state.lock().copied(&table.name, as_of);
                    tracing::info!(
                        table = table.name,
                        source = self.shared.source_name,
                        "the table was copied"
                    );
                }
                Err(error) if error.code() == ErrorCode::Closed => return Err(error),
                Err(error) => {
                    self.go_on()?;
                    let is_away = matches!(error.code(), ErrorCode::SourceUnavailable | ErrorCode::Timeout);
                    let error = Arc::new(error);
                    let share = self.share();
                    self.shared.state.lock().copies_failed(std::slice::from_ref(&table.name), &error, share);
                    if is_away {
                        // The snapshot is gone with its connection; the others are tried with another one.
                        self.shared.changed.notify_all();
                        return Ok(());
                    }
                }
            }
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    /// The rows of a table were those of the source at a moment: what an audit finds began later.
    fn note_sound(&self, table: &str, moment: SystemTime) -> Result<()> {
        let name = audit_name(&self.shared.source_name, table);
        let record: AuditRecord = decode(self.cache.source_position(&name)?.as_deref()).unwrap_or_default();
        let record = record.sound_at(moment);
        self.write(vec![(name, encode(&record)?)])?;
        self.shared.state.lock().audits.insert(table.to_owned(), record);
        Ok(())
    }

    fn copy_table(
        &self,
        snapshot: &mut dyn FeedSnapshot,
        place: usize,
        table: &Wanted,
        epoch: u64,
        asked: SystemTime,
    ) -> Result<SystemTime> {
        let source = &self.shared.source_name;
        let (progress, definition, origin, rules) = {
            let mut state = self.shared.state.lock();
            let state = &mut *state;
            let Some(declared) = state.tables.get_mut(&table.name) else {
                let message = format!("table `{}` was withdrawn", table.name);
                return Err(Error::new(ErrorCode::Cancelled, message));
            };
            if declared.origin.relation != table.relation {
                return Err(Error::new(ErrorCode::Cancelled, "the table was declared anew"));
            }
            let progress = Arc::new(Progress::new());
            declared.progress = Some(progress.clone());
            state.copying = Some(table.name.clone());
            (progress, number(&self.shared, declared), declared.origin.clone(), declared.rules.clone())
        };
        progress.expect(table.followed.expected_rows());
        let call = self.shared.call(None, false)?;
        let watched = Watched::start(&call, &progress, origin.progress_timeout, source)?;
        let rows = progress.ask(|| snapshot.fetch(place, &call))?;
        let as_of = rows.moment().map_or(asked, |moment| moment.min(asked));
        self.shared.watches.breaks(Some(&table.name), "it is copied anew");
        let rows = Incoming::new(rows, origin.columns.as_deref(), &call, &progress)?;
        let input = Input::fallible(rows.schema().clone(), rows);
        let position = (position_name(source, &table.name), Record::in_step(definition, epoch).encode()?);
        let loaded = self.cache.load_table(&table.name, &rules, input, position, as_of);
        drop(watched);
        loaded.map(|_| as_of)
    }
}

/// Gives up the call of a copy that gets no rows for too long, until it is dropped.
struct Watched(Arc<AtomicBool>);

impl Watched {
    fn start(call: &Call, progress: &Arc<Progress>, limit: Duration, source: &str) -> Result<Self> {
        let is_done = Arc::new(AtomicBool::new(false));
        let (done, call, progress) = (is_done.clone(), call.clone(), progress.clone());
        let message = format!("the source `{source}` has sent nothing for {limit:?}");
        std::thread::Builder::new()
            .name("pillion-timeout".to_owned())
            .spawn(move || {
                while !done.load(Ordering::Acquire) {
                    if progress.silent_for() > limit {
                        call.time_out(message);
                        return;
                    }
                    std::thread::park_timeout(WATCH_INTERVAL);
                }
            })
            .map_err(|error| Error::new(ErrorCode::Io, "cannot start a thread").with_source(error))?;
        Ok(Self(is_done))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
