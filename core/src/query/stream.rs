//! The batches of a running query.

use std::sync::Arc;
#[cfg(feature = "sidecar")]
use std::task::Poll;
#[cfg(feature = "sidecar")]
use std::time::Instant;

use arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use futures::stream::{AbortHandle, Abortable, BoxStream};

use super::contain::{contain, panicked};
use super::error::running;
use super::stack::Stack;
use super::stop::Stop;
use super::threads::Threads;
use crate::answer::batches::{BatchSource, CancelHook};
use crate::types::error::Result;

/// Most batches that wait for an async consumer.
const QUEUE_LEN: usize = 2;

/// A running query. The consumer's thread does the work of the plan's last stage; the other stages run on the cache's
/// threads. Dropping this stops them.
pub(super) struct QuerySource {
    /// `None` once it was handed on.
    stream: Option<Abortable<SendableRecordBatchStream>>,
    abort: AbortHandle,
    threads: Arc<Threads>,
    stack: Stack,
    stop: Stop,
}

impl QuerySource {
    pub(super) fn new(
        stream: SendableRecordBatchStream,
        threads: Arc<Threads>,
        stack: Stack,
        stop: Stop,
    ) -> Self {
        let (stream, abort) = futures::stream::abortable(stream);
        Self { stream: Some(stream), abort, threads, stack, stop }
    }

    /// Says whether the query was given up.
    pub(super) fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }
}

impl Drop for QuerySource {
    fn drop(&mut self) {
        // If the answer was handed on, whoever has it stops the query.
        let Some(stream) = self.stream.take() else { return };
        self.stop.set();
        self.stack.run(|| drop(stream));
    }
}

impl BatchSource for QuerySource {
    fn next_batch(&mut self) -> Option<Result<RecordBatch>> {
        let Some(stream) = &mut self.stream else { return None };
        match drive(&self.threads, self.stack, stream.next()) {
            Ok(next) => next.map(|batch| batch.map_err(running)),
            Err(error) => Some(Err(error)),
        }
    }

    #[cfg(feature = "sidecar")]
    fn next_batch_until(&mut self, deadline: Instant) -> Poll<Option<Result<RecordBatch>>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        // Made inside `drive`: the timer needs the runtime of the threads.
        let in_time = async { tokio::time::timeout_at(deadline.into(), stream.next()).await };
        Poll::Ready(match drive(&self.threads, self.stack, in_time) {
            Ok(Ok(next)) => next.map(|batch| batch.map_err(running)),
            Ok(Err(_)) => return Poll::Pending,
            Err(error) => Some(Err(error)),
        })
    }

    fn cancel_hook(&self) -> Option<CancelHook> {
        let (abort, stop) = (self.abort.clone(), self.stop.clone());
        Some(Box::new(move || {
            stop.set();
            abort.abort();
        }))
    }

    fn into_stream(mut self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let handle = match self.threads.handle() {
            Ok(handle) => handle.clone(),
            Err(error) => return futures::stream::iter([Err(error)]).boxed(),
        };
        let (sender, receiver) = tokio::sync::mpsc::channel(QUEUE_LEN);
        let Some(mut stream) = self.stream.take() else { return futures::stream::empty().boxed() };
        let task = handle.spawn(async move {
            while let Some(batch) = stream.next().await {
                let failed = batch.is_err();
                // An error ends the answer, and so does a consumer that went away.
                if sender.send(batch.map_err(running)).await.is_err() || failed {
                    return;
                }
            }
        });
        let (stop, threads) = (self.stop.clone(), self.threads.clone());
        let state = Consumer { receiver, task: Some(task), stop, _threads: threads };
        futures::stream::unfold(state, |mut state| async move {
            match state.receiver.recv().await {
                Some(batch) => Some((batch, state)),
                None => {
                    let ended = state.task.take()?.await;
                    ended.is_err().then(|| (Err(panicked()), state))
                }
            }
        })
        .boxed()
    }
}

/// Does the work of a query's last stage on this thread, so that a lookup is answered without waking another thread,
/// and waits for the other stages.
fn drive<F: Future>(threads: &Threads, stack: Stack, work: F) -> Result<F::Output> {
    let handle = threads.handle()?;
    contain(|| {
        stack.run(|| {
            if tokio::runtime::Handle::try_current().is_err() {
                // Here the runtime gives long work a budget, so that it notices now and then whether it was
                // cancelled.
                return handle.block_on(work);
            }
            // Within async code a second runtime refuses to block.
            let _entered = handle.enter();
            pollster::block_on(work)
        })
    })
}

struct Consumer {
    receiver: tokio::sync::mpsc::Receiver<Result<RecordBatch>>,
    task: Option<tokio::task::JoinHandle<()>>,
    stop: Stop,
    _threads: Arc<Threads>,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.stop.set();
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
