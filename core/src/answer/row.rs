//! One row of an answer, read in place.

#[cfg(feature = "sidecar")]
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::array::{Array, AsArray, RecordBatch, UInt64Array};
#[cfg(feature = "sidecar")]
use arrow::compute::interleave;
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};

#[cfg(feature = "sidecar")]
use super::cells::{SentRow, push_cell};
use crate::storage::SegmentHandle;
#[cfg(feature = "sidecar")]
use crate::storage::{fixed_len, value_len};
use crate::types::cell::{bytes_at, mismatch, text_at, value_at};
use crate::types::column::ColumnIndex;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::value::{Value, ValueRef};
use crate::types::version::{Freshness, Tier, Version};

/// One row of a table at one version.
///
/// A row is a view: it reads its values from the mapped file when they are asked for, and keeps that file's bytes
/// alive, even after the table was replaced. Cloning is cheap. Hold a row as long as you like, but prefer
/// [`to_batch`](Self::to_batch) or owned values for what you keep for hours, so that the disk space of old segments can
/// be reused.
#[derive(Clone)]
pub struct Row {
    place: RowPlace,
    version: Version,
    freshness: Option<Freshness>,
}

#[derive(Clone)]
enum RowPlace {
    /// In a mapped file.
    Segment { segment: Arc<SegmentHandle>, batch: u32, index: u32 },
    /// In the log, or in an answer that was sent here.
    Batch { rows: Arc<RecordBatch>, index: usize },
    /// Fetched from the source of the table for this read.
    Fetched { rows: Arc<RecordBatch>, index: usize },
    /// Sent here as cells.
    #[cfg(feature = "sidecar")]
    Sent { row: Arc<SentRow>, tier: Tier },
}

impl Row {
    pub(crate) fn new(
        segment: Arc<SegmentHandle>,
        row: u32,
        version: Version,
        freshness: Option<Freshness>,
    ) -> Result<Self> {
        let open = segment.open()?;
        let (batch, index) = open.locate(row as usize);
        open.prefetch_texts(batch, index);
        // Rows of a segment fit 32 bits, so its batches and their rows do.
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the rows of a segment")]
        let (batch, index) = (batch as u32, index as u32);
        Ok(Self { place: RowPlace::Segment { segment, batch, index }, version, freshness })
    }

    pub(crate) fn of_batch(
        rows: Arc<RecordBatch>,
        index: usize,
        version: Version,
        freshness: Option<Freshness>,
    ) -> Self {
        Self { place: RowPlace::Batch { rows, index }, version, freshness }
    }

    /// A row that the source of the table sent for this read.
    pub(crate) fn fetched(
        rows: Arc<RecordBatch>,
        index: usize,
        version: Version,
        freshness: Option<Freshness>,
    ) -> Self {
        Self { place: RowPlace::Fetched { rows, index }, version, freshness }
    }

    #[cfg(feature = "sidecar")]
    pub(crate) fn of_cells(row: SentRow, version: Version, freshness: Option<Freshness>, tier: Tier) -> Self {
        Self { place: RowPlace::Sent { row: Arc::new(row), tier }, version, freshness }
    }

    /// The columns of the row's table.
    pub fn schema(&self) -> &SchemaRef {
        match &self.place {
            RowPlace::Segment { segment, .. } => segment.schema(),
            RowPlace::Batch { rows, .. } | RowPlace::Fetched { rows, .. } => rows.schema_ref(),
            #[cfg(feature = "sidecar")]
            RowPlace::Sent { row, .. } => row.schema(),
        }
    }

    /// The value in a column, by name or position, as a Rust type: any integer type that the column's type fits into,
    /// `f32`, `f64`, `bool`, `&str`, `&[u8]`, `String`, [`ValueRef`], or an [`Option`] of one of these for columns that
    /// can be null.
    ///
    /// # Errors
    /// [`ErrorCode::ColumnNotFound`]; [`ErrorCode::TypeMismatch`] also for a null read without `Option`;
    /// [`ErrorCode::Corrupt`] or [`ErrorCode::Io`] if the value's page is damaged or cannot be read.
    #[inline]
    pub fn get<'a, T: FromCell<'a>>(&'a self, column: impl ColumnIndex) -> Result<T> {
        let column = column.index_in(self.schema())?;
        #[cfg(feature = "sidecar")]
        if let RowPlace::Sent { row, .. } = &self.place
            && let Some((data_type, bytes)) = row.value(column)
            && let Some(value) = T::from_bytes(data_type, bytes)
        {
            return Ok(value);
        }
        let (array, index) = self.cell(column)?;
        T::from_cell(array, index).map_err(|error| self.in_column(column, error))
    }

