//! Columns under construction.

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Decimal128Builder, Float64Builder, Int32Builder, Int64Builder,
    RecordBatch, RecordBatchOptions, StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use pillion::{Error, ErrorCode, Result};

use super::values::Cell;
use std::sync::Arc;

/// A batch ends with the row that reaches one of these.
const BATCH_ROWS: usize = 8192;
const BATCH_LEN: usize = 4 << 20;

/// Rows that become a batch.
pub(crate) struct Columns {
    schema: SchemaRef,
    builders: Vec<Builder>,
    rows: usize,
    bytes: usize,
}

enum Builder {
    Boolean(BooleanBuilder),
    Days(Int32Builder),
    Integer(Int64Builder),
    Float(Float64Builder),
    Decimal(Decimal128Builder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
}

impl Columns {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        let builders = schema.fields().iter().map(|field| Builder::of(field.data_type())).collect();
        Self { schema, builders, rows: 0, bytes: 0 }
    }

    /// Adds a value to the row that [`end_row`](Self::end_row) ends.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] for a value of another column.
    pub(crate) fn push(&mut self, column: usize, cell: Cell<'_>) -> Result<()> {
        let pushed = self.builders.get_mut(column).and_then(|builder| builder.push(cell));
        self.bytes += pushed.ok_or_else(|| {
            Error::new(ErrorCode::Internal, format!("a value of another type came for column {column}"))
        })?;
        Ok(())
    }

    pub(crate) fn end_row(&mut self) {
        self.rows += 1;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_LEN
    }

    /// The rows since the last batch, if there are any.
    pub(crate) fn batch(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let fields = self.schema.fields().iter();
        let columns = self.builders.iter_mut().zip(fields).map(|(builder, field)| {
            let array = builder.finish();
            if array.data_type() == field.data_type() { Ok(array) } else { cast(&array, field.data_type()) }
        });
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = columns
            .collect::<std::result::Result<_, _>>()
            .and_then(|columns| RecordBatch::try_new_with_options(self.schema.clone(), columns, &options));
        (self.rows, self.bytes) = (0, 0);
        batch.map(Some).map_err(|error| {
            Error::new(ErrorCode::Internal, "columns do not make a batch").with_source(error)
        })
    }
}

impl Builder {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::Date32 => Self::Days(Int32Builder::new()),
            DataType::Float64 => Self::Float(Float64Builder::new()),
            DataType::Decimal128(..) => {
                Self::Decimal(Decimal128Builder::new().with_data_type(data_type.clone()))
            }
            DataType::Utf8 => Self::Text(StringBuilder::new()),
            DataType::Binary => Self::Bytes(BinaryBuilder::new()),
            // Times and timestamps are integers until the batch is made.
            _ => Self::Integer(Int64Builder::new()),
        }
    }

    /// Appends a value and says about how long it is; `None` for a value of another type.
    fn push(&mut self, cell: Cell<'_>) -> Option<usize> {
        let mut len = 8;
        match (self, cell) {
            (Self::Boolean(builder), Cell::Bool(value)) => builder.append_value(value),
            (Self::Days(builder), Cell::Int(value)) => builder.append_value(i32::try_from(value).ok()?),
            (Self::Integer(builder), Cell::Int(value)) => builder.append_value(value),
            (Self::Float(builder), Cell::Float(value)) => builder.append_value(value),
            (Self::Decimal(builder), Cell::Decimal(value)) => builder.append_value(value),
            (Self::Text(builder), Cell::Text(text)) => {
                len += text.len();
                builder.append_value(text);
            }
            (Self::Bytes(builder), Cell::Bytes(bytes)) => {
                len += bytes.len();
                builder.append_value(bytes);
            }
            (builder, Cell::Null) => builder.push_null(),
            _ => return None,
        }
        Some(len)
    }

    fn push_null(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_null(),
            Self::Days(builder) => builder.append_null(),
            Self::Integer(builder) => builder.append_null(),
            Self::Float(builder) => builder.append_null(),
            Self::Decimal(builder) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
            Self::Bytes(builder) => builder.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Days(builder) => Arc::new(builder.finish()),
            Self::Integer(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Decimal(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Bytes(builder) => Arc::new(builder.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema, TimeUnit};
    use arrow::util::display::array_value_to_string;

    use super::*;

    #[test]
    fn numbers_become_values_of_the_column() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("d", DataType::Date32, true),
            Field::new("t", DataType::Time64(TimeUnit::Microsecond), true),
            Field::new("z", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
            Field::new("n", DataType::Decimal128(5, 2), true),
        ]));
        let mut columns = Columns::new(schema.clone());
        assert!(columns.batch().unwrap().is_none());
        for cell in [Cell::Int(1), Cell::Int(1), Cell::Int(1_500), Cell::Decimal(-5)].iter().enumerate() {
            columns.push(cell.0, *cell.1).unwrap();
        }
        columns.end_row();
        for column in 0..4 {
            columns.push(column, Cell::Null).unwrap();
        }
        columns.end_row();
        let batch = columns.batch().unwrap().unwrap();
        assert_eq!((batch.schema(), batch.num_rows()), (schema, 2));
        let shown: Vec<String> =
            batch.columns().iter().map(|column| array_value_to_string(column, 0).unwrap()).collect();
        assert_eq!(shown, ["1970-01-02", "00:00:00.000001", "1970-01-01T00:00:01.500Z", "-0.05"]);
        assert!(batch.columns().iter().all(|column| column.is_null(1)));
        assert_eq!(columns.push(0, Cell::Bool(true)).unwrap_err().code(), ErrorCode::Internal);
        assert_eq!(columns.push(9, Cell::Null).unwrap_err().code(), ErrorCode::Internal);
    }
}
