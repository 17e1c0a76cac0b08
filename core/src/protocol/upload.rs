//! Rows that a client sends batch by batch, fed to a load that runs on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::message::{InfoMessage, VersionMessage, WriteKind};
use crate::api::backend::Backend;
use crate::api::definition::TableDefinition;
use crate::api::error::{Error, ErrorCode, Result};
use crate::api::rules::TableRules;
use crate::api::transaction::Change;
use crate::source::Input;

/// How long a load waits for the next rows: it holds up other writers of its table meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
/// Batches that wait for the load.
const QUEUE_LEN: usize = 2;

/// What a finished upload made.
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
}

#[derive(Debug)]
enum Load {
    Running(JoinHandle<Result<Written>>),
    /// It had no use for rows.
    Done(Box<Written>),
}

impl Upload {
    pub(super) fn begin(
        backend: Arc<dyn Backend>,
        kind: WriteKind,
        schema: SchemaRef,
        as_of: SystemTime,
    ) -> Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE_LEN);
        let (ask, asked) = sync_channel(1);
        let rows = Input::fallible(schema, Received { receiver, ask: Some(ask), ended: false });
        let load = std::thread::Builder::new()
            .name("pillion-upload".to_owned())
            .spawn(move || match kind {
                WriteKind::Define { name, primary_key, sort_by, write_policy, retention } => {
                    let rules = TableRules { primary_key, sort_by, write_policy, retention };
                    let definition = TableDefinition { input: rows, rules };
                    let info = backend.define_table(&name, definition)?;
                    Ok(Written::Table(Box::new(InfoMessage::new(info)?)))
                }
                WriteKind::Append { table } => written(&*backend, Change::Append { table, rows }, as_of),
                WriteKind::Replace { table } => written(&*backend, Change::Replace { table, rows }, as_of),
                WriteKind::Upsert { table } => written(&*backend, Change::Upsert { table, rows }, as_of),
            })
            .map_err(|error| Error::new(ErrorCode::Io, "cannot start a thread").with_source(error))?;
        let mut upload = Self { sender: Some(sender), load: Some(Load::Running(load)) };
        // A load that is refused for what it is, is refused before a row of it is sent.
        match asked.recv() {
            Ok(()) => Ok(upload),
            Err(_) => match upload.join() {
                Some(Err(error)) => Err(error),
                Some(Ok(written)) => Ok(Self { sender: None, load: Some(Load::Done(Box::new(written))) }),
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
            // The load ended: either it failed, or it had no use for rows.
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
            // Fails if the load ended before, whose outcome follows.
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

fn written(backend: &dyn Backend, change: Change, as_of: SystemTime) -> Result<Written> {
    Ok(Written::Version(VersionMessage { version: backend.write(vec![change], as_of)? }))
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.join();
    }
}

/// The batches of an upload; an error if it ends without its last.
struct Received {
    receiver: Receiver<Option<RecordBatch>>,
    /// Told when the first batch is asked for.
    ask: Option<SyncSender<()>>,
    ended: bool,
}

impl Iterator for Received {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if let Some(ask) = self.ask.take() {
            // Fails if the client is gone, which the receiver tells next.
            let _ = ask.send(());
        }
        let received = self.receiver.recv_timeout(PATIENCE);
        self.ended = !matches!(received, Ok(Some(_)));
        match received {
            Ok(batch) => batch.map(Ok),
            Err(_) => Some(Err(Error::new(
                ErrorCode::SourceInvalid,
                "the client went away, or is silent, before its last rows",
            ))),
        }
    }
}
