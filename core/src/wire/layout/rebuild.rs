//! Layouts as record batches again.
#![expect(unsafe_code, reason = "the bytes of an answer are those of arrays that the sidecar describes")]

use std::any::Any;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::{DataType, SchemaRef};
use pillion_ipc::Lease;

use super::{
    BATCH_LEN, BUFFER_LEN, FILE_LEN, HEADER_LEN, LAYOUT_VERSION, NODE_LEN, PLACE_COPIED, PLACE_FILES,
    PLACE_NONE,
};
use crate::storage::{FileId, Node, Parts, Region, assemble, u32_at, u64_at};
use crate::types::error::{Error, Result};

/// Most values of one array: more than any memory holds, yet few enough that sums and products of lengths do not
/// overflow.
const VALUES_MAX: usize = usize::MAX >> 8;

/// Where the bytes of a layout are found.
pub(crate) trait Memory {
    /// The memory of a lease, and a guard that keeps the lease as long as it lives.
    fn lease(&self, lease: Lease) -> Result<(Region, Arc<dyn Any + Send + Sync>)>;

    /// A file of the cache.
    fn file(&self, file: FileId) -> Result<Region>;
}

/// The batches of a layout. Only a body is copied. The contents of the buffers are trusted: whoever described them
/// vouches for them.
///
/// # Errors
/// [`Internal`](crate::ErrorCode::Internal) for bytes that are not a layout of these columns; those of `memory`.
pub(crate) fn rebuild(bytes: &[u8], schema: &SchemaRef, memory: &dyn Memory) -> Result<Vec<RecordBatch>> {
    let parsed = Layout::parse(bytes).ok_or_else(|| wrong("its numbers are cut short"))?;
    // First of all: once the guard of the lease exists, the lease is given back whatever follows.
    let copied = match parsed.lease {
        Some(lease) => {
            let (region, guard) = memory.lease(lease)?;
            Copied::Leased { region, lease, guard }
        }
        None => {
            let mut body = MutableBuffer::with_capacity(parsed.body.len());
            body.extend_from_slice(parsed.body);
            Copied::Body(body.into())
        }
    };
    let files: Vec<Region> = parsed.files.iter().map(|&file| memory.file(file)).collect::<Result<_>>()?;
    let mut parts = DescribedParts { layout: &parsed, files, copied, node: 0, buffer: 0, is_empty: false };
    let mut batches = Vec::with_capacity(parsed.rows.len());
    for &rows in &parsed.rows {
        // SAFETY: the sidecar describes arrays of its own, which are valid. Whoever may connect trusts it, as the
        // owner of the files, to vouch for their pages; and it does not write leased memory again before the lease is
        // returned.
        let columns = schema.fields().iter().map(|field| unsafe { assemble(field.data_type(), &mut parts) });
        let columns = columns.collect::<Result<_, String>>().map_err(|what| wrong(&what))?;
        let rows = usize::try_from(rows).map_err(|_| wrong("a batch is too long"))?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options);
        batches.push(batch.map_err(|error| wrong("a batch does not fit its columns").with_source(error))?);
    }
    if parts.node != parsed.nodes.len() || parts.buffer != parsed.buffers.len() {
        return Err(wrong("it has more arrays than there are columns"));
    }
    Ok(batches)
}

fn wrong(what: &str) -> Error {
    Error::internal(format!("an answer of the sidecar is not understood: {what}"))
}

/// The numbers of a layout.
struct Layout<'a> {
    files: Vec<FileId>,
    rows: Vec<u64>,
    nodes: &'a [[u8; NODE_LEN]],
    buffers: &'a [[u8; BUFFER_LEN]],
    lease: Option<Lease>,
    body: &'a [u8],
}

