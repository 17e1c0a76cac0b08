//! Record batches as layouts.

use std::cell::Cell;
use std::collections::HashMap;

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType, Schema, SchemaRef};
use pillion_ipc::Arena;

use super::{
    ALIGNMENT, BUFFER_LEN, HEADER_LEN, LAYOUT_VERSION, NODE_LEN, PLACE_COPIED, PLACE_FILES, PLACE_NONE,
};
use crate::storage::{FileId, MappedFile, Maps, batch_len, can_assemble, compact_views, has_offsets};
use crate::types::error::{Error, Result};

/// Up to this many copied bytes travel in the message: a lease would cost a message to give it back.
const BODY_LEN: usize = 16 << 10;
/// Batches of fewer bytes are copied wherever they lie: mapping a file costs more.
const BY_FILE_LEN: usize = 32 << 10;
/// Batches of at least this many rows count as having that many bytes.
const BY_FILE_ROWS: usize = 4096;

/// Batches that will be sent together.
pub(crate) struct Description<'a> {
    schema: SchemaRef,
    maps: Option<&'a Maps>,
    /// The file where the last buffer was found: the next one is mostly beside it.
    last: Cell<Option<MappedFile>>,
    files: Vec<FileId>,
    places: HashMap<FileId, u32>,
    rows: Vec<u64>,
    nodes: Vec<u8>,
    buffers: Vec<u8>,
    copies: Vec<(usize, Buffer)>,
    copied_len: usize,
}

impl<'a> Description<'a> {
    /// Whether batches of these columns can be described.
    pub(crate) fn suits(schema: &Schema) -> bool {
        schema.fields().iter().all(|field| can_assemble(field.data_type()))
    }

    /// A description of batches with these columns that names files of `maps`; without `maps`, all bytes are copied.
    pub(crate) fn new(schema: SchemaRef, maps: Option<&'a Maps>) -> Self {
        Self {
            schema,
            maps,
            last: Cell::new(None),
            files: Vec::new(),
            places: HashMap::new(),
            rows: Vec::new(),
            nodes: Vec::new(),
            buffers: Vec::new(),
            copies: Vec::new(),
            copied_len: 0,
        }
    }

    /// Bytes that must be copied for the batches so far.
    pub(crate) fn copied_len(&self) -> usize {
        self.copied_len
    }

    /// Batches so far.
    pub(crate) fn batches(&self) -> usize {
        self.rows.len()
    }

