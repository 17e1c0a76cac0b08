//! Rows on their way from a thread that fetches them to the reader that waits for them.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use arrow::array::RecordBatch;
use futures::Stream;
use futures::stream::BoxStream;
use futures_timer::Delay;
use parking_lot::{Condvar, Mutex};

use crate::answer::batches::{BatchSource, CancelHook, Canceller};
use crate::blocking::scope::CallScope;
use crate::source::{Call, OnCancel};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::panics;

/// The most batches that wait for the reader.
const QUEUE_LEN: usize = 2;
/// How often whoever waits for the beginning looks whether its answer is still wanted.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long a fetch may be silent that gives its source up itself, and earlier.
#[cfg(feature = "sql")]
const DEFERRED_SILENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// Rows that a thread fetches. Dropping it gives the fetch up.
///
/// The reader waits for the source no longer than its silence may last, whatever the source does: when that time is over, the call is
/// given up and the reader gets the error at once.
pub(crate) struct Fetching {
    shared: Arc<Shared>,
    call: Call,
    /// How long the source may send nothing, and what is said then.
    silence: Duration,
    silent: String,
    /// Runs when the reader of a stream has waited for that long.
    delay: Option<Delay>,
    _ended: OnCancel,
}

/// What fetches: the other end.
pub(crate) struct Feeder {
    shared: Arc<Shared>,
    call: Call,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Something has come, or was taken.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// As of when the rows are, once the source has begun to send them.
    began: Option<SystemTime>,
    ready: VecDeque<RecordBatch>,
    /// Nothing comes after what is ready, but for this error.
    ended: Option<Option<Error>>,
    /// Nobody reads any more.
    is_dropped: bool,
    waker: Option<Waker>,
}

impl Fetching {
    /// Lets a thread fetch rows: `work` says when they began to come, sends them, and returns at their end.
    ///
    /// # Errors
    /// [`ErrorCode::Io`] without a thread. Failures of the work come to the reader.
    pub(crate) fn start(
        silence: Duration,
        silent: String,
        work: impl FnOnce(&Feeder) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let (shared, call) = (Arc::new(Shared::default()), Call::new());
        let feeder = Feeder { shared: shared.clone(), call: call.clone() };
        let thread = std::thread::Builder::new().name("pillion-delegate".to_owned()).spawn(move || {
            let outcome = panics::catch(|| work(&feeder), || Error::internal("the source panicked"));
            feeder.shared.end(outcome.err());
        });
        thread.map_err(|error| Error::new(ErrorCode::Io, "cannot start a thread").with_source(error))?;
        let of_hook = (shared.clone(), call.clone());
        let ended = call.on_cancel(move || {
            let (shared, call) = of_hook;
            shared.end(call.check().err());
        });
        Ok(Self { shared, call, silence, silent, delay: None, _ended: ended })
    }

    /// Lets a thread begin a fetch that may have to wait first, and pass its rows on. Returns at once.
    ///
    /// # Errors
    /// [`ErrorCode::Io`] without a thread. Failures of the fetch come to the reader.
    #[cfg(feature = "sql")]
    pub(crate) fn deferred(begin: impl FnOnce() -> Result<Self> + Send + 'static) -> Result<Self> {
        Self::start(DEFERRED_SILENCE, "the fetch has sent nothing for a day".to_owned(), move |feeder| {
            let scope = CallScope::default();
            let of_hook = scope.clone();
            let _given_up = feeder.call().on_cancel(move || of_hook.cancel());
            scope.run(|| {
                let mut fetching = begin()?;
                feeder.begin(fetching.wait_for_begin()?);
                while let Some(batch) = fetching.next_batch() {
                    feeder.send(batch?)?;
                }
                Ok(())
            })
        })
    }

    /// As of when the rows are that have come: the oldest of them. `None` before the source has begun to send rows.
    pub(crate) fn as_of(&self) -> Option<SystemTime> {
        self.shared.state.lock().began
    }

    /// Waits until the source has begun to send rows. Returns as of when they are.
    ///
    /// # Errors
    /// Those of the source; [`ErrorCode::Timeout`]; [`ErrorCode::Cancelled`] if the answer that this thread makes was cancelled.
    pub(crate) fn wait_for_begin(&self) -> Result<SystemTime> {
        let late = Instant::now().checked_add(self.silence);
        let mut state = self.shared.state.lock();
        loop {
            if let Some(began) = state.began {
                return Ok(began);
            }
            if let Some(failure) = state.ended.take() {
                state.ended = Some(None);
                return Err(
                    failure.unwrap_or_else(|| Error::internal("the source sent nothing, not even an end"))
                );
            }
            if is_given_up() {
                return Err(Error::new(
                    ErrorCode::Cancelled,
                    "the read was cancelled before the source answered",
                ));
            }
            if late.is_some_and(|late| late <= Instant::now()) {
                drop(state);
                self.give_up();
                return Err(Error::new(ErrorCode::Timeout, self.silent.clone()));
            }
            self.shared.changed.wait_for(&mut state, LOOK_INTERVAL);
        }
    }

