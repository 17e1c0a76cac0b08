//! Files whose rows are known.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
#[cfg(feature = "arrow-compression")]
use arrow::ipc::CompressionType;
#[cfg(feature = "arrow-compression")]
use arrow::ipc::writer::IpcWriteOptions;
use arrow::ipc::writer::{FileWriter, StreamWriter};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

/// Numbers from `first` on, each with a text.
pub(crate) fn numbers(first: i64, rows: usize) -> RecordBatch {
    let ids: Vec<i64> = (first..).take(rows).collect();
    let texts: Vec<String> = ids.iter().map(|id| format!("text {id}")).collect();
    batch([("id", Arc::new(Int64Array::from(ids)) as ArrayRef), ("text", Arc::new(StringArray::from(texts)))])
}

pub(crate) fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

/// A Parquet file of row groups of so many rows.
pub(crate) fn parquet(batch: &RecordBatch, group_rows: usize) -> Vec<u8> {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// An Arrow IPC file.
pub(crate) fn arrow_file(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

/// An Arrow IPC file whose buffers are compressed.
#[cfg(feature = "arrow-compression")]
pub(crate) fn compressed_arrow_file(batch: &RecordBatch, codec: CompressionType) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(Some(codec)).unwrap();
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

/// An Arrow IPC stream.
pub(crate) fn arrow_stream(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

/// Writes a file below a folder, with the folders that it needs.
pub(crate) fn write(dir: &Path, path: &str, bytes: impl AsRef<[u8]>) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}
