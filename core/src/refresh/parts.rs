//! Refreshes that fetch only the parts of a relation that changed.
//!
//! The rows of the other parts are taken from the table. That gives what a load of everything would give only where rows show which part
//! they are of, and where every row that was loaded did. Otherwise all rows are fetched.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use xxhash_rust::xxh3::xxh3_128;

use crate::source::{Description, Part};
use crate::types::error::{Error, ErrorCode, Result};

/// The most parts of which marks are kept: those of more do not fit into the record of a table.
pub(super) const PARTS_MAX: usize = 600;
const DIGEST_LEN: usize = 16;

/// The values of the columns of parts, as texts.
type Texts = Vec<Option<String>>;

/// The parts of a relation whose rows show which part they are of.
#[derive(Debug)]
pub(super) struct Parts {
    columns: Vec<String>,
    parts: Vec<Part>,
}

impl Parts {
    /// Those that a source describes; `None` if some rows do not show theirs, or if there are too many.
    pub(super) fn of(described: &Description, columns: &Schema) -> Option<Self> {
        let parts = described.all_parts();
        let names = |part: &Part| part.values.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let shown = names(parts.first()?);
        let is_shown = !shown.is_empty() && shown.iter().all(|name| columns.column_with_name(name).is_some());
        let is_alike = parts.iter().all(|part| names(part) == shown);
        let texts: HashSet<Texts> = parts.iter().map(texts).collect();
        let is_clear = texts.len() == parts.len() && parts.len() <= PARTS_MAX;
        (is_shown && is_alike && is_clear).then(|| Self { columns: shown, parts: parts.to_vec() })
    }

    /// What is kept of them until the next refresh.
    pub(super) fn digests(&self) -> Vec<u8> {
        self.parts.iter().flat_map(digest).collect()
    }

    /// The parts whose rows are as they were when these digests were kept, and the names of the others.
    pub(super) fn since(&self, kept: &[u8]) -> (Vec<&Part>, Vec<&str>) {
        let kept: HashSet<&[u8]> = kept.chunks_exact(DIGEST_LEN).collect();
        let (same, changed): (Vec<&Part>, Vec<&Part>) =
            self.parts.iter().partition(|part| kept.contains(digest(part).as_slice()));
        (same, changed.into_iter().map(|part| part.name.as_str()).collect())
    }

    /// Finds the rows of some parts.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] for columns that were not there when the parts were read.
    pub(super) fn rows_of<'a>(
        &self,
        schema: &Schema,
        parts: impl IntoIterator<Item = &'a Part>,
    ) -> Result<RowsOf> {
        let columns = self.columns.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>();
        let columns = columns.map_err(internal)?;
        let fields = columns.iter().map(|&column| SortField::new(schema.field(column).data_type().clone()));
        let converter = RowConverter::new(fields.collect()).map_err(internal)?;
        let texts = parts.into_iter().map(texts).collect();
        Ok(RowsOf { columns, converter, texts, known: HashMap::new() })
    }

    /// Finds the rows of all of them.
    ///
    /// # Errors
    /// As [`rows_of`](Self::rows_of).
    pub(super) fn rows_of_all(&self, schema: &Schema) -> Result<RowsOf> {
        self.rows_of(schema, &self.parts)
    }

    /// Finds the rows of those with some names.
    ///
    /// # Errors
    /// As [`rows_of`](Self::rows_of).
    pub(super) fn rows_of_named(&self, schema: &Schema, names: &[&str]) -> Result<RowsOf> {
        self.rows_of(schema, self.parts.iter().filter(|part| names.contains(&part.name.as_str())))
    }
}

fn texts(part: &Part) -> Texts {
    part.values.iter().map(|(_, value)| value.clone()).collect()
}

