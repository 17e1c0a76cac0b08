//! What Pillion asks of a place that rows come from.
//!
//! A [`Source`] describes [relations](Relation) and fetches their rows. It does not schedule, retry or store anything:
//! Pillion decides when to ask, gives up calls that take too long, and commits the rows.
//!
//! # Writing a source
//! A source implements three calls and declares its other abilities as [`Capabilities`]. This one counts:
//!
//! ```
//! use std::sync::Arc;
//!
//! use arrow::array::{Int64Array, RecordBatch};
//! use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
//! use pillion::source::{Call, Capabilities, Description, Fetch, Fetched, Relation, Source};
//! use pillion::{Error, ErrorCode, Result};
//!
//! #[derive(Debug)]
//! struct Numbers {
//!     up_to: i64,
//! }
//!
//! impl Numbers {
//!     fn schema() -> SchemaRef {
//!         Arc::new(Schema::new(vec![Field::new("number", DataType::Int64, false)]))
//!     }
//! }
//!
//! impl Source for Numbers {
//!     fn capabilities(&self) -> Capabilities {
//!         Capabilities { relations: true, ..Capabilities::default() }
//!     }
//!
//!     fn relations(&self, _: &Call) -> Result<Vec<String>> {
//!         Ok(vec!["numbers".to_owned()])
//!     }
//!
//!     fn describe(&self, relation: &Relation, _: &Call) -> Result<Description> {
//!         if relation.text() != "numbers" {
//!             return Err(Error::new(ErrorCode::SourceNotFound, format!("no relation `{}`", relation.text())));
//!         }
//!         Ok(Description::new(Self::schema()).rows(self.up_to.unsigned_abs()))
//!     }
//!
//!     fn fetch(&self, fetch: &Fetch, call: &Call) -> Result<Fetched> {
//!         let schema = self.describe(fetch.relation(), call)?.schema().clone();
//!         let (up_to, of_batches, call) = (self.up_to, schema.clone(), call.clone());
//!         let batches = (0..up_to).step_by(1000).map(move |first| {
//!             call.check()?; // ends the fetch when it is given up
//!             let numbers = Int64Array::from_iter_values(first..(first + 1000).min(up_to));
//!             Ok(RecordBatch::try_new(of_batches.clone(), vec![Arc::new(numbers)]).expect("one column"))
//!         });
//!         Ok(Fetched::new(schema, batches))
//!     }
//! }
//! # let source = Numbers { up_to: 2500 };
//! # let fetched = source.fetch(&Fetch::of(Relation::table("numbers")), &Call::new())?;
//! # assert_eq!(fetched.map(|batch| batch.unwrap().num_rows()).collect::<Vec<_>>(), [1000, 1000, 500]);
//! # Ok::<(), pillion::Error>(())
//! ```

mod call;
mod capabilities;
mod cron;
mod description;
mod feed;
mod fetch;
mod ranges;
mod relation;
mod secret;
mod table_source;
mod watch;

use std::fmt::Debug;

pub use self::call::{Call, OnCancel};
pub use self::capabilities::Capabilities;
pub use self::description::{Description, Part};
pub use self::feed::{
    ChangeFeed, Changes, FeedCheck, FeedEvent, FeedSnapshot, Follow, Followed, Kept, KeyRange, RowChanges,
    RowOperation, RowSum,
};
pub use self::fetch::{After, Fetch, Fetched, Keys};
pub use self::ranges::{ColumnRanges, ValueRange};
pub use self::relation::Relation;
pub use self::secret::Secret;
pub(crate) use self::table_source::{AppendBy, AuditPlan, Cadence, Overlap};
pub use self::table_source::{OnSchemaChange, TableSource};
pub use self::watch::{Changed, Watch};
use crate::types::error::{Error, ErrorCode, Result};

