//! Batches come back as they were, wherever their bytes went; garbage comes back as an error.

use std::any::Any;
use std::io::Write;
use std::slice::from_ref;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Int32Array, Int64Array, ListArray, NullArray,
    RecordBatch, StringArray, StringViewArray, StructArray,
};
use arrow::buffer::Buffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Int32Type, SchemaRef};
use pillion_ipc::{Arena, Lease, check_sealed};

use super::{BATCH_LEN, Description, HEADER_LEN, Memory, NODE_LEN, rebuild};
use crate::storage::{FileId, Maps, Region};
use crate::types::error::{Error, Result};

const FILE: FileId = FileId { table: 3, segment: 9 };

/// A client that sees an arena and one file.
struct Client {
    arena: Option<Region>,
    file: Option<Region>,
    guard: Arc<dyn Any + Send + Sync>,
}

impl Client {
    fn new(arena: Option<&Arena>, file: Option<Region>) -> Self {
        let map = |arena: &Arena| {
            Region::map(&check_sealed(arena.descriptor().try_clone_to_owned().unwrap()).unwrap()).unwrap()
        };
        Self { arena: arena.map(map), file, guard: Arc::new(()) }
    }
}

impl Memory for Client {
    fn lease(&self, _: Lease) -> Result<(Region, Arc<dyn Any + Send + Sync>)> {
        let arena = self.arena.clone().ok_or_else(|| Error::internal("no arena"))?;
        Ok((arena, self.guard.clone()))
    }

    fn file(&self, file: FileId) -> Result<Region> {
        self.file.clone().filter(|_| file == FILE).ok_or_else(|| Error::internal("no such file"))
    }
}