    /// The next batch; blocks. Ends with an error if the answer that this thread makes was cancelled.
    pub(crate) fn next_batch(&mut self) -> Option<Result<RecordBatch>> {
        let late = Instant::now().checked_add(self.silence);
        let mut state = self.shared.state.lock();
        loop {
            if let Some(next) = self.shared.take(&mut state) {
                return next;
            }
            if late.is_some_and(|late| late <= Instant::now()) {
                drop(state);
                return Some(Err(self.time_out()));
            }
            if is_given_up() {
                drop(state);
                self.shared.end(None);
                self.call.cancel();
                return Some(Err(Error::new(
                    ErrorCode::Cancelled,
                    "the read was cancelled before the source had sent all rows",
                )));
            }
            self.shared.changed.wait_for(&mut state, LOOK_INTERVAL);
        }
    }

    /// Gives the call up because the source is silent. What is hung on its end may take a while, and has a thread of its own.
    fn give_up(&self) {
        let (call, message) = (self.call.clone(), self.silent.clone());
        let ending = std::thread::Builder::new()
            .name("pillion-timeout".to_owned())
            .spawn(move || call.time_out(message));
        if let Err(error) = ending {
            tracing::warn!(%error, "no thread to give up a fetch; it is given up when its answer is dropped");
        }
    }

    fn time_out(&mut self) -> Error {
        // Before the end of the call, which would come as an error too.
        self.shared.end(None);
        self.give_up();
        Error::new(ErrorCode::Timeout, self.silent.clone())
    }
}

impl Stream for Fetching {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        {
            let mut state = self.shared.state.lock();
            if let Some(next) = self.shared.take(&mut state) {
                drop(state);
                self.delay = None;
                return Poll::Ready(next);
            }
            state.waker = Some(context.waker().clone());
        }
        let silence = self.silence;
        let delay = self.delay.get_or_insert_with(|| Delay::new(silence));
        match Pin::new(delay).poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err(self.time_out()))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl BatchSource for Fetching {
    fn next_batch(&mut self) -> Option<Result<RecordBatch>> {
        Self::next_batch(self)
    }

    fn cancel_hook(&self) -> Option<CancelHook> {
        let call = self.call.clone();
        Some(Box::new(move || call.cancel()))
    }

    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        Box::pin(*self)
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        // Before whoever sends finds out that nobody reads: the source sees that its call has ended.
        let has_ended = self.shared.state.lock().ended.is_some();
        if !has_ended {
            self.call.cancel();
        }
        let mut state = self.shared.state.lock();
        state.is_dropped = true;
        state.ready.clear();
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl fmt::Debug for Fetching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetching").field("call", &self.call).finish_non_exhaustive()
    }
}

impl Shared {
    /// What the reader gets now; `None` if it has to wait.
    fn take(&self, state: &mut State) -> Option<Option<Result<RecordBatch>>> {
        if let Some(batch) = state.ready.pop_front() {
            self.changed.notify_all();
            return Some(Some(Ok(batch)));
        }
        let failure = state.ended.as_mut()?.take();
        Some(failure.map(Err))
    }

