//! Reading whole tables.

use std::fs::File;
use std::hint::black_box;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{ArrowNativeType, DataType, Float64Type, Int64Type};
use pillion::{Cache, Table};
use rustix::fs::{Advice, fadvise};

use super::{ATTACHED, EMBEDDED, REMOTE};
use crate::Result;
use crate::data::{Points, mix};
use crate::harness::{Contestant, Sink};
use crate::process::Sidecar;

/// Takes a whole table, to the last batch. It does not read the content of the batches, and dropping them is not timed.
#[derive(Debug)]
pub struct Whole {
    table: Table,
    taken: Vec<RecordBatch>,
}

impl Whole {
    /// Takes `table`.
    pub fn new(table: Table) -> Self {
        Self { table, taken: Vec::new() }
    }
}

impl Contestant for Whole {
    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        self.taken = take(&self.table)?;
        sink.int(rows(&self.taken));
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.taken = Vec::new();
        Ok(())
    }

    fn check(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        self.call(call, &mut crate::harness::Forget)?;
        digest(&self.taken, sink)
    }
}

/// Takes a whole table and passes over every byte of it, once.
#[derive(Debug)]
pub struct WholePass {
    table: Table,
    taken: Vec<RecordBatch>,
}

impl WholePass {
    /// Takes `table`.
    pub fn new(table: Table) -> Self {
        Self { table, taken: Vec::new() }
    }
}

impl Contestant for WholePass {
    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        self.taken = take(&self.table)?;
        let passed = pass(&self.taken);
        sink.int(black_box(passed.sum).cast_signed());
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.taken = Vec::new();
        Ok(())
    }

    fn check(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        self.call(call, &mut crate::harness::Forget)?;
        sink.int(pass(&self.taken).len.cast_signed());
        digest(&self.taken, sink)
    }
}

/// How a cache that nobody has open is reached for a [`WholeFirst`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// This process opens it.
    Embedded,
    /// A new sidecar opens it, and this process attaches.
    Attached,
    /// A new sidecar opens it, and this process asks the sidecar.
    Remote,
}

impl Opened {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Embedded, Self::Attached, Self::Remote];

    /// The name of the contestant.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => EMBEDDED,
            Self::Attached => ATTACHED,
            Self::Remote => REMOTE,
        }
    }
}

/// Takes a whole table of a cache that was just opened: this maps its files and checks every page. Opening the cache is
/// not timed.
#[derive(Debug)]
pub struct WholeFirst {
    dir: PathBuf,
    opened: Opened,
    is_cold: bool,
    /// Whether every byte of it is passed over, too.
    passes: bool,
    taken: Vec<RecordBatch>,
    table: Option<Table>,
    cache: Option<Cache>,
    sidecar: Option<Sidecar>,
}

impl WholeFirst {
    /// Takes the table of the cache in `dir`, which nobody owns.
    pub fn new(dir: impl Into<PathBuf>, opened: Opened) -> Self {
        let dir = dir.into();
        Self {
            dir,
            opened,
            is_cold: false,
            passes: false,
            taken: Vec::new(),
            table: None,
            cache: None,
            sidecar: None,
        }
    }

    /// As [`new`](Self::new), with nothing of the cache's files in memory.
    pub fn cold(dir: impl Into<PathBuf>, opened: Opened) -> Self {
        Self { is_cold: true, ..Self::new(dir, opened) }
    }

    /// The same, followed by one pass over every byte.
    #[must_use]
    pub fn with_pass(self) -> Self {
        Self { passes: true, ..self }
    }
}

impl Contestant for WholeFirst {
    fn prepare(&mut self, _: u64) -> Result<()> {
        if self.is_cold {
            evict(&self.dir)?;
        }
        let cache = match self.opened {
            Opened::Embedded => Cache::open(&self.dir)?,
            Opened::Attached => self.sidecar.insert(Sidecar::start(&self.dir)?).attached()?,
            Opened::Remote => self.sidecar.insert(Sidecar::start(&self.dir)?).remote()?,
        };
        self.table = Some(cache.table(Points::NAME)?);
        self.cache = Some(cache);
        Ok(())
    }

    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        self.taken = take(self.table.as_ref().ok_or("nothing is open")?)?;
        sink.int(rows(&self.taken));
        if self.passes {
            sink.int(black_box(pass(&self.taken).sum).cast_signed());
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.taken = Vec::new();
        self.table = None;
        if let Some(cache) = self.cache.take() {
            cache.close()?;
        }
        self.sidecar.take().map_or(Ok(()), Sidecar::stop)
    }

    fn check(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        self.call(call, &mut crate::harness::Forget)?;
        digest(&self.taken, sink)
    }
}

