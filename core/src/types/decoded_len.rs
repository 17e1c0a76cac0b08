//! How many bytes values take once dictionaries, runs and views are values again.

use arrow::array::{Array, AsArray, OffsetSizeTrait, RunArray, downcast_run_array};
use arrow::datatypes::{ArrowNativeType, DataType, RunEndIndexType};

/// Beyond this, nobody wants to know exactly: counting ends.
const COUNTED_MAX: u64 = 1 << 40;

/// Bytes that the values of an array take once they are decoded: one value of a dictionary that stands in a thousand rows counts a
/// thousand times. Each value counts at least one byte, also a null. Counting takes about as long as looking at each row once, and
/// ends beyond a TiB.
pub fn decoded_len(array: &dyn Array) -> u64 {
    range_len(array, 0, array.len())
}

/// Bytes that an array takes after a conversion into another type: at least those of [`decoded_len`], and those that the other type
/// has for each row.
pub(crate) fn converted_len(array: &dyn Array, to: &DataType) -> u64 {
    use DataType as T;
    let inner = match to {
        T::List(to) | T::LargeList(to) | T::ListView(to) | T::LargeListView(to) | T::FixedSizeList(to, _) => {
            values_in_use(array).map_or(0, |values| converted_len(&*values, to.data_type()))
        }
        T::Struct(fields) => array.as_struct_opt().map_or(0, |of| {
            let columns = of.columns().iter().zip(fields);
            let lens = columns.map(|(column, field)| converted_len(column, field.data_type()));
            lens.fold(0, u64::saturating_add)
        }),
        _ => 0,
    };
    decoded_len(array).max(inner).max(rows_len(array.len(), to))
}

/// Bytes that so many nulls of a type take.
pub(crate) fn rows_len(rows: usize, of: &DataType) -> u64 {
    (rows as u64).saturating_mul(width(of))
}

/// Bytes that each row of a type takes at least, nulls included.
fn width(of: &DataType) -> u64 {
    use DataType as T;
    match of {
        T::Utf8View | T::BinaryView => 16,
        T::LargeUtf8 | T::LargeBinary | T::LargeList(_) | T::LargeListView(_) => 8,
        T::Utf8 | T::Binary | T::List(_) | T::ListView(_) | T::Map(..) => 4,
        T::FixedSizeBinary(len) => u64::try_from(*len).unwrap_or(0).max(1),
        T::FixedSizeList(field, len) => {
            u64::try_from(*len).unwrap_or(0).saturating_mul(width(field.data_type())).max(1)
        }
        T::Struct(fields) => {
            let widths = fields.iter().map(|field| width(field.data_type()));
            widths.fold(1, u64::saturating_add)
        }
        T::Dictionary(_, values) => width(values),
        T::RunEndEncoded(_, values) => width(values.data_type()),
        other => other.primitive_width().map_or(1, |width| width as u64),
    }
}

/// The values of the lists of an array, without those that stand before and behind all of them.
fn values_in_use(array: &dyn Array) -> Option<arrow::array::ArrayRef> {
    fn between<O: OffsetSizeTrait>(offsets: &[O], values: &arrow::array::ArrayRef) -> arrow::array::ArrayRef {
        let first = offsets.first().map_or(0, |first| first.as_usize());
        let last = offsets.last().map_or(0, |last| last.as_usize());
        values.slice(first, last - first)
    }
    use DataType as T;
    Some(match array.data_type() {
        T::List(_) => {
            let list = array.as_list::<i32>();
            between(list.value_offsets(), list.values())
        }
        T::LargeList(_) => {
            let list = array.as_list::<i64>();
            between(list.value_offsets(), list.values())
        }
        T::ListView(_) => array.as_list_view::<i32>().values().clone(),
        T::LargeListView(_) => array.as_list_view::<i64>().values().clone(),
        T::FixedSizeList(..) => array.as_fixed_size_list().values().clone(),
        _ => return None,
    })
}

