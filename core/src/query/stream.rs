//! The batches of a query.

use std::sync::Arc;
#[cfg(feature = "sidecar")]
use std::task::Poll;
#[cfg(feature = "sidecar")]
use std::time::Instant;

use arrow::array::RecordBatch;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
#[cfg(feature = "sidecar")]
use futures::future::{Either, select};
use futures::stream::{AbortHandle, AbortRegistration, Abortable, BoxStream};
#[cfg(feature = "sidecar")]
use futures_timer::Delay;

use super::contain::{contain, panicked};
use super::error::{planning, running};
use super::stack::Stack;
use super::stop::Stop;
use super::threads::Threads;
use crate::answer::batches::{BatchSource, CancelHook};
use crate::types::error::Result;

/// Most batches that wait for an async consumer.
const QUEUE_LEN: usize = 2;

/// A query. It runs from when somebody asks for its first batch: whoever only wants to know its columns, or forgets it, costs
/// nothing. The consumer's thread does the work of the plan's last stage; the other stages run on the cache's threads. Dropping
/// this stops them.
pub(super) struct QuerySource {
    stage: Stage,
    abort: AbortHandle,
    threads: Arc<Threads>,
    stack: Stack,
    stop: Stop,
}

enum Stage {
    /// Nobody has asked for rows.
    Ready(Ready),
    Runs(Abortable<SendableRecordBatchStream>),
    /// It was handed on, or could not be begun.
    Over,
}

/// What runs, and what ends it.
struct Ready {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    ending: AbortRegistration,
}

impl Ready {
    /// Begins to run. Called on the runtime of the query's threads.
    fn begin(self) -> Result<Abortable<SendableRecordBatchStream>> {
        let Self { plan, context, ending } = self;
        Ok(Abortable::new(execute_stream(plan, context).map_err(planning)?, ending))
    }
}

impl QuerySource {
    pub(super) fn new(
        (plan, context): (Arc<dyn ExecutionPlan>, Arc<TaskContext>),
        threads: Arc<Threads>,
        stack: Stack,
        stop: Stop,
    ) -> Self {
        let (abort, ending) = AbortHandle::new_pair();
        Self { stage: Stage::Ready(Ready { plan, context, ending }), abort, threads, stack, stop }
    }

    /// The rows; `None` if there are none any more. Begins to run if need be.
    fn running(&mut self) -> Result<Option<&mut Abortable<SendableRecordBatchStream>>> {
        if matches!(self.stage, Stage::Ready(_))
            && let Stage::Ready(ready) = std::mem::replace(&mut self.stage, Stage::Over)
        {
            let handle = self.threads.handle()?.clone();
            let begun = contain(|| {
                let _entered = handle.enter();
                self.stack.run(|| ready.begin())
            });
            self.stage = Stage::Runs(begun??);
        }
        Ok(match &mut self.stage {
            Stage::Runs(stream) => Some(stream),
            Stage::Ready(_) | Stage::Over => None,
        })
    }

    /// Says whether the query was given up.
    pub(super) fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }
}

impl Drop for QuerySource {
    fn drop(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        // If the answer was handed on, whoever has it stops the query.
        if !matches!(stage, Stage::Over) {
            self.stop.set();
            self.stack.run(|| drop(stage));
        }
    }
}

impl BatchSource for QuerySource {
    fn next_batch(&mut self) -> Option<Result<RecordBatch>> {
        let (threads, stack) = (self.threads.clone(), self.stack);
        let stream = match self.running().transpose()? {
            Ok(stream) => stream,
            Err(error) => return Some(Err(error)),
        };
        match drive(&threads, stack, stream.next()) {
            Ok(next) => next.map(|batch| batch.map_err(running)),
            Err(error) => Some(Err(error)),
        }
    }

    #[cfg(feature = "sidecar")]
    fn next_batch_until(&mut self, deadline: Instant) -> Poll<Option<Result<RecordBatch>>> {
        let (threads, stack) = (self.threads.clone(), self.stack);
        let stream = match self.running() {
            Ok(Some(stream)) => stream,
            Ok(None) => return Poll::Ready(None),
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        // Within a runtime this thread does not drive the timers of the query's runtime, whose own threads may all be in long work.
        let drives_timers = tokio::runtime::Handle::try_current().is_err();
        // Made inside `drive`: the timer needs the runtime of the threads.
        let in_time = async {
            if drives_timers {
                return tokio::time::timeout_at(deadline.into(), stream.next()).await.ok();
            }
            let late = Delay::new(deadline.saturating_duration_since(Instant::now()));
            match select(stream.next(), late).await {
                Either::Left((next, _)) => Some(next),
                Either::Right(_) => None,
            }
        };
        Poll::Ready(match drive(&threads, stack, in_time) {
            Ok(Some(next)) => next.map(|batch| batch.map_err(running)),
            Ok(None) => return Poll::Pending,
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
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let task = handle.spawn(async move {
            let begun = match stage {
                Stage::Ready(ready) => ready.begin(),
                Stage::Runs(stream) => Ok(stream),
                Stage::Over => return,
            };
            let mut stream = match begun {
                Ok(stream) => stream,
                Err(error) => return drop(sender.send(Err(error)).await),
            };
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use arrow::datatypes::{Schema, SchemaRef};
    use datafusion::physical_plan::EmptyRecordBatchStream;
    use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};

    use super::*;

    /// Counts how often it was run.
    #[derive(Debug)]
    struct Counts(SchemaRef, Arc<AtomicUsize>);

    impl PartitionStream for Counts {
        fn schema(&self) -> &SchemaRef {
            &self.0
        }

        fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
            self.1.fetch_add(1, Ordering::SeqCst);
            Box::pin(EmptyRecordBatchStream::new(self.0.clone()))
        }
    }

    #[test]
    fn a_query_runs_once_its_rows_are_asked_for() {
        let (schema, runs) = (Arc::new(Schema::empty()), Arc::new(AtomicUsize::new(0)));
        let threads = Arc::new(Threads::new(1));
        let source = || {
            let parts: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(Counts(schema.clone(), runs.clone()))];
            let plan = StreamingTableExec::try_new(schema.clone(), parts, None, [], false, None).unwrap();
            let ready: (Arc<dyn ExecutionPlan>, _) = (Arc::new(plan), Arc::default());
            QuerySource::new(ready, threads.clone(), Stack::of(0), Stop::default())
        };
        let ran = || runs.load(Ordering::SeqCst);
        let forgotten = source();
        let cancel = forgotten.cancel_hook();
        drop(forgotten);
        assert_eq!((ran(), cancel.is_some()), (0, true), "nobody has asked for its rows");
        assert!(source().next_batch().is_none());
        assert_eq!(ran(), 1);
        let mut stream = Box::new(source()).into_stream();
        assert!(pollster::block_on(stream.next()).is_none());
        assert_eq!(ran(), 2);
    }
}
