//! What Arrow's batches do not tell or do by themselves.

use std::sync::Arc;

#[cfg(feature = "sidecar")]
use arrow::array::OffsetSizeTrait;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
#[cfg(feature = "sidecar")]
use arrow::datatypes::ArrowNativeType;
use arrow::datatypes::DataType;

use crate::api::error::{Error, Result};

/// String views that refer only to bytes that they need: Arrow IPC writes all data buffers of a view array,
/// also those of a small slice.
pub(crate) fn compact_views(batch: &RecordBatch) -> Result<RecordBatch> {
    let is_view = |array: &ArrayRef| matches!(array.data_type(), DataType::Utf8View | DataType::BinaryView);
    if !batch.columns().iter().any(is_view) {
        return Ok(batch.clone());
    }
    let columns = batch.columns().iter().map(|array| -> ArrayRef {
        match array.data_type() {
            DataType::Utf8View => Arc::new(array.as_string_view().gc()),
            DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
            _ => array.clone(),
        }
    });
    RecordBatch::try_new(batch.schema(), columns.collect())
        .map_err(|error| Error::internal("cannot compact string views").with_source(error))
}

/// Bytes of the rows of a batch; of a slice, what it refers to and not what it shares.
pub(crate) fn batch_len(batch: &RecordBatch) -> usize {
    let lens = batch.columns().iter().map(|array| match array.data_type() {
        // A slice of views tells nothing of the text that it refers to.
        DataType::Utf8View => array.as_string_view().total_buffer_bytes_used() + 16 * array.len(),
        DataType::BinaryView => array.as_binary_view().total_buffer_bytes_used() + 16 * array.len(),
        _ => array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size()),
    });
    lens.sum()
}

/// How many rows from the start of a batch have at most `len_max` bytes together: at least one, if there is one.
#[cfg(feature = "sidecar")]
pub(crate) fn rows_within(batch: &RecordBatch, len_max: usize) -> usize {
    let are_within = |rows: usize| {
        let lens = batch.columns().iter().map(|array| array_len(&array.slice(0, rows)));
        lens.sum::<usize>() <= len_max
    };
    // To look at views costs what their number is: so no more rows than may be taken are looked at, but for a few.
    let (mut within, mut beyond) = (batch.num_rows().min(1), batch.num_rows() + 1);
    while within < batch.num_rows() {
        let rows = if beyond > batch.num_rows() {
            (2 * within).min(batch.num_rows())
        } else {
            within.midpoint(beyond)
        };
        if rows == within {
            break;
        }
        if are_within(rows) {
            within = rows;
        } else {
            beyond = rows;
        }
    }
    within
}

/// Bytes of an array; of a slice, also of lists, what it refers to and not what it shares.
#[cfg(feature = "sidecar")]
pub(crate) fn array_len(array: &dyn Array) -> usize {
    let nulls = array.nulls().map_or(0, |nulls| nulls.len().div_ceil(8));
    match array.data_type() {
        // A slice of views tells nothing of the text that it refers to.
        DataType::Utf8View => array.as_string_view().total_buffer_bytes_used() + 16 * array.len() + nulls,
        DataType::BinaryView => array.as_binary_view().total_buffer_bytes_used() + 16 * array.len() + nulls,
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            list_len(lists.value_offsets(), |start, len| lists.values().slice(start, len)) + nulls
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            list_len(lists.value_offsets(), |start, len| lists.values().slice(start, len)) + nulls
        }
        DataType::Map(..) => {
            let maps = array.as_map();
            list_len(maps.value_offsets(), |start, len| Arc::new(maps.entries().slice(start, len))) + nulls
        }
        DataType::FixedSizeList(..) => array_len(array.as_fixed_size_list().values()) + nulls,
        DataType::Struct(_) => {
            array.as_struct().columns().iter().map(|column| array_len(column)).sum::<usize>() + nulls
        }
        _ => array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size()),
    }
}

/// Bytes of each value of a type, if all have as many.
#[cfg(feature = "sidecar")]
pub(crate) fn fixed_len(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::Null => Some(0),
        DataType::Boolean => Some(1),
        DataType::FixedSizeBinary(len) => usize::try_from(*len).ok(),
        other => other.primitive_width(),
    }
}

