//! Reads the rows of a table, part by part.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

use super::TableState;
use super::pieces::Pieces;
use crate::storage::format::BATCH_ROWS;
use crate::storage::segment::SegmentHandle;
use crate::storage::tail::{JOINED_BATCHES, TailView};
use crate::types::error::{Error, Result};

/// Batches of a tail with fewer rows than this are handed out together, as one copy.
const SMALL_BATCH_ROWS: usize = 4096;
/// Small batches are handed out together up to this many bytes.
const COPIED_BYTES_MAX: u64 = 16 << 20;
/// Batches with fewer rows than this, on average, are copied row by row.
const GATHERED_ROWS: usize = 32;

/// Rows that are read together.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// A batch of a segment.
    Segment {
        /// The segment.
        segment: Arc<SegmentHandle>,
        /// The number of the batch.
        batch: usize,
    },
    /// Batches of a tail.
    Tail {
        /// The tail's place among those of the table.
        tail: usize,
        /// The batches.
        batches: Range<usize>,
    },
    /// Batches of a tail that are joined once for all readers.
    Joined {
        /// The tail's place among those of the table.
        tail: usize,
        /// The batches.
        batches: Range<usize>,
    },
}

impl TableState {
    /// The parts of a segment; opens it.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorCode::Corrupt) or [`Io`](crate::ErrorCode::Io).
    pub(crate) fn segment_parts(segment: &Arc<SegmentHandle>) -> Result<impl Iterator<Item = Part> + use<>> {
        let segment = segment.clone();
        Ok((0..segment.open()?.batch_count())
            .map(move |batch| Part::Segment { segment: segment.clone(), batch }))
    }

