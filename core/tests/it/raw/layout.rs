//! Layouts read as docs/protocol.md describes them, value by value.

use std::os::unix::fs::FileExt;
use std::path::Path;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use arrow::util::display::array_value_to_string;

/// A value as text; `None` is null.
pub(crate) type Cell = Option<String>;

/// Where the bytes of a layout may be.
#[derive(Debug, Default)]
pub(crate) struct Places<'a> {
    /// The shared memory.
    pub(crate) arena: Option<&'a std::fs::File>,
    /// The directory of the cache.
    pub(crate) dir: Option<&'a Path>,
}

/// The contents of a layout.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Rows, by columns.
    pub(crate) rows: Vec<Vec<Cell>>,
    pub(crate) batches: usize,
    /// 0 if there is none.
    pub(crate) lease: u64,
    /// Table and segment.
    pub(crate) files: Vec<(u64, u64)>,
    pub(crate) body_len: u64,
}

/// Rows of a batch as text.
pub(crate) fn cells(batch: &RecordBatch) -> Vec<Vec<Cell>> {
    let cell = |column: usize, row: usize| {
        let array = batch.column(column);
        // The values of a dictionary may be null too.
        let is_null = array.logical_nulls().is_some_and(|nulls| nulls.is_null(row));
        (!is_null).then(|| array_value_to_string(array, row).unwrap())
    };
    (0..batch.num_rows()).map(|row| (0..batch.num_columns()).map(|n| cell(n, row)).collect()).collect()
}

/// Reads a layout.
pub(crate) fn read(bytes: &[u8], schema: &Schema, places: &Places<'_>) -> Layout {
    let mut rest = bytes;
    assert_eq!(number(&mut rest, 4), 1, "the version of the layout");
    let [batches, nodes, buffers, files, zero] = [(); 5].map(|()| number(&mut rest, 4));
    assert_eq!(zero, 0);
    let [lease, lease_offset, lease_len, body_len] = [(); 4].map(|()| number(&mut rest, 8));
    let files: Vec<_> = (0..files).map(|_| (number(&mut rest, 8), number(&mut rest, 8))).collect();
    let batch_rows: Vec<u64> = (0..batches).map(|_| number(&mut rest, 8)).collect();
    let nodes = (0..nodes).map(|_| {
        let [len, nulls] = [(); 2].map(|()| number(&mut rest, 8));
        let data_buffers = number(&mut rest, 4);
        let [first_bit, first_validity_bit] = [(); 2].map(|()| number(&mut rest, 1));
        assert_eq!(number(&mut rest, 2), 0);
        Node { len, nulls, data_buffers, first_bit, first_validity_bit }
    });
    let nodes: Vec<Node> = nodes.collect();
    let places_of_buffers: Vec<[u64; 3]> = (0..buffers)
        .map(|_| {
            let place = number(&mut rest, 4);
            assert_eq!(number(&mut rest, 4), 0);
            [place, number(&mut rest, 8), number(&mut rest, 8)]
        })
        .collect();
    assert_eq!(rest.len() as u64, body_len);
    let leased = (lease > 0).then(|| {
        let mut bytes = vec![0; usize_of(lease_len)];
        places.arena.unwrap().read_exact_at(&mut bytes, lease_offset).unwrap();
        bytes
    });
    let copied = leased.as_deref().unwrap_or(rest);
    let buffer = |[place, offset, len]: [u64; 3]| {
        if place == 0 {
            assert_eq!(len, 0);
            return Vec::new();
        }
        if place == 1 {
            assert_eq!(offset % 64, 0, "copied buffers are aligned");
            return copied[usize_of(offset)..][..usize_of(len)].to_vec();
        }
        let (table, segment) = files[usize_of(place - 2)];
        let path = places.dir.unwrap().join(format!("tables/{table}/{segment}.arrow"));
        let mut bytes = vec![0; usize_of(len)];
        std::fs::File::open(path).unwrap().read_exact_at(&mut bytes, offset).unwrap();
        bytes
    };
    let buffers: Vec<Vec<u8>> = places_of_buffers.into_iter().map(buffer).collect();
    let mut parts = Parts { nodes: nodes.into_iter(), buffers: buffers.into_iter() };
    let mut rows = Vec::new();
    for batch_rows in batch_rows {
        let columns: Vec<Vec<Cell>> =
            schema.fields().iter().map(|field| parts.array(field.data_type())).collect();
        assert!(columns.iter().all(|column| column.len() as u64 == batch_rows));
        let row = |row: usize| columns.iter().map(|column| column[row].clone()).collect();
        rows.extend((0..usize_of(batch_rows)).map(row));
    }
    assert!(parts.nodes.next().is_none() && parts.buffers.next().is_none(), "nothing is left over");
    Layout { rows, batches: usize_of(batches), lease, files, body_len }
}

