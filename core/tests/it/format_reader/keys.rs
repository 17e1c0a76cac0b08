//! The encoding of keys.
#![expect(clippy::big_endian_bytes, reason = "the order of the bytes of keys")]

use arrow::array::types::{
    Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt16Type,
};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit};

/// The encoded key of a row; knows the types that the tests have in keys.
pub(super) fn encode(batch: &RecordBatch, columns: &[usize], row: usize) -> Vec<u8> {
    let mut key = Vec::new();
    for &column in columns {
        cell(&mut key, batch.column(column).as_ref(), row);
    }
    key
}

fn cell(key: &mut Vec<u8>, column: &dyn Array, row: usize) {
    assert!(!column.is_null(row), "no key holds a null");
    const SIGN: i64 = i64::MIN;
    match column.data_type() {
        DataType::Boolean => key.push(column.as_boolean().value(row).into()),
        DataType::Int32 => {
            key.extend((column.as_primitive::<Int32Type>().value(row) ^ i32::MIN).to_be_bytes());
        }
        DataType::Date32 => {
            key.extend((column.as_primitive::<Date32Type>().value(row) ^ i32::MIN).to_be_bytes());
        }
        DataType::Int64 => key.extend((column.as_primitive::<Int64Type>().value(row) ^ SIGN).to_be_bytes()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let number = column.as_primitive::<TimestampMicrosecondType>().value(row);
            key.extend((number ^ SIGN).to_be_bytes());
        }
        DataType::UInt16 => key.extend(column.as_primitive::<UInt16Type>().value(row).to_be_bytes()),
        DataType::Float64 => {
            let bits = column.as_primitive::<Float64Type>().value(row).to_bits();
            key.extend(if bits >> 63 == 1 { !bits } else { bits ^ 1 << 63 }.to_be_bytes());
        }
        DataType::Decimal128(..) => {
            let number = column.as_primitive::<Decimal128Type>().value(row);
            key.extend((number ^ i128::MIN).to_be_bytes());
        }
        DataType::Utf8 => text(key, column.as_string::<i32>().value(row).as_bytes()),
        DataType::Utf8View => text(key, column.as_string_view().value(row).as_bytes()),
        DataType::Binary => text(key, column.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(_) => key.extend(column.as_fixed_size_binary().value(row)),
        other => panic!("no test has {other} in a key"),
    }
}

fn text(key: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        key.push(byte);
        if byte == 0 {
            key.push(0xFF);
        }
    }
    key.extend([0, 0]);
}
