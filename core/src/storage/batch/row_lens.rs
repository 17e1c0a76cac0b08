//! How many bytes single rows have: averages do not bound what a copy of some of them takes.

use std::ops::Range;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{ArrowNativeType, DataType};

#[cfg(feature = "sidecar")]
use super::batch_len;

/// Bytes of the rows of a batch, at least one each.
#[derive(Clone, Debug)]
pub(crate) enum RowLens {
    /// All rows have so many.
    Same(usize),
    /// For each row, the bytes of all rows before it; last, the bytes of all rows.
    Sums(Vec<usize>),
}

impl RowLens {
    /// The lengths of the rows of a batch.
    pub(crate) fn of(batch: &RecordBatch) -> Self {
        let mut lens = Self::Same(1);
        for column in batch.columns() {
            lens.add(of_array(column.as_ref()));
        }
        lens
    }

    /// Bytes of some rows together.
    pub(crate) fn len(&self, rows: Range<usize>) -> usize {
        match self {
            Self::Same(len) => len * rows.len(),
            Self::Sums(sums) => sums[rows.end] - sums[rows.start],
        }
    }

    /// Bytes of a row.
    pub(crate) fn of_row(&self, row: usize) -> usize {
        self.len(row..row + 1)
    }

    /// How many of some rows, from the first on, have at most so many bytes together.
    pub(crate) fn fitting(&self, rows: Range<usize>, bytes: usize) -> usize {
        match self {
            Self::Same(len) => (bytes / len.max(&1)).min(rows.len()),
            Self::Sums(sums) => {
                let most = sums[rows.start].saturating_add(bytes);
                sums[rows.start + 1..=rows.end].partition_point(|&sum| sum <= most)
            }
        }
    }

    /// Bytes that these lengths take themselves.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Same(_) => 0,
            Self::Sums(sums) => size_of_val(sums.as_slice()),
        }
    }

    fn add(&mut self, other: Self) {
        *self = match (std::mem::replace(self, Self::Same(0)), other) {
            (Self::Same(a), Self::Same(b)) => Self::Same(a + b),
            (Self::Sums(mut sums), Self::Same(len)) | (Self::Same(len), Self::Sums(mut sums)) => {
                sums.iter_mut().enumerate().for_each(|(row, sum)| *sum += row * len);
                Self::Sums(sums)
            }
            (Self::Sums(mut sums), Self::Sums(others)) => {
                sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
                Self::Sums(sums)
            }
        }
    }

    /// The lengths of lists, by the lengths of their elements.
    fn of_lists<O: ArrowNativeType>(offsets: &OffsetBuffer<O>, elements: &dyn Array) -> Self {
        let elements = of_array(elements);
        Self::of_offsets(offsets, |elements_of| elements.len(elements_of))
    }

    fn of_offsets<O: ArrowNativeType>(
        offsets: &OffsetBuffer<O>,
        len: impl Fn(Range<usize>) -> usize,
    ) -> Self {
        let first = offsets.first().map_or(0, |offset| offset.as_usize());
        let sums = offsets.iter().enumerate().map(|(row, offset)| {
            // Bytes that a null refers to are not copied, but count all the same: there are seldom any.
            row * size_of::<O>() + len(first..offset.as_usize().max(first))
        });
        Self::Sums(sums.collect())
    }

    fn of_each(rows: usize, len: impl Fn(usize) -> usize) -> Self {
        let mut sums = Vec::with_capacity(rows + 1);
        let mut sum = 0;
        sums.push(sum);
        for row in 0..rows {
            sum += len(row);
            sums.push(sum);
        }
        Self::Sums(sums)
    }
}

/// How many rows from the start of a batch have at most so many bytes together: at least one, if there is one.
#[cfg(feature = "sidecar")]
pub(crate) fn rows_within(batch: &RecordBatch, bytes: usize) -> usize {
    let rows = batch.num_rows();
    // A batch that fits as a whole, as most do, needs no lengths of single rows.
    if batch_len(batch) <= bytes { rows } else { RowLens::of(batch).fitting(0..rows, bytes).max(rows.min(1)) }
}

/// Bytes of each value of a type, if all have the same number.
#[cfg(feature = "sidecar")]
pub(crate) fn fixed_len(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::Null => Some(0),
        DataType::Boolean => Some(1),
        DataType::FixedSizeBinary(len) => usize::try_from(*len).ok(),
        other => other.primitive_width(),
    }
}

/// Bytes of one value; for text and bytes, nothing is allocated.
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
        _ => of_array(array.slice(index, 1).as_ref()).len(0..1),
    }
}