impl<'a> Layout<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, mut rest) = bytes.split_first_chunk::<HEADER_LEN>()?;
        let small = |position: usize| u32_at(header, 4 * position);
        let large = |position: usize| u64_at(header, 24 + 8 * position);
        if small(0) != Some(LAYOUT_VERSION) {
            return None;
        }
        let mut take = |count: Option<u32>, len: usize| {
            let len = usize::try_from(count?).ok()?.checked_mul(len)?;
            let (part, after) = rest.split_at_checked(len)?;
            rest = after;
            Some(part)
        };
        let files = take(small(4), FILE_LEN)?;
        let rows = take(small(1), BATCH_LEN)?;
        let nodes = take(small(2), NODE_LEN)?;
        let buffers = take(small(3), BUFFER_LEN)?;
        let id = large(0)?;
        let lease = Lease { id, offset: usize_of(large(1)?)?, len: usize_of(large(2)?)? };
        if usize_of(large(3)?)? != rest.len() {
            return None;
        }
        let file = |bytes: &[u8]| Some(FileId { table: u64_at(bytes, 0)?, segment: u64_at(bytes, 8)? });
        Some(Self {
            files: files.chunks_exact(FILE_LEN).map(file).collect::<Option<_>>()?,
            rows: rows.chunks_exact(BATCH_LEN).map(|bytes| u64_at(bytes, 0)).collect::<Option<_>>()?,
            nodes: nodes.as_chunks().0,
            buffers: buffers.as_chunks().0,
            lease: (id != 0).then_some(lease),
            body: rest,
        })
    }
}

enum Copied {
    Body(Buffer),
    Leased { region: Region, lease: Lease, guard: Arc<dyn Any + Send + Sync> },
}

struct DescribedParts<'a> {
    layout: &'a Layout<'a>,
    files: Vec<Region>,
    copied: Copied,
    node: usize,
    buffer: usize,
    /// Whether the last node that was read is an array without values.
    is_empty: bool,
}

impl Parts for DescribedParts<'_> {
    fn node(&mut self, _: &DataType) -> Result<Node, String> {
        let bytes = self.layout.nodes.get(self.node).ok_or("it lacks arrays of its columns")?;
        self.node += 1;
        let large = |offset| u64_at(bytes, offset).and_then(usize_of).ok_or("an array is too long");
        let len = large(0)?;
        if len > VALUES_MAX {
            return Err("an array is too long".to_owned());
        }
        self.is_empty = len == 0;
        Ok(Node {
            len,
            nulls: large(8)?,
            first_bit: if self.is_empty { 0 } else { bytes[20].into() },
            first_validity_bit: bytes[21].into(),
            data_buffers: u32_at(bytes, 16).and_then(|count| count.try_into().ok()).unwrap_or_default(),
        })
    }

    fn validity(&mut self, needed: bool) -> Result<Option<Buffer>, String> {
        needed.then(|| self.buffer()).transpose()
    }

    fn buffer(&mut self) -> Result<Buffer, String> {
        let bytes = self.layout.buffers.get(self.buffer).ok_or("it lacks buffers of its columns")?;
        self.buffer += 1;
        let outside = || "a buffer is out of bounds".to_owned();
        let place = u32_at(bytes, 0).ok_or_else(outside)?;
        let offset = u64_at(bytes, 8).and_then(usize_of).ok_or_else(outside)?;
        let len = u64_at(bytes, 16).and_then(usize_of).ok_or_else(outside)?;
        let end = offset.checked_add(len).ok_or_else(outside)?;
        if self.is_empty {
            // Arrow needs no buffer for an array without values, and this one may be of any kind and alignment.
            return Ok(Buffer::default());
        }
        match place {
            PLACE_NONE if len == 0 => Ok(Buffer::default()),
            PLACE_COPIED => match &self.copied {
                Copied::Body(body) if end <= body.len() => Ok(body.slice_with_length(offset, len)),
                Copied::Leased { region, lease, guard } if end <= lease.len => {
                    let start = lease.offset.checked_add(offset).ok_or_else(outside)?;
                    region.leased_buffer(start, len, guard).ok_or_else(outside)
                }
                _ => Err(outside()),
            },
            _ => {
                let position =
                    place.checked_sub(PLACE_FILES).and_then(|position| usize::try_from(position).ok());
                let file = position.and_then(|position| self.files.get(position)).ok_or_else(outside)?;
                file.buffer(offset, len).ok_or_else(outside)
            }
        }
    }
}

fn usize_of(number: u64) -> Option<usize> {
    usize::try_from(number).ok()
}