fn batch(rows: i32) -> RecordBatch {
    let text = |row: i32| (row % 7 != 0).then(|| "x".repeat(usize::try_from(row % 40).unwrap()));
    let numbers = Int32Array::from_iter_values(0..rows);
    let optional = Int64Array::from_iter((0..rows).map(|row| (row % 3 > 0).then_some(i64::from(row) << 40)));
    let texts = StringArray::from_iter((0..rows).map(text));
    let views = StringViewArray::from_iter((0..rows).map(text));
    let flags = BooleanArray::from_iter((0..rows).map(|row| (row % 5 > 0).then_some(row % 2 == 0)));
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(
        (0..rows).map(|row| (row % 4 > 0).then(|| (0..row % 6).map(Some).collect::<Vec<_>>())),
    );
    let structure = StructArray::from(vec![
        (
            Arc::new(Field::new("a", numbers.data_type().clone(), false)),
            Arc::new(numbers.clone()) as ArrayRef,
        ),
        (Arc::new(Field::new("b", texts.data_type().clone(), true)), Arc::new(texts.clone())),
    ]);
    let dictionary: DictionaryArray<Int32Type> =
        (0..rows).map(|row| Some(["a", "b"][usize::from(row % 2 > 0)])).collect();
    let columns: [(&str, ArrayRef); 9] = [
        ("numbers", Arc::new(numbers)),
        ("optional", Arc::new(optional)),
        ("texts", Arc::new(texts)),
        ("views", Arc::new(views)),
        ("flags", Arc::new(flags)),
        ("lists", Arc::new(lists)),
        ("structure", Arc::new(structure)),
        ("dictionary", Arc::new(dictionary)),
        ("nothing", Arc::new(NullArray::new(usize::try_from(rows).unwrap()))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn describe(batches: &[RecordBatch], maps: Option<&Maps>, arena: Option<&Arena>) -> (Vec<u8>, bool) {
    let mut description = Description::new(batches[0].schema(), maps);
    batches.iter().for_each(|batch| description.push(batch).unwrap());
    let names_files = description.names_files();
    (description.finish(arena).unwrap().bytes, names_files)
}

fn check(batches: &[RecordBatch], arena: Option<&Arena>) {
    let schema: SchemaRef = batches[0].schema();
    let (bytes, _) = describe(batches, None, arena);
    let back = rebuild(&bytes, &schema, &Client::new(arena, None)).unwrap();
    assert_eq!(back.len(), batches.len());
    for (back, batch) in back.iter().zip(batches) {
        assert_eq!(back, batch);
        for column in back.columns() {
            column.to_data().validate_full().unwrap();
        }
    }
}

#[test]
fn batches_and_slices_come_back_through_message_and_memory() {
    let arena = Arena::create(1 << 22).unwrap();
    for rows in [0, 1, 7, 8, 9, 1000] {
        let whole = batch(rows);
        let rows = whole.num_rows();
        check(from_ref(&whole), None);
        check(from_ref(&whole), Some(&arena));
        for (start, len) in
            [(0, rows / 2), (rows / 3, rows / 2), (rows.saturating_sub(1), 1.min(rows)), (rows / 2, 0)]
        {
            let slice = whole.slice(start, len);
            check(&[slice.clone(), whole.clone(), slice.slice(len / 2, len - len / 2)], None);
            check(&[slice], Some(&arena));
        }
    }
    assert!(arena.leased() > 0, "long answers were written to the arena");
}

#[test]
fn a_slice_costs_what_it_holds() {
    let whole = batch(10_000);
    let (all, _) = describe(from_ref(&whole), None, None);
    let (one, _) = describe(&[whole.slice(5000, 1).project(&[0, 1, 2, 3, 4, 5, 6]).unwrap()], None, None);
    assert!(one.len() < 3000 && all.len() > 200 * one.len(), "{} and {}", one.len(), all.len());
}

#[test]
fn what_stands_in_a_file_is_named_and_not_copied() {
    let rows = 20_000_i64;
    let bytes: Vec<u8> = (0..rows).flat_map(i64::to_le_bytes).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let region = Region::map(&file).unwrap();
    let maps = Maps::default();
    maps.insert(&region, FILE);
    let mapped = |start: usize, len: usize| {
        let buffer: Buffer = region.buffer(8 * start, 8 * len).unwrap();
        Arc::new(Int64Array::new(buffer.into(), None)) as ArrayRef
    };
    let computed: ArrayRef = Arc::new(Int64Array::from_iter_values(0..8000));
    let mixed = RecordBatch::try_from_iter([("mapped", mapped(500, 8000)), ("computed", computed)]).unwrap();
    let client = Client::new(None, Some(region.clone()));
    let (bytes, names_files) = describe(from_ref(&mixed), Some(&maps), None);
    assert!(names_files && bytes.len() < 65_000, "one of two columns was copied: {}", bytes.len());
    let back = rebuild(&bytes, &mixed.schema(), &client).unwrap().remove(0);
    assert_eq!(back, mixed);
    let address = |batch: &RecordBatch| batch.column(0).to_data().buffers()[0].as_ptr();
    assert_eq!(address(&back), address(&mixed), "the same bytes");
    // A few rows are not worth a file.
    let (bytes, names_files) = describe(&[mixed.slice(0, 10)], Some(&maps), None);
    assert!(!names_files);
    assert_eq!(rebuild(&bytes, &mixed.schema(), &client).unwrap()[0], mixed.slice(0, 10));
    // Maps that no longer have a file do not name it.
    maps.remove(&region);
    assert!(!describe(&[mixed], Some(&maps), None).1);
}

#[test]
fn garbage_is_an_error() {
    let whole = batch(300).project(&[0, 1, 2, 4]).unwrap();
    let schema = whole.schema();
    let (bytes, _) = describe(from_ref(&whole), None, None);
    let client = Client::new(None, None);
    for len in 0..bytes.len() {
        rebuild(&bytes[..len], &schema, &client).unwrap_err();
    }
    rebuild(&bytes, &batch(3).schema(), &client).unwrap_err();
    // Changed numbers give an error or other values, but never a read outside of what there is.
    let numbers = bytes.len() - whole.get_array_memory_size().min(bytes.len() / 2);
    for position in 0..numbers {
        for bit in [0, 3, 7] {
            let mut changed = bytes.clone();
            changed[position] ^= 1 << bit;
            drop(rebuild(&changed, &schema, &client));
        }
    }
    let back = rebuild(&bytes, &schema, &client).unwrap();
    assert_eq!(concat_batches(&schema, &back).unwrap(), whole);
}

/// Lengths whose sums and products do not fit into a word.
#[test]
fn arrays_longer_than_memory_are_errors() {
    let whole = batch(300);
    let client = Client::new(None, None);
    for column in 0..whole.num_columns() {
        let one = whole.project(&[column]).unwrap();
        let (bytes, _) = describe(from_ref(&one), None, None);
        let nodes = HEADER_LEN + BATCH_LEN;
        for len in [u64::MAX, u64::MAX - 1, u64::MAX / 2, u64::MAX / 4, u64::MAX / 8, u64::MAX / 16] {
            let mut changed = bytes.clone();
            changed[nodes..nodes + 8].copy_from_slice(&len.to_le_bytes());
            rebuild(&changed, &one.schema(), &client).unwrap_err();
            // An array without a buffer has nothing to check its length against.
            changed[HEADER_LEN..nodes].copy_from_slice(&len.to_le_bytes());
            rebuild(&changed, &one.schema(), &client).unwrap_err();
        }
    }
}

/// An array without values needs no buffers, and the reader ignores those that are described.
#[test]
fn empty_arrays_need_no_buffers() {
    for column in [0, 2, 3, 4, 5] {
        let none = batch(0).project(&[column]).unwrap();
        let some = batch(2).slice(1, 1).project(&[column]).unwrap();
        let (mut bytes, _) = describe(from_ref(&some), None, None);
        let (position, node) = (HEADER_LEN, HEADER_LEN + BATCH_LEN);
        bytes[position..position + 8].fill(0);
        bytes[node..node + 16].fill(0);
        // An odd number of bytes, which no value can have.
        let nodes = usize::try_from(u32::from_le_bytes(*bytes[8..].first_chunk().unwrap())).unwrap();
        let buffer = node + nodes * NODE_LEN;
        bytes[buffer + 8] = 1;
        bytes[buffer + 16] = 2;
        let back = rebuild(&bytes, &none.schema(), &Client::new(None, None)).unwrap();
        assert_eq!(back, [none]);
    }
}
