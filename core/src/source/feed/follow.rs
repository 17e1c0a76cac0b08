//! What is followed.

use arrow::datatypes::SchemaRef;

use crate::source::relation::Relation;

/// Relations of a source that are followed together, so that transactions stay whole across them. The source knows who follows by a
/// name, and keeps changes for that name until they are acknowledged.
///
/// ```
/// use pillion::source::{Follow, Relation};
///
/// let follow = Follow::new("pillion_shop", [Relation::table("orders"), Relation::table("order_lines")]);
/// assert_eq!(follow.relations().len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Follow {
    name: String,
    relations: Vec<Relation>,
    publication: Option<String>,
}

impl Follow {
    /// Relations that are followed under a name. Nobody else may use the name at the source.
    pub fn new(name: impl Into<String>, relations: impl IntoIterator<Item = Relation>) -> Self {
        Self { name: name.into(), relations: relations.into_iter().collect(), publication: None }
    }

    /// Uses what an administrator has made at the source to give out the changes of these relations: a publication of PostgreSQL. Without it
    /// the source makes one under the name.
    #[must_use]
    pub fn publication(mut self, name: impl Into<String>) -> Self {
        self.publication = Some(name.into());
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The relations. Elsewhere they are named by their place here.
    #[must_use]
    pub fn relations(&self) -> &[Relation] {
        &self.relations
    }

    /// What an administrator has made.
    #[must_use]
    pub fn given_publication(&self) -> Option<&str> {
        self.publication.as_deref()
    }
}

/// What a source keeps under a name under which somebody follows, or followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The name.
    pub name: String,
    /// How much is kept, in bytes, if that is known.
    pub bytes: Option<u64>,
    /// Who follows under it now.
    pub user: Option<String>,
}

/// Columns of a followed relation.
#[derive(Clone, Debug, PartialEq)]
pub struct Followed {
    schema: SchemaRef,
    identity: Vec<String>,
    has_unique_identity: bool,
    rows: Option<u64>,
}

impl Followed {
    /// A relation with columns, of which `identity` are those that a source sends of a row that it deletes.
    #[must_use]
    pub fn new(schema: SchemaRef, identity: Vec<String>) -> Self {
        Self { schema, identity, has_unique_identity: false, rows: None }
    }

    /// Says that the source never lets two rows have the same values in the columns of the [identity](Self::identity): these are all columns
    /// of a primary key or of another unique index, which the source checks with each change and not only at the end of a transaction. An
    /// index of which a column is left out is not unique. Before the identity may become another one, the feed must
    /// [report](super::FeedEvent::Reshaped) the relation.
    ///
    /// With it a row that is added is not looked for among the held ones. Without it a table is copied anew if it is given two rows of one
    /// key. A source that says so wrongly loses rows.
    #[must_use]
    pub fn unique_identity(mut self) -> Self {
        self.has_unique_identity = true;
        self
    }

    /// Says how many rows there are, about.
    #[must_use]
    pub fn rows(mut self, rows: u64) -> Self {
        self.rows = Some(rows);
        self
    }

    /// The columns, with the types in which they are fetched.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns by which a changed or deleted row is recognised. A table that follows needs a primary key of some of these.
    #[must_use]
    pub fn identity(&self) -> &[String] {
        &self.identity
    }

    /// Whether the source never lets two rows have the same identity. See [`unique_identity`](Self::unique_identity).
    #[must_use]
    pub fn has_unique_identity(&self) -> bool {
        self.has_unique_identity
    }

    /// About how many rows it has, if known.
    #[must_use]
    pub fn expected_rows(&self) -> Option<u64> {
        self.rows
    }
}
