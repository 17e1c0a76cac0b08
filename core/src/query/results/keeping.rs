//! Copies an answer while it is given, and keeps the copy if it becomes complete

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
#[cfg(feature = "sidecar")]
use std::time::Instant;

use arrow::array::{Array, ArrayRef, AsArray, MutableArrayData, RecordBatch, RecordBatchOptions, make_array};
use arrow::datatypes::{DataType, SchemaRef};
use futures::Stream;
use futures::stream::{AbortHandle, BoxStream};

use super::{Keeper, Results, bytes_of};
use crate::answer::batches::{AnswerInfo, BatchSource, CancelHook};
use crate::query::stream::QuerySource;
use crate::types::error::Result;

/// The batches of a query that runs. They pass through as they are.
pub(super) struct Keeping {
    source: Box<QuerySource>,
    copy: Copy,
}

/// What came so far.
struct Copy {
    results: Arc<Results>,
    /// A query that was given up ends like one that has no more rows.
    given_up: AbortHandle,
    /// `None` once the answer cannot be kept any more.
    taken: Option<Taken>,
}

struct Taken {
    keeper: Keeper,
    schema: SchemaRef,
    info: AnswerInfo,
    batches: Vec<RecordBatch>,
    room: Room,
}

/// The memory of a copy, among that of all copies that are not complete yet.
struct Room {
    results: Arc<Results>,
    bytes: usize,
}

impl Room {
    /// Takes more; says whether there was as much.
    fn grow(&mut self, more: usize) -> bool {
        self.bytes += more;
        let all = self.results.copying.fetch_add(more, Ordering::Relaxed) + more;
        self.bytes <= self.results.longest && all <= self.results.copying_most
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.results.copying.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Keeping {
    pub(super) fn new(
        results: Arc<Results>,
        keeper: Keeper,
        (schema, info): (SchemaRef, AnswerInfo),
        source: QuerySource,
    ) -> Self {
        let can_copy = schema.fields().iter().all(|field| is_copied(field.data_type()));
        let room = Room { results: results.clone(), bytes: 0 };
        let taken = can_copy.then(|| Taken { keeper, schema, info, batches: Vec::new(), room });
        let copy = Copy { results, given_up: source.abort_handle(), taken };
        Self { source: Box::new(source), copy }
    }
}

impl Copy {
    fn came(&mut self, next: &Option<Result<RecordBatch>>) {
        match next {
            Some(Ok(batch)) => {
                let Some(taken) = &mut self.taken else { return };
                let most = self.results.longest.saturating_sub(taken.room.bytes);
                match copied(batch, most).filter(|copy| taken.room.grow(bytes_of(copy))) {
                    Some(copy) => taken.batches.push(copy),
                    None => self.taken = None,
                }
            }
            Some(Err(_)) => self.taken = None,
            None => {
                if let Some(Taken { keeper, schema, info, batches, .. }) = self.taken.take()
                    && !self.given_up.is_aborted()
                {
                    self.results.keep(keeper, (schema, info), batches);
                }
            }
        }
    }
}

/// A copy of a batch that shares no memory with it; `None` if it would have more than so many bytes.
fn copied(batch: &RecordBatch, most: usize) -> Option<RecordBatch> {
    if crate::storage::batch_len(batch) > most {
        return None;
    }
    let columns: Vec<ArrayRef> = batch.columns().iter().map(copied_array).collect::<Option<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options).ok()
}

/// Whether a copy of an array of this type shares nothing with it.
fn is_copied(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8View | DataType::BinaryView => true,
        nested => is_whole(nested),
    }
}

/// Whether an array of this type has all of its values itself.
fn is_whole(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8View
        | DataType::BinaryView
        | DataType::Dictionary(..)
        | DataType::RunEndEncoded(..) => false,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => is_whole(field.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_whole(field.data_type())),
        DataType::Union(..) | DataType::ListView(_) | DataType::LargeListView(_) => false,
        _ => true,
    }
}

fn copied_array(array: &ArrayRef) -> Option<ArrayRef> {
    Some(match array.data_type() {
        // Copies of views would refer to the same texts.
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        _ => {
            let data = array.to_data();
            let mut copy = MutableArrayData::new(vec![&data], false, array.len());
            copy.try_extend(0, 0, array.len()).ok()?;
            make_array(copy.freeze())
        }
    })
}

impl BatchSource for Keeping {
    fn next_batch(&mut self) -> Option<Result<RecordBatch>> {
        let next = self.source.next_batch();
        self.copy.came(&next);
        next
    }

    #[cfg(feature = "sidecar")]
    fn next_batch_until(&mut self, deadline: Instant) -> Poll<Option<Result<RecordBatch>>> {
        let next = ready!(self.source.next_batch_until(deadline));
        self.copy.came(&next);
        Poll::Ready(next)
    }

    fn cancel_hook(&self) -> Option<CancelHook> {
        self.source.cancel_hook()
    }

    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let Self { source, copy } = *self;
        Box::pin(KeepingStream { stream: source.into_stream(), copy })
    }
}

struct KeepingStream {
    stream: BoxStream<'static, Result<RecordBatch>>,
    copy: Copy,
}

impl Stream for KeepingStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.stream.as_mut().poll_next(context));
        self.copy.came(&next);
        Poll::Ready(next)
    }
}
