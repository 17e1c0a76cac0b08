//! Rows that a client sends batch by batch, fed to a load that runs on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::planted;
use super::quota::{Exceeded, Portion, Quota};
use crate::input::Input;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::mode::WriteMode;
use crate::way::Backend;
use crate::way::change::ChangeRequest;
use crate::way::definition::TableDefinition;
use crate::wire::message::{InfoMessage, VersionMessage, WriteKind};

/// How long a load waits for the next rows.
const PATIENCE: Duration = Duration::from_secs(60);
/// Batches that may wait for the load.
const QUEUE_LEN: usize = 2;

/// Limits on the uploads of all connections.
#[derive(Debug)]
pub(super) struct UploadLimits {
    quota: Arc<Quota>,
    /// How long one may take from its first call to its last rows, whatever it sends meanwhile.
    timeout: Duration,
}

impl UploadLimits {
    /// At most `of_all` uploads under way of all users together, and `of_one` of each user.
    pub(super) fn new(of_all: usize, of_one: usize, timeout: Duration) -> Self {
        Self { quota: Arc::new(Quota::new(of_all, of_one)), timeout }
    }

    /// Lets so many be under way from now on.
    pub(super) fn limit(&self, of_all: usize, of_one: usize) {
        self.quota.limit(of_all, of_one);
    }

    /// Uploads under way.
    pub(super) fn taken(&self) -> usize {
        self.quota.taken()
    }

    /// A place for one upload of a user.
    fn take(&self, uid: u32) -> Result<Portion> {
        self.quota.take(uid, 1).map_err(|limit| {
            let whose = match limit {
                Exceeded::OfAll => "the sidecar".to_owned(),
                Exceeded::OfOne => format!("user {uid}"),
            };
            let message = format!(
                "{whose} has as many uploads under way as are allowed; finish some, or try again later"
            );
            Error::new(ErrorCode::TooMany, message)
        })
    }
}

/// The outcome of a finished upload.
#[derive(Debug)]
pub(super) enum Written {
    Table(Box<InfoMessage>),
    Version(VersionMessage),
}

/// An upload under way. Dropping it makes the load fail, so that nothing of it is committed.
#[derive(Debug)]
pub(super) struct Upload {
    sender: Option<SyncSender<Option<RecordBatch>>>,
    load: Option<Load>,
    /// Given back when the load has ended.
    _portion: Portion,
}

#[derive(Debug)]
enum Load {
    Running(JoinHandle<Result<Written>>),
    /// The load ended without reading rows.
    Done(Box<Written>),
}

impl Upload {
    /// Begins an upload of a user.
    pub(super) fn begin(
        backend: Arc<dyn Backend>,
        (uid, limits): (u32, &UploadLimits),
        kind: WriteKind,
        schema: SchemaRef,
        as_of: SystemTime,
    ) -> Result<Self> {
        let portion = limits.take(uid)?;
        let (sender, receiver) = sync_channel(QUEUE_LEN);
        let (ask, asked) = sync_channel(1);
        let rows = Input::fallible(schema, Received::new(receiver, ask, limits.timeout));
        let load = std::thread::Builder::new()
            .name("pillion-upload".to_owned())
            .spawn(move || match kind {
                WriteKind::Define { name, rules } => {
                    let definition = TableDefinition::new(rows).rules(rules.into());
                    let info = backend.define_table(&name, definition)?;
                    Ok(Written::Table(Box::new(InfoMessage::new(info)?)))
                }
                WriteKind::Append { table } => written(&*backend, table, WriteMode::Append, rows, as_of),
                WriteKind::Replace { table } => written(&*backend, table, WriteMode::Replace, rows, as_of),
                WriteKind::Upsert { table } => written(&*backend, table, WriteMode::Upsert, rows, as_of),
            })
            .map_err(|error| Error::new(ErrorCode::Io, "cannot start a thread").with_source(error))?;
        let mut upload = Self { sender: Some(sender), load: Some(Load::Running(load)), _portion: portion };
        // If the load refuses the upload as such, it does so before the client sends a row.
        match asked.recv() {
            Ok(()) => Ok(upload),
            Err(_) => match upload.join() {
                Some(Err(error)) => Err(error),
                Some(Ok(written)) => {
                    upload.load = Some(Load::Done(Box::new(written)));
                    Ok(upload)
                }
                None => Err(Error::internal("the load had ended")),
            },
        }
    }

