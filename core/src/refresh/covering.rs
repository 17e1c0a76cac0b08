//! Refreshes of working sets: which of the fetched rows a table holds, and what it covers then.

use std::time::SystemTime;

use arrow::datatypes::SchemaRef;

use super::fetched::wanted;
use super::record::Record;
use super::run::{Held, Work};
use crate::coverage::{CoverageRecord, Region, RowFilter};
use crate::input::{Input, OpenInput};
use crate::source::{ColumnRanges, Fetch};
use crate::types::error::{Error, ErrorCode, Result};

/// The most bytes of what is committed of a coverage: a position of a source must not be much longer.
#[cfg(feature = "sql")]
const COVERAGE_LEN_MAX: usize = 8 << 10;

/// What a table covers once a refresh has committed its rows.
#[derive(Clone, Debug)]
pub(super) struct Covering {
    record: CoverageRecord,
    region: Region,
    /// Whether the next refresh covers something else.
    moves: bool,
    /// A condition in the words of PostgreSQL that leaves out no row that is covered.
    pushed: Option<String>,
    /// Ranges of columns that have all rows that are covered.
    ranges: Vec<ColumnRanges>,
}

impl Covering {
    /// The rows that satisfy a condition in SQL at a moment, by the clock of this machine.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidSql`], [`ErrorCode::ColumnNotFound`] or [`ErrorCode::Unsupported`] for a condition that is not understood;
    /// the latter also in a build without SQL.
    #[cfg(feature = "sql")]
    pub(super) fn new(condition: &str, schema: &SchemaRef, now: SystemTime) -> Result<Self> {
        use crate::coverage::Domain;
        use crate::query::Condition;

        let Condition { predicate, moves } = Condition::parse(condition, schema, now)?;
        let domains = |column: &str| Domain::of(schema.field_with_name(column).ok()?);
        let refused = |reason: String| {
            Error::new(
                ErrorCode::Unsupported,
                format!("the condition `{condition}` is not understood: {reason}"),
            )
        };
        let region = Region::exactly(&predicate, &domains).map_err(refused)?;
        let record = CoverageRecord::new(condition, predicate.to_string(), &region);
        let len = rmp_serde::to_vec_named(&record).map_or(usize::MAX, |bytes| bytes.len());
        if len > COVERAGE_LEN_MAX {
            return Err(refused(format!(
                "it has too many values; {COVERAGE_LEN_MAX} bytes of them are kept"
            )));
        }
        let pushed = super::pushed::postgresql(&predicate, schema);
        let ranges = region.ranges(&domains);
        Ok(Self { record, region, moves, pushed, ranges })
    }

    #[cfg(not(feature = "sql"))]
    pub(super) fn new(condition: &str, _: &SchemaRef, _: SystemTime) -> Result<Self> {
        Err(Error::new(
            ErrorCode::Unsupported,
            format!("a build without the feature `sql` does not understand the condition `{condition}`"),
        ))
    }

    /// The rows of `input` that are covered. Batches are decoded.
    fn keep(self, input: OpenInput) -> Result<Input> {
        let OpenInput { schema, batches } = input;
        let filter = RowFilter::new(self.region, &schema)?;
        Ok(Input::fallible(schema, batches.map(move |batch| filter.keep(batch?))))
    }
}

impl Work {
    /// What a working set would cover by a refresh that begins now; `None` for a table that holds all rows.
    fn covering(&self, schema: &SchemaRef, began: SystemTime) -> Result<Option<Covering>> {
        let set = self.rules.working_set.as_ref();
        set.map(|set| Covering::new(&set.condition, schema, began)).transpose()
    }

    /// All rows that the table may hold. A source that understands it is asked for few others.
    pub(super) fn fetch_all(&self, described: &SchemaRef, began: SystemTime) -> Result<Fetch> {
        let (fetch, abilities) = (self.fetch(None), self.source.capabilities());
        let takes_conditions = abilities.conditions && abilities.dialect == Some("postgresql");
        if self.rules.working_set.is_none() || !(takes_conditions || abilities.ranges) {
            return Ok(fetch);
        }
        let Some(covering) = self.covering(&wanted(&self.origin, described)?, began)? else {
            return Ok(fetch);
        };
        let fetch = if abilities.ranges { fetch.ranges(covering.ranges) } else { fetch };
        Ok(match covering.pushed {
            Some(condition) if takes_conditions => fetch.condition(condition),
            _ => fetch,
        })
    }

    /// The fetched rows that the table holds, and the record with what it covers by them.
    pub(super) fn covered(&self, record: Record, input: Input, began: SystemTime) -> Result<(Record, Input)> {
        if self.rules.working_set.is_none() {
            return Ok((record, input));
        }
        let input = input.open(None)?;
        match self.covering(&input.schema, began)? {
            None => Ok((record, Input::fallible(input.schema, input.batches))),
            Some(covering) => {
                let record = record.with_coverage(Some(covering.record.clone()));
                Ok((record, covering.keep(input)?))
            }
        }
    }

    /// Whether the held rows are those that a load would choose now, as far as the condition of a working set decides. A window that
    /// has moved loses rows, and may win others that the source has had for long.
    pub(super) fn covers_as_now(&self, held: &Held, began: SystemTime) -> bool {
        match self.covering(&held.info.schema, began) {
            Ok(None) => true,
            Ok(Some(covering)) => {
                !covering.moves && held.record.as_ref().and_then(Record::coverage) == Some(&covering.record)
            }
            // The load says what is wrong.
            Err(_) => false,
        }
    }
}