    /// Whether buffers of the batches so far lie in files.
    pub(crate) fn names_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// Adds a batch if all of it lies in files, so that nothing is copied; otherwise returns `false`.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub(crate) fn push_mapped(&mut self, batch: &RecordBatch) -> Result<bool> {
        if batch.num_rows() < BY_FILE_ROWS || self.maps.is_none() {
            return Ok(false);
        }
        let data: Vec<ArrayData> = batch.columns().iter().map(|array| array.to_data()).collect();
        if !data.iter().all(|data| self.is_mapped(data)) {
            return Ok(false);
        }
        self.begin_batch(batch)?;
        let mut columns = batch.columns().iter().zip(&data);
        columns.try_for_each(|(array, data)| self.array_of(array, data))?;
        Ok(true)
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// [`Internal`](crate::ErrorCode::Internal) for columns that do not [suit](Self::suits), or whose types differ
    /// from those of the description: the reader interprets the bytes as the description says.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        self.begin_batch(batch)?;
        let by_file =
            self.maps.is_some() && (batch.num_rows() >= BY_FILE_ROWS || batch_len(batch) >= BY_FILE_LEN);
        // A view may refer to a buffer of which it needs little, so buffers are made smaller first; those in files
        // cost nothing.
        let stays =
            |array: &ArrayRef| !is_view(array.data_type()) || by_file && self.is_mapped(&array.to_data());
        let batch = if batch.columns().iter().all(stays) { batch } else { &compact_views(batch)? };
        let maps = self.maps.filter(|_| by_file);
        let maps = std::mem::replace(&mut self.maps, maps);
        let pushed = batch.columns().iter().try_for_each(|column| self.array(column));
        self.maps = maps;
        pushed
    }

    fn begin_batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let types = batch.columns().iter().map(|column| column.data_type());
        if !types.eq(self.schema.fields().iter().map(|field| field.data_type())) {
            return Err(Error::internal("a batch has other columns than its answer"));
        }
        self.rows.push(batch.num_rows() as u64);
        Ok(())
    }

    /// The layout. Many copied bytes are written into `arena` if it has room; otherwise they follow the numbers.
    ///
    /// # Errors
    /// [`Internal`](crate::ErrorCode::Internal).
    pub(crate) fn finish(self, arena: Option<&Arena>) -> Result<Described> {
        let lease = arena.filter(|_| self.copied_len > BODY_LEN).and_then(|arena| {
            let lease = arena.lease(self.copied_len)?;
            Some((arena, lease))
        });
        let body_len = if lease.is_some() { 0 } else { self.copied_len };
        let numbers = 16 * self.files.len() + 8 * self.rows.len() + self.nodes.len() + self.buffers.len();
        let mut bytes = Vec::with_capacity(HEADER_LEN + numbers + body_len);
        let nodes = self.nodes.len() / NODE_LEN;
        let buffers = self.buffers.len() / BUFFER_LEN;
        for number in [
            LAYOUT_VERSION,
            u32_of(self.rows.len()),
            u32_of(nodes),
            u32_of(buffers),
            u32_of(self.files.len()),
            0,
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let (id, offset, len) =
            lease.map_or((0, 0, 0), |(_, lease)| (lease.id, lease.offset as u64, lease.len as u64));
        for number in [id, offset, len, body_len as u64] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for file in &self.files {
            bytes.extend_from_slice(&file.table.to_le_bytes());
            bytes.extend_from_slice(&file.segment.to_le_bytes());
        }
        for rows in &self.rows {
            bytes.extend_from_slice(&rows.to_le_bytes());
        }
        bytes.extend_from_slice(&self.nodes);
        bytes.extend_from_slice(&self.buffers);
        match lease {
            Some((arena, lease)) => {
                for (offset, copy) in &self.copies {
                    arena
                        .write(&lease, *offset, copy)
                        .map_err(|error| Error::internal("cannot write shared memory").with_source(error))?;
                }
                arena.publish(&lease);
            }
            None => {
                let start = bytes.len();
                for (offset, copy) in &self.copies {
                    bytes.resize(start + offset, 0);
                    bytes.extend_from_slice(copy);
                }
                bytes.resize(start + body_len, 0);
            }
        }
        Ok(Described { bytes, lease: lease.map(|(_, lease)| lease.id) })
    }

    fn array(&mut self, array: &dyn Array) -> Result<()> {
        self.array_of(array, &array.to_data())
    }

    /// Adds an array whose parts are in `data` already: taking an array apart costs more than describing it.
    fn array_of(&mut self, array: &dyn Array, data: &ArrayData) -> Result<()> {
        let data_type = data.data_type();
        let is_boolean = matches!(data_type, DataType::Boolean);
        if data.offset() > 0 && !is_boolean || !can_assemble(data_type) {
            return Err(Error::internal(format!("an array of {data_type} cannot be described")));
        }
        let nulls = data.nulls().filter(|nulls| nulls.null_count() > 0);
        let is_view = is_view(data_type);
        self.nodes.extend_from_slice(&(data.len() as u64).to_le_bytes());
        self.nodes.extend_from_slice(&(nulls.map_or(0, |nulls| nulls.null_count()) as u64).to_le_bytes());
        let data_buffers = if is_view { data.buffers().len() - 1 } else { 0 };
        self.nodes.extend_from_slice(&u32_of(data_buffers).to_le_bytes());
        let first_bits = [data.offset() % 8, nulls.map_or(0, |nulls| nulls.offset() % 8)];
        self.nodes.extend(first_bits.map(|bit| u8::try_from(bit).unwrap_or_default()));
        self.nodes.extend_from_slice(&[0, 0]);
        if let Some(nulls) = nulls {
            self.bits(nulls.buffer(), nulls.offset(), nulls.len());
        }
        match data_type {
            DataType::Boolean => self.bits(&data.buffers()[0], data.offset(), data.len()),
            DataType::Utf8 | DataType::Binary => self.texts::<i32>(data),
            DataType::LargeUtf8 | DataType::LargeBinary => self.texts::<i64>(data),
            DataType::List(_) => self.lists::<i32>(data, array.as_list::<i32>().values())?,
            DataType::LargeList(_) => self.lists::<i64>(data, array.as_list::<i64>().values())?,
            DataType::Map(_, _) => self.lists::<i32>(data, array.as_map().entries())?,
            DataType::FixedSizeList(_, width) => {
                let len = data.len() * usize::try_from(*width).unwrap_or_default();
                self.array(&array.as_fixed_size_list().values().slice(0, len))?;
            }
            DataType::Struct(_) => {
                array.as_struct().columns().iter().try_for_each(|child| self.array(child))?;
            }
            DataType::Dictionary(..) => {
                let dictionary = array.as_any_dictionary();
                let keys = dictionary.keys().to_data();
                let len = keys.len() * keys.data_type().primitive_width().unwrap_or_default();
                self.buffer(keys.buffers()[0].slice_with_length(0, len));
                self.array(dictionary.values())?;
            }
            _ => {
                debug_assert!(!has_offsets(data_type));
                for (position, buffer) in data.buffers().iter().enumerate() {
                    let width = match data_type {
                        _ if is_view && position == 0 => Some(16),
                        DataType::FixedSizeBinary(width) => usize::try_from(*width).ok(),
                        other => other.primitive_width(),
                    };
                    // A slice may lie in a longer buffer.
                    let needed = width.map_or(buffer.len(), |width| width * data.len());
                    self.buffer(buffer.slice_with_length(0, needed));
                }
            }
        }
        Ok(())
    }

    fn bits(&mut self, buffer: &Buffer, first: usize, len: usize) {
        let start = first / 8;
        self.buffer(buffer.slice_with_length(start, (first + len).div_ceil(8) - start));
    }

    /// Adds offsets and the bytes that they point to.
    fn texts<O: Offset>(&mut self, data: &ArrayData) {
        let values = &data.buffers()[1];
        match self.offsets::<O>(data, self.place_of(values).is_some()) {
            Some((start, end)) => self.buffer(values.slice_with_length(start, end - start)),
            None => self.buffer(values.clone()),
        }
    }

    /// Adds offsets and the array that they point to.
    fn lists<O: Offset>(&mut self, data: &ArrayData, child: &dyn Array) -> Result<()> {
        match self.offsets::<O>(data, self.maps.is_some() && self.is_mapped(&child.to_data())) {
            Some((start, end)) => self.array(&child.slice(start, end - start)),
            None => self.array(child),
        }
    }

    /// Adds offsets. If the values that they point to stay where they are (`stays`), adds them unchanged and returns
    /// `None`; otherwise moves them to begin at 0, and returns the range of the values that they need.
    fn offsets<O: Offset>(&mut self, data: &ArrayData, stays: bool) -> Option<(usize, usize)> {
        if data.is_empty() {
            self.buffer(Buffer::default());
            return Some((0, 0));
        }
        let offsets = ScalarBuffer::<O>::new(data.buffers()[0].clone(), 0, data.len() + 1);
        if stays {
            self.buffer(offsets.into_inner());
            return None;
        }
        let (first, last) = (offsets[0], offsets[data.len()]);
        if first == O::default() {
            self.buffer(offsets.into_inner());
        } else {
            let rebased: Vec<O> = offsets.iter().map(|&offset| offset.minus(first)).collect();
            self.buffer(Buffer::from(rebased));
        }
        Some((first.as_usize(), last.as_usize()))
    }

    fn is_mapped(&self, data: &ArrayData) -> bool {
        let buffers =
            data.buffers().iter().all(|buffer| buffer.is_empty() || self.place_of(buffer).is_some());
        buffers && data.child_data().iter().all(|child| self.is_mapped(child))
    }

    fn place_of(&self, buffer: &Buffer) -> Option<(FileId, usize)> {
        let maps = self.maps?;
        let beside = self.last.get().filter(|last| last.offset_of(buffer).is_some());
        let found = beside.or_else(|| maps.find(buffer))?;
        self.last.set(Some(found));
        Some((found.file, found.offset_of(buffer)?))
    }

    fn buffer(&mut self, buffer: Buffer) {
        let len = buffer.len();
        let (place, offset) = if len == 0 {
            (PLACE_NONE, 0)
        } else if let Some((file, offset)) = self.place_of(&buffer) {
            let next = PLACE_FILES + u32_of(self.files.len());
            let place = *self.places.entry(file).or_insert(next);
            if place == next {
                self.files.push(file);
            }
            (place, offset)
        } else {
            let offset = self.copied_len;
            self.copied_len = (offset + len).next_multiple_of(ALIGNMENT);
            self.copies.push((offset, buffer));
            (PLACE_COPIED, offset)
        };
        self.buffers.extend_from_slice(&place.to_le_bytes());
        self.buffers.extend_from_slice(&[0; 4]);
        self.buffers.extend_from_slice(&(offset as u64).to_le_bytes());
        self.buffers.extend_from_slice(&(len as u64).to_le_bytes());
    }
}

/// A layout that is ready to be sent.
#[derive(Debug)]
pub(crate) struct Described {
    /// The layout.
    pub(crate) bytes: Vec<u8>,
    /// The lease of the copied bytes, if there is one.
    pub(crate) lease: Option<u64>,
}

/// The type of offsets.
trait Offset: ArrowNativeType {
    fn minus(self, other: Self) -> Self;
}

impl Offset for i32 {
    fn minus(self, other: Self) -> Self {
        self - other
    }
}

impl Offset for i64 {
    fn minus(self, other: Self) -> Self {
        self - other
    }
}

fn is_view(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8View | DataType::BinaryView)
}

/// A number of arrays, as a message has it.
fn u32_of(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