    /// Hands over rows; blocks while the load is behind.
    ///
    /// # Errors
    /// That of the load, if it failed.
    pub(super) fn write(&mut self, batch: RecordBatch) -> Result<()> {
        match self.sender.as_ref().map(|sender| sender.send(Some(batch))) {
            Some(Ok(())) => Ok(()),
            // The load ended: either it failed, or it needed no rows.
            _ => match self.join() {
                Some(Err(error)) => Err(error),
                Some(Ok(written)) => {
                    self.load = Some(Load::Done(Box::new(written)));
                    Ok(())
                }
                None => {
                    Err(Error::new(ErrorCode::InvalidArgument, "the load of this upload has failed before"))
                }
            },
        }
    }

    /// Waits for the commit.
    ///
    /// # Errors
    /// That of the load.
    pub(super) fn finish(mut self) -> Result<Written> {
        if let Some(sender) = self.sender.take() {
            // Fails if the load has ended already; its outcome follows.
            drop(sender.send(None));
        }
        self.join().unwrap_or_else(|| Err(Error::internal("the upload had ended")))
    }

    fn join(&mut self) -> Option<Result<Written>> {
        self.sender = None;
        Some(match self.load.take()? {
            Load::Running(thread) => {
                thread.join().unwrap_or_else(|_| Err(Error::internal("the load panicked")))
            }
            Load::Done(written) => Ok(*written),
        })
    }
}

fn written(
    backend: &dyn Backend,
    table: u64,
    mode: WriteMode,
    rows: Input,
    as_of: SystemTime,
) -> Result<Written> {
    let change = ChangeRequest::Rows { table, mode, rows };
    Ok(Written::Version(VersionMessage { version: backend.write(vec![change], as_of)?.into() }))
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.join();
    }
}

/// The batches of an upload, as the load reads them; an error if the upload ends without its last rows.
struct Received {
    receiver: Receiver<Option<RecordBatch>>,
    /// Told when the load asks for the first batch.
    ask: Option<SyncSender<()>>,
    ended: bool,
    /// How long the upload may take, for the message.
    timeout: Duration,
    deadline: Option<Instant>,
}

impl Received {
    fn new(receiver: Receiver<Option<RecordBatch>>, ask: SyncSender<()>, timeout: Duration) -> Self {
        let deadline = Instant::now().checked_add(timeout);
        Self { receiver, ask: Some(ask), ended: false, timeout, deadline }
    }

    fn took_too_long(&self) -> Error {
        let message = format!(
            "the upload took longer than the {:?} that it may take; send its rows in several uploads, or raise \
             `upload_timeout`",
            self.timeout
        );
        Error::new(ErrorCode::Timeout, message)
    }
}

impl Iterator for Received {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if let Some(ask) = self.ask.take() {
            // Fails if the client is gone, which the receiver reports next.
            let _ = ask.send(());
        }
        let left =
            self.deadline.map_or(PATIENCE, |deadline| deadline.saturating_duration_since(Instant::now()));
        // Even if rows are waiting: an upload that goes on for ever always has some.
        if left.is_zero() {
            self.ended = true;
            return Some(Err(self.took_too_long()));
        }
        let received = self.receiver.recv_timeout(left.min(PATIENCE));
        self.ended = !matches!(received, Ok(Some(_)));
        match received {
            Ok(batch) => {
                batch.iter().for_each(planted::panic_over);
                batch.map(Ok)
            }
            Err(RecvTimeoutError::Timeout) if left < PATIENCE => Some(Err(self.took_too_long())),
            Err(_) => Some(Err(Error::new(
                ErrorCode::SourceInvalid,
                "the client went away, or stopped sending, before its last rows",
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::{Cache, TableDefinition};

    fn rows(ids: std::ops::Range<i64>) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(ids))]).unwrap()
    }

