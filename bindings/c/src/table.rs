//! Tables for C: lookups, scans and writes.
#![expect(unsafe_code, reason = "functions of C")]

use std::ffi::c_char;

use arrow::ffi::FFI_ArrowSchema;
use arrow::ffi_stream::FFI_ArrowArrayStream;
use pillion::{ColumnIndex, Error, ErrorCode, Input, Result, Table, ValueRef, Version};
use pillion_rows::{AnswerReader, Fitted};

use crate::border::{Place, answered, handle, schema, stream, take_back, text, texts, values};
use crate::error::PillionError;
use crate::rows::{PillionRow, PillionRows};
use crate::value::PillionValue;

/// A table, at whatever version is newest when a call is made. Any number of threads can use it at a time.
pub struct PillionTable(Table);

impl PillionTable {
    pub(crate) fn new(table: Table) -> Self {
        Self(table)
    }
}

/// Finds the position of a column, from 0.
///
/// # Safety
/// `table` is a table that was not freed, `name` a text that ends at a zero, and `column` memory for the position.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_table_column(
    table: *const PillionTable,
    name: *const c_char,
    column: *mut usize,
) -> *mut PillionError {
    answered(|| {
        // SAFETY: the caller's promises.
        let (table, name) = unsafe { (handle(table, "table")?, text(name, "name")?) };
        // SAFETY: the caller's promises.
        let place = unsafe { Place::new(column, "column") }?;
        place.put(name.index_in(table.0.schema())?);
        Ok(())
    })
}

/// Puts the columns of a table into an Arrow schema, which the caller releases.
///
/// # Safety
/// `table` is a table that was not freed, and `columns` memory for a schema. What it has before is not released.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_table_schema(
    table: *const PillionTable,
    columns: *mut FFI_ArrowSchema,
) -> *mut PillionError {
    answered(|| {
        // SAFETY: the caller's promises.
        let (table, columns) = unsafe { (handle(table, "table")?, Place::new(columns, "columns")?) };
        columns.put(schema(table.0.schema())?);
        Ok(())
    })
}

/// Finds the row with a primary key, which is one value for each of its columns, in their order. `row` becomes null if there is none.
/// Free the row with `pillion_row_free`.
///
/// A function call if the cache is embedded or attached: no message, no copy. A remote one waits for the sidecar.
///
/// # Safety
/// `table` is a table that was not freed, `key` points to `key_len` values, and `row` is memory for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_table_get(
    table: *const PillionTable,
    key: *const PillionValue,
    key_len: usize,
    row: *mut *mut PillionRow,
) -> *mut PillionError {
    answered(|| {
        // SAFETY: the caller's promises.
        let place = unsafe { Place::new(row, "row") }?;
        place.give_none();
        // SAFETY: the caller's promises.
        let (table, key) = unsafe { (handle(table, "table")?, read_key(values(key, key_len, "key")?)?) };
        if let Some(found) = table.0.get(key.as_slice())? {
            place.give(PillionRow(found));
        }
        Ok(())
    })
}

/// Finds the rows with several primary keys, all of one version. The keys stand one after another, each of `key_len` values. Free the
/// rows with `pillion_rows_free`.
///
/// # Safety
/// `table` is a table that was not freed, `keys` points to `key_len * count` values, and `rows` is memory for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_table_get_many(
    table: *const PillionTable,
    keys: *const PillionValue,
    key_len: usize,
    count: usize,
    rows: *mut *mut PillionRows,
) -> *mut PillionError {
    answered(|| {
        // SAFETY: the caller's promises.
        let place = unsafe { Place::new(rows, "rows") }?;
        place.give_none();
        // SAFETY: the caller's promises.
        let (table, keys) = unsafe { (handle(table, "table")?, read_keys(keys, key_len, count)?) };
        let found = table.0.get_many(&keys)?;
        let rows = found.into_iter().map(|row| row.map(PillionRow)).collect();
        place.give(PillionRows { rows, schema: table.0.schema().clone() });
        Ok(())
    })
}

