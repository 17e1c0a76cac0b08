//! Arrow IPC files and streams.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use pillion::Result;
use pillion::files::{ArrowReader, FileBatches, FileColumns};

use crate::blocks::Blocks;
use crate::file::{Refused, SourceFile};

const NOT_ARROW: &str = "is damaged or not an Arrow IPC file";

type Reader = ArrowReader<Blocks>;

pub(super) fn look(file: &SourceFile) -> Result<FileColumns> {
    Ok(FileColumns::Declared(open_reader(file, None)?.schema().clone(), None))
}

pub(super) fn open(file: &SourceFile, wanted: &Schema) -> Result<FileBatches> {
    Ok(Box::new(ArrowBatches { file: file.clone(), reader: Some(open_reader(file, Some(wanted))?) }))
}

fn open_reader(file: &SourceFile, wanted: Option<&Schema>) -> Result<Reader> {
    let blocks = Blocks::new(file.clone());
    file.decode(NOT_ARROW, || ArrowReader::open(blocks, file.bytes(), wanted).map_err(Refused::from))
}

struct ArrowBatches {
    file: SourceFile,
    reader: Option<Reader>,
}

impl Iterator for ArrowBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut()?;
        let next = self.file.decode(NOT_ARROW, || reader.next().transpose().map_err(Refused::from));
        let next = next.transpose();
        if !matches!(next, Some(Ok(_))) {
            self.reader = None;
        }
        next
    }
}