    /// A cache with a table of one row, and an upload to it that was begun.
    fn begun(limits: &UploadLimits) -> (tempfile::TempDir, Cache, u64, Result<Upload>) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let table = TableDefinition::new(rows(0..1)).primary_key(["id"]);
        let table = cache.define_table("t", table).unwrap().id();
        let upload = begin(&cache, limits, table);
        (dir, cache, table, upload)
    }

    fn begin(cache: &Cache, limits: &UploadLimits, table: u64) -> Result<Upload> {
        let kind = WriteKind::Append { table };
        Upload::begin(cache.backend.clone(), (7, limits), kind, rows(0..0).schema(), SystemTime::now())
    }

    /// Rows are there whenever the load asks for some, and yet the upload ends.
    #[test]
    fn an_upload_that_never_ends_is_ended_by_its_time() {
        let (sender, receiver) = sync_channel(QUEUE_LEN);
        let (ask, _asked) = sync_channel(1);
        let mut received = Received::new(receiver, ask, Duration::ZERO);
        sender.send(Some(rows(0..1))).unwrap();
        let refused = received.next().unwrap().unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Timeout);
        assert!(refused.to_string().contains("upload_timeout"), "{refused}");
        assert!(received.next().is_none());
        let (ask, _asked) = sync_channel(1);
        let (sender, receiver) = sync_channel(QUEUE_LEN);
        let mut received = Received::new(receiver, ask, Duration::MAX);
        sender.send(Some(rows(0..1))).unwrap();
        assert_eq!(received.next().unwrap().unwrap().num_rows(), 1);
    }

    #[test]
    fn an_upload_that_took_too_long_commits_nothing_and_gives_its_place_free() {
        let limits = UploadLimits::new(1, 1, Duration::ZERO);
        let (_dir, cache, table, upload) = begun(&limits);
        let mut upload = upload.unwrap();
        // Either call may report it.
        let outcome = upload.write(rows(1..2)).and_then(|()| upload.finish().map(drop));
        assert_eq!(outcome.unwrap_err().code(), ErrorCode::Timeout);
        assert_eq!(cache.table("t").unwrap().info().unwrap().rows, 1);
        drop(begin(&cache, &limits, table).unwrap());
    }

    #[test]
    fn an_open_upload_holds_no_other_writer_of_its_table_up() {
        let limits = UploadLimits::new(2, 2, Duration::MAX);
        let (_dir, cache, table, upload) = begun(&limits);
        let mut first = upload.unwrap();
        first.write(rows(10..11)).unwrap();
        cache.table("t").unwrap().append(rows(1..2)).unwrap();
        let mut second = begin(&cache, &limits, table).unwrap();
        second.write(rows(20..21)).unwrap();
        second.finish().unwrap();
        cache.compact().unwrap();
        first.write(rows(11..12)).unwrap();
        first.finish().unwrap();
        assert_eq!(cache.table("t").unwrap().info().unwrap().rows, 5);
    }

    #[test]
    fn a_panic_of_the_load_is_the_error_of_its_upload() {
        let limits = UploadLimits::new(1, 1, Duration::MAX);
        let (_dir, cache, table, upload) = begun(&limits);
        drop(upload);
        let schema = Arc::new(Schema::new(vec![Field::new("panic", DataType::Int64, false)]));
        let panics = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![1]))]).unwrap();
        let kind =
            WriteKind::Define { name: "panics".to_owned(), rules: crate::TableRules::default().into() };
        let upload = Upload::begin(cache.backend.clone(), (7, &limits), kind, schema, SystemTime::now());
        let mut upload = upload.unwrap();
        upload.write(panics).unwrap();
        assert_eq!(upload.finish().unwrap_err().code(), ErrorCode::Internal);
        assert_eq!(cache.status().unwrap().poisoned, None);
        begin(&cache, &limits, table).unwrap().finish().unwrap();
    }

    #[test]
    fn one_upload_more_than_is_allowed_is_refused() {
        let limits = UploadLimits::new(1, 1, Duration::MAX);
        let (_dir, cache, table, upload) = begun(&limits);
        let refused = begin(&cache, &limits, table).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::TooMany);
        drop(upload);
        begin(&cache, &limits, table).unwrap().finish().unwrap();
    }
}
