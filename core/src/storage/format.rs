//! Constants of the directory format, version 1, the files in `live/` included. They never change within a version; `docs/storage-format.md`
//! describes what they delimit and a test pins them.

/// Version of the directory format that this code writes, and the newest that it reads.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// First bytes of a log file.
pub(crate) const LOG_MAGIC: [u8; 8] = *b"PILLNLOG";
/// First bytes of a log record.
pub(crate) const RECORD_MAGIC: [u8; 4] = *b"PREC";
/// First bytes of a manifest.
pub(crate) const MANIFEST_MAGIC: [u8; 8] = *b"PILLNMAN";

/// Bytes of the header of a log file.
pub(crate) const LOG_HEADER_LEN: usize = 64;
/// Bytes of the header of a log record.
pub(crate) const RECORD_HEADER_LEN: usize = 64;
/// Bytes of the header of a manifest.
pub(crate) const MANIFEST_HEADER_LEN: usize = 64;
/// Records start at multiples of this.
pub(crate) const RECORD_ALIGNMENT: usize = 64;
/// Largest body of a log record.
pub(crate) const RECORD_BODY_MAX: usize = 8 << 20;
/// A log file has at most this many bytes.
pub(crate) const LOG_LEN_MAX: usize = 256 << 20;
/// Largest body of a manifest.
pub(crate) const MANIFEST_BODY_MAX: usize = 1 << 30;

/// Alignment of every buffer and section of a segment.
pub(crate) const SEGMENT_ALIGNMENT: usize = 64;
/// Checksums of segments cover pages of this many bytes.
pub(crate) const PAGE_LEN: usize = 64 << 10;
/// A batch of a segment has at most this many rows; fewer if they are wide.
pub(crate) const BATCH_ROWS: usize = 1 << 16;
/// A segment has at most this many rows.
pub(crate) const SEGMENT_ROWS_MAX: usize = 1 << 20;
/// A segment is closed at the first batch that reaches this many bytes.
pub(crate) const SEGMENT_BYTES_TARGET: u64 = 256 << 20;
/// Bytes of a bucket of the key index.
pub(crate) const BUCKET_LEN: usize = 64;
/// Rows that a bucket of the key index can name.
pub(crate) const BUCKET_SLOTS: usize = 12;

/// First word of `live/head`, as bytes.
pub(crate) const HEAD_MAGIC: [u8; 8] = *b"PILNHEAD";
/// Words of `live/head`.
pub(crate) const HEAD_WORDS: usize = 512;
/// First word of the index of a tail, as bytes.
pub(crate) const INDEX_MAGIC: [u8; 8] = *b"PILNTAIL";
/// Capacity of the first index of a tail, unless its first commit needs more; each larger one has at least twice as much.
pub(crate) const FIRST_CAPACITY: usize = 1 << 10;

/// Rounds up to a multiple of a power of two.
pub(crate) const fn align_up(len: usize, alignment: usize) -> usize {
    (len + alignment - 1) & !(alignment - 1)
}

/// The checksum of everything on disk: XXH3 of 64 bits, seed 0.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// Reads a little-endian number at `offset` if the bytes are there.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// Reads a little-endian number at `offset` if the bytes are there.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These numbers are on disk and in `docs/storage-format.md`: a change of any of them is a new format version.
    #[test]
    fn the_document_states_every_constant() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/storage-format.md");
        let document = std::fs::read_to_string(path).unwrap();
        let (_, block) = document.split_once("```constants\n").unwrap();
        let (block, _) = block.split_once("```").unwrap();
        let text = |magic: &[u8]| format!("{:?}", std::str::from_utf8(magic).unwrap());
        macro_rules! numbers {
            ($($name:ident)+) => { [$((stringify!($name), $name.to_string()),)+] };
        }
        let magics = [
            ("LOG_MAGIC", text(&LOG_MAGIC)),
            ("RECORD_MAGIC", text(&RECORD_MAGIC)),
            ("MANIFEST_MAGIC", text(&MANIFEST_MAGIC)),
            ("HEAD_MAGIC", text(&HEAD_MAGIC)),
            ("INDEX_MAGIC", text(&INDEX_MAGIC)),
        ];
        let numbers = numbers! {
            FORMAT_VERSION LOG_HEADER_LEN RECORD_HEADER_LEN MANIFEST_HEADER_LEN RECORD_ALIGNMENT RECORD_BODY_MAX
            MANIFEST_BODY_MAX LOG_LEN_MAX SEGMENT_ALIGNMENT PAGE_LEN BATCH_ROWS SEGMENT_ROWS_MAX SEGMENT_BYTES_TARGET BUCKET_LEN
            BUCKET_SLOTS HEAD_WORDS FIRST_CAPACITY
        };
        let mut stated: Vec<&str> = block.lines().collect();
        let mut ours: Vec<String> =
            magics.iter().chain(&numbers).map(|(name, value)| format!("{name} = {value}")).collect();
        stated.sort_unstable();
        ours.sort_unstable();
        assert_eq!(stated, ours);
    }
}
