//! Arrays over the buffers that a record or a segment names, and rows as text.

use arrow::array::{ArrayData, ArrayRef, RecordBatch, RecordBatchOptions, layout, make_array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::records::Positions;

/// The batch whose buffers are in `bytes`.
pub(super) fn batch(schema: &SchemaRef, positions: &Positions, bytes: &[u8]) -> RecordBatch {
    let mut parts = Parts { positions, bytes, node: 0, buffer: 0, variadic: 0 };
    let columns: Vec<ArrayRef> =
        schema.fields().iter().map(|field| make_array(parts.array(field.data_type()))).collect();
    assert_eq!((parts.node, parts.buffer), (positions.nodes.len(), positions.buffers.len()));
    let options = RecordBatchOptions::new().with_row_count(Some(positions.rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).unwrap()
}

struct Parts<'a> {
    positions: &'a Positions,
    bytes: &'a [u8],
    node: usize,
    buffer: usize,
    variadic: usize,
}

impl Parts<'_> {
    fn next(&mut self) -> Buffer {
        let section = self.positions.buffers[self.buffer];
        assert_eq!(section.offset % 64, 0, "a buffer that is not aligned");
        self.buffer += 1;
        Buffer::from(section.of(self.bytes))
    }

    fn array(&mut self, data_type: &DataType) -> ArrayData {
        let (len, nulls) = self.positions.nodes[self.node];
        self.node += 1;
        let layout = layout(data_type);
        let validity = layout.can_contain_null_mask.then(|| self.next()).filter(|_| nulls > 0);
        let mut count = layout.buffers.len();
        if layout.variadic {
            count += self.positions.variadic[self.variadic];
            self.variadic += 1;
        }
        let buffers = (0..count).map(|_| self.next()).collect();
        let children = match data_type {
            DataType::Struct(fields) => fields.iter().map(|field| self.array(field.data_type())).collect(),
            DataType::List(field)
            | DataType::LargeList(field)
            | DataType::FixedSizeList(field, _)
            | DataType::Map(field, _) => vec![self.array(field.data_type())],
            _ => Vec::new(),
        };
        let data = ArrayData::builder(data_type.clone()).len(len).null_bit_buffer(validity);
        let data = data.buffers(buffers).child_data(children).build().unwrap();
        assert_eq!(data.null_count(), nulls);
        data
    }
}

/// Every row of a batch as text; unequal rows have unequal texts.
pub(crate) fn texts(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("∅");
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
        .collect();
    let text =
        |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" | ");
    (0..batch.num_rows()).map(text).collect()
}