    /// The value in a column, by name or position.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn value(&self, column: impl ColumnIndex) -> Result<Value> {
        self.get::<ValueRef<'_>>(column).map(ValueRef::into_owned)
    }

    /// The row as a batch of one row that owns its memory.
    ///
    /// # Errors
    /// [`ErrorCode::Corrupt`] or [`ErrorCode::Io`] if a page of the row is damaged or cannot be read.
    pub fn to_batch(&self) -> Result<RecordBatch> {
        let columns = (0..self.schema().fields().len()).map(|column| {
            let (array, index) = self.cell(column)?;
            // There is nothing to copy, and Arrow's `take` divides by the width.
            if matches!(array.data_type(), DataType::FixedSizeBinary(0)) {
                return Ok(array.slice(index, 1));
            }
            let index = UInt64Array::from(vec![index as u64]);
            take(array, &index, None).map_err(|error| Error::internal("cannot copy a row").with_source(error))
        });
        RecordBatch::try_new(self.schema().clone(), columns.collect::<Result<_>>()?)
            .map_err(|error| Error::internal("cannot copy a row").with_source(error))
    }

    /// Some rows of one table as a batch, in their order. A single one is not copied.
    ///
    /// # Errors
    /// [`ErrorCode::Corrupt`] or [`ErrorCode::Io`] if a page of a row is damaged or cannot be read; [`ErrorCode::Internal`] for no
    /// rows, and for rows of several tables.
    #[cfg(feature = "sidecar")]
    pub fn gather(rows: &[&Self]) -> Result<RecordBatch> {
        let first = rows.first().ok_or_else(|| Error::internal("no rows to gather"))?;
        let failed = |error| Error::internal("cannot gather rows").with_source(error);
        let columns = (0..first.schema().fields().len()).map(|column| {
            if let [row] = rows {
                let (array, index) = row.cell(column)?;
                return Ok(array.slice(index, 1));
            }
            let mut arrays: Vec<&dyn Array> = Vec::new();
            let mut positions = HashMap::new();
            let indices = rows.iter().map(|row| {
                let (array, index) = row.cell(column)?;
                let position =
                    *positions.entry(std::ptr::from_ref(array).cast::<()>()).or_insert_with(|| {
                        arrays.push(array);
                        arrays.len() - 1
                    });
                Ok((position, index))
            });
            let indices: Vec<(usize, usize)> = indices.collect::<Result<_>>()?;
            interleave(&arrays, &indices).map_err(failed)
        });
        RecordBatch::try_new(first.schema().clone(), columns.collect::<Result<_>>()?).map_err(failed)
    }

    /// How many of the first rows have at most `len_max` bytes together: at least one, if there is one.
    ///
    /// # Errors
    /// [`ErrorCode::Corrupt`] or [`ErrorCode::Io`] if a page of a row is damaged or cannot be read.
    #[cfg(feature = "sidecar")]
    pub(crate) fn count_within(rows: &[&Self], len_max: usize) -> Result<usize> {
        let Some(first) = rows.first() else { return Ok(0) };
        let types = || first.schema().fields().iter().map(|field| field.data_type()).enumerate();
        let fixed: usize = types().filter_map(|(_, data_type)| fixed_len(data_type)).sum();
        let varying: Vec<usize> = types()
            .filter(|(_, data_type)| fixed_len(data_type).is_none())
            .map(|(column, _)| column)
            .collect();
        let mut len = 0_usize;
        for (count, row) in rows.iter().enumerate() {
            len = len.saturating_add(fixed);
            for column in &varying {
                let (array, index) = row.cell(*column)?;
                len = len.saturating_add(value_len(array, index));
            }
            if len > len_max {
                return Ok(count.max(1));
            }
        }
        Ok(rows.len())
    }

    /// Appends the row's cells.
    ///
    /// # Errors
    /// [`ErrorCode::Unsupported`] if values of a column's type have no cells; those of [`to_batch`](Self::to_batch).
    #[cfg(feature = "sidecar")]
    pub(crate) fn push_cells(&self, out: &mut Vec<u8>) -> Result<()> {
        (0..self.schema().fields().len()).try_for_each(|column| {
            let (array, index) = self.cell(column)?;
            push_cell(out, array, index)
        })
    }

    /// The version of the cache that the row was read at.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Who gave it: the cache, or the source of the table. A row is the whole answer to its key either way.
    pub fn tier(&self) -> Tier {
        match self.place {
            RowPlace::Fetched { .. } => Tier::Delegated,
            #[cfg(feature = "sidecar")]
            RowPlace::Sent { tier, .. } => tier,
            _ => Tier::Local,
        }
    }

    /// How fresh the row's table was; `None` if nothing was ever loaded into it. Of a row that the source gave, when it was fetched.
    pub fn freshness(&self) -> Option<Freshness> {
        self.freshness
    }

    #[inline]
    fn cell(&self, column: usize) -> Result<(&dyn Array, usize)> {
        match &self.place {
            RowPlace::Segment { segment, batch, index } => {
                let index = *index as usize;
                Ok((segment.open()?.cell(*batch as usize, column, index)?, index))
            }
            RowPlace::Batch { rows, index } | RowPlace::Fetched { rows, index } => {
                Ok((rows.column(column).as_ref(), *index))
            }
            #[cfg(feature = "sidecar")]
            RowPlace::Sent { row, .. } => Ok((row.array(column)?.as_ref(), 0)),
        }
    }

    #[cold]
    fn in_column(&self, column: usize, error: Error) -> Error {
        error.context(format_args!("column `{}`", self.schema().field(column).name()))
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (column, field) in self.schema().fields().iter().enumerate() {
            match self.value(column) {
                Ok(value) => map.entry(field.name(), &format_args!("{value}")),
                Err(error) => map.entry(field.name(), &format_args!("<{error}>")),
            };
        }
        map.finish()
    }
}

