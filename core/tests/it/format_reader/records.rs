//! Headers and records as docs/storage-format.md has them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_bytes::ByteBuf;
use xxhash_rust::xxh3::xxh3_64 as checksum;

/// A number of four bytes.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

/// A number of eight bytes.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

/// A number of eight bytes that counts something in memory.
pub(super) fn len_at(bytes: &[u8], offset: usize) -> usize {
    usize::try_from(u64_at(bytes, offset)).unwrap()
}

fn version_is_known(bytes: &[u8]) {
    assert!(u32_at(bytes, 8) <= 1, "a newer format");
}

/// A log file.
pub(super) struct Log {
    pub(super) base_sequence: u64,
    pub(super) bytes: Vec<u8>,
}

impl Log {
    /// `None` if the header is not whole.
    pub(super) fn parse(number: u64, bytes: Vec<u8>) -> Option<Self> {
        let header = bytes.get(..64).filter(|header| header.starts_with(b"PILLNLOG"))?;
        version_is_known(header);
        if checksum(&header[..56]) != u64_at(header, 56) {
            return None;
        }
        assert_eq!(u64_at(header, 16), number, "the number in the name");
        Some(Self { base_sequence: u64_at(header, 24), bytes })
    }

    /// The record at an offset, if there is a whole one, and the offset of the next.
    pub(super) fn record(&self, offset: usize) -> Option<(LogRecord<'_>, usize)> {
        let header = self.bytes.get(offset..offset + 64)?;
        if !header.starts_with(b"PREC") || checksum(&header[..56]) != u64_at(header, 56) {
            return None;
        }
        let kind = u32_at(header, 4);
        let body = self.bytes.get(offset + 64..offset + 64 + len_at(header, 24))?;
        if !(1..=3).contains(&kind) || body.len() > 8_388_608 || checksum(body) != u64_at(header, 32) {
            return None;
        }
        let edits = body.get(..len_at(header, 40))?;
        let data = body.get(edits.len().next_multiple_of(64)..).unwrap_or_default();
        let record =
            LogRecord { kind, incarnation: u64_at(header, 8), sequence: u64_at(header, 16), edits, data };
        Some((record, (offset + 64 + body.len()).next_multiple_of(64)))
    }

    /// Whether whole records follow after damage.
    pub(super) fn has_records_behind(&self, offset: usize) -> bool {
        (offset..self.bytes.len()).step_by(64).any(|offset| self.record(offset).is_some())
    }
}

/// A record of a log file.
pub(super) struct LogRecord<'a> {
    pub(super) kind: u32,
    pub(super) incarnation: u64,
    pub(super) sequence: u64,
    edits: &'a [u8],
    pub(super) data: &'a [u8],
}

impl LogRecord<'_> {
    pub(super) fn edits(&self) -> Vec<Edit> {
        rmp_serde::from_slice(self.edits).expect("the checksum held")
    }
}

/// A manifest.
pub(super) struct Manifest {
    pub(super) incarnation: u64,
    pub(super) sequence: u64,
    pub(super) body: ManifestBody,
}

impl Manifest {
    /// `None` if it is not whole.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..64).filter(|header| header.starts_with(b"PILLNMAN"))?;
        version_is_known(header);
        let body = &bytes[64..];
        let is_whole = checksum(&header[..56]) == u64_at(header, 56)
            && body.len() == len_at(header, 32)
            && checksum(body) == u64_at(header, 40);
        is_whole.then(|| Self {
            incarnation: u64_at(header, 16),
            sequence: u64_at(header, 24),
            body: rmp_serde::from_slice(body).expect("the checksum held"),
        })
    }
}

#[derive(Deserialize)]
pub(super) struct ManifestBody {
    pub(super) log: u64,
    pub(super) incarnations: Vec<(u64, u64)>,
    pub(super) next_table: u64,
    pub(super) next_segment: u64,
    pub(super) tables: Vec<ManifestTable>,
    pub(super) positions: BTreeMap<String, ByteBuf>,
}

#[derive(Deserialize)]
pub(super) struct ManifestTable {
    pub(super) table: TableRecord,
    pub(super) segments: Vec<SegmentRecord>,
    pub(super) deleted: Vec<DeletedRecord>,
    pub(super) as_of: Option<i64>,
}

#[derive(Deserialize)]
pub(super) enum Edit {
    DefineTable(TableRecord),
    DropTable {
        table: u64,
    },
    AddSegments {
        table: u64,
        segments: Vec<SegmentRecord>,
        replaced: u64,
        deleted: Vec<DeletedRecord>,
    },
    Insert {
        table: u64,
        rows: RowsRecord,
        replaced: u64,
    },
    Delete {
        table: u64,
        keys: RowsRecord,
        deleted: u64,
    },
    Truncate {
        table: u64,
    },
    Rewrite {
        table: u64,
        segments: Vec<u64>,
        log: u64,
        into: Vec<SegmentRecord>,
        deleted: Vec<DeletedRecord>,
    },
    SetFreshness {
        table: u64,
        as_of: i64,
    },
    SetPosition {
        source: String,
        position: ByteBuf,
    },
}

#[derive(Deserialize)]
pub(super) struct TableRecord {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) schema: ByteBuf,
    pub(super) primary_key: Vec<String>,
    pub(super) sort_by: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct SegmentRecord {
    pub(super) id: u64,
    pub(super) rows: u64,
    pub(super) len: u64,
    pub(super) directory_offset: u64,
    pub(super) directory_len: u64,
    pub(super) directory_checksum: u64,
    pub(super) min_key: ByteBuf,
    pub(super) max_key: Option<ByteBuf>,
}

#[derive(Deserialize)]
pub(super) struct DeletedRecord {
    pub(super) segment: u64,
    rows: ByteBuf,
    bits: ByteBuf,
}

impl DeletedRecord {
    /// The rows that it lists.
    pub(super) fn rows(&self) -> Vec<usize> {
        let (numbers, rest) = self.rows.as_chunks::<4>();
        let (words, more) = self.bits.as_chunks::<8>();
        assert!(rest.is_empty() && more.is_empty() && (self.rows.is_empty() || self.bits.is_empty()));
        let numbers = numbers.iter().map(|bytes| u32::from_le_bytes(*bytes) as usize);
        let bits = words.iter().enumerate().flat_map(|(number, bytes)| {
            let word = u64::from_le_bytes(*bytes);
            (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| 64 * number + bit)
        });
        numbers.chain(bits).collect()
    }
}

#[derive(Deserialize)]
pub(super) struct RowsRecord {
    pub(super) positions: Positions,
}

/// Where the buffers of a batch are.
#[derive(Deserialize)]
pub(super) struct Positions {
    pub(super) rows: usize,
    pub(super) nodes: Vec<(usize, usize)>,
    pub(super) buffers: Vec<Section>,
    pub(super) variadic: Vec<usize>,
}

/// A range of bytes.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Section {
    pub(super) offset: usize,
    pub(super) len: usize,
}

impl Section {
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.offset..self.offset + self.len]
    }
}

/// The directory of a segment.
#[derive(Deserialize)]
pub(super) struct Directory {
    pub(super) rows: usize,
    pub(super) batches: Vec<Positions>,
    pub(super) index: Option<Section>,
    pub(super) zones: Section,
    pub(super) checksums: Section,
    pub(super) checksums_checksum: u64,
}
