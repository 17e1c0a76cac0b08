//! Batches as answers, and batches as files.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, StringViewArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::Result;
use crate::harness::Sink;

enum Column<'a> {
    Int(&'a Int64Array),
    Float(&'a Float64Array),
    Text(&'a StringArray),
    TextView(&'a StringViewArray),
}

/// Hands every value of some batches to `sink`, row by row. Nulls are not expected.
///
/// # Errors
/// A column has a type that the benches' tables and queries do not have, or has a null.
pub fn read_batches(batches: impl IntoIterator<Item = RecordBatch>, sink: &mut impl Sink) -> Result<()> {
    for batch in batches {
        let columns = batch.columns().iter().map(|column| {
            if column.null_count() > 0 {
                return Err("a null in an answer without nulls".into());
            }
            Ok(match column.data_type() {
                DataType::Int64 => Column::Int(column.as_primitive::<Int64Type>()),
                DataType::Float64 => Column::Float(column.as_primitive::<Float64Type>()),
                DataType::Utf8 => Column::Text(column.as_string()),
                DataType::Utf8View => Column::TextView(column.as_string_view()),
                other => return Err(format!("a column of type {other}").into()),
            })
        });
        let columns: Vec<Column<'_>> = columns.collect::<Result<_>>()?;
        for row in 0..batch.num_rows() {
            for column in &columns {
                match column {
                    Column::Int(array) => sink.int(array.value(row)),
                    Column::Float(array) => sink.float(array.value(row)),
                    Column::Text(array) => sink.text(array.value(row)),
                    Column::TextView(array) => sink.text(array.value(row)),
                }
            }
            sink.end_row();
        }
    }
    Ok(())
}

/// Writes batches as a Parquet file, compressed with Zstandard.
///
/// # Errors
/// The file cannot be written.
pub fn write_parquet(path: &Path, batches: &[RecordBatch]) -> Result<()> {
    let Some(first) = batches.first() else { return Err("no batches to write".into()) };
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(Default::default())).build();
    let mut writer = ArrowWriter::try_new(File::create(path)?, first.schema(), Some(properties))?;
    batches.iter().try_for_each(|batch| writer.write(batch))?;
    writer.close()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::harness::Collect;

    #[test]
    fn values_are_read_row_by_row() {
        let batch = RecordBatch::try_from_iter([
            ("a", Arc::new(Int64Array::from(vec![2, 1])) as arrow::array::ArrayRef),
            ("b", Arc::new(Float64Array::from(vec![0.5, -0.0]))),
            ("c", Arc::new(StringArray::from(vec!["x", "y"]))),
            ("d", Arc::new(StringViewArray::from(vec!["v", "w"]))),
        ]);
        let mut sink = Collect::default();
        read_batches([batch.unwrap()], &mut sink).unwrap();
        assert_eq!(sink.into_rows(), [r#"1, -0.0, "y", "w""#, r#"2, 0.5, "x", "v""#]);
    }

    #[test]
    fn nulls_and_other_types_are_refused() {
        for column in [
            Arc::new(Int64Array::from(vec![Some(1), None])) as arrow::array::ArrayRef,
            Arc::new(arrow::array::BooleanArray::from(vec![true])),
        ] {
            let batch = RecordBatch::try_from_iter([("a", column)]).unwrap();
            assert!(read_batches([batch], &mut Collect::default()).is_err());
        }
    }
}
