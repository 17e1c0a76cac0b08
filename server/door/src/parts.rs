//! Parts of answers: how many rows go together.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use pillion::texts::decoded_len;
use pillion::{Error, ErrorCode, Result};

/// The most bytes of the values of one row, which has to be in memory as a whole.
const ROW_LEN_MAX: u64 = 64 << 20;

/// How many of the next rows of a batch go into one part of an answer whose values have about `part_len` bytes, at most `most`, and
/// how many bytes their values have.
///
/// # Errors
/// [`ErrorCode::TooLarge`] for a row that alone takes too much memory.
pub fn rows_at_once(batch: &RecordBatch, from: usize, most: usize, part_len: u64) -> Result<(usize, u64)> {
    let mut rows = (batch.num_rows() - from).min(most);
    loop {
        let lens = batch.columns().iter().map(|column| decoded_len(&column.slice(from, rows)));
        let len = lens.fold(0, u64::saturating_add);
        if len <= part_len || rows <= 1 && len <= ROW_LEN_MAX {
            return Ok((rows, len));
        }
        if rows <= 1 {
            let message = format!(
                "a row of the answer has values of {len} bytes, and {ROW_LEN_MAX} are the most: ask for fewer columns, or for parts of texts with substr"
            );
            return Err(Error::new(ErrorCode::TooLarge, message));
        }
        // Near to what fits if all rows are alike; at most half of it, so that this ends soon.
        let share = usize::try_from(u128::from(part_len) * rows as u128 / u128::from(len)).unwrap_or(1);
        rows = share.clamp(1, rows / 2);
    }
}

/// The same rows, without what views of texts and bytes have beside them: a writer of Arrow would write all of that with every part.
///
/// # Errors
/// None for rows that are a batch.
pub fn compact(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let compacted = |column: &ArrayRef| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => column.clone(),
        }
    };
    let columns = batch.columns().iter().map(compacted).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options)
}

#[cfg(test)]
mod tests {
    use arrow::array::{DictionaryArray, Int64Array, StringArray, UInt8Array};

    use super::*;

    const PART_LEN: u64 = 256 << 10;
    const PART_ROWS: usize = 64 << 10;

    fn one(column: impl Array + 'static) -> RecordBatch {
        RecordBatch::try_from_iter([("a", Arc::new(column) as ArrayRef)]).unwrap()
    }

    #[test]
    fn parts_are_cut_by_their_bytes() {
        let rows_at_once = |batch: &RecordBatch, from| rows_at_once(batch, from, PART_ROWS, PART_LEN);
        let narrow = one(Int64Array::from_iter_values(0..1_000_000));
        let (rows, len) = rows_at_once(&narrow, 0).unwrap();
        assert!(rows == 32 << 10 && len == PART_LEN, "{rows} {len}");
        assert_eq!(rows_at_once(&narrow, 999_999).unwrap().0, 1);
        // One wide row among narrow ones goes alone.
        let (wide, short) = ("x".repeat(10 << 20), "x".to_owned());
        let texts: Vec<&str> = (0..1000).map(|row| if row == 7 { &*wide } else { &*short }).collect();
        let mixed = one(StringArray::from(texts));
        let (mut from, mut parts) = (0, Vec::new());
        while from < 1000 {
            let (rows, len) = rows_at_once(&mixed, from).unwrap();
            assert!(len <= PART_LEN || rows == 1, "{rows} rows of {len} bytes from {from}");
            from += rows;
            parts.push(rows);
        }
        assert!(parts.len() < 20, "{parts:?}");
        let endless =
            DictionaryArray::new(UInt8Array::from(vec![0; 10_000]), Arc::new(StringArray::from(vec![wide])));
        assert_eq!(rows_at_once(&one(endless), 5).unwrap().0, 1, "each row of a dictionary counts");
        let too_wide = one(StringArray::from(vec!["x".repeat(65 << 20)]));
        assert_eq!(rows_at_once(&too_wide, 0).unwrap_err().code(), ErrorCode::TooLarge);
    }
}
