//! Rows that were looked up, for C.
#![expect(unsafe_code, reason = "functions of C")]

use arrow::array::RecordBatchIterator;
use arrow::datatypes::SchemaRef;
use arrow::ffi_stream::FFI_ArrowArrayStream;
use pillion::{Row, ValueRef};

use crate::border::{Place, answered, handle, take_back};
use crate::error::PillionError;
use crate::value::PillionValue;

/// One row of a table at one version. Values are read in place when they are asked for, and stay readable after the table has
/// changed and after the cache was closed.
pub struct PillionRow(pub(crate) Row);

/// Rows for several keys, in the order of the keys, all of one version.
pub struct PillionRows {
    pub(crate) rows: Vec<Option<PillionRow>>,
    pub(crate) schema: SchemaRef,
}

/// Reads the value in a column, by position from 0. Texts and bytes belong to the row: they are valid until it is freed.
///
/// Fails with `ColumnNotFound`, and with `TypeMismatch` for nested values, which are read as Arrow (`pillion_rows_stream`).
///
/// # Safety
/// `row` is a row that was not freed, and `value` is memory for a value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_row_value(
    row: *const PillionRow,
    column: usize,
    value: *mut PillionValue,
) -> *mut PillionError {
    answered(|| {
        // SAFETY: the caller's promises.
        let (row, value) = unsafe { (handle(row, "row")?, Place::new(value, "value")?) };
        value.put(PillionValue::of(row.0.get::<ValueRef<'_>>(column)?)?);
        Ok(())
    })
}

/// Frees a row that `pillion_table_get` gave. Null is allowed. Rows of `pillion_rows` are freed with these.
///
/// # Safety
/// `row` is null or such a row that was not freed. Neither it nor texts and bytes of it are used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_row_free(row: *mut PillionRow) {
    // SAFETY: the caller's promise.
    unsafe { take_back(row) };
}

/// How many keys the rows are for; 0 for null.
///
/// # Safety
/// `rows` is null or rows that were not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_rows_len(rows: *const PillionRows) -> usize {
    // SAFETY: the caller's promise.
    unsafe { handle(rows, "rows") }.map_or(0, |rows| rows.rows.len())
}

/// The row for the key at a position from 0; null if there is none, and behind the last. It belongs to the rows: do not free it.
///
/// # Safety
/// `rows` is null or rows that were not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_rows_get(rows: *const PillionRows, position: usize) -> *const PillionRow {
    // SAFETY: the caller's promise.
    let row = unsafe { handle(rows, "rows") }.ok().and_then(|rows| rows.rows.get(position)?.as_ref());
    row.map_or(std::ptr::null(), std::ptr::from_ref)
}

/// Puts the rows that were found into an Arrow stream, in one batch. The stream is independent of the rows.
///
/// # Safety
/// `rows` are rows that were not freed, and `stream` is memory for a stream. What it has before is not released.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_rows_stream(
    rows: *const PillionRows,
    stream: *mut FFI_ArrowArrayStream,
) -> *mut PillionError {
    answered(|| {
        // SAFETY: the caller's promises.
        let (rows, stream) = unsafe { (handle(rows, "rows")?, Place::new(stream, "stream")?) };
        let found: Vec<&Row> = rows.rows.iter().flatten().map(|row| &row.0).collect();
        let batch = if found.is_empty() { None } else { Some(Ok(Row::gather(&found)?)) };
        let reader = RecordBatchIterator::new(batch, rows.schema.clone());
        stream.put(FFI_ArrowArrayStream::new(Box::new(reader)));
        Ok(())
    })
}

/// Frees rows, and with them each single one. Null is allowed.
///
/// # Safety
/// `rows` is null or rows that were not freed. Neither they nor anything of them is used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_rows_free(rows: *mut PillionRows) {
    // SAFETY: the caller's promise.
    unsafe { take_back(rows) };
}