/// Bytes of one value; for text and bytes without making anything.
#[cfg(feature = "sidecar")]
pub(crate) fn value_len(array: &dyn Array, index: usize) -> usize {
    let between = |from: usize, to: usize| to.saturating_sub(from) + size_of::<i64>();
    let small = |offsets: &[i32]| between(offsets[index].as_usize(), offsets[index + 1].as_usize());
    let large = |offsets: &[i64]| between(offsets[index].as_usize(), offsets[index + 1].as_usize());
    // The low half of a view's first word is the length.
    let view = |views: &[u128]| (views[index] & u128::from(u32::MAX)) as usize + size_of::<u128>();
    match array.data_type() {
        DataType::Utf8 => small(array.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => large(array.as_string::<i64>().value_offsets()),
        DataType::Binary => small(array.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => large(array.as_binary::<i64>().value_offsets()),
        DataType::Utf8View => view(array.as_string_view().views()),
        DataType::BinaryView => view(array.as_binary_view().views()),
        _ => array_len(&array.slice(index, 1)),
    }
}

/// Bytes of the offsets of lists and of the values between them.
#[cfg(feature = "sidecar")]
fn list_len<O: OffsetSizeTrait>(offsets: &[O], values: impl FnOnce(usize, usize) -> ArrayRef) -> usize {
    let (Some(start), Some(end)) = (offsets.first(), offsets.last()) else { return 0 };
    let (start, end) = (start.as_usize(), end.as_usize());
    size_of_val(offsets) + array_len(&values(start, end.saturating_sub(start)))
}

#[cfg(all(test, feature = "sidecar"))]
mod tests {
    use arrow::array::builder::{ListBuilder, StringBuilder};
    use arrow::array::{StringArray, StringViewArray};

    use super::*;

    fn texts(lens: &[usize]) -> Vec<String> {
        lens.iter().map(|len| "x".repeat(*len)).collect()
    }

    /// One row of its own length, in the forms that tell their length each in another way.
    fn arrays(lens: &[usize]) -> [(&'static str, ArrayRef); 3] {
        let texts = texts(lens);
        let mut lists = ListBuilder::new(StringBuilder::new());
        texts.iter().for_each(|text| lists.append_value([Some(text)]));
        [
            ("text", Arc::new(StringArray::from(texts.clone()))),
            ("view", Arc::new(StringViewArray::from_iter_values(&texts))),
            ("list", Arc::new(lists.finish())),
        ]
    }

    #[test]
    fn rows_are_counted_by_what_each_of_them_has() {
        let lens: Vec<usize> = (0..1000).map(|row| if row % 100 < 5 { 10_000 } else { 10 }).collect();
        for column in arrays(&lens) {
            let batch = RecordBatch::try_from_iter([column]).unwrap();
            let (mut start, mut portions) = (0, 0);
            while start < batch.num_rows() {
                let rest = batch.slice(start, batch.num_rows() - start);
                let rows = rows_within(&rest, 25_000);
                assert!(rows >= 1 && rows <= rest.num_rows());
                let len: usize = lens[start..start + rows].iter().sum();
                assert!(rows == 1 || len <= 25_000, "{len} bytes in {rows} rows");
                // Offsets and views are counted too; but for them, one more row would have been too much.
                let more = lens.get(start + rows).copied().unwrap_or(usize::MAX / 2);
                assert!(len + more + 40 * (rows + 2) > 25_000, "{len} bytes in {rows} rows at {start}");
                start += rows;
                portions += 1;
            }
            assert!(portions <= 40, "{portions}");
        }
        for column in arrays(&[]) {
            assert_eq!(rows_within(&RecordBatch::try_from_iter([column]).unwrap(), 1), 0);
        }
        for column in arrays(&[100, 1]) {
            let batch = RecordBatch::try_from_iter([column]).unwrap();
            assert_eq!(rows_within(&batch, 1), 1, "one at least");
        }
    }
}
