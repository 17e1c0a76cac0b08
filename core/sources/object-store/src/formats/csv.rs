//! CSV files.

use std::collections::HashSet;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use pillion::texts::{CsvFormat, CsvReader, InferredType, TextColumns, TextRows};
use pillion::{Error, ErrorCode, Result};

use super::codec::Codec;
use super::{BATCH_BYTES, BATCH_ROWS, FileBatches, Looked};
use crate::file::{Refused, SourceFile};
use crate::options::Options;

const NOT_CSV: &str = "cannot be read as CSV";

pub(super) fn look(file: &SourceFile, codec: Codec, format: &CsvFormat, options: &Options) -> Result<Looked> {
    file.decode(NOT_CSV, || {
        let mut reader = reader(file, codec, format)?;
        let mut types = vec![InferredType::default(); reader.names().len()];
        let is_known = |name: &String| {
            options.type_of(name).is_some() || options.is_as_text(name) || options.is_left_out(name)
        };
        let mut rows = TextRows::default();
        let is_needed = !reader.names().iter().all(is_known);
        while is_needed && reader.read(&mut rows, BATCH_ROWS, BATCH_BYTES)? {
            InferredType::look_at(&mut types, reader.names(), file.name().as_ref(), &rows)?;
        }
        Ok::<_, Refused>(Looked::Texts(reader.names().iter().cloned().zip(types).collect()))
    })
}

pub(super) fn open(
    file: &SourceFile,
    codec: Codec,
    format: &CsvFormat,
    wanted: &Schema,
) -> Result<FileBatches> {
    let reader = file.decode(NOT_CSV, || reader(file, codec, format))?;
    let field = |name: &String| reader.names().iter().position(|found| found == name);
    let fields: Option<Vec<usize>> = wanted.fields().iter().map(|wanted| field(wanted.name())).collect();
    let Some(fields) = fields else {
        let message = format!("`{}` lost a column between two reads", file.name());
        return Err(Error::new(ErrorCode::Internal, message));
    };
    let columns = TextColumns::of(wanted.clone().into(), fields)?;
    Ok(Box::new(CsvBatches {
        file: file.clone(),
        reader,
        columns,
        rows: TextRows::default(),
        is_over: false,
    }))
}

fn reader(file: &SourceFile, codec: Codec, format: &CsvFormat) -> std::result::Result<CsvReader, Refused> {
    let reader = CsvReader::new(file.name(), codec.reader(file)?, format)?;
    let mut names = HashSet::new();
    match reader.names().iter().find(|name| !names.insert(name.as_str())) {
        Some(name) => Err(Refused::Why(format!("its header has the column `{name}` twice"))),
        None => Ok(reader),
    }
}

struct CsvBatches {
    file: SourceFile,
    reader: CsvReader,
    columns: TextColumns,
    rows: TextRows,
    is_over: bool,
}

impl Iterator for CsvBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let Self { file, reader, columns, rows, .. } = self;
        let batch = file.decode(NOT_CSV, || match reader.read(rows, BATCH_ROWS, BATCH_BYTES)? {
            true => columns.convert(file.name().as_ref(), rows).map(Some),
            false => Ok(None),
        });
        self.is_over = !matches!(batch, Ok(Some(_)));
        batch.transpose()
    }
}
