//! Zone maps: smallest and largest value and number of nulls of every column in every batch.
//!
//! Comparison is Arrow's: floats by IEEE totalOrder, text and bytes bytewise. A bound is null where it is not
//! known: in a batch of nulls, for nested types, and for values longer than [`BOUND_LEN_MAX`].

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BinaryViewArray, BooleanArray, PrimitiveArray,
    RecordBatch, StringArray, StringViewArray, UInt64Array, downcast_primitive_array, new_null_array,
};
use arrow::compute::{self, concat};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

/// Longer text and bytes have no bounds: a zone map must stay small beside its data.
const BOUND_LEN_MAX: usize = 256;

/// Bounds and null counts of one column; one row for each batch.
#[derive(Clone, Debug)]
pub(crate) struct ColumnZones {
    /// Smallest values.
    pub(crate) min: ArrayRef,
    /// Largest values.
    pub(crate) max: ArrayRef,
    /// Nulls.
    pub(crate) nulls: UInt64Array,
}

/// Zone maps of a segment.
#[derive(Clone, Debug)]
pub(crate) struct ZoneMaps {
    /// In the order of the schema.
    pub(crate) columns: Vec<ColumnZones>,
}

impl ZoneMaps {
    /// Zone maps of a segment without batches.
    pub(crate) fn empty(schema: &Schema) -> Self {
        let columns = schema.fields().iter().map(|field| {
            let none = new_null_array(field.data_type(), 0);
            ColumnZones { min: none.clone(), max: none, nulls: UInt64Array::from(Vec::<u64>::new()) }
        });
        Self { columns: columns.collect() }
    }

    /// Adds a batch.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        for (zones, array) in self.columns.iter_mut().zip(batch.columns()) {
            let (min, max) = bounds(array)?;
            zones.min = concat(&[&zones.min, &min])?;
            zones.max = concat(&[&zones.max, &max])?;
            let mut nulls: Vec<u64> = zones.nulls.values().to_vec();
            nulls.push(array.logical_null_count() as u64);
            zones.nulls = nulls.into();
        }
        Ok(())
    }

    /// One row for each batch and three columns for each column, as an Arrow IPC stream.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, ArrowError> {
        let mut fields = Vec::new();
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for (number, zones) in self.columns.iter().enumerate() {
            let parts: [(&str, ArrayRef); 3] = [
                ("min", zones.min.clone()),
                ("max", zones.max.clone()),
                ("nulls", Arc::new(zones.nulls.clone())),
            ];
            for (part, array) in parts {
                fields.push(Field::new(format!("{number}.{part}"), array.data_type().clone(), true));
                arrays.push(array);
            }
        }
        let schema = Arc::new(Schema::new(fields));
        let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
        if let Some(nulls) = self.columns.first().map(|zones| &zones.nulls)
            && !nulls.is_empty()
        {
            writer.write(&RecordBatch::try_new(schema, arrays)?)?;
        }
        writer.into_inner()
    }

    /// Reads what [`encode`](Self::encode) wrote, from verified bytes.
    pub(crate) fn decode(schema: &Schema, bytes: &[u8]) -> Result<Self, ArrowError> {
        let wrong = || ArrowError::IpcError("zone maps do not fit their schema".to_owned());
        let Some(batch) = StreamReader::try_new(Cursor::new(bytes), None)?.next() else {
            return Ok(Self::empty(schema));
        };
        let batch = batch?;
        if batch.num_columns() != 3 * schema.fields().len() {
            return Err(wrong());
        }
        let columns = batch.columns().chunks_exact(3).map(|parts| {
            let nulls = parts[2].as_primitive_opt().ok_or_else(wrong)?.clone();
            Ok(ColumnZones { min: parts[0].clone(), max: parts[1].clone(), nulls })
        });
        Ok(Self { columns: columns.collect::<Result<_, ArrowError>>()? })
    }
}

/// Smallest and largest value as arrays of one element.
fn bounds(array: &ArrayRef) -> Result<(ArrayRef, ArrayRef), ArrowError> {
    fn primitive<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>) -> (ArrayRef, ArrayRef)
    where
        T::Native: arrow::datatypes::ArrowNativeType,
    {
        let one = |value: Option<T::Native>| {
            let bound: PrimitiveArray<T> = [value].into_iter().collect();
            Arc::new(bound.with_data_type(array.data_type().clone())) as ArrayRef
        };
        (one(compute::min(array)), one(compute::max(array)))
    }
    fn short<T: AsRef<[u8]>>(value: Option<T>) -> Option<T> {
        value.filter(|value| value.as_ref().len() <= BOUND_LEN_MAX)
    }
    macro_rules! bytes {
        ($array:expr, $min:path, $max:path, $type:ty) => {{
            let array = $array;
            (
                Arc::new(<$type>::from_iter([short($min(array))])) as ArrayRef,
                Arc::new(<$type>::from_iter([short($max(array))])) as ArrayRef,
            )
        }};
    }
    let unknown = || (new_null_array(array.data_type(), 1), new_null_array(array.data_type(), 1));
    let array = array.as_ref();
    Ok(downcast_primitive_array! {
        array => primitive(array),
        DataType::Boolean => {
            let array = array.as_boolean();
            (
                Arc::new(BooleanArray::from(vec![compute::min_boolean(array)])) as ArrayRef,
                Arc::new(BooleanArray::from(vec![compute::max_boolean(array)])) as ArrayRef,
            )
        }
        DataType::Utf8 => bytes!(array.as_string::<i32>(), compute::min_string, compute::max_string, StringArray),
        DataType::LargeUtf8 => {
            bytes!(array.as_string::<i64>(), compute::min_string, compute::max_string, arrow::array::LargeStringArray)
        }
        DataType::Utf8View => {
            bytes!(array.as_string_view(), compute::min_string_view, compute::max_string_view, StringViewArray)
        }
        DataType::Binary => bytes!(array.as_binary::<i32>(), compute::min_binary, compute::max_binary, BinaryArray),
        DataType::LargeBinary => {
            bytes!(array.as_binary::<i64>(), compute::min_binary, compute::max_binary, arrow::array::LargeBinaryArray)
        }
        DataType::BinaryView => {
            bytes!(array.as_binary_view(), compute::min_binary_view, compute::max_binary_view, BinaryViewArray)
        }
        _ => unknown(),
    })
}
