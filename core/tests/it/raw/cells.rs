//! Lookups in fixed layouts, written from docs/protocol.md.

use super::layout::Cell;

/// Number of the call.
pub(crate) const GET_ROW: u16 = 27;

/// The body of a lookup by a key of one integer.
pub(crate) fn get_row(snapshot: u64, table: u64, key: i64) -> Vec<u8> {
    [&snapshot.to_le_bytes()[..], &table.to_le_bytes(), &[2], &key.to_le_bytes()].concat()
}

/// The contents of an answer.
#[derive(Debug, PartialEq)]
pub(crate) struct FoundRow {
    pub(crate) incarnation: u64,
    pub(crate) sequence: u64,
    pub(crate) as_of: i64,
    /// An integer of 64 bits and a text, if there is a row.
    pub(crate) cells: Option<Vec<Cell>>,
}

/// Reads an answer of rows with an integer of 64 bits and a text.
pub(crate) fn found(body: &[u8]) -> FoundRow {
    let number = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().unwrap());
    let cells = (body[24] == 1).then(|| {
        let (id, name) = body[25..].split_at(9);
        assert_eq!(id[0], 1, "a key is not null");
        let id = i64::from_le_bytes(id[1..].try_into().unwrap()).to_string();
        let (is_there, name) = name.split_first().unwrap();
        let name = (*is_there == 1).then(|| {
            let (len, text) = name.split_first_chunk().unwrap();
            assert_eq!(u32::from_le_bytes(*len) as usize, text.len(), "nothing follows");
            String::from_utf8(text.to_vec()).unwrap()
        });
        vec![Some(id), name]
    });
    assert!(cells.is_some() || body.len() == 25 && body[24] == 0);
    let as_of = number(16).cast_signed();
    FoundRow { incarnation: number(0), sequence: number(8), as_of, cells }
}
