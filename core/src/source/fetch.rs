//! Which rows are fetched, and the rows.

use std::fmt;
use std::time::SystemTime;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::ranges::ColumnRanges;
use super::relation::Relation;
use crate::types::error::Result;
use crate::types::value::Value;

/// Which rows of a relation are wanted: all of them unless something else is said.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetch {
    relation: Relation,
    columns: Option<Vec<String>>,
    condition: Option<String>,
    after: Option<After>,
    parts: Option<Vec<String>>,
    keys: Option<Keys>,
    ranges: Vec<ColumnRanges>,
}

/// Rows that have some values together in some columns. None of the values is null.
#[derive(Clone, Debug, PartialEq)]
pub struct Keys {
    /// The columns, which identify a row.
    pub columns: Vec<String>,
    /// Their values, for each row those of all columns. As users gave them: a whole number for any column of whole numbers.
    pub values: Vec<Vec<Value>>,
}

/// Rows whose column is above a value, or equal to it: ties are sent again, and rows with a null are not sent.
#[derive(Clone, Debug, PartialEq)]
pub struct After {
    /// A column that grows, such as a time of the last change or a number from a sequence.
    pub column: String,
    /// Rows with this value and above are wanted.
    pub value: Value,
}

impl Fetch {
    /// All rows of a relation.
    #[must_use]
    pub fn of(relation: Relation) -> Self {
        Self {
            relation,
            columns: None,
            condition: None,
            after: None,
            parts: None,
            keys: None,
            ranges: Vec::new(),
        }
    }

    /// Only these columns, in this order.
    #[must_use]
    pub fn columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Only rows that satisfy a condition, in the words of the source.
    #[must_use]
    pub fn condition(mut self, condition: impl Into<String>) -> Self {
        self.condition = Some(condition.into());
        self
    }

    /// Only rows from a position on.
    #[must_use]
    pub fn after(mut self, after: After) -> Self {
        self.after = Some(after);
        self
    }

    /// Only these parts, by name.
    #[must_use]
    pub fn parts<S: Into<String>>(mut self, parts: impl IntoIterator<Item = S>) -> Self {
        self.parts = Some(parts.into_iter().map(Into::into).collect());
        self
    }

    /// Only rows that have some keys, each the values of some columns together. A source that cannot find rows by values of these types
    /// exactly refuses them with [`InvalidArgument`](crate::ErrorCode::InvalidArgument), and all rows are fetched.
    #[must_use]
    pub fn keys(mut self, columns: Vec<String>, values: Vec<Vec<Value>>) -> Self {
        self.keys = Some(Keys { columns, values });
        self
    }

    /// Rows whose values are outside of these ranges need not be sent: whoever fetches drops them. Several columns all say so of their
    /// rows. A hint, which a source without [`ranges`](super::Capabilities::ranges) ignores.
    #[must_use]
    pub fn ranges(mut self, ranges: Vec<ColumnRanges>) -> Self {
        self.ranges = ranges;
        self
    }

    /// Of what.
    #[must_use]
    pub fn relation(&self) -> &Relation {
        &self.relation
    }

    /// The wanted columns; `None` for all.
    #[must_use]
    pub fn wanted_columns(&self) -> Option<&[String]> {
        self.columns.as_deref()
    }

    /// The condition, in the words of the source.
    #[must_use]
    pub fn wanted_condition(&self) -> Option<&str> {
        self.condition.as_deref()
    }

    /// From which position on.
    #[must_use]
    pub fn from_position(&self) -> Option<&After> {
        self.after.as_ref()
    }

    /// The keys of the wanted rows; `None` for all.
    #[must_use]
    pub fn wanted_keys(&self) -> Option<&Keys> {
        self.keys.as_ref()
    }

    /// Ranges outside of which no row is wanted; none of a column that does not matter.
    #[must_use]
    pub fn wanted_ranges(&self) -> &[ColumnRanges] {
        &self.ranges
    }

    /// The wanted parts; `None` for all.
    #[must_use]
    pub fn wanted_parts(&self) -> Option<&[String]> {
        self.parts.as_deref()
    }
}

/// Rows as they come from a source: an iterator of batches, each of the columns of [`schema`](Self::schema). Dropping it
/// ends the fetch.
pub struct Fetched {
    schema: SchemaRef,
    as_of: Option<SystemTime>,
    mark: Option<Vec<u8>>,
    batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
}

impl Fetched {
    /// Batches of columns. Whoever makes them keeps at most a few in memory.
    pub fn new(
        schema: SchemaRef,
        batches: impl IntoIterator<Item = Result<RecordBatch>, IntoIter: Send + 'static>,
    ) -> Self {
        Self { schema, as_of: None, mark: None, batches: Box::new(batches.into_iter()) }
    }

    /// Says at which moment of the source's own clock the rows were what is sent. Without it, and if
    /// it is later by the clock here, it is the moment at which Pillion asked.
    #[must_use]
    pub fn as_of(mut self, moment: SystemTime) -> Self {
        self.as_of = Some(moment);
        self
    }

    /// Says what the [mark](super::Description::mark) of exactly these rows is, where the source knows it; of rows of some
    /// [parts](Fetch::parts), that of the relation of which they are the parts. If that is not the mark that was described, the rows are not
    /// put together with rows of other parts, and all are fetched instead.
    #[must_use]
    pub fn mark(mut self, mark: impl Into<Vec<u8>>) -> Self {
        self.mark = Some(mark.into());
        self
    }

    /// The columns of each batch.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The moment of the rows by the source's clock, if it tells it.
    #[must_use]
    pub fn moment(&self) -> Option<SystemTime> {
        self.as_of
    }

    /// The mark of these rows, if the source gave one.
    #[must_use]
    pub fn change_mark(&self) -> Option<&[u8]> {
        self.mark.as_deref()
    }
}

impl Iterator for Fetched {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next()
    }
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched")
            .field("schema", &self.schema)
            .field("as_of", &self.as_of)
            .finish_non_exhaustive()
    }
}
