//! Answers of many rows.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
#[cfg(feature = "sidecar")]
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::Stream;
use futures::stream::BoxStream;

use super::certificate::Certificate;
use super::observed::Observed;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::version::{Freshness, Tier, Version};

/// What makes the batches of an answer.
pub(crate) trait BatchSource: Send {
    /// The next batch; does its work on the calling thread and blocks until it is there.
    fn next_batch(&mut self) -> Option<Result<RecordBatch>>;

    /// As [`next_batch`](Self::next_batch), but waits for other threads no longer than until the deadline. A batch that
    /// is not ready by then comes with a later call.
    #[cfg(feature = "sidecar")]
    fn next_batch_until(&mut self, _deadline: Instant) -> Poll<Option<Result<RecordBatch>>> {
        Poll::Ready(self.next_batch())
    }

    /// What ends the work from another thread, if there is work to end. After that there are no more batches.
    fn cancel_hook(&self) -> Option<CancelHook> {
        None
    }

    /// The same batches for a task of any async runtime.
    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>>;
}

/// Ends work; called at most once.
pub(crate) type CancelHook = Box<dyn Fn() + Send + Sync>;

/// Ends an answer from another thread, made by [`Batches::canceller`]; or calls, which are made within [`run`](Self::run). Cloning
/// is cheap.
#[derive(Clone)]
pub struct Canceller {
    shared: Arc<CancelState>,
}

struct CancelState {
    cancelled: AtomicBool,
    hook: Option<CancelHook>,
}

thread_local! {
    /// The canceller of the work that this thread does now.
    static CURRENT: RefCell<Option<Canceller>> = const { RefCell::new(None) };
}

impl Canceller {
    pub(crate) fn new(hook: Option<CancelHook>) -> Self {
        Self { shared: Arc::new(CancelState { cancelled: AtomicBool::new(false), hook }) }
    }

    /// Runs `work` on this thread. If this is cancelled meanwhile, queries that `work` plans, and statements that change tables of a
    /// cache in this process, soon end with [`Cancelled`](ErrorCode::Cancelled), unless they have been committed.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        /// Restores the thread's canceller, also if `work` panics: the thread does other work afterwards.
        struct Restore(Option<Canceller>);

        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }

        let _restore = Restore(CURRENT.replace(Some(self.clone())));
        work()
    }

    /// The canceller of the work that this thread does now.
    #[cfg(feature = "sql")]
    pub(crate) fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Whether the work that this thread does now was cancelled.
    pub(crate) fn is_current_cancelled() -> bool {
        CURRENT.with_borrow(|current| current.as_ref().is_some_and(Self::is_cancelled))
    }

    /// Stops the work and returns at once. The next batch is an error, [`Cancelled`](ErrorCode::Cancelled), unless the
    /// answer is complete.
    pub fn cancel(&self) {
        if !self.shared.cancelled.swap(true, Ordering::AcqRel)
            && let Some(hook) = &self.shared.hook
        {
            hook();
        }
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Acquire)
    }

    /// What to return where the source gave `next`. If the answer was cancelled, its end and its errors become that
    /// error.
    fn apply<T>(&self, next: Option<Result<T>>) -> Option<Result<T>> {
        // Work that was cancelled looks like the end of the answer, or fails with an error of its own.
        match next {
            Some(Ok(_)) => next,
            _ if self.is_cancelled() => {
                Some(Err(Error::new(ErrorCode::Cancelled, "the answer was cancelled before it was complete")))
            }
            _ => next,
        }
    }
}