/// A Rust type that a cell can be read as. Only this crate implements it, because an implementation may read only the
/// one value of the array that it gets.
pub trait FromCell<'a>: Sized + sealed::Sealed<'a> {
    /// Reads the value of `array` at `index`.
    ///
    /// # Errors
    /// [`ErrorCode::TypeMismatch`] if the value is null or of another type.
    fn from_cell(array: &'a dyn Array, index: usize) -> Result<Self>;
}

mod sealed {
    use arrow::datatypes::DataType;

    pub trait Sealed<'a>: Sized {
        /// Reads a value that is not null from its bytes. `None` if only `from_cell` can read it, or say why it cannot
        /// be read.
        #[inline]
        fn from_bytes(_data_type: &DataType, _bytes: &'a [u8]) -> Option<Self> {
            None
        }
    }

    impl<'a, T: Sealed<'a>> Sealed<'a> for Option<T> {
        #[inline]
        fn from_bytes(data_type: &DataType, bytes: &'a [u8]) -> Option<Self> {
            T::from_bytes(data_type, bytes).map(Some)
        }
    }
}

impl sealed::Sealed<'_> for String {}

impl<'a, T: FromCell<'a>> FromCell<'a> for Option<T> {
    #[inline]
    fn from_cell(array: &'a dyn Array, index: usize) -> Result<Self> {
        if array.is_null(index) || array.data_type() == &DataType::Null {
            Ok(None)
        } else {
            T::from_cell(array, index).map(Some)
        }
    }
}

impl<'a> sealed::Sealed<'a> for ValueRef<'a> {
    fn from_bytes(data_type: &DataType, bytes: &'a [u8]) -> Option<Self> {
        use DataType as T;
        match data_type {
            T::Boolean => bool::from_bytes(data_type, bytes).map(ValueRef::Bool),
            T::Float16 | T::Float32 | T::Float64 => f64::from_bytes(data_type, bytes).map(ValueRef::Float),
            T::Utf8 | T::LargeUtf8 | T::Utf8View => <&str>::from_bytes(data_type, bytes).map(ValueRef::Str),
            other if other.is_signed_integer() => i64::from_bytes(data_type, bytes).map(ValueRef::Int),
            other if other.is_unsigned_integer() => u64::from_bytes(data_type, bytes).map(ValueRef::UInt),
            _ => None,
        }
    }
}