    /// Nothing comes any more; the first end counts.
    fn end(&self, failure: Option<Error>) {
        let mut state = self.state.lock();
        if state.ended.is_none() {
            // Rows that were sent before a failure are not the whole, and nobody needs them.
            if failure.is_some() {
                state.ready.clear();
            }
            state.ended = Some(failure);
        }
        let waker = state.waker.take();
        drop(state);
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Whether nobody waits any more for what this thread reads.
pub(crate) fn is_given_up() -> bool {
    Canceller::is_current_cancelled() || CallScope::is_current_cancelled()
}

impl Feeder {
    /// The call, for the source.
    pub(crate) fn call(&self) -> &Call {
        &self.call
    }

    /// The source has begun to send rows, which are as of a moment; the oldest one counts.
    pub(crate) fn begin(&self, as_of: SystemTime) {
        let mut state = self.shared.state.lock();
        state.began = Some(state.began.map_or(as_of, |began| began.min(as_of)));
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Hands a batch to the reader; waits while it has not taken those before.
    ///
    /// # Errors
    /// [`ErrorCode::Cancelled`] if nobody reads any more.
    pub(crate) fn send(&self, batch: RecordBatch) -> Result<()> {
        let mut state = self.shared.state.lock();
        while state.ready.len() >= QUEUE_LEN && !state.is_dropped && state.ended.is_none() {
            self.shared.changed.wait(&mut state);
        }
        if state.is_dropped || state.ended.is_some() {
            return Err(Error::new(ErrorCode::Cancelled, "nobody waits for these rows any more"));
        }
        state.ready.push_back(batch);
        let waker = state.waker.take();
        drop(state);
        self.shared.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

impl fmt::Debug for Feeder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feeder").field("call", &self.call).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use futures::StreamExt;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    fn batch(number: i64) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, false)]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(vec![number]))]).unwrap()
    }

    fn started(silence: Duration, work: impl FnOnce(&Feeder) -> Result<()> + Send + 'static) -> Fetching {
        Fetching::start(silence, "the source was silent".to_owned(), work).unwrap()
    }

    fn numbers(feeder: &Feeder) -> Result<()> {
        feeder.begin(SystemTime::UNIX_EPOCH);
        (0..20).try_for_each(|number| feeder.send(batch(number)))
    }

    #[test]
    fn rows_come_in_order_to_threads_and_tasks() {
        let mut fetching = started(LONG, numbers);
        assert_eq!(fetching.wait_for_begin().unwrap(), SystemTime::UNIX_EPOCH);
        let first = fetching.next_batch().unwrap().unwrap();
        let rest: Vec<_> = futures::executor::block_on(fetching.map(Result::unwrap).collect());
        assert_eq!((first, rest), (batch(0), (1..20).map(batch).collect()));
    }

    #[test]
    fn a_failure_ends_the_rows_and_comes_once() {
        let mut fetching = started(LONG, |feeder| {
            numbers(feeder)?;
            Err(Error::new(ErrorCode::SourceUnavailable, "cut"))
        });
        let came: Vec<_> = std::iter::from_fn(|| fetching.next_batch()).collect();
        let (last, before) = came.split_last().unwrap();
        assert_eq!(last.as_ref().unwrap_err().code(), ErrorCode::SourceUnavailable);
        assert!(before.iter().all(Result::is_ok) && fetching.next_batch().is_none());
        let early = started(LONG, |_| Err(Error::new(ErrorCode::SourceRefused, "no")));
        assert_eq!(early.wait_for_begin().unwrap_err().code(), ErrorCode::SourceRefused);
        let panicking = started(LONG, |_| panic!("as the test said"));
        assert_eq!(panicking.wait_for_begin().unwrap_err().code(), ErrorCode::Internal);
    }

    #[test]
    fn a_silent_source_is_given_up() {
        let until_end = |feeder: &Feeder| loop {
            feeder.call().check()?;
            std::thread::yield_now();
        };
        let fetching = started(Duration::from_millis(20), until_end);
        let error = fetching.wait_for_begin().unwrap_err();
        assert_eq!((error.code(), error.message()), (ErrorCode::Timeout, "the source was silent"));
        let then_silent = move |feeder: &Feeder| {
            feeder.begin(SystemTime::UNIX_EPOCH);
            until_end(feeder)
        };
        let mut fetching = started(Duration::from_millis(20), then_silent);
        assert_eq!(fetching.next_batch().unwrap().unwrap_err().code(), ErrorCode::Timeout);
        assert!(fetching.next_batch().is_none());
        let scope = CallScope::default();
        let mut fetching = started(LONG, then_silent);
        scope.cancel();
        let error = scope.run(|| fetching.next_batch()).unwrap().unwrap_err();
        assert_eq!(error.code(), ErrorCode::Cancelled);
        let mut fetching = started(Duration::from_millis(20), then_silent);
        let next = futures::executor::block_on(fetching.next());
        assert_eq!(next.unwrap().unwrap_err().code(), ErrorCode::Timeout);
    }

    #[test]
    fn a_reader_that_goes_ends_the_fetch() {
        let sent = Arc::new(AtomicUsize::new(0));
        let (counted, (done, is_done)) = (sent.clone(), std::sync::mpsc::channel());
        let mut fetching = started(LONG, move |feeder| {
            feeder.begin(SystemTime::UNIX_EPOCH);
            let outcome = (0..).try_for_each(|number| {
                feeder.send(batch(number))?;
                counted.fetch_add(1, Ordering::SeqCst);
                Ok(())
            });
            done.send(feeder.call().check().is_err()).unwrap();
            outcome
        });
        fetching.next_batch().unwrap().unwrap();
        drop(fetching);
        assert!(is_done.recv().unwrap(), "the source sees that its call has ended");
        assert!(sent.load(Ordering::SeqCst) <= QUEUE_LEN + 1, "no more than a few batches wait");
    }
}