/// Of name and mark: with another mark it is another part.
fn digest(part: &Part) -> [u8; DIGEST_LEN] {
    let mut bytes = (part.name.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(part.name.as_bytes());
    bytes.extend_from_slice(&part.mark);
    xxh3_128(&bytes).to_le_bytes()
}

fn internal(error: ArrowError) -> Error {
    Error::internal("rows of parts").with_source(error)
}

/// Tells rows of some parts from others, by the values of their columns as texts.
#[derive(Debug)]
pub(super) struct RowsOf {
    columns: Vec<usize>,
    converter: RowConverter,
    texts: HashSet<Texts>,
    /// Values that were looked at, and whether they are of these parts.
    known: HashMap<OwnedRow, bool>,
}

impl RowsOf {
    /// For each row, whether it is of these parts.
    fn find(&mut self, batch: &RecordBatch) -> Result<BooleanArray> {
        let columns: Vec<_> = self.columns.iter().map(|&column| batch.column(column).clone()).collect();
        let values = self.converter.convert_columns(&columns).map_err(internal)?;
        let options = FormatOptions::new();
        let formatters: Vec<ArrayFormatter<'_>> = columns
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<Result<_, _>>()
            .map_err(internal)?;
        let mut found = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let is_same = row > 0 && values.row(row) == values.row(row - 1);
            if let Some(last) = found.last().filter(|_| is_same) {
                found.push(*last);
                continue;
            }
            let value = values.row(row).owned();
            if let Some(known) = self.known.get(&value) {
                found.push(*known);
                continue;
            }
            let texts =
                columns.iter().zip(&formatters).map(|(column, formatter)| match column.is_null(row) {
                    true => Ok(None),
                    false => formatter.value(row).try_to_string().map(Some),
                });
            let is_of = self.texts.contains(&texts.collect::<Result<Texts, _>>().map_err(internal)?);
            self.known.insert(value, is_of);
            found.push(is_of);
        }
        Ok(BooleanArray::from(found))
    }

    /// Only the rows of these parts.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`].
    pub(super) fn keep(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        filter_record_batch(batch, &self.find(batch)?).map_err(internal)
    }

    /// # Errors
    /// [`ErrorCode::SourceInvalid`] if a row is of none of these parts.
    pub(super) fn check(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.find(batch)?.false_count() == 0 {
            return Ok(());
        }
        let message = "the source sends rows with other values than it says of the parts that they are of";
        Err(Error::new(ErrorCode::SourceInvalid, message))
    }
}

/// Whether all rows of a load were of the parts that the source described.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    is_clear: Arc<AtomicBool>,
}

impl Seen {
    /// Lets rows pass, and looks at each of them until one is of no part.
    pub(super) fn through(
        mut rows_of: RowsOf,
        rows: impl Iterator<Item = Result<RecordBatch>> + Send + 'static,
    ) -> (Self, impl Iterator<Item = Result<RecordBatch>> + Send + 'static) {
        let is_clear = Arc::new(AtomicBool::new(true));
        let seen = Self { is_clear: is_clear.clone() };
        let rows = rows.inspect(move |batch| {
            if let Ok(batch) = batch
                && is_clear.load(Ordering::Relaxed)
                && rows_of.check(batch).is_err()
            {
                is_clear.store(false, Ordering::Relaxed);
            }
        });
        (seen, rows)
    }

    pub(super) fn is_clear(&self) -> bool {
        self.is_clear.load(Ordering::Relaxed)
    }
}