/// Removes the files below a folder from the page cache, except those that a process has mapped.
fn evict(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            evict(&path)?;
        } else if path.is_file() {
            let file = File::open(path)?;
            // Pages that are not written yet would stay.
            file.sync_all()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

fn take(table: &Table) -> Result<Vec<RecordBatch>> {
    Ok(table.scan()?.collect::<pillion::Result<_>>()?)
}

fn rows(batches: &[RecordBatch]) -> i64 {
    batches.iter().map(RecordBatch::num_rows).sum::<usize>().cast_signed() as i64
}

/// The result of a pass over bytes.
#[derive(Default)]
struct Passed {
    sum: u64,
    len: u64,
}

fn pass(batches: &[RecordBatch]) -> Passed {
    let mut passed = Passed::default();
    for column in batches.iter().flat_map(RecordBatch::columns) {
        pass_array(column, &mut passed);
    }
    passed
}

/// Passes over an array. Offsets are read but not counted: each batch has one more of them than values.
fn pass_array(array: &dyn Array, passed: &mut Passed) {
    if let Some(texts) = array.as_string_opt::<i32>() {
        let offsets = texts.value_offsets();
        passed.sum = passed.sum.wrapping_add(sum(texts.offsets().inner().inner()));
        // The array may be a slice, which holds the texts of the whole batch and needs only a part.
        let (first, last) = (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize());
        pass_values(&texts.values()[first..last], passed);
        return;
    }
    array.to_data().buffers().iter().for_each(|buffer| pass_values(buffer, passed));
}

fn pass_values(bytes: &[u8], passed: &mut Passed) {
    passed.sum = passed.sum.wrapping_add(sum(bytes));
    passed.len += bytes.len() as u64;
}

fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(0, |sum: u64, &word| sum.wrapping_add(u64::from_le_bytes(word)));
    rest.iter().fold(sum, |sum, &byte| sum.wrapping_add(byte.into()))
}

/// One row that represents all rows of [`Points`], independent of their order and batches: their number, and for each
/// column the sum of its mixed values.
fn digest(batches: &[RecordBatch], sink: &mut impl Sink) -> Result<()> {
    sink.int(rows(batches));
    for column in 0..Points::schema().fields().len() {
        let mut sum = 0_u64;
        for array in batches.iter().map(|batch| batch.column(column)) {
            let mut add = |value: u64| sum = sum.wrapping_add(mix(value));
            match array.data_type() {
                DataType::Int64 => array
                    .as_primitive::<Int64Type>()
                    .iter()
                    .flatten()
                    .for_each(|value| add(value.cast_unsigned())),
                DataType::Float64 => {
                    array
                        .as_primitive::<Float64Type>()
                        .iter()
                        .flatten()
                        .for_each(|value| add(value.to_bits()));
                }
                DataType::Utf8 => array
                    .as_string::<i32>()
                    .iter()
                    .flatten()
                    .for_each(|text| add(text.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte))))),
                other => return Err(format!("a column of type {other}").into()),
            }
        }
        sink.int(sum.cast_signed());
    }
    sink.end_row();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Collect;

    fn digested(batches: &[RecordBatch]) -> Vec<String> {
        let mut sink = Collect::default();
        digest(batches, &mut sink).unwrap();
        sink.into_rows()
    }

    #[test]
    fn a_digest_is_of_the_rows_and_not_of_their_order_or_batches() {
        let points = Points::new(20_000);
        let (random, sorted) = (points.batches().unwrap(), points.sorted_batches().unwrap());
        let parts: Vec<RecordBatch> = random
            .iter()
            .flat_map(|batch| [batch.slice(0, 7), batch.slice(7, batch.num_rows() - 7)])
            .collect();
        assert_eq!(digested(&random), digested(&sorted));
        assert_eq!(digested(&random), digested(&parts));
        assert_ne!(digested(&random), digested(&random[1..]));
        // As many rows, some of which are there twice.
        let (mut twice, last) = (sorted.clone(), sorted.len() - 1);
        twice[1] = sorted[0].clone();
        assert_ne!(digested(&twice), digested(&sorted));
        twice[1] = sorted[last].slice(0, 1);
        assert_ne!(digested(&twice), digested(&sorted));
    }

    #[test]
    fn a_pass_reads_every_value_once_however_the_rows_are_cut() {
        let batches = Points::new(100).batches().unwrap();
        let passed = pass(&batches);
        // Three columns of 8 bytes, two of texts of 7 and 8 bytes at least.
        assert!(passed.len >= 100 * (3 * 8 + 7 + 8), "{}", passed.len);
        assert_ne!(passed.sum, 0);
        let cut = |batch: &RecordBatch| [batch.slice(0, 30), batch.slice(30, batch.num_rows() - 30)];
        let parts: Vec<RecordBatch> = batches.iter().flat_map(cut).collect();
        assert_eq!(pass(&parts).len, passed.len);
    }
}
