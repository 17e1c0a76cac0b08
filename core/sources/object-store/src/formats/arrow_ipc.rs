//! Arrow IPC files and streams.

use std::io::{Read, Seek};

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::Schema;
use arrow::ipc::reader::{FileReader, StreamReader};
use pillion::Result;
use pillion::files::{FileBatches, FileColumns};

use crate::blocks::Blocks;
use crate::file::{Refused, SourceFile};

/// What a file starts with; a stream does not.
const FILE_MAGIC: &[u8; 6] = b"ARROW1";
const NOT_ARROW: &str = "is damaged or not an Arrow IPC file";

type Reader = Box<dyn RecordBatchReader + Send>;

pub(super) fn look(file: &SourceFile) -> Result<FileColumns> {
    let reader = file.decode(NOT_ARROW, || open_reader(file, None))?;
    Ok(FileColumns::Declared(reader.schema(), None))
}

pub(super) fn open(file: &SourceFile, wanted: &Schema) -> Result<FileBatches> {
    let reader = file.decode(NOT_ARROW, || open_reader(file, Some(wanted)))?;
    Ok(Box::new(ArrowBatches { file: file.clone(), reader: Some(reader) }))
}

fn open_reader(file: &SourceFile, wanted: Option<&Schema>) -> std::result::Result<Reader, Refused> {
    let mut blocks = Blocks::new(file.clone());
    let mut start = [0; FILE_MAGIC.len()];
    let is_file = match blocks.read_exact(&mut start) {
        Ok(()) => &start == FILE_MAGIC,
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => false,
        Err(error) => return Err(error.into()),
    };
    blocks.rewind()?;
    let open = |blocks: Blocks, projection| -> std::result::Result<Reader, Refused> {
        Ok(match is_file {
            true => Box::new(FileReader::try_new(blocks, projection)?),
            false => Box::new(StreamReader::try_new(blocks, projection)?),
        })
    };
    let Some(wanted) = wanted else { return open(blocks, None) };
    let schema = open(Blocks::new(file.clone()), None)?.schema();
    let fields = schema.fields().iter().enumerate();
    let projection = fields.filter(|(_, field)| wanted.column_with_name(field.name()).is_some());
    open(blocks, Some(projection.map(|(index, _)| index).collect()))
}

struct ArrowBatches {
    file: SourceFile,
    reader: Option<Reader>,
}

impl Iterator for ArrowBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut()?;
        let next = self.file.decode(NOT_ARROW, || reader.next().transpose()).transpose();
        if !matches!(next, Some(Ok(_))) {
            self.reader = None;
        }
        next
    }
}