/// One that ends nothing but the work that it [runs](Canceller::run).
impl Default for Canceller {
    fn default() -> Self {
        Self::new(None)
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").field("is_cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

/// What an answer says beside its rows.
#[derive(Clone, Debug)]
pub(crate) struct AnswerInfo {
    pub(crate) version: Version,
    pub(crate) freshness: Option<Freshness>,
    pub(crate) tier: Tier,
    pub(crate) certificate: Certificate,
}

/// The batches of a scan or a query, one after another.
///
/// As an iterator it blocks and works on the calling thread; [`into_stream`](Self::into_stream) gives the same
/// batches to async code. At most a few batches are read ahead of what is asked for, and dropping the answer stops the
/// query. All batches are of one version of the cache. Batches that hold rows of the cache unchanged are views of its
/// mapped files, which they keep alive.
///
/// An error ends the answer: what came before it is not the whole.
pub struct Batches {
    schema: SchemaRef,
    info: AnswerInfo,
    canceller: Canceller,
    source: Option<Box<dyn BatchSource>>,
    /// What must stay until the answer is dropped, even after its last batch: files that it names to other processes.
    _held: Option<Arc<dyn Any + Send + Sync>>,
    /// Told what comes, if somebody counts it.
    observed: Option<Box<Observed>>,
}

impl Batches {
    pub(crate) fn new(schema: SchemaRef, info: AnswerInfo, source: Box<dyn BatchSource>) -> Self {
        let canceller = Canceller::new(source.cancel_hook());
        Self { schema, info, canceller, source: Some(source), _held: None, observed: None }
    }

    /// Keeps something until the answer is dropped.
    pub(crate) fn holding(self, held: Arc<dyn Any + Send + Sync>) -> Self {
        Self { _held: Some(held), ..self }
    }

    /// Tells what comes.
    #[cfg(feature = "sql")]
    pub(crate) fn observed(self, observed: Box<Observed>) -> Self {
        Self { observed: Some(observed), ..self }
    }

    /// Columns of every batch.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The version of the cache that was read.
    pub fn version(&self) -> Version {
        self.info.version
    }

    /// How fresh the oldest of the tables read is; `None` if it read none that was ever loaded.
    pub fn freshness(&self) -> Option<Freshness> {
        self.info.freshness
    }

    /// Which tier answered.
    pub fn tier(&self) -> Tier {
        self.info.tier
    }

    /// Whether the answer is complete, and what shows it.
    pub fn certificate(&self) -> &Certificate {
        &self.info.certificate
    }

    /// What ends the answer from another thread, even while this one waits for a batch.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// All batches at once; blocks.
    ///
    /// # Errors
    /// The first error of the answer.
    pub fn collect_all(self) -> Result<Vec<RecordBatch>> {
        self.collect()
    }

    /// All rows as one batch; blocks.
    ///
    /// # Errors
    /// The first error of the answer; [`Execution`](crate::ErrorCode::Execution) if the rows do not fit into one
    /// batch (more than 2 GiB of text in a column).
    pub fn concat(self) -> Result<RecordBatch> {
        let schema = self.schema.clone();
        let batches: Vec<RecordBatch> = self.collect::<Result<_>>()?;
        arrow::compute::concat_batches(&schema, &batches).map_err(|error| {
            Error::new(ErrorCode::Execution, "the rows do not fit into one batch").with_source(error)
        })
    }

    /// The next batch, if it comes before the deadline.
    #[cfg(feature = "sidecar")]
    pub(crate) fn next_until(&mut self, deadline: Instant) -> Poll<Option<Result<RecordBatch>>> {
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        let is_cancelled = self.canceller.is_cancelled();
        let next = if is_cancelled { None } else { ready!(source.next_batch_until(deadline)) };
        Poll::Ready(self.came(next))
    }

    /// What to return where the source gave `next`. An error ends the answer.
    fn came(&mut self, next: Option<Result<RecordBatch>>) -> Option<Result<RecordBatch>> {
        let next = self.canceller.apply(next);
        observe(&mut self.observed, &next);
        if !matches!(next, Some(Ok(_))) {
            self.source = None;
        }
        next
    }

    /// The batches as an async stream, to be polled on any runtime. The work of a query is done on threads of the
    /// cache; a scan reads its mapped pages, from disk where they are not in memory, on the task that polls.
    pub fn into_stream(mut self) -> BatchStream {
        let stream = self.source.take().map(BatchSource::into_stream);
        BatchStream {
            schema: self.schema.clone(),
            info: self.info.clone(),
            canceller: self.canceller.clone(),
            stream,
            observed: self.observed,
        }
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let source = self.source.as_mut()?;
        let next = if self.canceller.is_cancelled() { None } else { source.next_batch() };
        self.came(next)
    }
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches")
            .field("schema", &self.schema)
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// The batches of a scan or a query as an async stream.
pub struct BatchStream {
    schema: SchemaRef,
    info: AnswerInfo,
    canceller: Canceller,
    /// `None` once it has ended.
    stream: Option<BoxStream<'static, Result<RecordBatch>>>,
    observed: Option<Box<Observed>>,
}

impl BatchStream {
    /// Columns of every batch.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The version of the cache that was read.
    pub fn version(&self) -> Version {
        self.info.version
    }

    /// How fresh the oldest of the tables read is; `None` if it read none that was ever loaded.
    pub fn freshness(&self) -> Option<Freshness> {
        self.info.freshness
    }

    /// Which tier answered.
    pub fn tier(&self) -> Tier {
        self.info.tier
    }

    /// Whether the answer is complete, and what shows it.
    pub fn certificate(&self) -> &Certificate {
        &self.info.certificate
    }

    /// What ends the answer from another task.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }
}

impl Stream for BatchStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let is_cancelled = self.canceller.is_cancelled();
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        let next = if is_cancelled { None } else { ready!(stream.as_mut().poll_next(context)) };
        let next = self.canceller.apply(next);
        observe(&mut self.observed, &next);
        if !matches!(next, Some(Ok(_))) {
            self.stream = None;
        }
        Poll::Ready(next)
    }
}

impl fmt::Debug for BatchStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchStream")
            .field("schema", &self.schema)
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// Tells what came, and the end of the answer.
fn observe(observed: &mut Option<Box<Observed>>, next: &Option<Result<RecordBatch>>) {
    let Some(told) = observed else { return };
    told.came(next);
    if !matches!(next, Some(Ok(_))) {
        *observed = None;
    }
}

/// Batches that an iterator makes, on the thread that asks for them.
pub(crate) struct IteratorSource<I>(pub(crate) I);

impl<I: Iterator<Item = Result<RecordBatch>> + Send + 'static> BatchSource for IteratorSource<I> {
    fn next_batch(&mut self) -> Option<Result<RecordBatch>> {
        self.0.next()
    }

    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        Box::pin(futures::stream::iter(self.0))
    }
}