/// A place that rows come from, such as a database or files in a bucket.
///
/// All calls block; Pillion makes each on a thread of its own, several at a time. A client library that is async is driven by the
/// source. Each call gets a [`Call`], whose end the source must heed within about a second: by
/// [`check`](Call::check) between steps, by [`remaining`](Call::remaining) as the time limit of what it waits for, or by
/// [`on_cancel`](Call::on_cancel).
///
/// # Errors
/// The code of an error decides what Pillion does next. It tries again later after
/// [`SourceUnavailable`](crate::ErrorCode::SourceUnavailable), [`Timeout`](crate::ErrorCode::Timeout),
/// [`SourceNotFound`](crate::ErrorCode::SourceNotFound) and every other code too, because what is missing or wrong at a source
/// may be mended there. [`SourceRefused`](crate::ErrorCode::SourceRefused) stands for credentials that the source does not
/// accept; a source should read them anew when it connects again. No error may contain a credential.
pub trait Source: Debug + Send + Sync + 'static {
    /// What this source can do beyond describing a relation and fetching all of it. The same at every call.
    fn capabilities(&self) -> Capabilities;

    /// Names the place that rows come from, such as a URL without user and password: another place has another text, and the same
    /// place always the same one, whatever its credentials are. When it changes, Pillion fetches all rows of the source's tables anew
    /// instead of adding those of another place to them. `None`: the name under which the source was added stands for the place.
    fn identity(&self) -> Option<String> {
        None
    }

    /// The names of what can be fetched, for people who look around.
    ///
    /// # Errors
    /// Those of reaching the source; [`Unsupported`](crate::ErrorCode::Unsupported) if
    /// [`Capabilities::relations`] is `false`.
    fn relations(&self, call: &Call) -> Result<Vec<String>>;

    /// Columns of a relation and, as far as the source knows them without reading rows, its size and the mark by which a
    /// change is noticed. Columns that are not among the [wanted ones](Relation::only_columns) may be missing.
    ///
    /// # Errors
    /// [`SourceNotFound`](crate::ErrorCode::SourceNotFound) for a relation that is not there;
    /// [`UnsupportedType`](crate::ErrorCode::UnsupportedType), which names the column, for one whose type has no mapping and that
    /// the relation neither leaves out nor reads as text.
    fn describe(&self, relation: &Relation, call: &Call) -> Result<Description>;

    /// The [mark](Description::mark) of a relation alone. Sources that find out columns by reading rows or many files give it for
    /// less than a description costs: it is asked for first where an earlier mark is known. Asked for only with
    /// [`Capabilities::marks`].
    ///
    /// # Errors
    /// As [`describe`](Self::describe).
    fn mark(&self, relation: &Relation, call: &Call) -> Result<Option<Vec<u8>>> {
        Ok(self.describe(relation, call)?.change_mark().map(<[u8]>::to_vec))
    }

    /// Begins to fetch rows. They are all of one state of the relation where the source can give that, and memory does not grow
    /// with their number.
    ///
    /// # Errors
    /// As [`describe`](Self::describe); [`Unsupported`](crate::ErrorCode::Unsupported) for a request beyond
    /// [`capabilities`](Self::capabilities). Later failures come with the batches, and after one of them no batch follows.
    fn fetch(&self, fetch: &Fetch, call: &Call) -> Result<Fetched>;

    /// Tells changes of a relation until the answer is dropped: calls `changed` soon after rows may have changed. The relation need
    /// not be there yet. Pillion waits until nothing changes for a moment, and refreshes then; it looks at the relation now and then
    /// all the same. Asked for only with [`Capabilities::watch`].
    ///
    /// # Errors
    /// Those of beginning to watch; [`Unsupported`](crate::ErrorCode::Unsupported) if the source tells no changes.
    fn watch(&self, relation: &Relation, changed: Changed) -> Result<Watch> {
        drop((relation, changed));
        Err(Error::new(ErrorCode::Unsupported, "the source tells no changes"))
    }

    /// Makes one state of relations readable after which their changes can be [followed](Self::changes). From now on the source keeps changes
    /// under the name of `follow`; what it kept under that name before is gone. Asked for only with
    /// [`Capabilities::changes`].
    ///
    /// # Errors
    /// As [`describe`](Self::describe), also for a relation or column that can be fetched and not followed;
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) for a name that the source does not take.
    fn snapshot(&self, follow: &Follow, call: &Call) -> Result<Box<dyn FeedSnapshot>> {
        let _ = (follow, call);
        Err(no_changes())
    }

    /// Begins to follow relations after a position that a snapshot or a feed under the same name gave. `columns` are those of each relation that
    /// are held, as [`FeedSnapshot::describe`] gave them. Before anything else the feed [reports](FeedEvent::Reshaped) each relation that is
    /// another now than the one of the position, or has other columns. One feed of a name runs at a time. Asked for only with
    /// [`Capabilities::changes`].
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot).
    fn changes(&self, follow: &Follow, columns: &[Followed], after: &[u8], call: &Call) -> Result<Changes> {
        let _ = (follow, columns, after, call);
        Err(no_changes())
    }

    /// A position behind everything that the source has committed by now. Asked for only with [`Capabilities::changes`].
    ///
    /// # Errors
    /// Those of reaching the source.
    fn newest_position(&self, call: &Call) -> Result<Vec<u8>> {
        let _ = call;
        Err(no_changes())
    }

    /// How far a position is before another one, in units of the source such as bytes of its log; zero if it is not before it. Either is
    /// one that a snapshot or a feed gave, or what people write for one, such as `0/16B3748` in PostgreSQL. Does not block. Asked for
    /// only with [`Capabilities::changes`].
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) for bytes that are neither, and for positions of different places.
    fn behind(&self, position: &[u8], wanted: &[u8]) -> Result<u64> {
        let _ = (position, wanted);
        Err(no_changes())
    }

    /// A position as people write it; `None` for bytes that are not one. Does not block.
    fn position_text(&self, position: &[u8]) -> Option<String> {
        let _ = position;
        None
    }

    /// Removes what the source keeps under a name, and what it made for that itself. Nothing is left afterwards, also if nothing was there.
    /// Asked for only with [`Capabilities::changes`].
    ///
    /// # Errors
    /// Those of reaching the source; [`SourceUnavailable`](ErrorCode::SourceUnavailable) while somebody follows under the name.
    fn forget(&self, follow: &Follow, call: &Call) -> Result<()> {
        let _ = (follow, call);
        Err(no_changes())
    }

    /// What the source keeps under names that Pillion has made, those of other caches too. Asked for only with [`Capabilities::changes`], and only to
    /// be shown.
    ///
    /// # Errors
    /// Those of reaching the source; [`Unsupported`](ErrorCode::Unsupported) if it cannot say.
    fn kept(&self, call: &Call) -> Result<Vec<Kept>> {
        let _ = call;
        Err(Error::new(ErrorCode::Unsupported, "this source does not say what it keeps"))
    }

    /// Makes one state of a followed relation comparable with held rows: their `columns`, of which `key` names a row. `fed` is a position of the
    /// feed that brought the rows, and the place of the relation in that feed. The source keeps nothing of it that outlives the answer, or the
    /// connection to it. Asked for only with [`Capabilities::changes`].
    ///
    /// # Errors
    /// [`SourceInvalid`](ErrorCode::SourceInvalid) if the relation with this name is not the one of the feed any more;
    /// [`Unsupported`](ErrorCode::Unsupported) if the source does not compare rows, or has no order of the key that Pillion shares; and as
    /// [`describe`](Self::describe).
    fn check(
        &self,
        relation: &Relation,
        columns: &[String],
        key: &[String],
        fed: Option<(&[u8], usize)>,
        call: &Call,
    ) -> Result<Box<dyn FeedCheck>> {
        let _ = (relation, columns, key, fed, call);
        Err(Error::new(ErrorCode::Unsupported, "this source does not compare its rows with held ones"))
    }
}