/// As [`decoded_len`], of some rows.
fn range_len(array: &dyn Array, start: usize, len: usize) -> u64 {
    use DataType as T;
    let fixed = || rows_len(len, array.data_type());
    let more = match array.data_type() {
        T::Utf8 => between(array.as_string::<i32>().value_offsets(), start, len).1,
        T::LargeUtf8 => between(array.as_string::<i64>().value_offsets(), start, len).1,
        T::Binary => between(array.as_binary::<i32>().value_offsets(), start, len).1,
        T::LargeBinary => between(array.as_binary::<i64>().value_offsets(), start, len).1,
        T::Utf8View => views_len(array.as_string_view().views(), start, len),
        T::BinaryView => views_len(array.as_binary_view().views(), start, len),
        T::List(_) => {
            let list = array.as_list::<i32>();
            let (from, count) = between(list.value_offsets(), start, len);
            range_len(list.values(), from, usize::try_from(count).unwrap_or(0))
        }
        T::LargeList(_) => {
            let list = array.as_list::<i64>();
            let (from, count) = between(list.value_offsets(), start, len);
            range_len(list.values(), from, usize::try_from(count).unwrap_or(0))
        }
        T::Map(..) => {
            let map = array.as_map();
            let (from, count) = between(map.value_offsets(), start, len);
            range_len(map.entries(), from, usize::try_from(count).unwrap_or(0))
        }
        T::ListView(_) => {
            let list = array.as_list_view::<i32>();
            let lists = list.value_offsets().iter().zip(list.value_sizes()).skip(start).take(len);
            sum(lists.map(|(from, count)| range_len(list.values(), from.as_usize(), count.as_usize())))
        }
        T::LargeListView(_) => {
            let list = array.as_list_view::<i64>();
            let lists = list.value_offsets().iter().zip(list.value_sizes()).skip(start).take(len);
            sum(lists.map(|(from, count)| range_len(list.values(), from.as_usize(), count.as_usize())))
        }
        T::FixedSizeList(_, width) => {
            let width = usize::try_from(*width).unwrap_or(0);
            range_len(array.as_fixed_size_list().values(), start * width, len * width)
        }
        T::Struct(_) => sum(array.as_struct().columns().iter().map(|column| range_len(column, start, len))),
        T::Dictionary(_, values) if values.is_primitive() => 0,
        T::Dictionary(..) => {
            // Sliced first: looking at some rows takes no longer if there are many others.
            let rows = array.slice(start, len);
            let rows = rows.as_any_dictionary();
            let values = rows.values();
            // Without values, all rows are null.
            let keys = if values.is_empty() { Vec::new() } else { rows.normalized_keys() };
            sum(keys.into_iter().map(|key| range_len(values, key, 1)))
        }
        T::RunEndEncoded(..) => downcast_run_array!(
            array => runs_len(array, start, len),
            _ => 0
        ),
        _ => 0,
    };
    fixed().saturating_add(more)
}

/// Where the values of some rows begin, and how many there are.
fn between<O: OffsetSizeTrait>(offsets: &[O], start: usize, len: usize) -> (usize, u64) {
    let at = |row: usize| offsets.get(row).map_or(0, |offset| offset.as_usize());
    let (from, to) = (at(start), at(start + len));
    (from, to.saturating_sub(from) as u64)
}

/// The lower half of the first word of a view is its length.
fn views_len(views: &[u128], start: usize, len: usize) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "the lowest 32 bits are the length")]
    let lens = views.iter().skip(start).take(len).map(|view| u64::from(*view as u32));
    sum(lens)
}

fn runs_len<R: RunEndIndexType>(array: &RunArray<R>, start: usize, len: usize) -> u64 {
    let (ends, values) = (array.run_ends(), array.values());
    let (mut at, end, mut total) = (start, start + len, 0_u64);
    while at < end && total < COUNTED_MAX {
        let run = ends.get_physical_index(at);
        let run_end = ends.values().get(run).map_or(end, |end| end.as_usize().saturating_sub(ends.offset()));
        let until = run_end.clamp(at + 1, end);
        let rows = (until - at) as u64;
        total = total.saturating_add(rows.saturating_mul(range_len(values, run, 1)));
        at = until;
    }
    total
}

