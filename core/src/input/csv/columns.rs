//! Columns of texts as arrays of the type that each column has.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use arrow::array::builder::{
    BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, PrimitiveBuilder, StringBuilder,
};
use arrow::array::timezone::Tz;
use arrow::array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::array::{ArrayRef, NullArray, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{ArrowTimestampType, DataType, FieldRef, SchemaRef, TimeUnit};

use super::at_line;
use super::rows::{Column, Field, TextRows};
use super::values::{self, Decimal, Parsed};
use crate::types::error::{Error, ErrorCode, Result};

/// Bytes of a value that an error shows.
const SHOWN_LEN: usize = 80;

/// Makes batches of rows of texts. Each text becomes exactly the same value of its column, or the rows are refused with the file,
/// the line, the column and the text.
#[derive(Debug)]
pub struct TextColumns {
    schema: SchemaRef,
    /// For each column, which field of a row it is.
    fields: Vec<usize>,
    converters: Vec<Converter>,
}

/// Makes arrays of one column.
#[derive(Debug)]
struct Converter {
    field: FieldRef,
    /// The time zone of its type.
    zone: Option<Tz>,
}

/// Why a field is not a value of its column.
struct Refused {
    row: usize,
    why: Cow<'static, str>,
}

type Converted = std::result::Result<ArrayRef, Refused>;

impl TextColumns {
    /// Columns in the order of the fields of a row.
    ///
    /// # Errors
    /// [`ErrorCode::UnsupportedType`] for a type that is not read from texts.
    pub fn new(schema: SchemaRef) -> Result<Self> {
        let fields = (0..schema.fields().len()).collect();
        Self::of(schema, fields)
    }

    /// Some columns; the first is field `fields[0]` of a row, and so on.
    ///
    /// # Errors
    /// [`ErrorCode::UnsupportedType`] for a type that is not read from texts.
    pub fn of(schema: SchemaRef, fields: Vec<usize>) -> Result<Self> {
        let converters = schema.fields().iter().cloned().map(Converter::new).collect::<Result<_>>()?;
        Ok(Self { schema, fields, converters })
    }

    /// The rows as a batch. Errors name the file `path`.
    ///
    /// # Errors
    /// [`ErrorCode::SourceInvalid`] for a text that its column cannot hold, and for what is not UTF-8.
    pub fn convert(&self, path: &Path, rows: &TextRows) -> Result<RecordBatch> {
        let mut names = vec![""; rows.columns.unwrap_or_default()];
        for (column, field) in self.schema.fields().iter().zip(&self.fields) {
            match names.get_mut(*field) {
                Some(name) => *name = column.name(),
                None => return Err(Error::internal("rows of texts have fewer fields than are wanted")),
            }
        }
        let texts = rows.texts(path, &names)?;
        let columns = self.converters.iter().zip(&self.fields);
        let columns = columns.map(|(converter, field)| converter.convert(path, texts.column(*field)));
        let options = RecordBatchOptions::new().with_row_count(Some(rows.rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns.collect::<Result<_>>()?, &options)
            .map_err(|error| Error::internal("rows of texts have other columns").with_source(error))
    }
}

impl Converter {
    /// # Errors
    /// [`ErrorCode::UnsupportedType`] for a type whose values CSV cannot hold.
    fn new(field: FieldRef) -> Result<Self> {
        use DataType as T;
        let unsupported = |why: &str| {
            let message = format!(
                "column `{}` of type {} cannot be read from texts{why}",
                field.name(),
                field.data_type()
            );
            Error::new(ErrorCode::UnsupportedType, message)
        };
        let zone = match field.data_type() {
            T::Timestamp(_, Some(zone)) => {
                Some(zone.parse::<Tz>().map_err(|_| unsupported(": its time zone is unknown"))?)
            }
            T::Dictionary(..) | T::RunEndEncoded(..) => {
                return Err(unsupported("; name the type of its values"));
            }
            T::Duration(_) | T::Interval(_) | T::ListView(_) | T::LargeListView(_) | T::Union(..) => {
                return Err(unsupported(""));
            }
            nested if nested.is_nested() => return Err(unsupported("")),
            _ => None,
        };
        Ok(Self { field, zone })
    }

    /// The column's fields as an array.
    ///
    /// # Errors
    /// [`ErrorCode::SourceInvalid`] for a field that the column cannot hold, with its line.
    fn convert(&self, path: &Path, column: Column<'_>) -> Result<ArrayRef> {
        self.array(column).map_err(|Refused { row, why }| {
            let (name, data_type) = (self.field.name(), self.field.data_type());
            let message = match column.fields().nth(row) {
                Some(Field::Text(text)) => {
                    format!("column `{name}` of type {data_type} cannot hold `{}`: {why}", shown(text))
                }
                _ => format!("column `{name}` of type {data_type} cannot hold an empty field: {why}"),
            };
            at_line(path, column.line(row), &message)
        })
    }

    fn array(&self, column: Column<'_>) -> Converted {
        use DataType as T;
        match self.field.data_type() {
            T::Null => self.nulls(column),
            T::Boolean => self.booleans(column),
            T::Int8 => self.primitives::<Int8Type>(column, values::integer::<Int8Type>),
            T::Int16 => self.primitives::<Int16Type>(column, values::integer::<Int16Type>),
            T::Int32 => self.primitives::<Int32Type>(column, values::integer::<Int32Type>),
            T::Int64 => self.primitives::<Int64Type>(column, values::integer::<Int64Type>),
            T::UInt8 => self.primitives::<UInt8Type>(column, values::integer::<UInt8Type>),
            T::UInt16 => self.primitives::<UInt16Type>(column, values::integer::<UInt16Type>),
            T::UInt32 => self.primitives::<UInt32Type>(column, values::integer::<UInt32Type>),
            T::UInt64 => self.primitives::<UInt64Type>(column, values::integer::<UInt64Type>),
            T::Float16 => self.primitives::<Float16Type>(column, values::float::<Float16Type>),
            T::Float32 => self.primitives::<Float32Type>(column, values::float::<Float32Type>),
            T::Float64 => self.primitives::<Float64Type>(column, values::float::<Float64Type>),
            T::Decimal32(precision, scale) => self.decimals::<Decimal32Type>(column, *precision, *scale),
            T::Decimal64(precision, scale) => self.decimals::<Decimal64Type>(column, *precision, *scale),
            T::Decimal128(precision, scale) => self.decimals::<Decimal128Type>(column, *precision, *scale),
            T::Decimal256(precision, scale) => self.decimals::<Decimal256Type>(column, *precision, *scale),
            T::Date32 => self.primitives::<Date32Type>(column, values::date32),
            T::Date64 => self.primitives::<Date64Type>(column, values::date64),
            T::Time32(TimeUnit::Second) => self.times::<Time32SecondType>(column, TimeUnit::Second),
            T::Time32(unit) => self.times::<Time32MillisecondType>(column, *unit),
            T::Time64(TimeUnit::Microsecond) => {
                self.times::<Time64MicrosecondType>(column, TimeUnit::Microsecond)
            }
            T::Time64(unit) => self.times::<Time64NanosecondType>(column, *unit),
            T::Timestamp(TimeUnit::Second, _) => self.timestamps::<TimestampSecondType>(column),
            T::Timestamp(TimeUnit::Millisecond, _) => self.timestamps::<TimestampMillisecondType>(column),
            T::Timestamp(TimeUnit::Microsecond, _) => self.timestamps::<TimestampMicrosecondType>(column),
            T::Timestamp(TimeUnit::Nanosecond, _) => self.timestamps::<TimestampNanosecondType>(column),
            T::Utf8 => self.texts(column),
            // The other layouts hold the same text and bytes.
            T::LargeUtf8 | T::Utf8View => self.cast(&self.texts(column)?),
            T::Binary => self.bytes(column),
            T::LargeBinary | T::BinaryView => self.cast(&self.bytes(column)?),
            T::FixedSizeBinary(width) => self.fixed_bytes(column, *width),
            other => Err(Refused { row: 0, why: format!("{other} is not read from texts").into() }),
        }
    }

    /// Calls `put` with the text of each field, or with `None` for a null. Only text and bytes can be empty, so for all
    /// other types an empty field is null, quoted or not.
    #[inline]
    fn each<'a>(
        &self,
        column: Column<'a>,
        mut put: impl FnMut(Option<&'a str>) -> Parsed<()>,
    ) -> Result<(), Refused> {
        let holds_empty = matches!(
            self.field.data_type(),
            DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
                | DataType::Binary
                | DataType::LargeBinary
                | DataType::BinaryView
                | DataType::FixedSizeBinary(_)
        );
        for (row, field) in column.fields().enumerate() {
            let text = match field {
                Field::Text(text) if holds_empty || !text.is_empty() => Some(text),
                Field::Text(_) | Field::Null => None,
            };
            if text.is_none() && !self.field.is_nullable() {
                let why = if holds_empty { "; an empty text is written as `\"\"`" } else { "" };
                return Err(Refused { row, why: format!("the column has no nulls{why}").into() });
            }
            put(text).map_err(|why| Refused { row, why })?;
        }
        Ok(())
    }

    fn nulls(&self, column: Column<'_>) -> Converted {
        self.each(column, |text| match text {
            Some(_) => Err("the column has nothing but nulls".into()),
            None => Ok(()),
        })?;
        Ok(Arc::new(NullArray::new(column.fields().len())))
    }

    fn booleans(&self, column: Column<'_>) -> Converted {
        let mut builder = BooleanBuilder::with_capacity(column.fields().len());
        self.each(column, |text| {
            builder.append_option(text.map(values::boolean).transpose()?);
            Ok(())
        })?;
        Ok(Arc::new(builder.finish()))
    }

    fn primitives<T: ArrowPrimitiveType>(
        &self,
        column: Column<'_>,
        mut parse: impl FnMut(&str) -> Parsed<T::Native>,
    ) -> Converted {
        let mut builder = PrimitiveBuilder::<T>::with_capacity(column.fields().len())
            .with_data_type(self.field.data_type().clone());
        self.each(column, |text| {
            match text {
                Some(text) => builder.append_value(parse(text)?),
                None => builder.append_null(),
            }
            Ok(())
        })?;
        Ok(Arc::new(builder.finish()))
    }

    fn decimals<T: Decimal>(&self, column: Column<'_>, precision: u8, scale: i8) -> Converted {
        let mut digits = String::new();
        self.primitives::<T>(column, |text| values::decimal::<T>(text, precision, scale, &mut digits))
    }

    fn times<T: ArrowPrimitiveType<Native: TryFrom<i64>>>(
        &self,
        column: Column<'_>,
        unit: TimeUnit,
    ) -> Converted {
        self.primitives::<T>(column, |text| {
            values::time(unit, text)?.try_into().map_err(|_| "it is not a time of day".into())
        })
    }

    fn timestamps<T: ArrowTimestampType>(&self, column: Column<'_>) -> Converted {
        self.primitives::<T>(column, |text| values::timestamp(T::UNIT, self.zone.as_ref(), text))
    }

    fn texts(&self, column: Column<'_>) -> Converted {
        let mut builder = StringBuilder::with_capacity(column.fields().len(), 0);
        self.each(column, |text| {
            builder.append_option(text);
            Ok(())
        })?;
        Ok(Arc::new(builder.finish()))
    }

    fn bytes(&self, column: Column<'_>) -> Converted {
        let (mut builder, mut bytes) = (BinaryBuilder::new(), Vec::new());
        self.each(column, |text| {
            match text {
                Some(text) => {
                    values::bytes(text, &mut bytes)?;
                    builder.append_value(&bytes);
                }
                None => builder.append_null(),
            }
            Ok(())
        })?;
        Ok(Arc::new(builder.finish()))
    }

    fn fixed_bytes(&self, column: Column<'_>, width: i32) -> Converted {
        let (mut builder, mut bytes) = (FixedSizeBinaryBuilder::new(width), Vec::new());
        self.each(column, |text| {
            match text {
                Some(text) => {
                    values::bytes(text, &mut bytes)?;
                    let other = |_| format!("it is {} bytes and not {width}", bytes.len());
                    builder.append_value(&bytes).map_err(other)?;
                }
                None => builder.append_null(),
            }
            Ok(())
        })?;
        Ok(Arc::new(builder.finish()))
    }

    fn cast(&self, array: &ArrayRef) -> Converted {
        cast(array, self.field.data_type()).map_err(|error| Refused { row: 0, why: error.to_string().into() })
    }
}

/// The beginning of a text that may be long.
fn shown(text: &str) -> Cow<'_, str> {
    if text.len() <= SHOWN_LEN {
        return text.into();
    }
    let end = text.floor_char_boundary(SHOWN_LEN);
    format!("{}…", &text[..end]).into()
}