/// Puts all rows of one version into an Arrow stream: those with all columns if `columns` is null, and otherwise those with
/// `column_len` of them. The batches are views of the mapped files if the cache is embedded or attached. The stream is independent of
/// the table.
///
/// # Safety
/// `table` is a table that was not freed, `columns` is null or points to `column_len` texts that end at a zero, and `rows` is memory for a
/// stream. What it has before is not released.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_table_scan(
    table: *const PillionTable,
    columns: *const *const c_char,
    column_len: usize,
    rows: *mut FFI_ArrowArrayStream,
) -> *mut PillionError {
    answered(|| {
        // SAFETY: the caller's promises.
        let (table, place) = unsafe { (handle(table, "table")?, Place::new(rows, "rows")?) };
        let answer = if columns.is_null() {
            table.0.scan()?
        } else {
            // SAFETY: the caller's promises.
            table.0.scan_columns(unsafe { texts(columns, column_len, "columns") }?)?
        };
        place.put(FFI_ArrowArrayStream::new(Box::new(AnswerReader::new(answer.into_stream()))));
        Ok(())
    })
}

/// Adds rows in one commit. Takes the stream, also if it fails; nothing is changed then.
///
/// # Safety
/// `table` is a table that was not freed, and `rows` a valid stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_table_append(
    table: *const PillionTable,
    rows: *mut FFI_ArrowArrayStream,
) -> *mut PillionError {
    // SAFETY: the caller's promises.
    unsafe { write(table, rows, |table, input| table.append(input)) }
}

/// Adds rows, replacing those with the same primary keys, in one commit. Takes the stream, also if it fails; nothing is changed then.
///
/// # Safety
/// As `pillion_table_append`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_table_upsert(
    table: *const PillionTable,
    rows: *mut FFI_ArrowArrayStream,
) -> *mut PillionError {
    // SAFETY: the caller's promises.
    unsafe { write(table, rows, |table, input| table.upsert(input)) }
}

/// Replaces all rows in one commit. Takes the stream, also if it fails; nothing is changed then.
///
/// # Safety
/// As `pillion_table_append`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_table_replace(
    table: *const PillionTable,
    rows: *mut FFI_ArrowArrayStream,
) -> *mut PillionError {
    // SAFETY: the caller's promises.
    unsafe { write(table, rows, |table, input| table.replace(input)) }
}

/// Removes the row with a primary key in one commit. A missing row is not an error.
///
/// # Safety
/// `table` is a table that was not freed, and `key` points to `key_len` values.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_table_delete(
    table: *const PillionTable,
    key: *const PillionValue,
    key_len: usize,
) -> *mut PillionError {
    answered(|| {
        // SAFETY: the caller's promises.
        let (table, key) = unsafe { (handle(table, "table")?, read_key(values(key, key_len, "key")?)?) };
        table.0.delete(key.as_slice()).map(drop)
    })
}

/// Frees a table. Null is allowed. Rows and streams of it stay usable.
///
/// # Safety
/// `table` is null or a table that was not freed, and is not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_table_free(table: *mut PillionTable) {
    // SAFETY: the caller's promise.
    unsafe { take_back(table) };
}

/// # Safety
/// As `pillion_table_append`.
unsafe fn write(
    table: *const PillionTable,
    rows: *mut FFI_ArrowArrayStream,
    write: impl FnOnce(&Table, Input) -> Result<Version>,
) -> *mut PillionError {
    answered(|| {
        // SAFETY: the caller's promises. The stream is the first, because it is taken in any case.
        let (rows, table) = unsafe { (stream(rows)?, handle(table, "table")?) };
        let rows = Fitted::new(rows, Some(table.0.schema()));
        write(&table.0, Input::reader(rows)).map(drop)
    })
}

/// # Safety
/// As `PillionValue::read`, for each value.
unsafe fn read_key<'a>(key: &[PillionValue]) -> Result<Vec<ValueRef<'a>>> {
    // SAFETY: the caller's promise.
    key.iter().map(|part| unsafe { part.read() }).collect()
}

/// # Safety
/// The pointer is to `key_len * count` values, of which each is as `PillionValue::read` wants it.
unsafe fn read_keys<'a>(
    keys: *const PillionValue,
    key_len: usize,
    count: usize,
) -> Result<Vec<Vec<ValueRef<'a>>>> {
    let invalid = |message: &str| Error::new(ErrorCode::InvalidArgument, message);
    if key_len == 0 && count > 0 {
        return Err(invalid("a key has at least one value"));
    }
    let len = key_len.checked_mul(count).ok_or_else(|| invalid("there are more keys than memory holds"))?;
    // SAFETY: the caller's promise.
    let parts = unsafe { values(keys, len, "keys") }?;
    // SAFETY: the caller's promise.
    parts.chunks(key_len.max(1)).map(|key| unsafe { read_key(key) }).collect()
}
