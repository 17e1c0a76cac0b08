//! Values that count in the memory of queries for as long as they are there.

use std::sync::Arc;

use arrow::array::{ArrayData, ArrayDataBuilder, ArrayRef, make_array};
use arrow::buffer::Buffer;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;

/// A buffer, and the memory that was reserved for it and for the other buffers of its array.
struct Held {
    buffer: Buffer,
    _memory: Arc<MemoryReservation>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

/// Ties reserved memory to an array: it is released when the last of the array's buffers is dropped.
pub(super) fn hold(array: &ArrayRef, memory: MemoryReservation) -> Result<ArrayRef> {
    memory.resize(array.get_array_memory_size());
    Ok(make_array(hold_data(&array.to_data(), &Arc::new(memory))?))
}

fn hold_data(data: &ArrayData, memory: &Arc<MemoryReservation>) -> Result<ArrayData> {
    let hold = |buffer: &Buffer| {
        let held = Held { buffer: buffer.clone(), _memory: memory.clone() };
        Buffer::from(bytes::Bytes::from_owner(held))
    };
    let children = data.child_data().iter().map(|child| hold_data(child, memory));
    let held = ArrayDataBuilder::new(data.data_type().clone())
        .len(data.len())
        .offset(data.offset())
        .nulls(data.nulls().cloned())
        .buffers(data.buffers().iter().map(hold).collect())
        .child_data(children.collect::<Result<_>>()?);
    Ok(held.build()?)
}