/// A batch with the columns of a table, in their order.
///
/// # Errors
/// [`ErrorCode::SourceInvalid`] if one does not come.
pub(super) fn in_order(batch: &RecordBatch, order: &[usize], schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = order.iter().map(|&column| batch.column(column).clone()).collect();
    RecordBatch::try_new(schema.clone(), columns).map_err(|error| {
        Error::new(ErrorCode::SourceInvalid, "the source sends other columns than it described")
            .with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Date32Array, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn part(year: Option<&str>, mark: &str) -> Part {
        let name = format!("year={}", year.unwrap_or("%"));
        Part { name, mark: mark.into(), values: vec![("year".to_owned(), year.map(str::to_owned))] }
    }

    fn described(parts: Vec<Part>) -> Description {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("year", DataType::Int64, true),
        ]);
        Description::new(schema.into()).parts(parts)
    }

    fn parts(parts: Vec<Part>) -> Option<Parts> {
        let described = described(parts);
        Parts::of(&described, described.schema())
    }

    #[test]
    fn only_what_changed_is_fetched() {
        let before = parts(vec![part(Some("2013"), "a"), part(Some("2014"), "b"), part(None, "c")]).unwrap();
        let now =
            parts(vec![part(Some("2013"), "a"), part(Some("2014"), "B"), part(Some("2015"), "a")]).unwrap();
        let (same, changed) = now.since(&before.digests());
        assert_eq!(same, [&part(Some("2013"), "a")]);
        assert_eq!(changed, ["year=2014", "year=2015"]);
        assert_eq!(before.since(&[]).0.len(), 0);
    }

    #[test]
    fn parts_that_rows_do_not_show_are_not_told_apart() {
        let without = Part { values: Vec::new(), ..part(Some("1"), "a") };
        assert!(parts(vec![without.clone()]).is_none() && parts(Vec::new()).is_none());
        assert!(parts(vec![part(Some("1"), "a"), without]).is_none());
        let twice = Part { name: "another".to_owned(), ..part(Some("1"), "a") };
        assert!(parts(vec![part(Some("1"), "a"), twice]).is_none());
        let of_nothing = Part { values: vec![("month".to_owned(), None)], ..part(None, "a") };
        assert!(parts(vec![of_nothing]).is_none());
        let many = |count: usize| (0..count).map(|year| part(Some(&year.to_string()), "a")).collect();
        assert!(parts(many(PARTS_MAX)).is_some() && parts(many(PARTS_MAX + 1)).is_none());
    }

    #[test]
    fn rows_are_found_by_their_values() {
        let all = parts(vec![part(Some("2013"), "a"), part(Some("2014"), "b"), part(None, "c")]).unwrap();
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]));
        let years: ArrayRef =
            Arc::new(Int64Array::from(vec![Some(2013), Some(2014), None, Some(2013), Some(2015)]));
        let batch =
            RecordBatch::try_from_iter_with_nullable([("id", ids, false), ("year", years, true)]).unwrap();
        let schema = batch.schema();
        let kept = |names: &[&str]| {
            let kept = all.rows_of_named(&schema, names).unwrap().keep(&batch).unwrap();
            kept.column(0).to_data().buffers()[0].typed_data::<i64>()[..kept.num_rows()].to_vec()
        };
        assert_eq!(kept(&["year=2013"]), [1, 4]);
        assert_eq!(kept(&["year=%", "year=2014"]), [2, 3]);
        let mut rows = all.rows_of_all(&schema).unwrap();
        assert!(rows.check(&batch.slice(0, 4)).is_ok());
        assert_eq!(rows.check(&batch).unwrap_err().code(), ErrorCode::SourceInvalid);
        let (seen, passed) =
            Seen::through(all.rows_of_all(&schema).unwrap(), [Ok(batch.clone())].into_iter());
        assert_eq!((passed.count(), seen.is_clear()), (1, false));
        let (seen, passed) =
            Seen::through(all.rows_of_all(&schema).unwrap(), [Ok(batch.slice(0, 3))].into_iter());
        assert_eq!((passed.count(), seen.is_clear()), (1, true));
    }

    #[test]
    fn texts_and_dates_are_shown_as_their_types_show_them() {
        let values = [("city", "New York"), ("day", "2013-01-01")];
        let values = values.map(|(name, text)| (name.to_owned(), Some(text.to_owned()))).to_vec();
        let part = Part { name: "a".to_owned(), mark: Vec::new(), values };
        let cities: ArrayRef = Arc::new(StringArray::from(vec!["New York", "Rome"]));
        let days: ArrayRef = Arc::new(Date32Array::from(vec![15_706, 15_706]));
        let batch = RecordBatch::try_from_iter([("city", cities), ("day", days)]).unwrap();
        let described = Description::new(batch.schema()).parts(vec![part]);
        let parts = Parts::of(&described, &batch.schema()).unwrap();
        assert_eq!(parts.rows_of_all(&batch.schema()).unwrap().keep(&batch).unwrap(), batch.slice(0, 1));
    }
}