fn of_array(array: &dyn Array) -> RowLens {
    use DataType as T;
    let bytes = |range: Range<usize>| range.len();
    match array.data_type() {
        T::Utf8 => RowLens::of_offsets(array.as_string::<i32>().offsets(), bytes),
        T::LargeUtf8 => RowLens::of_offsets(array.as_string::<i64>().offsets(), bytes),
        T::Binary => RowLens::of_offsets(array.as_binary::<i32>().offsets(), bytes),
        T::LargeBinary => RowLens::of_offsets(array.as_binary::<i64>().offsets(), bytes),
        T::Utf8View => of_views(array.as_string_view().views()),
        T::BinaryView => of_views(array.as_binary_view().views()),
        T::List(_) => {
            let lists = array.as_list::<i32>();
            RowLens::of_lists(lists.offsets(), lists.values().as_ref())
        }
        T::LargeList(_) => {
            let lists = array.as_list::<i64>();
            RowLens::of_lists(lists.offsets(), lists.values().as_ref())
        }
        T::Map(..) => {
            let maps = array.as_map();
            RowLens::of_lists(maps.offsets(), maps.entries())
        }
        T::FixedSizeList(_, _) => {
            let lists = array.as_fixed_size_list();
            let width = usize::try_from(lists.value_length()).unwrap_or_default();
            match of_array(lists.values().as_ref()) {
                RowLens::Same(len) => RowLens::Same(len * width + 1),
                sums @ RowLens::Sums(_) => {
                    RowLens::of_each(lists.len(), |row| 1 + sums.len(row * width..(row + 1) * width))
                }
            }
        }
        T::Struct(_) => {
            let mut lens = RowLens::Same(1);
            array.as_struct().columns().iter().for_each(|column| lens.add(of_array(column.as_ref())));
            lens
        }
        T::FixedSizeBinary(width) => RowLens::Same(usize::try_from(*width).unwrap_or_default()),
        other => match other.primitive_width() {
            Some(width) => RowLens::Same(width),
            // Types without texts, and types that no column of a table has.
            None => RowLens::Same(
                array.to_data().get_slice_memory_size().unwrap_or_default() / array.len().max(1) + 1,
            ),
        },
    }
}

/// The low half of a view is the length of its text, and texts of up to 12 bytes stand in the view.
fn of_views(views: &[u128]) -> RowLens {
    RowLens::of_each(views.len(), |row| {
        let [a, b, c, d, ..] = views[row].to_le_bytes();
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        size_of::<u128>() + if len > 12 { len } else { 0 }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    #[cfg(feature = "sidecar")]
    use arrow::array::builder::{ListBuilder, StringBuilder};
    use arrow::array::{
        ArrayRef, BooleanArray, FixedSizeListArray, Int64Array, ListArray, NullArray, StringArray,
        StringViewArray, StructArray,
    };
    use arrow::datatypes::{Field, Int32Type};

    use super::*;

    fn texts() -> Vec<Option<String>> {
        (0..200).map(|row: usize| (!row.is_multiple_of(7)).then(|| "x".repeat(row * row % 1009))).collect()
    }

    /// A row counts for what it has beyond an empty row, wherever its batch was cut.
    #[test]
    fn rows_are_measured_one_by_one() {
        let texts = texts();
        let utf8: ArrayRef = Arc::new(StringArray::from(texts.clone()));
        let views: ArrayRef = Arc::new(StringViewArray::from_iter(texts.iter().map(Option::as_deref)));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
            texts
                .iter()
                .map(|text| text.as_ref().map(|text| (0..text.len() as i32).map(Some).collect::<Vec<_>>())),
        ));
        let field = Arc::new(Field::new("t", DataType::Utf8, true));
        let structs: ArrayRef = Arc::new(StructArray::from(vec![(field.clone(), utf8.clone())]));
        let pairs: ArrayRef = Arc::new(FixedSizeListArray::new(field, 2, utf8.clone(), None));
        let flags: ArrayRef = Arc::new(BooleanArray::from(vec![true; 200]));
        let cases: [(ArrayRef, usize, usize); 7] = [
            (utf8, 1, 4),
            (views, 1, 16),
            (lists, 4, 4),
            (structs, 1, 5),
            (pairs, 1, 9),
            (flags, 0, 1),
            (Arc::new(Int64Array::from(vec![1; 200])), 0, 8),
        ];
        for (array, each, fixed) in cases {
            let name = array.data_type().clone();
            let batch = RecordBatch::try_from_iter([("c", array)]).unwrap();
            for skipped in [0, 13] {
                let rows = batch.num_rows() - skipped;
                let lens = RowLens::of(&batch.slice(skipped, rows));
                for row in 0..rows {
                    let len = |row: usize| texts[row].as_ref().map_or(0, String::len);
                    let at = row + skipped;
                    let text = match &name {
                        DataType::FixedSizeList(..) => len(2 * at) + len(2 * at + 1),
                        DataType::Utf8View if len(at) <= 12 => 0,
                        _ => len(at),
                    };
                    assert_eq!(lens.of_row(row), 1 + each * text + fixed, "{name}, row {row}");
                }
                let all = lens.len(0..rows);
                assert_eq!(all, (0..rows).map(|row| lens.of_row(row)).sum::<usize>(), "{name}");
                for most in [0, 1, 100, 5_000, all - 1, all, usize::MAX] {
                    let count = lens.fitting(0..rows, most);
                    let bytes = lens.len(0..count);
                    assert!(
                        bytes <= most && (count == rows || lens.len(0..count + 1) > most),
                        "{name} {most}"
                    );
                }
            }
        }
        let nothing = RecordBatch::try_from_iter([("c", Arc::new(NullArray::new(9)) as ArrayRef)]).unwrap();
        assert!(RowLens::of(&nothing).len(0..9) >= 9);
    }

    #[cfg(feature = "sidecar")]
    /// Rows of these lengths as text, views and lists, each of which is measured in another way.
    fn arrays(lens: &[usize]) -> [(&'static str, ArrayRef); 3] {
        let texts: Vec<String> = lens.iter().map(|len| "x".repeat(*len)).collect();
        let mut lists = ListBuilder::new(StringBuilder::new());
        texts.iter().for_each(|text| lists.append_value([Some(text)]));
        [
            ("text", Arc::new(StringArray::from(texts.clone()))),
            ("view", Arc::new(StringViewArray::from_iter_values(&texts))),
            ("list", Arc::new(lists.finish())),
        ]
    }

    #[cfg(feature = "sidecar")]
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
                // Offsets and views count too. Apart from them, one more row would have been too much.
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
