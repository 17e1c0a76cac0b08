//! What of a source becomes a table.

use std::collections::BTreeMap;

/// Something of a source that has columns and rows: a table, a pattern of files, or the answer to a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    text: String,
    is_statement: bool,
    options: BTreeMap<String, String>,
    left_out: Vec<String>,
    as_text: Vec<String>,
    only: Option<Vec<String>>,
}

impl Relation {
    /// A table, or whatever the source gives a name: `"public.orders"`, `"flights/*.parquet"`.
    pub fn table(name: impl Into<String>) -> Self {
        Self {
            text: name.into(),
            is_statement: false,
            options: BTreeMap::new(),
            left_out: Vec::new(),
            as_text: Vec::new(),
            only: None,
        }
    }

    /// The answer to a statement in the source's own dialect.
    pub fn statement(text: impl Into<String>) -> Self {
        Self { is_statement: true, ..Self::table(text) }
    }

    /// An option that the source knows, such as the delimiter of CSV files. A source refuses options that it does not know with
    /// [`InvalidArgument`](crate::ErrorCode::InvalidArgument), naming the nearest one.
    #[must_use]
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }

    /// Leaves columns out, as if the source did not have them.
    #[must_use]
    pub fn leave_out<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.left_out.extend(columns.into_iter().map(Into::into));
        self
    }

    /// Reads columns as texts, in the form in which the source shows their values.
    #[must_use]
    pub fn as_text<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.as_text.extend(columns.into_iter().map(Into::into));
        self
    }

    /// Says that nobody asks for other columns than these, so that a source can describe these alone: a column of a type that
    /// it cannot send is then no error. A source may describe the others all the same.
    #[must_use]
    pub fn only<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.only = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// The name or statement.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the text is a statement.
    #[must_use]
    pub fn is_statement(&self) -> bool {
        self.is_statement
    }

    /// Options by name.
    #[must_use]
    pub fn options(&self) -> &BTreeMap<String, String> {
        &self.options
    }

    /// Columns that are left out.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Columns that are read as texts.
    #[must_use]
    pub fn read_as_text(&self) -> &[String] {
        &self.as_text
    }

    /// The columns that somebody asks for, if not all.
    #[must_use]
    pub fn only_columns(&self) -> Option<&[String]> {
        self.only.as_deref()
    }
}