fn no_changes() -> Error {
    Error::new(ErrorCode::Unsupported, "the changes of this source cannot be followed")
}

impl Source for Box<dyn Source> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn identity(&self) -> Option<String> {
        (**self).identity()
    }

    fn relations(&self, call: &Call) -> Result<Vec<String>> {
        (**self).relations(call)
    }

    fn describe(&self, relation: &Relation, call: &Call) -> Result<Description> {
        (**self).describe(relation, call)
    }

    fn mark(&self, relation: &Relation, call: &Call) -> Result<Option<Vec<u8>>> {
        (**self).mark(relation, call)
    }

    fn fetch(&self, fetch: &Fetch, call: &Call) -> Result<Fetched> {
        (**self).fetch(fetch, call)
    }

    fn watch(&self, relation: &Relation, changed: Changed) -> Result<Watch> {
        (**self).watch(relation, changed)
    }

    fn snapshot(&self, follow: &Follow, call: &Call) -> Result<Box<dyn FeedSnapshot>> {
        (**self).snapshot(follow, call)
    }

    fn changes(&self, follow: &Follow, columns: &[Followed], after: &[u8], call: &Call) -> Result<Changes> {
        (**self).changes(follow, columns, after, call)
    }

    fn newest_position(&self, call: &Call) -> Result<Vec<u8>> {
        (**self).newest_position(call)
    }

    fn behind(&self, position: &[u8], wanted: &[u8]) -> Result<u64> {
        (**self).behind(position, wanted)
    }

    fn position_text(&self, position: &[u8]) -> Option<String> {
        (**self).position_text(position)
    }

    fn forget(&self, follow: &Follow, call: &Call) -> Result<()> {
        (**self).forget(follow, call)
    }

    fn kept(&self, call: &Call) -> Result<Vec<Kept>> {
        (**self).kept(call)
    }

    fn check(
        &self,
        relation: &Relation,
        columns: &[String],
        key: &[String],
        fed: Option<(&[u8], usize)>,
        call: &Call,
    ) -> Result<Box<dyn FeedCheck>> {
        (**self).check(relation, columns, key, fed, call)
    }
}