struct Node {
    len: u64,
    nulls: u64,
    data_buffers: u64,
    first_bit: u64,
    first_validity_bit: u64,
}

struct Parts {
    nodes: std::vec::IntoIter<Node>,
    buffers: std::vec::IntoIter<Vec<u8>>,
}

impl Parts {
    fn buffer(&mut self) -> Vec<u8> {
        self.buffers.next().unwrap()
    }

    /// The array that comes next.
    fn array(&mut self, data_type: &DataType) -> Vec<Cell> {
        let node = self.nodes.next().unwrap();
        let len = usize_of(node.len);
        let validity = (node.nulls > 0).then(|| self.buffer());
        let is_valid = |row: usize| {
            validity.as_ref().is_none_or(|bits| bit(bits, row + usize_of(node.first_validity_bit)))
        };
        let values: Vec<String> = match data_type {
            DataType::Int32 | DataType::Int64 => {
                let width = data_type.primitive_width().unwrap();
                let buffer = self.buffer();
                buffer.chunks(width).take(len).map(|bytes| signed(bytes).to_string()).collect()
            }
            DataType::Float64 => {
                let buffer = self.buffer();
                let values = buffer.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
                values.take(len).map(|value| format!("{value:?}")).collect()
            }
            DataType::Boolean => {
                let bits = self.buffer();
                (0..len).map(|row| bit(&bits, row + usize_of(node.first_bit)).to_string()).collect()
            }
            DataType::Utf8 => {
                let (offsets, text) = (offsets(&self.buffer(), len), self.buffer());
                let texts = offsets.windows(2).map(|pair| &text[pair[0]..pair[1]]);
                texts.map(|text| String::from_utf8(text.to_vec()).unwrap()).collect()
            }
            DataType::Utf8View => {
                let views = self.buffer();
                let data: Vec<Vec<u8>> = (0..node.data_buffers).map(|_| self.buffer()).collect();
                views.as_chunks::<16>().0[..len].iter().map(|view| view_text(view, &data)).collect()
            }
            DataType::List(item) => {
                let offsets = offsets(&self.buffer(), len);
                let items = self.array(item.data_type());
                let text = |item: &Cell| item.clone().unwrap_or_default();
                let lists = offsets.windows(2).map(|pair| &items[pair[0]..pair[1]]);
                lists
                    .map(|list| format!("[{}]", list.iter().map(text).collect::<Vec<_>>().join(", ")))
                    .collect()
            }
            DataType::Dictionary(key, value) => {
                let keys = self.buffer();
                let width = key.primitive_width().unwrap();
                let values = self.array(value);
                // The key of a null may be any number.
                let value = |key: i128| values.get(usize::try_from(key).unwrap()).cloned().flatten();
                let keys = keys.chunks(width).take(len).map(signed);
                return keys
                    .enumerate()
                    .map(|(row, key)| is_valid(row).then(|| value(key)).flatten())
                    .collect();
            }
            other => panic!("the tests have no column of the type {other}"),
        };
        assert_eq!(values.len(), len);
        values.into_iter().enumerate().map(|(row, value)| is_valid(row).then_some(value)).collect()
    }
}

fn view_text(view: &[u8; 16], data: &[Vec<u8>]) -> String {
    let word = |at: usize| usize::try_from(u32::from_le_bytes(*view[at..].first_chunk().unwrap())).unwrap();
    let len = word(0);
    let bytes = if len <= 12 { &view[4..4 + len] } else { &data[word(8)][word(12)..][..len] };
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn offsets(buffer: &[u8], len: usize) -> Vec<usize> {
    let offset = |bytes: &[u8; 4]| usize::try_from(i32::from_le_bytes(*bytes)).unwrap();
    buffer.as_chunks().0.iter().take(len + 1).map(offset).collect()
}

fn bit(bits: &[u8], position: usize) -> bool {
    bits[position / 8] >> (position % 8) & 1 > 0
}

fn signed(bytes: &[u8]) -> i128 {
    let unused = 128 - 8 * bytes.len();
    let number = bytes.iter().rev().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    (number << unused).cast_signed() >> unused
}

fn number(bytes: &mut &[u8], len: usize) -> u64 {
    let (part, rest) = bytes.split_at(len);
    *bytes = rest;
    part.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap()
}