impl<'a> FromCell<'a> for ValueRef<'a> {
    fn from_cell(array: &'a dyn Array, index: usize) -> Result<Self> {
        value_at(array, index)
    }
}

impl FromCell<'_> for String {
    fn from_cell(array: &dyn Array, index: usize) -> Result<Self> {
        <&str>::from_cell(array, index).map(str::to_owned)
    }
}

/// Every integer type reads from the column types whose values all fit into it.
macro_rules! from_integer_cell {
    ($($rust:ty => $($arrow:ident $variant:ident),+;)+) => {
        $(
            impl sealed::Sealed<'_> for $rust {
                #[inline]
                fn from_bytes(data_type: &DataType, bytes: &[u8]) -> Option<Self> {
                    match data_type {
                        $(DataType::$variant => {
                            let bytes = bytes.try_into().ok()?;
                            Some(<$arrow as ArrowPrimitiveType>::Native::from_le_bytes(bytes).into())
                        })+
                        _ => None,
                    }
                }
            }

            impl FromCell<'_> for $rust {
                #[inline]
                fn from_cell(array: &dyn Array, index: usize) -> Result<Self> {
                    if array.is_null(index) {
                        return Err(null(stringify!($rust)));
                    }
                    match array.data_type() {
                        $(DataType::$variant => Ok(array.as_primitive::<$arrow>().value(index).into()),)+
                        _ => Err(mismatch(array, stringify!($rust))),
                    }
                }
            }
        )+
    };
}

from_integer_cell! {
    i8 => Int8Type Int8;
    i16 => Int16Type Int16, Int8Type Int8, UInt8Type UInt8;
    i32 => Int32Type Int32, Int16Type Int16, Int8Type Int8, UInt16Type UInt16, UInt8Type UInt8;
    i64 => Int64Type Int64, Int32Type Int32, Int16Type Int16, Int8Type Int8, UInt32Type UInt32, UInt16Type UInt16,
        UInt8Type UInt8;
    u8 => UInt8Type UInt8;
    u16 => UInt16Type UInt16, UInt8Type UInt8;
    u32 => UInt32Type UInt32, UInt16Type UInt16, UInt8Type UInt8;
    u64 => UInt64Type UInt64, UInt32Type UInt32, UInt16Type UInt16, UInt8Type UInt8;
    f32 => Float32Type Float32, Float16Type Float16;
    f64 => Float64Type Float64, Float32Type Float32, Float16Type Float16;
}

impl sealed::Sealed<'_> for bool {
    #[inline]
    fn from_bytes(data_type: &DataType, bytes: &[u8]) -> Option<Self> {
        (*data_type == DataType::Boolean).then_some(bytes == [1])
    }
}

impl FromCell<'_> for bool {
    fn from_cell(array: &dyn Array, index: usize) -> Result<Self> {
        match array.as_boolean_opt() {
            Some(array) if array.is_valid(index) => Ok(array.value(index)),
            Some(_) => Err(null("bool")),
            None => Err(mismatch(array, "bool")),
        }
    }
}

impl<'a> sealed::Sealed<'a> for &'a str {
    #[inline]
    fn from_bytes(data_type: &DataType, bytes: &'a [u8]) -> Option<Self> {
        match data_type {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }
}

impl<'a> FromCell<'a> for &'a str {
    #[inline]
    fn from_cell(array: &'a dyn Array, index: usize) -> Result<Self> {
        if array.is_null(index) {
            return Err(null("&str"));
        }
        text_at(array, index)
    }
}

impl<'a> sealed::Sealed<'a> for &'a [u8] {
    #[inline]
    fn from_bytes(data_type: &DataType, bytes: &'a [u8]) -> Option<Self> {
        use DataType as T;
        match data_type {
            T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => Some(bytes),
            _ => None,
        }
    }
}

impl<'a> FromCell<'a> for &'a [u8] {
    fn from_cell(array: &'a dyn Array, index: usize) -> Result<Self> {
        if array.is_null(index) {
            return Err(null("&[u8]"));
        }
        bytes_at(array, index)
    }
}

#[cold]
fn null(wanted: &str) -> Error {
    Error::new(ErrorCode::TypeMismatch, format!("the value is null; read it as Option<{wanted}>"))
}
