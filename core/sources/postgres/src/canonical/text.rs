//! The canonical text of rows that are held.

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, DecimalType, Float32Type,
    Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, SchemaRef, Time64MicrosecondType,
    TimestampMicrosecondType, UInt32Type,
};
use pillion::{Error, ErrorCode, Result};
use sha2::{Digest, Sha256};

use crate::decode::cells::{EPOCH_DAYS, EPOCH_MICROSECONDS};

/// Writes the text of one value, which is not null.
type Writer<'a> = Box<dyn Fn(usize, &mut String) + 'a>;

/// The digest of each row of a batch, in the columns and types of a schema.
///
/// # Errors
/// [`Unsupported`](ErrorCode::Unsupported) for a column that is of another type.
pub(crate) fn digests(rows: &RecordBatch, schema: &SchemaRef) -> Result<Vec<i64>> {
    let columns = schema.fields().iter().map(|field| {
        let refused = |why: String| {
            let message = format!("column `{}` cannot be compared with the source: {why}", field.name());
            Error::new(ErrorCode::Unsupported, message)
        };
        let column = rows.column_by_name(field.name());
        let column = column.ok_or_else(|| refused("it is not held".to_owned()))?;
        if column.data_type() != field.data_type() {
            return Err(refused(format!(
                "it is held as {} and is {} there",
                column.data_type(),
                field.data_type()
            )));
        }
        let writer = writer(column);
        Ok((column, writer.ok_or_else(|| refused(format!("no text is defined for {}", field.data_type())))?))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let mut text = String::new();
    let digest = |row: usize| {
        text.clear();
        for (column, writer) in &columns {
            value(column, writer, row, &mut text);
            text.push('|');
        }
        let hash = Sha256::digest(text.as_bytes());
        let first: [u8; 8] = std::array::from_fn(|at| hash.get(at).copied().unwrap_or_default());
        i64::from_be_bytes(first)
    };
    Ok((0..rows.num_rows()).map(digest).collect())
}

fn value(column: &ArrayRef, writer: &Writer<'_>, row: usize, out: &mut String) {
    if column.is_null(row) {
        out.push('-');
    } else {
        writer(row, out);
    }
}

/// `None` for types that no column of a PostgreSQL server has here.
fn writer(column: &ArrayRef) -> Option<Writer<'_>> {
    Some(match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean();
            Box::new(move |row, out| out.push_str(if values.value(row) { "true" } else { "false" }))
        }
        DataType::Int16 => shown::<Int16Type>(column),
        DataType::Int32 => shown::<Int32Type>(column),
        DataType::Int64 => shown::<Int64Type>(column),
        DataType::UInt32 => shown::<UInt32Type>(column),
        DataType::Float32 => {
            sent::<Float32Type>(column, |value, out| hexadecimal(&value.to_bits().to_be_bytes(), out))
        }
        DataType::Float64 => {
            sent::<Float64Type>(column, |value, out| hexadecimal(&value.to_bits().to_be_bytes(), out))
        }
        DataType::Decimal128(precision, scale) => decimal::<Decimal128Type>(column, *precision, *scale),
        DataType::Decimal256(precision, scale) => decimal::<Decimal256Type>(column, *precision, *scale),
        // Dates and times that the server cannot have are of no value of the server, so they may wrap.
        DataType::Date32 => sent::<Date32Type>(column, |days, out| {
            hexadecimal(&days.wrapping_sub(EPOCH_DAYS).to_be_bytes(), out);
        }),
        DataType::Time64(_) => sent::<Time64MicrosecondType>(column, |time, out| {
            hexadecimal(&time.to_be_bytes(), out);
        }),
        DataType::Timestamp(_, _) => sent::<TimestampMicrosecondType>(column, |time, out| {
            hexadecimal(&time.wrapping_sub(EPOCH_MICROSECONDS).to_be_bytes(), out);
        }),
        DataType::Interval(_) => sent::<IntervalMonthDayNanoType>(column, |interval, out| {
            hexadecimal(&(interval.nanoseconds / 1000).to_be_bytes(), out);
            hexadecimal(&interval.days.to_be_bytes(), out);
            hexadecimal(&interval.months.to_be_bytes(), out);
            if interval.nanoseconds % 1000 != 0 {
                // The server has no such interval.
                let _ = write!(out, "+{}", interval.nanoseconds % 1000); // a String takes everything
            }
        }),
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            Box::new(move |row, out| {
                let text = values.value(row);
                let _ = write!(out, "{}:{text}", text.chars().count()); // a String takes everything
            })
        }
        DataType::Binary => {
            let values = column.as_binary::<i32>();
            Box::new(move |row, out| hexadecimal(values.value(row), out))
        }
        DataType::List(_) => {
            let lists = column.as_list::<i32>();
            let elements = lists.values();
            let writer = writer(elements)?;
            Box::new(move |row, out| {
                let offsets = lists.value_offsets();
                let end = |at: usize| offsets.get(at).and_then(|end| usize::try_from(*end).ok()).unwrap_or(0);
                let (start, end) = (end(row), end(row + 1));
                out.push('[');
                if start < end {
                    let _ = write!(out, "[1:{}]", end - start); // a String takes everything
                }
                for element in start..end {
                    value(elements, &writer, element, out);
                    out.push(',');
                }
                out.push(']');
            })
        }
        _ => return None,
    })
}

fn shown<T: ArrowPrimitiveType>(column: &ArrayRef) -> Writer<'_>
where
    T::Native: std::fmt::Display,
{
    let values = column.as_primitive::<T>();
    Box::new(move |row, out| {
        let _ = write!(out, "{}", values.value(row)); // a String takes everything
    })
}

fn sent<T: ArrowPrimitiveType>(
    column: &ArrayRef,
    write: impl Fn(T::Native, &mut String) + 'static,
) -> Writer<'_> {
    let values = column.as_primitive::<T>();
    Box::new(move |row, out| write(values.value(row), out))
}

fn decimal<T: DecimalType>(column: &ArrayRef, precision: u8, scale: i8) -> Writer<'_> {
    let values = column.as_primitive::<T>();
    Box::new(move |row, out| out.push_str(&T::format_decimal(values.value(row), precision, scale)))
}

fn hexadecimal(bytes: &[u8], out: &mut String) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}