    /// The parts of the tails. Batches of small commits are joined and stay so for later reads.
    ///
    /// # Errors
    /// [`Internal`](crate::ErrorCode::Internal).
    pub(crate) fn tail_parts(&self) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        for (tail, view) in self.tails.iter().enumerate() {
            for start in (0..view.batches).step_by(JOINED_BATCHES) {
                let batches = start..view.batches.min(start + JOINED_BATCHES);
                if view.are_joined(&batches)? {
                    parts.push(Part::Joined { tail, batches });
                } else {
                    split(view, batches, |batches| parts.push(Part::Tail { tail, batches }))?;
                }
            }
        }
        Ok(parts)
    }

    /// The parts of the tails, for a caller that reads them once; nothing is joined for later.
    ///
    /// # Errors
    /// [`Internal`](crate::ErrorCode::Internal).
    pub(crate) fn tail_parts_once(&self) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        for (tail, view) in self.tails.iter().enumerate() {
            split(view, 0..view.batches, |batches| parts.push(Part::Tail { tail, batches }))?;
        }
        Ok(parts)
    }

    /// Rows of a part, deleted ones included.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorCode::Corrupt) or [`Io`](crate::ErrorCode::Io).
    #[cfg(any(test, feature = "sql"))]
    pub(crate) fn part_len(&self, part: &Part) -> Result<usize> {
        Ok(match part {
            Part::Segment { segment, batch } => segment.open()?.batch_rows(*batch),
            Part::Tail { tail, batches } | Part::Joined { tail, batches } => {
                self.tails[*tail].rows_of(batches.clone())?.len()
            }
        })
    }

    /// Rows of a part that are live at a sequence.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorCode::Corrupt) or [`Io`](crate::ErrorCode::Io).
    #[cfg(any(test, feature = "sql"))]
    pub(crate) fn part_live_rows(&self, part: &Part, sequence: u64) -> Result<usize> {
        match part {
            Part::Segment { segment, batch } => match self.live_rows(segment, *batch, sequence)? {
                Some(live) => Ok(live.count_set_bits()),
                None => self.part_len(part),
            },
            Part::Tail { tail, batches } | Part::Joined { tail, batches } => {
                let view = &self.tails[*tail];
                Ok(view.live_count(view.rows_of(batches.clone())?, sequence))
            }
        }
    }

    /// The rows of a range of a part that are live at a sequence, with some of their columns, all at once.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorCode::Corrupt) or [`Io`](crate::ErrorCode::Io).
    pub(crate) fn read_part(
        &self,
        part: &Part,
        rows: Option<Range<usize>>,
        sequence: u64,
        projection: &[usize],
        schema: &SchemaRef,
    ) -> Result<Vec<RecordBatch>> {
        self.pieces(part, rows, sequence, projection, schema).collect()
    }

    /// As [`read_part`](Self::read_part), piece by piece as they are asked for.
    pub(crate) fn pieces(
        &self,
        part: &Part,
        rows: Option<Range<usize>>,
        sequence: u64,
        projection: &[usize],
        schema: &SchemaRef,
    ) -> Pieces {
        self.try_pieces(part, rows, sequence, projection, schema).unwrap_or_else(Pieces::from)
    }

    fn try_pieces(
        &self,
        part: &Part,
        rows: Option<Range<usize>>,
        sequence: u64,
        projection: &[usize],
        schema: &SchemaRef,
    ) -> Result<Pieces> {
        match part {
            Part::Segment { segment, batch } => {
                let open = segment.open()?;
                let read = open.read_batch(*batch, projection, schema)?;
                let range = rows.unwrap_or_else(|| 0..read.num_rows());
                let live = self.live_rows(segment, *batch, sequence)?;
                let read = read.slice(range.start, range.len());
                Ok(Pieces::of(read, live.map(|live| live.slice(range.start, range.len()))))
            }
            Part::Tail { tail, batches } => {
                let view = &self.tails[*tail];
                let rows = view.rows_of(batches.clone())?.len();
                if rows < GATHERED_ROWS * batches.len() {
                    let live = view.gather_live(batches.clone(), sequence, projection, schema)?;
                    let is_empty = live.num_rows() == 0;
                    return Ok(if is_empty { Vec::new() } else { vec![live] }.into());
                }
                let mut parts = Vec::new();
                for number in batches.clone() {
                    let live = view.live_mask(view.rows_of(number..number + 1)?, sequence);
                    let rows = project(&view.batch(number)?.rows, projection, schema)?;
                    parts.extend(Pieces::of(rows, live).collect::<Result<Vec<_>>>()?);
                }
                if batches.len() > 1 && parts.len() > 1 {
                    parts = vec![concat_batches(schema, &parts).map_err(failed)?];
                }
                Ok(parts.into())
            }
            Part::Joined { tail, batches } => {
                let view = &self.tails[*tail];
                let live = view.live_mask(view.rows_of(batches.clone())?, sequence);
                Ok(Pieces::of(project(view.joined(batches.clone())?, projection, schema)?, live))
            }
        }
    }

    /// Which rows of a segment's batch are live at a sequence; `None`: all.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorCode::Corrupt) or [`Io`](crate::ErrorCode::Io).
    pub(crate) fn live_rows(
        &self,
        segment: &Arc<SegmentHandle>,
        batch: usize,
        sequence: u64,
    ) -> Result<Option<BooleanBuffer>> {
        if self.is_plain() {
            return Ok(None);
        }
        let open = segment.open()?;
        let (start, len) = (open.batch_start(batch), open.batch_rows(batch));
        let (words, first) = (start / 64..(start + len).div_ceil(64), start % 64);
        let mut live: Option<Vec<u64>> =
            self.deleted.get(&segment.id()).map(|deleted| deleted.others(words.clone()));
        let number = u32::try_from(batch).map_err(|_| Error::internal("a segment has too many batches"))?;
        for index in self.tails.iter().filter_map(|tail| tail.index.as_ref()) {
            index.deleted_in_batch(segment.id(), number, sequence, |row| {
                let live = live.get_or_insert_with(|| vec![u64::MAX; words.len()]);
                let row = row as usize;
                if let Some(word) = (row / 64).checked_sub(words.start).and_then(|word| live.get_mut(word)) {
                    *word &= !(1 << (row % 64));
                }
            });
        }
        Ok(live.map(|live| BooleanBuffer::new(Buffer::from_vec(live), first, len)))
    }
}

/// Splits batches of a tail into parts that are large enough to read; small batches share a part.
fn split(view: &TailView, batches: Range<usize>, mut part: impl FnMut(Range<usize>)) -> Result<()> {
    let (mut start, mut rows) = (batches.start, 0);
    for number in batches.clone() {
        let len = view.batch(number)?.rows.num_rows();
        let is_much = || Ok::<_, Error>(view.bytes_of(start..number + 1)? > COPIED_BYTES_MAX);
        if number > start && (len >= SMALL_BATCH_ROWS || rows + len > BATCH_ROWS || is_much()?) {
            part(start..number);
            (start, rows) = (number, 0);
        }
        rows += len;
        if rows >= SMALL_BATCH_ROWS {
            part(start..number + 1);
            (start, rows) = (number + 1, 0);
        }
    }
    if start < batches.end {
        part(start..batches.end);
    }
    Ok(())
}

fn project(rows: &RecordBatch, projection: &[usize], schema: &SchemaRef) -> Result<RecordBatch> {
    rows.project(projection).and_then(|rows| rows.with_schema(schema.clone())).map_err(failed)
}

fn failed(error: arrow::error::ArrowError) -> Error {
    Error::internal("cannot select live rows").with_source(error)
}