/// The sum of lengths, or at least [`COUNTED_MAX`].
fn sum(lens: impl Iterator<Item = u64>) -> u64 {
    let mut total = 0_u64;
    for len in lens {
        total = total.saturating_add(len);
        if total >= COUNTED_MAX {
            break;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BooleanArray, DictionaryArray, FixedSizeListArray, Int8Array, Int32Array, Int64Array,
        ListArray, ListViewArray, NullArray, StringArray, StringViewArray, StructArray,
    };
    use arrow::buffer::{OffsetBuffer, ScalarBuffer};
    use arrow::datatypes::{Field, Int8Type};

    use super::*;

    fn field(of: DataType) -> Arc<Field> {
        Arc::new(Field::new("item", of, true))
    }

    #[test]
    fn values_count_as_often_as_they_stand_there() {
        let texts = StringArray::from(vec![Some("abc"), None, Some("defgh")]);
        assert_eq!(decoded_len(&texts), 3 * 4 + 8);
        assert_eq!(decoded_len(&texts.slice(1, 2)), 2 * 4 + 5);
        assert_eq!(
            decoded_len(&StringViewArray::from(vec!["abc", "a text that is longer than a view"])),
            32 + 36
        );
        assert_eq!(decoded_len(&Int64Array::from(vec![1, 2])), 16);
        assert_eq!(decoded_len(&BooleanArray::from(vec![true; 10])), 10);
        let long = "x".repeat(1000);
        let keys = Int8Array::from(vec![0, 1, 1, 1]);
        let dictionary: DictionaryArray<Int8Type> =
            DictionaryArray::new(keys, Arc::new(StringArray::from(vec!["a", long.as_str()])));
        assert_eq!(decoded_len(&dictionary), 4 * 4 + 4 * 4 + 3001);
        assert_eq!(decoded_len(&dictionary.slice(0, 1)), 4 + 4 + 1);
        let ends = Int32Array::from(vec![2, 1_000_000]);
        let runs = RunArray::try_new(&ends, &StringArray::from(vec!["a", "bb"])).unwrap();
        assert_eq!(decoded_len(&runs), 1_000_000 * 4 + 2 * 5 + 999_998 * 6);
        assert_eq!(decoded_len(&runs.slice(1, 3)), 3 * 4 + 5 + 2 * 6);
        let nulls: ArrayRef = Arc::new(NullArray::new(7));
        assert_eq!(decoded_len(&nulls), 7);
        let fields = vec![(field(DataType::Null), nulls)];
        assert_eq!(decoded_len(&StructArray::from(fields)), 7 * 2 + 7);
    }

    #[test]
    fn lists_count_what_is_in_them() {
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
        let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![10, 20, 60]));
        let list = ListArray::new(field(DataType::Int64), offsets, values.clone(), None);
        assert_eq!(decoded_len(&list), 2 * 4 + 50 * 8);
        assert_eq!(decoded_len(&list.slice(1, 1)), 4 + 40 * 8);
        // Each of a thousand lists is the whole of the values.
        let (offsets, sizes) = (ScalarBuffer::from(vec![0; 1000]), ScalarBuffer::from(vec![100; 1000]));
        let views = ListViewArray::new(field(DataType::Int64), offsets, sizes, values.clone(), None);
        assert_eq!(decoded_len(&views), 1000 * 4 + 1000 * 100 * 8);
        let fixed = FixedSizeListArray::new(field(DataType::Int64), 10, values, None);
        assert_eq!(decoded_len(&fixed.slice(9, 1)), 80 + 80);
    }

    #[test]
    fn conversions_count_what_they_make() {
        let nulls = NullArray::new(1 << 34);
        assert_eq!(converted_len(&nulls, &DataType::Int64), 8 << 34);
        let wide = DataType::FixedSizeList(field(DataType::Int64), 1 << 20);
        assert_eq!(converted_len(&NullArray::new(1 << 20), &wide), 8 << 40);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 1 << 30]));
        let list = ListArray::new(field(DataType::Null), offsets, Arc::new(NullArray::new(1 << 30)), None);
        let to = DataType::LargeList(field(DataType::Decimal128(38, 0)));
        assert_eq!(converted_len(&list, &to), 16 << 30);
        assert_eq!(converted_len(&Int32Array::from(vec![1, 2]), &DataType::Int64), 16);
    }
}
