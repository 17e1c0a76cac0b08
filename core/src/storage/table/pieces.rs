//! The live rows of a batch, as they are handed out.

use std::collections::VecDeque;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;

use crate::types::error::{Error, Result};

/// Up to so many stretches of live rows are handed out as slices of their batch.
const SLICES_MAX: usize = 16;
/// If there are more stretches, this many rows are copied at a time: the copy is read while it is in the processor's
/// caches, and its memory is reused for the next one.
const PIECE_ROWS: usize = 8192;
/// Up to so many stretches of a piece are handed out as slices, more as a copy.
const PIECE_SLICES_MAX: usize = 2;

/// Batches with the live rows of one batch: the batch itself if no row is deleted, slices of it if few stretches are
/// left, otherwise copies, made piece by piece as they are asked for. Or a single error in their place.
pub(crate) struct Pieces {
    ready: VecDeque<Result<RecordBatch>>,
    rest: Option<Rest>,
}

struct Rest {
    batch: RecordBatch,
    live: BooleanBuffer,
    start: usize,
}

impl Pieces {
    /// The rows of `batch` whose bits in `live` are set; without `live`, all rows.
    pub(super) fn of(batch: RecordBatch, live: Option<BooleanBuffer>) -> Self {
        let Some(live) = live else { return Self::from(vec![batch]) };
        match slices(&batch, &live, SLICES_MAX) {
            Some(slices) => Self::from(slices),
            None => Self { ready: VecDeque::new(), rest: Some(Rest { batch, live, start: 0 }) },
        }
    }
}

impl From<Vec<RecordBatch>> for Pieces {
    fn from(ready: Vec<RecordBatch>) -> Self {
        Self { ready: ready.into_iter().map(Ok).collect(), rest: None }
    }
}

impl From<Error> for Pieces {
    fn from(error: Error) -> Self {
        Self { ready: VecDeque::from([Err(error)]), rest: None }
    }
}

impl Iterator for Pieces {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            let rest = self.rest.as_mut()?;
            let len = PIECE_ROWS.min(rest.live.len() - rest.start);
            if len == 0 {
                return None;
            }
            let (batch, live) = (rest.batch.slice(rest.start, len), rest.live.slice(rest.start, len));
            rest.start += len;
            match slices(&batch, &live, PIECE_SLICES_MAX) {
                Some(slices) => self.ready.extend(slices.into_iter().map(Ok)),
                None => return Some(filter_record_batch(&batch, &BooleanArray::from(live)).map_err(failed)),
            }
        }
    }
}

/// The stretches of live rows, if they are no more than `most`.
fn slices(batch: &RecordBatch, live: &BooleanBuffer, most: usize) -> Option<Vec<RecordBatch>> {
    let stretches: Vec<(usize, usize)> = live.set_slices().take(most + 1).collect();
    let slices = || stretches.iter().map(|&(start, end)| batch.slice(start, end - start)).collect();
    (stretches.len() <= most).then(slices)
}

fn failed(error: arrow::error::ArrowError) -> Error {
    Error::internal("cannot select live rows").with_source(error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn every_live_row_comes_once_and_in_order() {
        let rows = 3 * PIECE_ROWS + 77;
        let ids = Int64Array::from_iter_values(0..i64::try_from(rows).unwrap());
        let batch = RecordBatch::try_from_iter([("id", Arc::new(ids) as _)]).unwrap();
        // From all rows to none, with deletions spread evenly or in some pieces only.
        let patterns: [fn(usize) -> bool; 7] = [
            |_| true,
            |_| false,
            |row| row % 2 == 0,
            |row| row % 1000 != 0,
            |row| row % 5000 != 0,
            |row| row < PIECE_ROWS || row % 3 == 0,
            |row| row >= PIECE_ROWS || row % 3 == 0,
        ];
        for (number, is_live) in patterns.into_iter().enumerate() {
            for skipped in [0, 5] {
                let batch = batch.slice(skipped, rows - skipped);
                let live = BooleanBuffer::collect_bool(rows, is_live).slice(skipped, rows - skipped);
                let pieces: Vec<RecordBatch> = Pieces::of(batch, Some(live)).collect::<Result<_>>().unwrap();
                assert!(pieces.iter().all(|piece| piece.num_rows() > 0), "{number}");
                let found =
                    pieces.iter().flat_map(|piece| piece.column(0).as_primitive::<Int64Type>().values());
                let expected =
                    (skipped..rows).filter(|&row| is_live(row)).map(|row| i64::try_from(row).unwrap());
                assert!(found.copied().eq(expected), "{number}");
            }
        }
    }
}
